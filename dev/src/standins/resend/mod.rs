//! A stand-in of Resend: `POST /resend/emails` and `/resend/emails/batch`, `GET /resend/emails/{id}`, with the vendor's
//! checks, errors and idempotency keys; and `GET /resend/_sent`, so that a test can tell once from twice.
//! Must never count a mail that it refused, nor leave out one that it took.

mod fault;
mod mail;
mod outbox;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::received::{Key, Received};
use super::reception::{Reception, Vendor};
use super::script::Step;
use crate::secrets;
use fault::Fault;
use outbox::{Claim, Outbox};

pub use mail::{Attachment, Mail, Tag};
pub use outbox::{Sent, SentMails};

/// The most mails of one batch.
const BATCH: usize = 100;
/// How long an idempotency key may be, in characters.
const KEY_CHARS: std::ops::RangeInclusive<usize> = 1..=256;

struct Team {
    key: String,
    /// A key that may only send.
    sending_key: String,
    outbox: Mutex<Outbox>,
    /// How long sending takes.
    delay: Mutex<Duration>,
}

/// What a key may do.
#[derive(PartialEq, Eq)]
enum Access {
    Full,
    Sending,
}

impl Team {
    fn access(&self, headers: &HeaderMap) -> Result<Access, Fault> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Err(Fault::documented("missing_api_key"));
        };
        match value.as_bytes().strip_prefix(b"Bearer ") {
            Some(key) if key == self.key.as_bytes() => Ok(Access::Full),
            Some(key) if key == self.sending_key.as_bytes() => Ok(Access::Sending),
            Some(b"") => Err(Fault::documented("missing_api_key")),
            _ => Err(Fault::documented("invalid_api_key")),
        }
    }
}

impl Vendor for Team {
    fn errors(&self) -> &'static [&'static str] {
        &fault::NAMES
    }

    fn error(&self, name: &str) -> Response {
        Fault::documented(name).into_response()
    }

    fn key(&self, request: &Parts) -> Key {
        match self.access(&request.headers) {
            Ok(_) => Key::Right,
            Err(fault) if fault.name == "missing_api_key" => Key::Missing,
            Err(_) => Key::Wrong,
        }
    }
}

/// The team. A clone is a handle on the same one.
#[derive(Clone)]
pub struct Resend {
    base_url: String,
    team: Arc<Team>,
    reception: Reception,
}

impl fmt::Debug for Resend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resend")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Resend {
    /// A team that the server at `url` serves.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn new(url: &str) -> Result<Self> {
        let team = Arc::new(Team {
            key: format!("re_{}", secrets::generate()?),
            sending_key: format!("re_{}", secrets::generate()?),
            outbox: Mutex::default(),
            delay: Mutex::default(),
        });
        Ok(Self {
            base_url: format!("{url}/resend"),
            team: Arc::clone(&team),
            reception: Reception::new(team),
        })
    }

    /// What stands for `https://api.resend.com`; the vendor's client takes it as `baseUrl`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What opens it (`RESEND_API_KEY`).
    pub fn key(&self) -> &str {
        &self.team.key
    }

    /// A key that may send mails and nothing else.
    pub fn sending_key(&self) -> &str {
        &self.team.sending_key
    }

    /// What was sent.
    pub fn sent(&self) -> SentMails {
        self.outbox().sent().clone()
    }

    /// How many mails an address got.
    pub fn sent_to(&self, address: &str) -> u64 {
        let address = address.to_lowercase();
        self.outbox().sent().by_recipient.get(&address).copied().unwrap_or(0)
    }

    /// How many mails were sent under an idempotency key.
    pub fn sent_with_key(&self, key: &str) -> u64 {
        self.outbox().sent().by_key.get(key).copied().unwrap_or(0)
    }

    /// Forgets what was sent. The idempotency keys are remembered.
    pub fn forget_sent(&self) {
        self.outbox().forget();
    }

    /// As if a day had passed: the vendor remembers keys for so long.
    pub fn expire_idempotency_keys(&self) {
        self.outbox().expire_keys();
    }

    /// How long sending takes from now on. Meanwhile its idempotency key is in flight.
    pub fn take_time(&self, delay: Duration) {
        *lock(&self.team.delay) = delay;
    }

    /// Adds to what is answered next.
    ///
    /// # Errors
    /// Resend has no error of that name.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) -> Result<()> {
        self.reception.script(steps)
    }

    pub fn clear_script(&self) {
        self.reception.clear_script();
    }

    /// Every request, the scripted ones included.
    pub fn received(&self) -> Received {
        self.reception.received()
    }

    pub fn forget_received(&self) {
        self.reception.forget_received();
    }

    pub(super) fn routes(&self) -> Router {
        let refused = || async { Fault::documented("method_not_allowed") };
        let api = Router::new()
            .route("/emails", post(send_one).fallback(refused))
            .route("/emails/batch", post(send_batch).fallback(refused))
            .route("/emails/{id}", get(read_mail).fallback(refused))
            // A route, since a fallback is not reached in a router that is nested twice.
            .route("/{*path}", any(|| async { Fault::documented("not_found") }))
            .with_state(self.clone());
        let control = Router::new()
            .route("/_sent", get(read_sent).delete(forget_sent))
            .route("/_time", post(take_time))
            .with_state(self.clone());
        Router::new().nest("/resend", self.reception.before(api).merge(control))
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.team.outbox)
    }

    /// Reads, sends and answers, at most once under each idempotency key.
    async fn send(&self, path: &str, headers: &HeaderMap, body: &Bytes) -> Result<Value, Fault> {
        self.team.access(headers)?;
        let key = headers
            .get("idempotency-key")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        if key
            .as_ref()
            .is_some_and(|key| !KEY_CHARS.contains(&key.chars().count()))
        {
            return Err(Fault::documented("invalid_idempotency_key"));
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Err(Fault::new(400, "validation_error", "The request body is no JSON."));
        };
        let order = match path {
            "/emails" => Order::One(Box::new(Mail::read(&body)?)),
            _ => Order::batch(&body, headers)?,
        };
        if let Some(key) = &key
            && let Claim::Repeat(answer) = self.outbox().claim(key, path, &body)?
        {
            return Ok(answer);
        }
        let delay = *lock(&self.team.delay);
        tokio::time::sleep(delay).await;
        let mut outbox = self.outbox();
        let answer = order.carry_out(&mut outbox, key.as_deref());
        if let Some(key) = &key {
            outbox.settle(key, Some(&answer));
        }
        Ok(answer)
    }
}

/// What a request asks for, all of it sound.
enum Order {
    One(Box<Mail>),
    Batch {
        mails: Vec<Mail>,
        /// By their places in the batch, if those that are wrong are to be left out.
        wrong: Option<Vec<(usize, Fault)>>,
    },
}

impl Order {
    fn batch(body: &Value, headers: &HeaderMap) -> Result<Self, Fault> {
        let Some(items) = body.as_array() else {
            return Err(Fault::new(400, "validation_error", "A batch must be an `array`."));
        };
        if !(1..=BATCH).contains(&items.len()) {
            return Err(Fault::invalid(format!("A batch must have 1 to {BATCH} emails.")));
        }
        let permissive = headers
            .get("x-batch-validation")
            .is_some_and(|value| value == "permissive");
        let (mut mails, mut wrong) = (Vec::new(), Vec::new());
        for (index, item) in items.iter().enumerate() {
            match Mail::read(item) {
                Ok(mail) => mails.push(mail),
                Err(fault) if permissive => wrong.push((index, fault)),
                Err(fault) => return Err(fault),
            }
        }
        Ok(Self::Batch {
            mails,
            wrong: permissive.then_some(wrong),
        })
    }

    fn carry_out(self, outbox: &mut Outbox, key: Option<&str>) -> Value {
        match self {
            Self::One(mail) => json!({ "id": outbox.send(*mail, key) }),
            Self::Batch { mails, wrong } => {
                let sent = mails.into_iter().map(|mail| json!({ "id": outbox.send(mail, key) }));
                let mut answer = json!({ "data": sent.collect::<Vec<_>>() });
                if let Some(wrong) = wrong {
                    let wrong = wrong
                        .into_iter()
                        .map(|(index, fault)| json!({ "index": index, "message": fault.message }));
                    answer["errors"] = wrong.collect();
                }
                answer
            }
        }
    }
}

fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send_one(state: State<Resend>, request: Request) -> Response {
    send(state, "/emails", request).await
}

async fn send_batch(state: State<Resend>, request: Request) -> Response {
    send(state, "/emails/batch", request).await
}

async fn send(State(resend): State<Resend>, path: &'static str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, super::LIMIT_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    // In a task of its own: a client that goes away must not leave its key in flight.
    let sending = tokio::spawn(async move { resend.send(path, &parts.headers, &body).await });
    match sending.await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(fault)) => fault.into_response(),
        Err(_) => Fault::documented("application_error").into_response(),
    }
}

async fn read_mail(State(resend): State<Resend>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match resend.team.access(&headers) {
        Err(fault) => return fault.into_response(),
        Ok(Access::Sending) => return Fault::documented("restricted_api_key").into_response(),
        Ok(Access::Full) => {}
    }
    if uuid::Uuid::try_parse(&id).is_err() {
        return Fault::parameter("The `id` must be a valid UUID.").into_response();
    }
    match resend.outbox().find(&id) {
        Some(sent) => Json(sent.json()).into_response(),
        None => Fault::new(404, "not_found", "Email not found").into_response(),
    }
}

async fn read_sent(State(resend): State<Resend>) -> Json<SentMails> {
    Json(resend.sent())
}

async fn forget_sent(State(resend): State<Resend>) -> StatusCode {
    resend.forget_sent();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeOrder {
    ms: u64,
}

async fn take_time(State(resend): State<Resend>, Json(order): Json<TimeOrder>) -> StatusCode {
    resend.take_time(Duration::from_millis(order.ms));
    StatusCode::NO_CONTENT
}
