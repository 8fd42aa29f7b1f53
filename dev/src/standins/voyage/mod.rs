//! A stand-in of Voyage's embeddings: `POST /voyage/v1/embeddings`, with the vendor's models, limits and errors.
//! Must never answer otherwise to the same request in another run.

mod order;
mod vector;

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;

use super::received::{Key, Received};
use super::reception::{Reception, Vendor};
use super::script::Step;
use crate::secrets;
use order::Order;

/// The names by which a script gives the documented errors.
const ERRORS: &[&str] = &[
    "bad_gateway",
    "forbidden",
    "invalid_request",
    "malformed_request",
    "rate_limit_exceeded",
    "server_error",
    "service_unavailable",
    "unauthorized",
];

/// An error as Voyage writes it.
fn fault(status: StatusCode, detail: impl Into<String>) -> Response {
    (status, Json(json!({ "detail": detail.into() }))).into_response()
}

struct Account {
    key: String,
}

impl Vendor for Account {
    fn errors(&self) -> &'static [&'static str] {
        ERRORS
    }

    fn error(&self, name: &str) -> Response {
        let (status, detail) = match name {
            "bad_gateway" => (StatusCode::BAD_GATEWAY, "The servers are busy. Please try again."),
            "forbidden" => (StatusCode::FORBIDDEN, "This IP address may not use the key."),
            "invalid_request" => (StatusCode::BAD_REQUEST, "The request is invalid."),
            "malformed_request" => (StatusCode::UNPROCESSABLE_ENTITY, "The request is malformed."),
            "rate_limit_exceeded" => (StatusCode::TOO_MANY_REQUESTS, "The rate limit of this key is exceeded."),
            "service_unavailable" => (StatusCode::SERVICE_UNAVAILABLE, "The service is unavailable."),
            "unauthorized" => (StatusCode::UNAUTHORIZED, "Provided API key is invalid."),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side."),
        };
        fault(status, detail)
    }

    fn key(&self, request: &Parts) -> Key {
        match request.headers.get(header::AUTHORIZATION) {
            None => Key::Missing,
            Some(value) if value.as_bytes().strip_prefix(b"Bearer ") == Some(self.key.as_bytes()) => Key::Right,
            Some(_) => Key::Wrong,
        }
    }
}

/// The account. A clone is a handle on the same one.
#[derive(Clone)]
pub struct Voyage {
    base_url: String,
    account: Arc<Account>,
    reception: Reception,
}

impl fmt::Debug for Voyage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voyage")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Voyage {
    /// An account that the server at `url` serves.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn new(url: &str) -> Result<Self> {
        let account = Arc::new(Account {
            key: format!("pa-{}", secrets::generate()?),
        });
        Ok(Self {
            base_url: format!("{url}/voyage"),
            account: Arc::clone(&account),
            reception: Reception::new(account),
        })
    }

    /// What stands for `https://api.voyageai.com`; the vendor's client takes it with `/v1` as `environment`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What opens it (`VOYAGE_API_KEY`).
    pub fn key(&self) -> &str {
        &self.account.key
    }

    /// Adds to what is answered next.
    ///
    /// # Errors
    /// Voyage has no error of that name.
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
        let api = Router::new()
            .route("/v1/embeddings", post(embed))
            .with_state(self.clone());
        Router::new().nest("/voyage", self.reception.before(api))
    }
}

async fn embed(State(voyage): State<Voyage>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match voyage.account.key(&parts) {
        Key::Missing => return fault(StatusCode::UNAUTHORIZED, "No API key was provided."),
        Key::Wrong => return voyage.account.error("unauthorized"),
        Key::Right => {}
    }
    let Ok(body) = to_bytes(body, super::LIMIT_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match Order::read(&body) {
        Ok(order) => order.answer(),
        Err(refusal) => *refusal,
    }
}
