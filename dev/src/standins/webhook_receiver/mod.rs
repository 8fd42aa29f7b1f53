//! Receivers of webhooks as good ones are: `POST /webhooks/{name}` verifies the signature (Standard Webhooks), takes
//! each message once, and counts what it took, what came again and what it refused.
//! Must never count a message that was answered by a script: such a receiver has failed, and knows nothing of it.

mod signature;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::received::{Key, Received};
use super::reception::{Reception, Vendor};
use super::script::Step;
use signature::verify;

pub use signature::SigningSecret;

/// Receivers there can be; one more is refused with 507.
const RECEIVERS: usize = 1_000;
/// Ids that each receiver remembers, the latest.
const IDS: usize = 10_000;
/// Messages that are kept of each receiver, the latest; the count still has the older ones.
const MESSAGES: usize = 500;
/// What is kept of each message's body, in bytes.
const BODY_BYTES: usize = 64 * 1024;

/// A message that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `webhook-id`
    pub id: String,
    pub content_type: Option<String>,
    /// The beginning of the body; bytes that are no UTF-8 are U+FFFD.
    pub body: String,
    /// In milliseconds of the Unix epoch.
    pub at_ms: u64,
}

/// What a receiver has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Messages with a good signature, each id once.
    pub delivered: u64,
    /// Messages with a good signature whose id had come before.
    pub duplicates: u64,
    /// Messages that were refused.
    pub invalid: u64,
    /// How often they were refused for what.
    pub reasons: BTreeMap<String, u64>,
    /// The latest that were delivered, oldest first.
    pub messages: VecDeque<Message>,
}

#[derive(Debug)]
struct Receiver {
    /// Any of them will do, as while a sender's secret is being rotated.
    secrets: Vec<SigningSecret>,
    tally: Tally,
    ids: HashSet<String>,
    /// The same ids, oldest first.
    ids_in_order: VecDeque<String>,
}

impl Receiver {
    fn new() -> Result<Self> {
        Ok(Self {
            secrets: vec![SigningSecret::generate()?],
            tally: Tally::default(),
            ids: HashSet::new(),
            ids_in_order: VecDeque::new(),
        })
    }

    fn receive(&mut self, headers: &HeaderMap, body: &[u8]) -> Response {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now_ms.as_millis()).unwrap_or(u64::MAX);
        let now = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
        let id = match verify(&self.secrets, headers, body, now) {
            Ok(id) => id,
            Err(reason) => {
                let reason = reason.to_string();
                self.tally.invalid += 1;
                *self.tally.reasons.entry(reason.clone()).or_default() += 1;
                return (StatusCode::UNAUTHORIZED, Json(json!({ "error": reason }))).into_response();
            }
        };
        if !self.ids.insert(id.clone()) {
            self.tally.duplicates += 1;
            return Json(json!({ "id": id, "duplicate": true })).into_response();
        }
        self.ids_in_order.push_back(id.clone());
        if self.ids_in_order.len() > IDS
            && let Some(oldest) = self.ids_in_order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.tally.delivered += 1;
        if self.tally.messages.len() == MESSAGES {
            self.tally.messages.pop_front();
        }
        let content_type = headers.get(header::CONTENT_TYPE);
        self.tally.messages.push_back(Message {
            id: id.clone(),
            content_type: content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            body: String::from_utf8_lossy(body.get(..BODY_BYTES).unwrap_or(body)).into_owned(),
            at_ms: now_ms,
        });
        Json(json!({ "id": id, "duplicate": false })).into_response()
    }
}

/// What a script may let the receivers answer by name. None of it is a vendor's.
struct Anybody;

const ERRORS: &[&str] = &[
    "bad_request",
    "gone",
    "rate_limited",
    "redirect",
    "server_error",
    "unavailable",
];

impl Vendor for Anybody {
    fn errors(&self) -> &'static [&'static str] {
        ERRORS
    }

    fn error(&self, name: &str) -> Response {
        let status = match name {
            "bad_request" => StatusCode::BAD_REQUEST,
            "gone" => StatusCode::GONE,
            "rate_limited" => StatusCode::TOO_MANY_REQUESTS,
            // To a place that counts what it gets: a sender must not follow.
            "redirect" => {
                return (
                    StatusCode::TEMPORARY_REDIRECT,
                    [(header::LOCATION, "/effects/redirected")],
                )
                    .into_response();
            }
            "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "error": name }))).into_response()
    }

    /// Signatures are no keys.
    fn key(&self, _: &Parts) -> Key {
        Key::Missing
    }
}

/// All receivers; there is one of every name. A clone is a handle on the same ones.
#[derive(Debug, Clone)]
pub struct WebhookReceivers {
    /// `http://127.0.0.1:…/webhooks`
    url: String,
    receivers: Arc<Mutex<BTreeMap<String, Receiver>>>,
    reception: Reception,
}

impl WebhookReceivers {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: format!("{url}/webhooks"),
            receivers: Arc::default(),
            reception: Reception::new(Arc::new(Anybody)),
        }
    }

    /// Where a receiver takes its messages.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    /// The secret that a receiver trusts, made when it was first spoken of.
    ///
    /// # Errors
    /// There are too many receivers, or the system gives no randomness.
    pub fn secret(&self, name: &str) -> Result<String> {
        self.with(name, |receiver| {
            let first = receiver.secrets.first();
            first.map(|secret| secret.reveal().to_owned()).unwrap_or_default()
        })
    }

    /// Sets what a receiver trusts from now on: any of these.
    ///
    /// # Errors
    /// There is none, one is none of Standard Webhooks, or there are too many receivers.
    pub fn trust(&self, name: &str, secrets: &[&str]) -> Result<()> {
        ensure!(!secrets.is_empty(), "a receiver trusts a secret");
        let secrets = secrets
            .iter()
            .map(|secret| SigningSecret::read(secret))
            .collect::<Result<_>>()?;
        self.with(name, |receiver| receiver.secrets = secrets)
    }

    /// What a receiver has seen; nothing yet is a count of 0.
    pub fn tally(&self, name: &str) -> Tally {
        self.lock()
            .get(name)
            .map(|receiver| receiver.tally.clone())
            .unwrap_or_default()
    }

    /// Forgets all receivers with their secrets.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Adds to what is answered next. A step is for all receivers unless it matches one's path.
    ///
    /// # Errors
    /// There is no error of that name.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) -> Result<()> {
        self.reception.script(steps)
    }

    /// Every request to any receiver, the scripted ones included.
    pub fn received(&self) -> Received {
        self.reception.received()
    }

    pub(super) fn routes(&self) -> Router {
        let messages = Router::new().route("/{name}", post(receive)).with_state(self.clone());
        let control = Router::new()
            .route("/{name}/_tally", get(read_tally))
            .route("/{name}/_secret", get(read_secret).post(set_secret))
            .with_state(self.clone());
        Router::new().nest("/webhooks", self.reception.before(messages).merge(control))
    }

    /// Does something with a receiver, which exists from now on.
    fn with<T>(&self, name: &str, work: impl FnOnce(&mut Receiver) -> T) -> Result<T> {
        let mut receivers = self.lock();
        if !receivers.contains_key(name) {
            ensure!(receivers.len() < RECEIVERS, "too many receivers");
            receivers.insert(name.to_owned(), Receiver::new()?);
        }
        Ok(work(receivers.get_mut(name).context("the receiver is gone")?))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Receiver>> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(status: StatusCode, error: &anyhow::Error) -> Response {
    (status, Json(json!({ "error": format!("{error:#}") }))).into_response()
}

async fn receive(
    State(all): State<WebhookReceivers>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    all.with(&name, |receiver| receiver.receive(&headers, &body))
        .unwrap_or_else(|error| refused(StatusCode::INSUFFICIENT_STORAGE, &error))
}

async fn read_tally(State(all): State<WebhookReceivers>, Path(name): Path<String>) -> Json<Tally> {
    Json(all.tally(&name))
}

async fn read_secret(State(all): State<WebhookReceivers>, Path(name): Path<String>) -> Response {
    match all.secret(&name) {
        Ok(secret) => Json(json!({ "secret": secret })).into_response(),
        Err(error) => refused(StatusCode::INSUFFICIENT_STORAGE, &error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretOrder {
    secret: Option<String>,
    #[serde(default)]
    secrets: Vec<String>,
}

async fn set_secret(
    State(all): State<WebhookReceivers>,
    Path(name): Path<String>,
    Json(order): Json<SecretOrder>,
) -> Response {
    let secrets: Vec<&str> = order.secret.iter().chain(&order.secrets).map(String::as_str).collect();
    match all.trust(&name, &secrets) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(StatusCode::BAD_REQUEST, &error),
    }
}
