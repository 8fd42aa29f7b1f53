//! One PostgreSQL and one Redis for all tests that run at the same time; each test has gateways of its own, so that
//! its faults and counts disturb nobody.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aos::integrations::http_client;
use aos::integrations::neon::Neon;
use aos::integrations::upstash::Upstash;
use aos::platform::Clock;
use aos_dev::counters::Counters;
use aos_dev::faults::{Action, Faults, Rule};
use aos_dev::neon::{NeonGateway, NeonGatewayOptions, PostgresAddr};
use aos_dev::postgres::{Postgres, PostgresOptions};
use aos_dev::progress::Progress;
use aos_dev::redis::{Redis, RedisOptions};
use aos_dev::scratch::Scratch;
use aos_dev::upstash::{UpstashGateway, UpstashGatewayOptions};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::runtime::Runtime;

/// Dropped from top to bottom when the last test that uses it ends.
pub(crate) struct World {
    pub(crate) url: String,
    postgres: Postgres,
    redis: Redis,
    _dir: Scratch,
    runtime: Runtime,
}

/// The system's clock.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

/// A client and the gateway it talks to.
pub(crate) struct Pair<C, G> {
    pub(crate) client: C,
    pub(crate) gateway: G,
    faults: Faults,
    counters: Counters,
}

impl<C, G> Pair<C, G> {
    /// The next `times` requests meet with this.
    pub(crate) fn fault(&self, times: u64, action: Action) {
        self.faults.add(Rule::new(action).times(times));
    }

    /// Requests since the last time this was asked.
    pub(crate) fn requests(&self) -> u64 {
        let total = self.counters.snapshot().total;
        self.counters.reset();
        total
    }
}

/// The world that another test is just using, or a new one.
pub(crate) fn shared() -> Arc<World> {
    static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(world) = shared.upgrade() {
        return world;
    }
    let world = Arc::new(World::start());
    *shared = Arc::downgrade(&world);
    world
}

impl World {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let dir = Scratch::new().unwrap();
        let (postgres, redis, url) = runtime.block_on(async {
            let progress = Progress::silent();
            let options = PostgresOptions {
                dir: dir.path().join("postgres"),
                durable: false,
                progress: progress.clone(),
            };
            let postgres = Postgres::start(options).await.expect("PostgreSQL starts");
            let url = postgres.create_database("clients").await.unwrap();
            let options = RedisOptions {
                dir: dir.path().join("redis"),
                durable: false,
                progress,
            };
            let redis = Redis::start(options).await.expect("Redis starts");
            (postgres, redis, url)
        });
        Self {
            url,
            postgres,
            redis,
            _dir: dir,
            runtime,
        }
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) async fn neon(&self) -> Pair<Neon, NeonGateway> {
        let postgres = PostgresAddr {
            host: "127.0.0.1".to_owned(),
            port: self.postgres.port(),
        };
        let gateway = NeonGateway::start(NeonGatewayOptions::new(postgres)).await.unwrap();
        let (faults, counters) = (gateway.faults().clone(), gateway.counters().clone());
        Pair {
            client: neon(&self.url, &gateway.endpoint()),
            gateway,
            faults,
            counters,
        }
    }

    pub(crate) async fn upstash(&self) -> Pair<Upstash, UpstashGateway> {
        let gateway = UpstashGateway::start(UpstashGatewayOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            redis: format!("{}/0", self.redis.url()),
            token: "a-token".to_owned(),
        })
        .await
        .unwrap();
        let (faults, counters) = (gateway.faults().clone(), gateway.counters().clone());
        Pair {
            client: upstash(&gateway.url(), "a-token"),
            gateway,
            faults,
            counters,
        }
    }
}

/// A client with these settings.
pub(crate) fn neon(connection_string: &str, endpoint: &str) -> Neon {
    let endpoint = endpoint.parse().unwrap();
    let connection_string = connection_string.to_owned().into();
    Neon::new(http_client(), Arc::new(SystemClock), connection_string, Some(endpoint)).unwrap()
}

/// A client with these settings.
pub(crate) fn upstash(rest_url: &str, token: &str) -> Upstash {
    let rest_url = rest_url.parse().unwrap();
    Upstash::new(http_client(), Arc::new(SystemClock), rest_url, token.to_owned().into()).unwrap()
}

/// An address where nobody listens.
pub(crate) fn nowhere() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// An answer without the work.
pub(crate) fn status(code: u16, body: impl Into<String>) -> Action {
    Action::Status {
        code,
        body: body.into(),
        headers: Default::default(),
    }
}
