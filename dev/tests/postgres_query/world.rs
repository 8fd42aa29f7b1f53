//! One PostgreSQL for all tests that run at the same time, with the shop in it; each test has a gateway of its own.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aos::platform::{Clock, Fetch, FetchError, FetchRequest, FetchResponse};
use aos::skills::{Call, Endpoints, Outcome, QueryDatabases, Registry, SecretValues, Services, registry};
use aos::tenants::{OwnSetting, Owner};
use aos_dev::neon::{NeonGateway, NeonGatewayOptions, PostgresAddr};
use aos_dev::postgres::{Postgres, PostgresOptions};
use aos_dev::progress::Progress;
use aos_dev::query_database;
use aos_dev::scratch::Scratch;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::Value;
use tokio::runtime::Runtime;

/// Dropped from top to bottom when the last test that uses it ends.
pub(crate) struct World {
    pub(crate) postgres: Postgres,
    /// Who may read the shop and do nothing else.
    pub(crate) reader: String,
    /// Who owns the shop and has the rights that Neon gives the first role of a project.
    pub(crate) owner: String,
    /// The superuser, in the shop's database.
    pub(crate) superuser: String,
    /// The database that AOS would keep its own state in.
    pub(crate) own: String,
    _dir: Scratch,
    runtime: Runtime,
}

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

struct NoFetch;

impl Fetch for NoFetch {
    fn fetch(&self, _: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        async { Err(FetchError::Refused("not here".to_owned())) }.boxed_local()
    }
}

/// The skill with a gateway of its own.
pub(crate) struct Bench {
    registry: Registry,
    services: Services,
    owner: Owner,
    pub(crate) gateway: NeonGateway,
    pub(crate) timeout: Duration,
}

impl Bench {
    /// The same for steps that have this long.
    pub(crate) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Executes a step; its error must be one that the contract lists.
    pub(crate) async fn run(&self, params: Value) -> Outcome {
        let skill = self.registry.get("postgres_query").unwrap();
        let outcome = skill
            .execute(Call {
                params: &params,
                secrets: &SecretValues::new(),
                owner: &self.owner,
                tenant: "ten_018f0000000070008000000000000001".parse().unwrap(),
                run: "run_018f0000000070008000000000000001".parse().unwrap(),
                step: "stp_018f0000000070008000000000000001".parse().unwrap(),
                attempt: 1,
                idempotency_key: "the-step",
                timeout: self.timeout,
                services: &self.services,
            })
            .await;
        assert!(outcome.effects.is_empty());
        if let Some(error) = &outcome.error {
            let modes = registry::contract(skill.identity().name).unwrap().failure_modes;
            let mode = modes.iter().find(|mode| mode.code == error.code);
            let mode = mode.unwrap_or_else(|| panic!("{} is not in the contract", error.code));
            assert_eq!((mode.category, mode.retryable), (error.category, error.retryable));
        }
        outcome
    }

    /// The output of a step that must succeed.
    pub(crate) async fn output(&self, params: Value) -> Value {
        let outcome = self.run(params.clone()).await;
        outcome
            .output
            .unwrap_or_else(|| panic!("{params}: {:?}", outcome.error))
    }

    /// The code that a step ends with, `ok` if it succeeds; and what was said.
    pub(crate) async fn code(&self, params: Value) -> (String, String) {
        let outcome = self.run(params).await;
        match outcome.error {
            Some(error) => (error.code.into_owned(), error.message),
            None => ("ok".to_owned(), outcome.output.unwrap().to_string()),
        }
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
        let (postgres, reader, superuser, own) = runtime.block_on(async {
            let options = PostgresOptions {
                dir: dir.path().join("postgres"),
                durable: false,
                progress: Progress::silent(),
            };
            let postgres = Postgres::start(options).await.expect("PostgreSQL starts");
            let own = postgres.create_database("aos").await.unwrap();
            // Twice, as every start of a kept local cloud does.
            query_database::create(&postgres).await.unwrap();
            let reader = query_database::create(&postgres).await.unwrap();
            let superuser = postgres.create_database(query_database::DATABASE).await.unwrap();
            let client = connect(&superuser).await;
            client.batch_execute(include_str!("fixture.sql")).await.unwrap();
            (postgres, reader, superuser, own)
        });
        let owner = postgres.url("shop_owner", "a-password", query_database::DATABASE);
        Self {
            postgres,
            reader,
            owner,
            superuser,
            own,
            _dir: dir,
            runtime,
        }
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The skill for a tenant with this connection string.
    pub(crate) async fn bench(&self, url: &str) -> Bench {
        let postgres = PostgresAddr {
            host: "127.0.0.1".to_owned(),
            port: self.postgres.port(),
        };
        let gateway = NeonGateway::start(NeonGatewayOptions::new(postgres)).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let http = reqwest::Client::new();
        let endpoints = Endpoints::new(&http, &clock, |_| None).unwrap();
        let databases = QueryDatabases::new(
            http,
            Arc::clone(&clock),
            Some(gateway.endpoint().parse().unwrap()),
            [self.own.as_str()],
        );
        let services = Services {
            query_databases: Some(databases),
            ..Services::new(clock, Arc::new(NoFetch), endpoints)
        };
        let mut owner = Owner::default();
        owner.values.insert(OwnSetting::QueryDatabaseUrl, url.to_owned().into());
        Bench {
            registry: Registry::default(),
            services,
            owner,
            gateway,
            timeout: Duration::from_secs(10),
        }
    }
}

/// A session that is not the gateway's.
pub(crate) async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
