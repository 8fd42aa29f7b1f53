//! One PostgreSQL for all tests that run at the same time; a gateway, a clock and a tenant for each of them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aos::agents::Agent;
use aos::auth::Principal;
use aos::body::{self, Body};
use aos::database::Database;
use aos::idempotency::{Answer, IdempotencyKey};
use aos::ids::{AgentId, RunId};
use aos::integrations::neon::Neon;
use aos::integrations::upstash::Upstash;
use aos::platform::Clock;
use aos::problem::Problem;
use aos::runs::create::Created;
use aos::skills::Registry;
use aos_dev::migrate::{Roles, migrate};
use aos_dev::neon::{NeonGateway, NeonGatewayOptions, PostgresAddr};
use aos_dev::postgres::{Postgres, PostgresOptions};
use aos_dev::progress::Progress;
use aos_dev::scratch::Scratch;
use futures::future::{FutureExt, LocalBoxFuture};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// Dropped from top to bottom when the last test that uses it ends.
struct World {
    postgres: Postgres,
    owner_url: String,
    api_url: String,
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
        let dir = scratch.path().join("postgres");
        let (postgres, owner_url, api_url) = runtime.block_on(async {
            let options = PostgresOptions {
                dir,
                durable: false,
                progress: Progress::silent(),
            };
            let postgres = Postgres::start(options).await.expect("PostgreSQL starts");
            let owner_url = postgres.create_database("aos").await.unwrap();
            let migrated = migrate(&owner_url, Roles::CreateMissing).await.unwrap();
            (postgres, owner_url, migrated.database_url.unwrap())
        });
        Self {
            postgres,
            owner_url,
            api_url,
            _scratch: scratch,
            runtime,
        }
    }
}

/// A clock that runs as the machine's does, from where a test has set it.
#[derive(Default)]
pub(crate) struct TestClock(Mutex<Duration>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

/// What one test works with.
pub(crate) struct Test {
    pub(crate) database: Database,
    pub(crate) gateway: NeonGateway,
    pub(crate) clock: Arc<TestClock>,
    /// The owner's own connection: sees all tenants, obeys no row-level security.
    pub(crate) owner: Client,
    pub(crate) principal: Principal,
    pub(crate) skills: Registry,
    owner_url: String,
    api_url: String,
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
        let gateway = NeonGateway::start(options).await.unwrap();
        let test = Test {
            database: database(&gateway, &clock, &world.api_url),
            gateway,
            clock,
            owner: connect(&world.owner_url).await,
            principal: principal(name),
            skills: Registry::default(),
            owner_url: world.owner_url.clone(),
            api_url: world.api_url.clone(),
        };
        work(&test).await;
    });
}

/// A Redis that is away: nobody says that a run went on.
pub(crate) fn nobody() -> Upstash {
    let clock = Arc::new(TestClock(Mutex::default()));
    Upstash::new(
        reqwest::Client::new(),
        clock,
        "http://127.0.0.1:9".parse().unwrap(),
        "none".to_owned().into(),
    )
    .unwrap()
}

pub(crate) fn principal(tenant: &str) -> Principal {
    Principal::operator(tenant.parse().unwrap())
}

fn database(gateway: &NeonGateway, clock: &Arc<TestClock>, url: &str) -> Database {
    let endpoint = gateway.endpoint().parse().unwrap();
    let neon = Neon::new(
        reqwest::Client::new(),
        clock.clone(),
        url.to_owned().into(),
        Some(endpoint),
    );
    Database::new(neon.unwrap(), clock.clone())
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn body<T: DeserializeOwned>(json: Value) -> Body<T> {
    body::parse(json.to_string().as_bytes()).unwrap()
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text.as_bytes()).unwrap()
}

/// A plan of one step that needs nothing from outside.
pub(crate) fn small_plan() -> Value {
    json!({"steps": [{"id": "only", "skill": "json_transform", "params": {"input": 1, "expression": "@"}}]})
}

/// Two roots, and a join of both.
pub(crate) fn join_plan() -> Value {
    json!({"steps": [
        {"id": "left", "skill": "json_transform", "params": {"input": 1, "expression": "@"}},
        {"id": "right", "skill": "json_transform", "params": {"input": 2, "expression": "@"}},
        {"id": "join", "skill": "json_transform", "needs": ["left", "right"],
         "params": {"input": ["{{steps.left.output}}", "{{steps.right.output}}"], "expression": "@"}},
    ]})
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
    pub(crate) async fn second_owner(&self) -> Client {
        connect(&self.owner_url).await
    }

    /// The API's operations in the hands of the owner, whom no row-level security binds.
    pub(crate) fn unbound_database(&self) -> Database {
        database(&self.gateway, &self.clock, &self.owner_url)
    }

    /// The API's own user, without the gateway.
    pub(crate) async fn as_api(&self) -> Client {
        connect(&self.api_url).await
    }

    pub(crate) async fn create_agent_with(&self, key: Option<&IdempotencyKey>, json: Value) -> Result<Answer, Problem> {
        aos::agents::create(&self.database, &self.skills, &self.principal, key, body(json)).await
    }

    /// An agent that may use every skill.
    pub(crate) async fn agent(&self, name: &str) -> Agent {
        let json = json!({"name": name, "allowed_skills": ["http_call", "json_transform", "kv_store"]});
        agent_of(&self.create_agent_with(None, json).await.unwrap())
    }

    pub(crate) async fn create_run_with(&self, key: Option<&IdempotencyKey>, json: Value) -> Result<Created, Problem> {
        aos::runs::create::create(&self.database, &self.skills, &self.principal, key, body(json), 60).await
    }

    pub(crate) async fn create_run(&self, agent: AgentId, plan: Value) -> Result<Created, Problem> {
        self.create_run_with(None, json!({"agent_id": agent, "plan": plan}))
            .await
    }

    pub(crate) async fn run(&self, agent: AgentId, plan: Value) -> RunId {
        run_of(&self.create_run(agent, plan).await.unwrap().answer)
    }

    /// Ends every step of a run and then the run, as the engine would.
    pub(crate) async fn succeed(&self, run: RunId, output: &Value) {
        let sql = "update steps set status = 'succeeded', output = $2::text::jsonb, output_bytes = length($2::text), \
                   ended_at = now() where run_id = $1";
        self.owner
            .execute(sql, &[&run.uuid(), &output.to_string()])
            .await
            .unwrap();
        let sql = "update runs set status = 'succeeded', started_at = now(), ended_at = now() where id = $1";
        self.owner.execute(sql, &[&run.uuid()]).await.unwrap();
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.owner.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The labels of the requests that `work` made.
    pub(crate) async fn requests<T>(&self, work: impl Future<Output = T>) -> (T, Vec<String>) {
        self.gateway.counters().reset();
        let result = work.await;
        let requests = self.gateway.counters().snapshot().requests;
        (result, requests.into_iter().map(|request| request.label).collect())
    }
}

pub(crate) fn agent_of(answer: &Answer) -> Agent {
    serde_json::from_value(answer.body.clone()).unwrap()
}

pub(crate) fn run_of(answer: &Answer) -> RunId {
    serde_json::from_value(answer.body["id"].clone()).unwrap()
}
