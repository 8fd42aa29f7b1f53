//! The API's client: requests in a line, answers that say in words what was wrong with them.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The states in which a run stays.
pub const TERMINAL: [&str; 3] = ["succeeded", "failed", "cancelled"];
/// How long a run may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who calls: one tenant, through one Worker.
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
    tenant: String,
    standins: String,
    agent: OnceCell<String>,
}

/// A request that is being made.
pub struct Call {
    line: String,
    request: RequestBuilder,
}

/// An answer.
pub struct Reply {
    line: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
    /// The body, `null` if it is no JSON.
    pub json: Value,
}

/// Every skill there is.
const SKILLS: [&str; 10] = [
    "calendar_write",
    "email_send",
    "http_call",
    "json_transform",
    "kv_store",
    "llm_invoke",
    "postgres_query",
    "slack_send",
    "voyage_embed",
    "webhook_send",
];

impl Client {
    pub(crate) fn new(http: reqwest::Client, base: String, key: String, tenant: String, standins: String) -> Self {
        Self {
            http,
            base,
            key,
            tenant,
            standins,
            agent: OnceCell::new(),
        }
    }

    /// Whom it acts for.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The Worker's base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The operator's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A request with the operator's key for the tenant.
    pub fn call(&self, method: &str, path: &str) -> Call {
        self.plain(method, path).api_key(&self.key).tenant(&self.tenant)
    }

    /// A request without a credential, from an address that nobody else has: strangers are limited by theirs.
    pub fn stranger(&self, method: &str, path: &str) -> Call {
        self.plain(method, path).from(&any_address())
    }

    /// A request that says nothing by itself: neither who it is nor where it comes from.
    pub fn plain(&self, method: &str, path: &str) -> Call {
        let verb = Method::from_bytes(method.as_bytes()).unwrap_or_else(|_| panic!("{method} is a method"));
        let request = self
            .http
            .request(verb, format!("{}{path}", self.base))
            .timeout(Duration::from_secs(60));
        Call {
            line: format!("{method} {path}"),
            request,
        }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path).send().await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path).json(body).send().await
    }

    /// The id of the tenant's agent that may do everything; created once.
    pub async fn agent(&self) -> &str {
        let create = || async {
            let body = json!({
                "name": "worker", "allowed_skills": SKILLS,
                "max_concurrent_runs": 10_000, "max_runs_per_minute": 100_000,
            });
            self.post("/v1/agents", &body).await.expect(201)["id"]
                .as_str()
                .expect("an agent has an id")
                .to_owned()
        };
        self.agent.get_or_init(create).await
    }

    /// The body of a request for a run of these steps.
    pub async fn run_of(&self, steps: Value) -> Value {
        json!({"agent_id": self.agent().await, "plan": {"steps": steps}})
    }

    /// Creates a run of these steps and gives its id.
    pub async fn start(&self, steps: Value) -> String {
        let body = self.run_of(steps).await;
        self.start_from(&body).await
    }

    /// Creates a run by this body and gives its id.
    pub async fn start_from(&self, body: &Value) -> String {
        self.post("/v1/runs", body).await.expect(202)["id"]
            .as_str()
            .expect("a run has an id")
            .to_owned()
    }

    /// Waits until a run has ended, and gives it.
    pub async fn ended(&self, run: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.get(&format!("/v1/runs/{run}?wait=10")).await.expect(200);
            if TERMINAL.iter().any(|status| now["status"] == *status) {
                return now;
            }
            if Instant::now() > deadline {
                panic!(
                    "{run} is still {} after {PATIENCE:?}: {:#?}",
                    now["status"],
                    self.steps(run).await
                );
            }
        }
    }

    /// Waits until a run has ended and asserts how; gives the run.
    pub async fn ended_as(&self, run: &str, status: &str) -> Value {
        let ended = self.ended(run).await;
        if ended["status"] != status {
            panic!(
                "{run} did not end as {status}:\n{ended:#}\n{:#?}",
                self.steps(run).await
            );
        }
        ended
    }

    /// Where every step stands: `key: status attempt code`.
    pub async fn steps(&self, run: &str) -> Vec<String> {
        let steps = self.get(&format!("/v1/runs/{run}/steps")).await.expect(200);
        let line = |step: &Value| {
            let text = |name: &str| step[name].as_str().unwrap_or("?").to_owned();
            let code = step["error"]["code"]
                .as_str()
                .map(|code| format!(" {code}"))
                .unwrap_or_default();
            format!("{}: {} {}{code}", text("key"), text("status"), step["attempt"])
        };
        steps["items"]
            .as_array()
            .expect("steps are a list")
            .iter()
            .map(line)
            .collect()
    }

    /// A step that calls the stand-ins.
    pub fn http(&self, id: &str, method: &str, path: &str, needs: &[&str]) -> Value {
        let url = format!("{}{path}", self.standins);
        json!({"id": id, "skill": "http_call", "needs": needs, "params": {"method": method, "url": url}})
    }
}

impl Call {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Comes from this address, as the platform would say it.
    #[must_use]
    pub fn from(self, address: &str) -> Self {
        self.header("CF-Connecting-IP", address)
    }

    /// Shows a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Shows a session token in the cookie, as a browser does.
    #[must_use]
    pub fn cookie(self, token: &str) -> Self {
        self.header("Cookie", &format!("__session={token}"))
    }

    /// Shows an API key.
    #[must_use]
    pub fn api_key(self, key: &str) -> Self {
        self.header("X-API-Key", key)
    }

    /// Shows a machine's token.
    #[must_use]
    pub fn machine(self, token: &str) -> Self {
        self.header("X-Machine-Token", token)
    }

    /// Names a tenant.
    #[must_use]
    pub fn tenant(self, name: &str) -> Self {
        self.header("X-AOS-Tenant", name)
    }

    /// Adds an `Idempotency-Key`.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Sets any body, labelled as JSON.
    #[must_use]
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        self.header("Content-Type", "application/json").text(body)
    }

    /// Sets any body, not labelled at all.
    #[must_use]
    pub fn text(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    /// Sends it.
    pub async fn send(self) -> Reply {
        let line = self.line.clone();
        self.try_send()
            .await
            .unwrap_or_else(|error| panic!("{line} has no answer: {error:?}"))
    }

    /// Sends it.
    ///
    /// # Errors
    /// There is no answer, as when the Worker was killed.
    pub async fn try_send(self) -> Result<Reply, reqwest::Error> {
        let response = self.request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await?;
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Reply {
            line: self.line,
            status,
            headers,
            body,
            json,
        })
    }
}

impl Reply {
    /// The JSON body of an answer with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        self.json
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Asserts that it is a problem of this status and code, whole and with its headers.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        if let Err(wrong) = self.is_problem(status, code, &[]) {
            panic!("{wrong}: {self}");
        }
    }

    /// Asserts that it is a 422 `invalid_request` with exactly these errors, each as `pointer code`.
    #[track_caller]
    pub fn points_at(&self, errors: &[&str]) {
        if let Err(wrong) = self.is_problem(422, "invalid_request", errors) {
            panic!("{wrong}: {self}");
        }
    }

    /// Whether it is a whole problem of this status and code that lists these errors (`pointer code`, in any order);
    /// what is wrong with it otherwise.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn is_problem(&self, status: u16, code: &str, errors: &[&str]) -> Result<(), String> {
        let problem = &self.json;
        if self.status != status || problem["code"] != code {
            return Err(format!("expected {status} {code}"));
        }
        let found = listed(problem);
        let mut wanted: Vec<String> = errors.iter().map(|error| (*error).to_owned()).collect();
        wanted.sort();
        if !errors.is_empty() && found != wanted {
            return Err(format!("expected the errors {wanted:?}, found {found:?}"));
        }
        let text = |name: &str| problem[name].as_str().is_some_and(|text| !text.is_empty());
        let whole = text("type")
            && text("title")
            && text("detail")
            && problem["status"] == status
            && problem["request_id"].as_str() == self.header("x-request-id")
            && text("request_id");
        if !whole {
            return Err("the problem lacks a field, or names another request".to_owned());
        }
        if self.header("content-type") != Some("application/problem+json") {
            return Err("the content type is not that of a problem".to_owned());
        }
        Ok(())
    }
}

/// An address that was not given before.
pub fn any_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(u32::from_be_bytes([10, 0, 0, 1]));
    Ipv4Addr::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_string()
}

fn listed(problem: &Value) -> Vec<String> {
    let text = |error: &Value, name: &str| error[name].as_str().unwrap_or("?").to_owned();
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut found: Vec<String> = errors
        .iter()
        .map(|error| format!("{} {}", text(error, "pointer"), text(error, "code")))
        .collect();
    found.sort();
    found
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} → {}", self.line, self.status)?;
        if self.json.is_null() {
            f.write_str(&String::from_utf8_lossy(&self.body))
        } else {
            write!(f, "{:#}", self.json)
        }
    }
}
