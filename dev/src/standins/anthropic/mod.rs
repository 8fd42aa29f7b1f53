//! A stand-in of Anthropic's messages API under `/anthropic`, streamed and not; what its model says is in `model.rs`.
//! Its key is made at run time. Must never answer a request that the vendor would refuse.

mod errors;
mod formats;
mod request;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use super::model::{Ask, End, Reply, event_stream, tokens};
use super::received::{Key, Received};
use super::reception::{Reception, Said, Vendor};
use super::script::Step;
use crate::secrets;
use errors::{Refused, invalid, new_id, refused, with_headers};
use request::{MODELS, Messages, Model, Version};

/// The largest request, in bytes.
const LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// The stand-in. A clone is a handle on the same one.
#[derive(Clone)]
pub struct Anthropic {
    url: String,
    account: Arc<Account>,
    reception: Reception,
}

struct Account {
    api_key: String,
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anthropic")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Anthropic {
    /// To be served at `url`, which is the server's.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn new(url: &str) -> Result<Self> {
        let account = Arc::new(Account {
            api_key: format!("sk-ant-api03-{}", secrets::generate()?),
        });
        Ok(Self {
            url: format!("{url}/anthropic"),
            reception: Reception::new(account.clone()),
            account,
        })
    }

    /// What stands for `https://api.anthropic.com` (`ANTHROPIC_BASE_URL`).
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What opens it (`ANTHROPIC_API_KEY`).
    pub fn api_key(&self) -> &str {
        &self.account.api_key
    }

    /// The settings of a Worker that asks this stand-in, by name. Holds a secret.
    pub fn settings(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("ANTHROPIC_API_KEY", self.api_key().to_owned()),
            ("ANTHROPIC_BASE_URL", self.url().to_owned()),
        ])
    }

    /// Adds to what is answered next.
    ///
    /// # Errors
    /// A step names an error that is not documented.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) -> Result<()> {
        self.reception.script(steps)
    }

    /// Drops the steps that are left.
    pub fn clear_script(&self) {
        self.reception.clear_script();
    }

    /// What it was asked.
    pub fn received(&self) -> Received {
        self.reception.received()
    }

    pub fn forget_received(&self) {
        self.reception.forget_received();
    }

    pub(super) fn routes(&self) -> Router {
        let own = Router::new()
            .route("/v1/messages", post(messages).fallback(wrong_method))
            .route("/v1/models", get(list_models))
            .route("/v1/models/{name}", get(read_model))
            .route("/{*path}", any(nothing_here))
            .layer(from_fn_with_state(self.account.clone(), admit));
        Router::new().nest("/anthropic", self.reception.before(own))
    }
}

impl Vendor for Account {
    fn errors(&self) -> &'static [&'static str] {
        &errors::KINDS
    }

    fn error(&self, name: &str) -> Response {
        errors::answer(name, None)
    }

    fn error_event(&self, name: &str) -> Option<Bytes> {
        Some(errors::event(name).into())
    }

    fn key(&self, request: &Parts) -> Key {
        // With both, the vendor looks at `x-api-key`.
        let bearer = || request.headers.get("authorization").map(|value| value.as_bytes());
        let key = match request.headers.get("x-api-key") {
            Some(value) => Some(value.as_bytes()),
            None => bearer().map(|value| value.strip_prefix(b"Bearer ").unwrap_or_default()),
        };
        match key {
            Some(key) if key == self.api_key.as_bytes() => Key::Right,
            Some(_) => Key::Wrong,
            None => Key::Missing,
        }
    }

    fn limit_bytes(&self) -> usize {
        LIMIT_BYTES
    }

    fn too_large(&self) -> Response {
        errors::answer("request_too_large", None)
    }
}

/// Lets in who has the key and names a version, in this order.
async fn admit(State(account): State<Arc<Account>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let message = match account.key(&parts) {
        Key::Right => None,
        Key::Missing => Some("x-api-key header is required"),
        Key::Wrong if parts.headers.contains_key("x-api-key") => Some("invalid x-api-key"),
        Key::Wrong => Some("Invalid bearer token"),
    };
    if let Some(message) = message {
        return refused("authentication_error", message).into_response();
    }
    match Version::of(&parts.headers) {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => refused.into_response(),
    }
}

async fn messages(headers: HeaderMap, said: Option<Extension<Said>>, body: Bytes) -> Result<Response, Refused> {
    let request = Messages::read(&body, Version::of(&headers)?)?;
    let wanted = request.wanted();
    let reply = Reply::to(Ask {
        text: request.last_text(),
        schema: wanted.as_ref().map(|wanted| wanted.schema),
        limit: Some(request.max_tokens),
        stops: request.stops.clone(),
        said: said.map(|Extension(Said(text))| text),
    });
    let block = Block::of(&reply, wanted.and_then(|wanted| wanted.tool));
    let answer = if request.stream {
        event_stream(events(&request, &reply, &block), reply.pause)
    } else {
        tokio::time::sleep(reply.duration()).await;
        Json(whole(&request, &reply, &block)).into_response()
    };
    Ok(with_headers(answer))
}

/// What the content is: there is one block of it, or none in a refusal.
enum Block {
    Nothing,
    Text,
    Tool { id: String, name: String },
}

impl Block {
    fn of(reply: &Reply, tool: Option<&str>) -> Self {
        let is_object = || matches!(serde_json::from_str(&reply.text), Ok(Value::Object(_)));
        match (&reply.end, tool) {
            (End::Refusal, _) => Self::Nothing,
            // An input that is cut off is one all the same.
            (end, Some(name)) if *end == End::Length || is_object() => Self::Tool {
                id: new_id("toolu"),
                name: name.to_owned(),
            },
            _ => Self::Text,
        }
    }

    /// As it begins in a stream, or as it is with its text.
    fn with(&self, text: &str) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::Text => Some(json!({ "type": "text", "text": text, "citations": null })),
            Self::Tool { id, name } => {
                let input = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
                Some(json!({ "type": "tool_use", "id": id, "name": name, "input": input }))
            }
        }
    }

    fn delta(&self, piece: &str) -> Value {
        match self {
            Self::Tool { .. } => json!({ "type": "input_json_delta", "partial_json": piece }),
            Self::Text | Self::Nothing => json!({ "type": "text_delta", "text": piece }),
        }
    }
}

/// `stop_reason` and what goes with it.
fn stop(reply: &Reply, block: &Block) -> Value {
    let (reason, sequence) = match &reply.end {
        End::Natural if matches!(block, Block::Tool { .. }) => ("tool_use", None),
        End::Natural => ("end_turn", None),
        End::Length => ("max_tokens", None),
        End::Stop(sequence) => ("stop_sequence", Some(sequence)),
        End::Refusal => ("refusal", None),
    };
    let details =
        (reply.end == End::Refusal).then(|| json!({ "type": "refusal", "category": null, "explanation": reply.text }));
    json!({ "stop_reason": reason, "stop_sequence": sequence, "stop_details": details, "container": null })
}

fn usage(request: &Messages, reply: &Reply, output_tokens: u64) -> Value {
    json!({
        "input_tokens": tokens(request.input_bytes()),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.cached,
        "cache_creation": { "ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0 },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    })
}

/// The message as it is at the beginning of a stream.
fn empty(request: &Messages, reply: &Reply) -> Value {
    json!({
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "stop_details": null,
        "container": null,
        "usage": usage(request, reply, 1),
    })
}

fn whole(request: &Messages, reply: &Reply, block: &Block) -> Value {
    let mut message = empty(request, reply);
    message["content"] = block.with(&reply.text).into_iter().collect();
    if let (Value::Object(message), Value::Object(stop)) = (&mut message, stop(reply, block)) {
        message.extend(stop);
    }
    message["usage"] = usage(request, reply, reply.tokens);
    message
}

/// The same as [`whole`], as a stream.
fn events(request: &Messages, reply: &Reply, block: &Block) -> Vec<Bytes> {
    let mut events = vec![event(
        json!({ "type": "message_start", "message": empty(request, reply) }),
    )];
    if let Some(begun) = block.with("") {
        events.push(event(
            json!({ "type": "content_block_start", "index": 0, "content_block": begun }),
        ));
        events.push(event(json!({ "type": "ping" })));
        for piece in reply.pieces() {
            let delta = block.delta(&piece);
            events.push(event(
                json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
            ));
        }
        events.push(event(json!({ "type": "content_block_stop", "index": 0 })));
    }
    // Cumulative: it takes the place of what the first event said.
    let usage = usage(request, reply, reply.tokens);
    events.push(event(
        json!({ "type": "message_delta", "delta": stop(reply, block), "usage": usage }),
    ));
    events.push(event(json!({ "type": "message_stop" })));
    events
}

fn event(data: Value) -> Bytes {
    let kind = data["type"].as_str().unwrap_or_default();
    format!("event: {kind}\ndata: {data}\n\n").into()
}

fn description(model: &Model) -> Value {
    let id = model.name();
    json!({ "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" })
}

async fn list_models() -> Response {
    let models = Vec::from_iter(MODELS.iter().map(description));
    let id = |model: Option<&Value>| model.map(|model| model["id"].clone());
    let (first, last) = (id(models.first()), id(models.last()));
    with_headers(Json(json!({ "data": models, "has_more": false, "first_id": first, "last_id": last })).into_response())
}

async fn read_model(Path(name): Path<String>) -> Result<Response, Refused> {
    let model = Model::find(&name).ok_or_else(|| refused("not_found_error", format!("model: {name}")))?;
    Ok(with_headers(Json(description(model)).into_response()))
}

async fn wrong_method() -> Response {
    let mut answer = invalid("Method Not Allowed").into_response();
    *answer.status_mut() = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    answer
}

async fn nothing_here() -> Response {
    refused("not_found_error", "Not found").into_response()
}
