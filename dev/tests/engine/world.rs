//! The parts an engine runs on, as it meets them on Workers, made of tokio and the local gateways.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aos::{
    archive::Archive,
    audit::By,
    auth::Principal,
    body::{self, Body},
    database::Database,
    ids::RunId,
    integrations::{neon::Neon, upstash::Upstash},
    platform::{
        Clock, Deleted, Fetch, FetchError, FetchRequest, FetchResponse, Job, JobQueue, ObjectStore, Platform,
        PlatformError,
    },
    runs::{
        create,
        engine::{DrainReport, Engine, EngineSettings, InvocationBudget},
    },
    sealing::Sealer,
    secrets,
    skills::{Endpoints, Registry, Services, address_guard::AddressRules},
};
use aos_dev::{
    migrate::{Roles, migrate},
    neon::{NeonGateway, NeonGatewayOptions, PostgresAddr},
    postgres::{Postgres, PostgresOptions},
    progress::Progress,
    redis::{Redis, RedisOptions},
    scratch::Scratch,
    standins::{Standins, StandinsOptions},
    upstash::{UpstashGateway, UpstashGatewayOptions},
};
use bytes::Bytes;
use futures::{FutureExt, future::LocalBoxFuture};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_postgres::NoTls;

/// Real time.
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

/// A queue that keeps what was rung.
#[derive(Default)]
pub(crate) struct Doorbells(Mutex<Vec<Job>>);

impl Doorbells {
    pub(crate) fn take(&self) -> Vec<Job> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl JobQueue for Doorbells {
    fn ring(&self, jobs: Vec<Job>) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        self.0.lock().unwrap().extend(jobs);
        futures::future::ready(Ok(())).boxed_local()
    }
}

/// The platform's fetch, by reqwest.
struct RealFetch(reqwest::Client);

impl Fetch for RealFetch {
    fn fetch(&self, request: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        async move {
            let connection = |error: reqwest::Error| {
                if error.is_timeout() {
                    FetchError::Timeout(request.timeout)
                } else {
                    FetchError::Connection(error.to_string())
                }
            };
            let response = self
                .0
                .request(request.method.clone(), request.url.clone())
                .headers(request.headers.clone())
                .body(request.body.clone().unwrap_or_default())
                .timeout(request.timeout)
                .send()
                .await
                .map_err(connection)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = response.bytes().await.map_err(connection)?;
            let truncated = body.len() > request.max_bytes;
            body.truncate(request.max_bytes);
            Ok(FetchResponse {
                status,
                headers,
                body,
                truncated,
            })
        }
        .boxed_local()
    }
}

/// A bucket in memory that can be told to be away.
#[derive(Default)]
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, Bytes>>,
    away: AtomicBool,
}

impl Bucket {
    pub(crate) fn is_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    /// Puts something else in place of every object.
    pub(crate) fn spoil(&self) {
        for object in self.objects.lock().unwrap().values_mut() {
            *object = Bytes::from_static(b"{}");
        }
    }

    pub(crate) fn clear(&self) {
        self.objects.lock().unwrap().clear();
    }

    fn check(&self) -> Result<(), PlatformError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(PlatformError("away".to_owned()));
        }
        Ok(())
    }
}

impl ObjectStore for Bucket {
    fn put(&self, key: &str, _: &str, bytes: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        let put = self
            .check()
            .map(|()| drop(self.objects.lock().unwrap().insert(key.to_owned(), bytes)));
        futures::future::ready(put).boxed_local()
    }

    fn get(&self, key: &str, max_bytes: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>> {
        let got = self.check().map(|()| self.objects.lock().unwrap().get(key).cloned());
        assert!(!matches!(&got, Ok(Some(bytes)) if bytes.len() > max_bytes));
        futures::future::ready(got).boxed_local()
    }

    fn delete_some(&self, prefix: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>> {
        let deleted = self.check().map(|()| {
            let mut objects = self.objects.lock().unwrap();
            let before = objects.len();
            objects.retain(|key, _| !key.starts_with(prefix));
            Deleted {
                objects: (before - objects.len()) as u64,
                more: false,
            }
        });
        futures::future::ready(deleted).boxed_local()
    }
}

/// One throwaway cloud without a Worker.
pub(crate) struct World {
    pub(crate) neon: NeonGateway,
    pub(crate) upstash: UpstashGateway,
    pub(crate) standins: Standins,
    pub(crate) doorbells: Arc<Doorbells>,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) admin: tokio_postgres::Client,
    /// The owner's connection string, to connect again after the database was away.
    pub(crate) direct: String,
    pub(crate) engine: Engine,
    api: Database,
    agents: Mutex<Vec<(String, String)>>,
    postgres: Postgres,
    _redis: Redis,
    _scratch: Scratch,
}

impl World {
    pub(crate) async fn start() -> Self {
        let scratch = Scratch::new().unwrap();
        let postgres = Postgres::start(PostgresOptions {
            dir: scratch.path().join("postgres"),
            durable: false,
            progress: Progress::silent(),
        })
        .await
        .unwrap();
        let redis = Redis::start(RedisOptions {
            dir: scratch.path().join("redis"),
            durable: false,
            progress: Progress::silent(),
        })
        .await
        .unwrap();
        let direct = postgres.create_database("aos").await.unwrap();
        let migrated = migrate(&direct, Roles::CreateMissing).await.unwrap();
        let address = PostgresAddr {
            host: "127.0.0.1".to_owned(),
            port: postgres.port(),
        };
        let neon = NeonGateway::start(NeonGatewayOptions::new(address)).await.unwrap();
        let any_port = "127.0.0.1:0".parse().unwrap();
        let upstash = UpstashGateway::start(UpstashGatewayOptions {
            listen: any_port,
            redis: redis.url(),
            token: "throwaway".to_owned(),
        })
        .await
        .unwrap();
        let standins = Standins::start(StandinsOptions { listen: any_port }).await.unwrap();

        let http = reqwest::Client::new();
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let connect = |url: String| {
            let endpoint = Some(neon.endpoint().parse().unwrap());
            Neon::new(http.clone(), clock.clone(), SecretString::from(url), endpoint).unwrap()
        };
        let redis_client = Upstash::new(
            http.clone(),
            clock.clone(),
            upstash.url().parse().unwrap(),
            "throwaway".to_owned().into(),
        )
        .unwrap();
        let rules = Arc::new(AddressRules {
            production: false,
            allowed_loopback_ports: BTreeSet::from([standins.url().rsplit(':').next().unwrap().parse().unwrap()]),
            own_hosts: Vec::new(),
        });
        let doorbells = Arc::new(Doorbells::default());
        let fetch: Arc<dyn Fetch> = Arc::new(RealFetch(
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
        ));
        let bucket = Arc::new(Bucket::default());
        let endpoints = Endpoints::new(&reqwest::Client::new(), &clock, |_| None).unwrap();
        let engine = Engine {
            database: connect(migrated.engine_database_url.unwrap()),
            skills: Arc::new(Registry::new(rules.clone())),
            services: Services {
                archive: Some(Archive::new(bucket.clone(), Arc::clone(&clock))),
                sealer: Some(Sealer::new(&"a key for tests".to_owned().into(), None)),
                address_rules: rules,
                upstash: Some(redis_client.clone()),
                ..Services::new(clock.clone(), fetch.clone(), endpoints)
            },
            platform: Platform {
                clock: clock.clone(),
                jobs: doorbells.clone(),
                fetch,
            },
            upstash: Some(redis_client),
            settings: EngineSettings { ring: true },
        };
        let (admin, connection) = tokio_postgres::connect(&direct, NoTls).await.unwrap();
        tokio::spawn(connection);
        Self {
            api: Database::new(connect(migrated.database_url.unwrap()), clock),
            neon,
            upstash,
            standins,
            doorbells,
            bucket,
            admin,
            direct,
            engine,
            agents: Mutex::default(),
            postgres,
            _redis: redis,
            _scratch: scratch,
        }
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    fn principal(tenant: &str) -> Principal {
        Principal::operator(tenant.parse().unwrap())
    }

    async fn agent(&self, tenant: &str) -> String {
        if let Some((_, agent)) = self.agents.lock().unwrap().iter().find(|(of, _)| of == tenant) {
            return agent.clone();
        }
        let body = json!({"name": "worker", "allowed_skills": ["http_call", "json_transform", "kv_store", "voyage_embed"],
            "max_concurrent_runs": 10_000, "max_runs_per_minute": 100_000});
        let body: Body<aos::agents::NewAgent> = body::parse(body.to_string().as_bytes()).unwrap();
        let answer = aos::agents::create(&self.api, &self.engine.skills, &Self::principal(tenant), None, body)
            .await
            .unwrap();
        let agent = answer.body["id"].as_str().unwrap().to_owned();
        self.agents.lock().unwrap().push((tenant.to_owned(), agent.clone()));
        agent
    }

    /// Creates a run of `tenant` from steps in the wire form.
    pub(crate) async fn create_for(&self, tenant: &str, steps: Value) -> RunId {
        self.create_with_input(tenant, steps, json!({})).await
    }

    /// The same, with an input.
    pub(crate) async fn create_with_input(&self, tenant: &str, steps: Value, input: Value) -> RunId {
        let agent = self.agent(tenant).await;
        let body = json!({"agent_id": agent, "plan": {"steps": steps}, "input": input});
        let body = body::parse(body.to_string().as_bytes()).unwrap();
        let created = create::create(&self.api, &self.engine.skills, &Self::principal(tenant), None, body, 60)
            .await
            .unwrap_or_else(|problem| panic!("{problem:?}"));
        created.answer.body["id"].as_str().unwrap().parse().unwrap()
    }

    /// The run as the API answers it.
    pub(crate) async fn read(&self, run: RunId) -> Value {
        let run = aos::runs::read::get(&self.api, &Self::principal("acme"), run)
            .await
            .unwrap();
        serde_json::to_value(run.with_outputs(self.engine.services.archive.as_ref()).await).unwrap()
    }

    /// Keeps a secret of the tenant `acme`.
    pub(crate) async fn keep_secret(&self, name: &str, value: &str) {
        let principal = Self::principal("acme");
        let by = By {
            principal: &principal,
            request_id: "req_test",
        };
        let body = body::parse(json!({"value": value}).to_string().as_bytes()).unwrap();
        secrets::put(&self.api, self.engine.services.sealer.as_ref(), by, name, body)
            .await
            .unwrap();
    }

    pub(crate) async fn create(&self, steps: Value) -> RunId {
        self.create_for("acme", steps).await
    }

    pub(crate) async fn cancel(&self, run: RunId) {
        aos::runs::cancel::cancel(&self.api, &Self::principal("acme"), run)
            .await
            .unwrap();
    }

    pub(crate) fn budget(&self) -> InvocationBudget {
        InvocationBudget::workers_paid(&RealClock)
    }

    pub(crate) async fn drain(&self) -> DrainReport {
        self.engine.drain(1, self.budget()).await.unwrap()
    }

    /// Drains as the queue would: again for every doorbell, after its delay.
    pub(crate) async fn drain_until_ended(&self, run: RunId) {
        for _ in 0..200 {
            self.drain().await;
            if matches!(self.status(run).await.as_str(), "succeeded" | "failed" | "cancelled") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{run} does not end: {:?}", self.steps(run).await);
    }

    /// Executes SQL as the database's owner.
    pub(crate) async fn sql(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn one(&self, sql: &str) -> Option<String> {
        let rows = self.admin.query(&format!("select ({sql})::text"), &[]).await.unwrap();
        rows[0].get(0)
    }

    pub(crate) async fn status(&self, run: RunId) -> String {
        self.one(&format!("select status from runs where id = '{}'", run.uuid()))
            .await
            .unwrap()
    }

    /// Every step as `key: status attempt code`.
    pub(crate) async fn steps(&self, run: RunId) -> Vec<String> {
        let sql = format!(
            "select key || ': ' || status || ' ' || attempt || coalesce(' ' || (error ->> 'code'), '')
             from steps where run_id = '{}' order by idx",
            run.uuid()
        );
        self.admin
            .query(&sql, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    }

    pub(crate) async fn output(&self, run: RunId, key: &str) -> Value {
        let sql = format!(
            "select output from steps where run_id = '{}' and key = '{key}'",
            run.uuid()
        );
        self.one(&sql)
            .await
            .map_or(Value::Null, |json| serde_json::from_str(&json).unwrap())
    }

    /// Requests of the engine's turns since the last reset.
    pub(crate) fn turns(&self) -> usize {
        self.neon.counters().snapshot().labelled("turn.pick")
    }

    /// A step that calls the stand-ins.
    pub(crate) fn http(&self, id: &str, method: &str, path: &str, needs: &[&str]) -> Value {
        json!({"id": id, "skill": "http_call", "needs": needs,
            "params": {"method": method, "url": format!("{}{path}", self.standins.url())}})
    }

    /// How often an effect arrived at the stand-in.
    pub(crate) fn effects(&self, counter: &str) -> u64 {
        self.standins.effects().tally(counter).count
    }
}

/// A step that computes.
pub(crate) fn pure(id: &str, expression: &str, needs: &[&str]) -> Value {
    json!({"id": id, "skill": "json_transform", "needs": needs, "params": {"input": {"n": 1}, "expression": expression}})
}
