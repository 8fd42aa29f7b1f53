//! One PostgreSQL and one gateway for all tests that run at the same time, and the ways to ask them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use aos_dev::neon::{NeonGateway, NeonGatewayOptions, PostgresAddr};
use aos_dev::postgres::{Postgres, PostgresOptions};
use aos_dev::progress::Progress;
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Dropped from top to bottom when the last test that uses it ends.
pub(crate) struct World {
    pub(crate) gateway: NeonGateway,
    /// The superuser's connection string, for the database that the tests share.
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    pub(crate) postgres: Postgres,
    _dir: TempDir,
    runtime: Runtime,
}

/// An answer of the gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The rows of a single query that must have succeeded.
    pub(crate) fn rows(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", self.body);
        &self.body["rows"]
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().expect("an error has a code")
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
        let dir = tempfile::tempdir().unwrap();
        let (postgres, gateway, url) = runtime.block_on(async {
            let options = PostgresOptions {
                dir: dir.path().join("postgres"),
                durable: false,
                progress: Progress::silent(),
            };
            let postgres = Postgres::start(options).await.expect("PostgreSQL starts");
            let url = postgres.create_database("neon").await.unwrap();
            let gateway = NeonGateway::start(options_for(postgres.port())).await.unwrap();
            (postgres, gateway, url)
        });
        Self {
            gateway,
            url,
            client: reqwest::Client::new(),
            postgres,
            _dir: dir,
            runtime,
        }
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A gateway of one's own, for what would disturb others.
    pub(crate) async fn own_gateway(&self, change: impl FnOnce(&mut NeonGatewayOptions)) -> NeonGateway {
        let mut options = options_for(self.postgres.port());
        change(&mut options);
        NeonGateway::start(options).await.unwrap()
    }

    pub(crate) fn request(&self) -> RequestBuilder {
        self.request_to(&self.gateway)
    }

    pub(crate) fn request_to(&self, gateway: &NeonGateway) -> RequestBuilder {
        self.client
            .post(gateway.endpoint())
            .header("neon-connection-string", &self.url)
    }

    /// One query with parameters.
    pub(crate) async fn query(&self, query: &str, params: Value) -> Answer {
        send(self.request().json(&json!({ "query": query, "params": params }))).await
    }

    /// A batch of queries without parameters.
    pub(crate) async fn batch(&self, queries: &[&str]) -> Answer {
        send(self.request().json(&batch_of(queries))).await
    }
}

pub(crate) fn batch_of(queries: &[&str]) -> Value {
    let queries: Vec<_> = queries.iter().map(|query| json!({ "query": query })).collect();
    json!({ "queries": queries })
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the gateway answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("the body is whole");
    let body = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:.300}"));
    Answer { status, headers, body }
}

fn options_for(port: u16) -> NeonGatewayOptions {
    NeonGatewayOptions::new(PostgresAddr {
        host: "127.0.0.1".to_owned(),
        port,
    })
}
