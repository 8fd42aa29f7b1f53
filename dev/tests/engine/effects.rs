//! What the ledger and the step say when nobody knows whether an effect happened.

use aos_dev::faults::{Action, Rule};
use serde_json::{Value, json};

use crate::world::World;

fn put(world: &World, path: &str, attempts: u32) -> Value {
    json!({"id": "put", "skill": "http_call", "retry": {"attempts": attempts, "backoff_ms": 100},
        "params": {"method": "PUT", "url": format!("{}{path}", world.standins.url())}})
}

async fn ledger(world: &World) -> String {
    world.one("select state || ' ' || possible from effects").await.unwrap()
}

#[tokio::test]
async fn a_repeatable_effect_whose_every_answer_was_lost_is_unknown_in_the_end() {
    let world = World::start().await;
    let lost = Rule::new(Action::DropAfter).matching("/effects/lost");
    world.standins.faults().add(lost);
    let run = world.create(json!([put(&world, "/effects/lost", 2)])).await;
    world.drain_until_ended(run).await;
    assert_eq!(world.steps(run).await, ["put: failed 2 unknown_effect"]);
    assert_eq!(
        (world.effects("lost"), ledger(&world).await.as_str()),
        (2, "unknown true")
    );
}

#[tokio::test]
async fn an_effect_that_may_have_happened_stays_possible_until_an_attempt_succeeds() {
    let world = World::start().await;
    let once_lost = || Rule::new(Action::DropAfter).matching("/effects/").times(1);
    let refused = Rule::new(Action::Status {
        code: 403,
        body: String::new(),
        headers: Default::default(),
    });
    // Lost, and then refused: the refusal says nothing about the first attempt.
    world.standins.faults().add(once_lost());
    world.standins.faults().add(refused.matching("/effects/refused"));
    let run = world.create(json!([put(&world, "/effects/refused", 2)])).await;
    world.drain_until_ended(run).await;
    assert_eq!(world.steps(run).await, ["put: failed 2 permission_denied"]);
    assert_eq!(ledger(&world).await, "unknown true");

    world.sql("delete from effects").await;
    world.standins.faults().clear();
    world.standins.faults().add(once_lost());
    let run = world.create(json!([put(&world, "/effects/done", 2)])).await;
    world.drain_until_ended(run).await;
    assert_eq!(world.steps(run).await, ["put: succeeded 2"]);
    assert_eq!(ledger(&world).await, "finalised false");
}

#[tokio::test]
async fn what_was_never_sent_is_no_unknown_effect() {
    let mut world = World::start().await;
    let clock: std::sync::Arc<dyn aos::platform::Clock> = std::sync::Arc::new(crate::world::RealClock);
    // Nobody answers there: no name can be looked up, and nothing is sent without.
    let nobody = "http://127.0.0.1:9/dns-query".parse().unwrap();
    world.engine.services.resolver = Some(aos::integrations::dns::Resolver::new(
        reqwest::Client::new(),
        clock,
        nobody,
    ));
    let step = json!({"id": "put", "skill": "http_call", "retry": {"attempts": 1},
        "params": {"method": "PUT", "url": "https://shop.example.com/x"}});
    let run = world.create(json!([step])).await;
    world.drain_until_ended(run).await;
    assert_eq!(world.steps(run).await, ["put: failed 1 dns_failed"]);
    assert_eq!(ledger(&world).await, "finalised false");
}
