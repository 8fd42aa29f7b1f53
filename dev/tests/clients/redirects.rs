//! A redirect is an error to each client, and neither its key nor its commands go where it leads.

use aos::integrations::Repeat;
use aos::integrations::neon::{Batch, Statement};
use aos::integrations::upstash::Command;
use aos_dev::faults::Action;

use crate::upstash::key;
use crate::world;

fn redirect(to: &str) -> Action {
    Action::Status {
        code: 307,
        body: String::new(),
        headers: [("location".to_owned(), to.to_owned())].into(),
    }
}

#[test]
fn neither_redis_nor_the_database_is_looked_for_elsewhere() {
    let world = world::shared();
    world.run(async {
        let (redis, other) = (world.upstash().await, world.upstash().await);
        redis.fault(1, redirect(&other.gateway.url()));
        let counted = redis
            .client
            .command(Command::incr_by(&key("redirected"), 1), Repeat::Never);
        counted.await.unwrap_err();
        assert_eq!((redis.requests(), other.requests()), (1, 0));

        let (neon, other) = (world.neon().await, world.neon().await);
        neon.fault(1, redirect(&other.gateway.endpoint()));
        let read = Batch::read().push(Statement::new("select to_jsonb(1) as data"));
        assert!(neon.client.batch(&read).await.is_err());
        assert_eq!((neon.requests(), other.requests()), (1, 0));
    });
}
