//! One PostgreSQL and one Redis for all tests that run at the same time; gateways, a clock and a tenant for each.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aos::api_keys::{self, ApiKey};
use aos::audit::{AuditEntry, By};
use aos::auth::{Credential, Principal, Role};
use aos::body::{self, Body};
use aos::database::Database;
use aos::idempotency::{Answer, IdempotencyKey};
use aos::ids::{ApiKeyId, TenantId};
use aos::integrations::neon::Neon;
use aos::integrations::upstash::Upstash;
use aos::platform::{Clock, Fetch, FetchError, FetchRequest, FetchResponse, Job, JobQueue, Platform, PlatformError};
use aos::problem::Problem;
use aos::runs::engine::{Engine, EngineSettings};
use aos::skills::{Endpoints, Registry, Services};
use aos_dev::faults::{Action, Rule};
use aos_dev::migrate::{Roles, migrate};
use aos_dev::neon::{NeonGateway, NeonGatewayOptions, PostgresAddr};
use aos_dev::postgres::{Postgres, PostgresOptions};
use aos_dev::progress::Progress;
use aos_dev::redis::{Redis, RedisOptions};
use aos_dev::scratch::Scratch;
use aos_dev::upstash::{UpstashGateway, UpstashGatewayOptions};
use futures::future::{FutureExt, LocalBoxFuture};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// Dropped from top to bottom when the last test that uses it ends.
struct World {
    postgres: Postgres,
    redis: Redis,
    owner_url: String,
    api_url: String,
    engine_url: String,
    _scratch: Scratch,
    runtime: Runtime,
}

impl World {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = shared.upgrade() {
            return world;
        }
        let world = Arc::new(Self::start());
        *shared = Arc::downgrade(&world);
        world
    }

    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let scratch = Scratch::new().unwrap();
        let (postgres, redis, owner_url, migrated) = runtime.block_on(async {
            let postgres = Postgres::start(PostgresOptions {
                dir: scratch.path().join("postgres"),
                durable: false,
                progress: Progress::silent(),
            })
            .await
            .expect("PostgreSQL starts");
            let redis = Redis::start(RedisOptions {
                dir: scratch.path().join("redis"),
                durable: false,
                progress: Progress::silent(),
            })
            .await
            .expect("Redis starts");
            let owner_url = postgres.create_database("aos").await.unwrap();
            let migrated = migrate(&owner_url, Roles::CreateMissing).await.unwrap();
            (postgres, redis, owner_url, migrated)
        });
        Self {
            postgres,
            redis,
            owner_url,
            api_url: migrated.database_url.unwrap(),
            engine_url: migrated.engine_database_url.unwrap(),
            _scratch: scratch,
            runtime,
        }
    }
}

/// A clock that runs as the machine's does, from where a test has set it; or stands, so that a minute does not end while
/// a test counts in it.
#[derive(Default)]
pub(crate) struct TestClock(Mutex<(Option<Timestamp>, Duration)>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.lock().unwrap().1 += by;
    }

    pub(crate) fn stand_at(&self, time: &str) {
        *self.0.lock().unwrap() = (Some(time.parse().unwrap()), Duration::ZERO);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let (standing, advanced) = *self.0.lock().unwrap();
        standing.unwrap_or_else(Timestamp::now) + advanced
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

/// What one test works with.
pub(crate) struct Test {
    pub(crate) database: Database,
    pub(crate) neon: NeonGateway,
    pub(crate) upstash: Upstash,
    pub(crate) redis: UpstashGateway,
    pub(crate) clock: Arc<TestClock>,
    /// The owner's own connection: sees all tenants, obeys no row-level security.
    pub(crate) owner: Client,
    /// The owner of the test's tenant.
    pub(crate) principal: Principal,
    pub(crate) skills: Arc<Registry>,
    api_url: String,
    engine_url: String,
}

/// Runs a test in a tenant of its own, whose name is the test's.
pub(crate) fn test(name: &str, work: impl AsyncFnOnce(&Test)) {
    let world = World::shared();
    world.runtime.block_on(async {
        let clock = Arc::new(TestClock::default());
        let mut options = NeonGatewayOptions::new(PostgresAddr {
            host: "127.0.0.1".into(),
            port: world.postgres.port(),
        });
        options.max_backends = 12;
        let neon = NeonGateway::start(options).await.unwrap();
        let redis = UpstashGateway::start(UpstashGatewayOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            redis: world.redis.url(),
            token: "throwaway".to_owned(),
        })
        .await
        .unwrap();
        let upstash = Upstash::new(
            reqwest::Client::new(),
            clock.clone(),
            redis.url().parse().unwrap(),
            "throwaway".to_owned().into(),
        );
        let test = Test {
            database: Database::new(connect_neon(&neon, &clock, &world.api_url), clock.clone()),
            neon,
            upstash: upstash.unwrap(),
            redis,
            clock,
            owner: connect(&world.owner_url).await,
            principal: user(name, Role::Owner),
            skills: Arc::new(Registry::default()),
            api_url: world.api_url.clone(),
            engine_url: world.engine_url.clone(),
        };
        work(&test).await;
    });
}

fn connect_neon(gateway: &NeonGateway, clock: &Arc<TestClock>, url: &str) -> Neon {
    let endpoint = gateway.endpoint().parse().unwrap();
    Neon::new(
        reqwest::Client::new(),
        clock.clone(),
        url.to_owned().into(),
        Some(endpoint),
    )
    .unwrap()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A signed-in user of a tenant.
pub(crate) fn user(tenant: &str, role: Role) -> Principal {
    let session = Credential::Session {
        id: "sess_1".into(),
        expires: Timestamp::MAX,
        actor: None,
    };
    Principal::new(tenant.parse().unwrap(), "user_1", vec![role], session)
}

pub(crate) fn operator(tenant: &str) -> Principal {
    Principal::operator(tenant.parse().unwrap())
}

pub(crate) fn by(principal: &Principal) -> By<'_> {
    By {
        principal,
        request_id: "req_1",
    }
}

pub(crate) fn body<T: DeserializeOwned>(json: Value) -> Body<T> {
    body::parse(json.to_string().as_bytes()).unwrap()
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text.as_bytes()).unwrap()
}

/// A Redis that answers every request with this.
pub(crate) fn broken(code: u16, body: &str) -> Rule {
    Rule::new(Action::Status {
        code,
        body: body.to_owned(),
        headers: Default::default(),
    })
}

/// The places that a problem points at, with their codes.
pub(crate) fn places(problem: &Problem) -> Vec<String> {
    problem
        .errors
        .iter()
        .map(|error| format!("{} {}", error.pointer, error.code))
        .collect()
}

impl Test {
    /// The API's own user, without the gateway.
    pub(crate) async fn as_api(&self) -> Client {
        connect(&self.api_url).await
    }

    /// The engine's own user, without the gateway.
    pub(crate) async fn as_engine(&self) -> Client {
        connect(&self.engine_url).await
    }

    /// A second isolate: it knows nothing yet.
    pub(crate) fn second_isolate(&self) -> Database {
        Database::new(connect_neon(&self.neon, &self.clock, &self.api_url), self.clock.clone())
    }

    pub(crate) async fn create_key(&self, json: Value) -> Result<Answer, Problem> {
        api_keys::create(&self.database, by(&self.principal), None, body(json)).await
    }

    /// A key that may read runs, and its secret.
    pub(crate) async fn key(&self, name: &str) -> (ApiKeyId, String) {
        let answer = self
            .create_key(json!({"name": name, "scopes": ["runs:read"]}))
            .await
            .unwrap();
        (key_of(&answer).id, secret_of(&answer))
    }

    /// Looks a key up as a request would that shows it.
    pub(crate) async fn find(&self, secret: &str) -> Option<api_keys::FoundKey> {
        let hash = api_keys::hash_of(secret.as_bytes()).unwrap();
        api_keys::find(&self.database, &hash).await.unwrap()
    }

    pub(crate) async fn audit(&self, query: &str) -> Vec<AuditEntry> {
        aos::audit::list(&self.database, &self.principal, Some(query))
            .await
            .unwrap()
            .items
    }

    /// Creates the tenant, by asking for something of its.
    pub(crate) async fn tenant(&self) -> TenantId {
        api_keys::list(&self.database, &self.principal, None).await.unwrap();
        self.database.limits_of(&self.principal.tenant).unwrap().id
    }

    /// The tenant's run of one step.
    pub(crate) async fn run(&self) -> aos::ids::RunId {
        let agent = json!({"name": self.clock.now().as_nanosecond().to_string(), "allowed_skills": ["json_transform"]});
        let agent = aos::agents::create(&self.database, &self.skills, &self.principal, None, body(agent))
            .await
            .unwrap();
        let plan = json!({"steps": [
            {"id": "a", "skill": "json_transform", "params": {"input": 1, "expression": "@"}},
            {"id": "b", "skill": "json_transform", "needs": ["a"], "params": {"input": 1, "expression": "@"}},
        ]});
        let run = body(json!({"agent_id": agent.body["id"], "plan": plan}));
        let created = aos::runs::create::create(&self.database, &self.skills, &self.principal, None, run, 60)
            .await
            .unwrap();
        serde_json::from_value(created.answer.body["id"].clone()).unwrap()
    }

    /// The engine, for its ticks.
    pub(crate) fn engine(&self) -> Engine {
        let fetch: Arc<dyn Fetch> = Arc::new(Nothing);
        let clock: Arc<dyn Clock> = self.clock.clone();
        let endpoints = Endpoints::new(&reqwest::Client::new(), &clock, |_| None).unwrap();
        Engine {
            database: connect_neon(&self.neon, &self.clock, &self.engine_url),
            skills: self.skills.clone(),
            services: Services::new(clock.clone(), fetch.clone(), endpoints),
            platform: Platform {
                clock,
                jobs: Arc::new(Nothing),
                fetch,
            },
            upstash: None,
            settings: EngineSettings { ring: false },
        }
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.owner.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The labels of the requests that `work` made to the database.
    pub(crate) async fn requests<T>(&self, work: impl Future<Output = T>) -> (T, Vec<String>) {
        self.neon.counters().reset();
        let result = work.await;
        let requests = self.neon.counters().snapshot().requests;
        (result, requests.into_iter().map(|request| request.label).collect())
    }
}

pub(crate) fn key_of(answer: &Answer) -> ApiKey {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap().remove("key");
    serde_json::from_value(body).unwrap()
}

pub(crate) fn secret_of(answer: &Answer) -> String {
    answer.body["key"].as_str().unwrap().to_owned()
}

/// A queue and a fetch that a tick does not use.
struct Nothing;

impl JobQueue for Nothing {
    fn ring(&self, _: Vec<Job>) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        futures::future::ready(Ok(())).boxed_local()
    }
}

impl Fetch for Nothing {
    fn fetch(&self, _: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        futures::future::ready(Err(FetchError::Refused("nothing is fetched here".into()))).boxed_local()
    }
}
