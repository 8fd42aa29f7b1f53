//! A stand-in of OpenAI's chat completions under `/openai`, streamed and not; what its model says is in `model.rs`.
//! Its key is made at run time. Must never answer a request that the vendor would refuse.

mod errors;
mod formats;
mod request;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri, header};
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
use errors::{Refused, new_id, refused, with_headers};
use request::{Completion, Forced, MODELS, Model};

/// The largest request, in bytes; the vendor documents none.
const LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// The stand-in. A clone is a handle on the same one.
#[derive(Clone)]
pub struct OpenAi {
    url: String,
    account: Arc<Account>,
    reception: Reception,
}

struct Account {
    api_key: String,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi").field("url", &self.url).finish_non_exhaustive()
    }
}

impl OpenAi {
    /// To be served at `url`, which is the server's.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn new(url: &str) -> Result<Self> {
        let account = Arc::new(Account {
            api_key: format!("sk-proj-{}", secrets::generate()?),
        });
        Ok(Self {
            url: format!("{url}/openai"),
            reception: Reception::new(account.clone()),
            account,
        })
    }

    /// What stands for `https://api.openai.com` (`OPENAI_BASE_URL`); the vendor's clients want its `/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What opens it (`OPENAI_API_KEY`).
    pub fn api_key(&self) -> &str {
        &self.account.api_key
    }

    /// The settings of a Worker that asks this stand-in, by name. Holds a secret.
    pub fn settings(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("OPENAI_API_KEY", self.api_key().to_owned()),
            ("OPENAI_BASE_URL", self.url().to_owned()),
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
            .route("/v1/chat/completions", post(completions).fallback(wrong_method))
            .route("/v1/models", get(list_models))
            .route("/v1/models/{name}", get(read_model))
            .route("/{*path}", any(nothing_here))
            .layer(from_fn_with_state(self.account.clone(), admit));
        Router::new().nest("/openai", self.reception.before(own))
    }
}

impl Vendor for Account {
    fn errors(&self) -> &'static [&'static str] {
        &errors::NAMES
    }

    fn error(&self, name: &str) -> Response {
        errors::documented(name).into_response()
    }

    fn error_event(&self, name: &str) -> Option<Bytes> {
        Some(errors::documented(name).event().into())
    }

    fn key(&self, request: &Parts) -> Key {
        let Some(header) = request.headers.get(header::AUTHORIZATION) else {
            return Key::Missing;
        };
        match header.as_bytes().strip_prefix(b"Bearer ") {
            Some(key) if key == self.api_key.as_bytes() => Key::Right,
            _ => Key::Wrong,
        }
    }

    fn limit_bytes(&self) -> usize {
        LIMIT_BYTES
    }

    fn too_large(&self) -> Response {
        refused(413, None, "The request is too large.").into_response()
    }
}

async fn admit(State(account): State<Arc<Account>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match account.key(&parts) {
        Key::Right => next.run(Request::from_parts(parts, body)).await,
        Key::Wrong => errors::documented("invalid_api_key").into_response(),
        Key::Missing => {
            let message = "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.";
            refused(401, None, message).into_response()
        }
    }
}

async fn completions(said: Option<Extension<Said>>, body: Bytes) -> Result<Response, Refused> {
    let request = Completion::read(&body)?;
    let wanted = request.wanted();
    let reply = Reply::to(Ask {
        text: request.last_text(),
        schema: wanted.as_ref().map(|wanted| wanted.schema),
        limit: request.limit,
        stops: request.stops.clone(),
        said: said.map(|Extension(Said(text))| text),
    });
    let choice = Choice::of(&reply, wanted.and_then(|wanted| wanted.function));
    let answer = if request.stream {
        event_stream(chunks(&request, &reply, &choice), reply.pause)
    } else {
        tokio::time::sleep(reply.duration()).await;
        Json(whole(&request, &reply, &choice)).into_response()
    };
    Ok(with_headers(answer))
}

/// What the one choice holds.
enum Choice {
    Content,
    Refusal,
    Call { id: String, function: String, named: bool },
}

impl Choice {
    fn of(reply: &Reply, function: Option<Forced<'_>>) -> Self {
        let is_object = || matches!(serde_json::from_str(&reply.text), Ok(Value::Object(_)));
        match (&reply.end, function) {
            (End::Refusal, _) => Self::Refusal,
            // Arguments that are cut off are arguments all the same.
            (end, Some(function)) if *end == End::Length || is_object() => Self::Call {
                id: new_id("call_"),
                function: function.name.to_owned(),
                named: function.named,
            },
            _ => Self::Content,
        }
    }

    fn message(&self, text: &str) -> Value {
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [] });
        match self {
            Self::Content => message["content"] = text.into(),
            Self::Refusal => message["refusal"] = text.into(),
            Self::Call { id, function, .. } => {
                let call = json!({ "name": function, "arguments": text });
                message["tool_calls"] = json!([{ "id": id, "type": "function", "function": call }]);
            }
        }
        message
    }

    /// What the first chunk of a stream says.
    fn first_delta(&self) -> Value {
        match self {
            Self::Content => json!({ "role": "assistant", "content": "", "refusal": null }),
            Self::Refusal => json!({ "role": "assistant", "content": null, "refusal": "" }),
            Self::Call { id, function, .. } => {
                let call = json!({ "name": function, "arguments": "" });
                let call = json!({ "index": 0, "id": id, "type": "function", "function": call });
                json!({ "role": "assistant", "content": null, "tool_calls": [call], "refusal": null })
            }
        }
    }

    fn delta(&self, piece: &str) -> Value {
        match self {
            Self::Content => json!({ "content": piece }),
            Self::Refusal => json!({ "refusal": piece }),
            Self::Call { .. } => json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] }),
        }
    }

    fn finish_reason(&self, reply: &Reply) -> &'static str {
        match (&reply.end, self) {
            (End::Length, _) => "length",
            // The vendor says `stop` of a call that was asked for by name.
            (_, Self::Call { named: false, .. }) => "tool_calls",
            _ => "stop",
        }
    }
}

/// The cached tokens are among the prompt's, as the vendor counts.
fn usage(request: &Completion, reply: &Reply) -> Value {
    let prompt = tokens(request.input_bytes()).saturating_add(reply.cached);
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": reply.tokens,
        "total_tokens": prompt.saturating_add(reply.tokens),
        "prompt_tokens_details": { "cached_tokens": reply.cached, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

/// What every chunk and the whole have in common.
fn frame(request: &Completion, object: &str) -> Value {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "id": new_id("chatcmpl-"),
        "object": object,
        "created": since.as_secs(),
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": "fp_local",
    })
}

fn whole(request: &Completion, reply: &Reply, choice: &Choice) -> Value {
    let mut completion = frame(request, "chat.completion");
    completion["choices"] = json!([{
        "index": 0,
        "message": choice.message(&reply.text),
        "logprobs": null,
        "finish_reason": choice.finish_reason(reply),
    }]);
    completion["usage"] = usage(request, reply);
    completion
}

/// The same as [`whole`], as a stream.
fn chunks(request: &Completion, reply: &Reply, choice: &Choice) -> Vec<Bytes> {
    let frame = frame(request, "chat.completion.chunk");
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = frame.clone();
        chunk["choices"] = choices;
        if request.stream_usage {
            chunk["usage"] = usage;
        }
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let with = |delta: Value, finish_reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        chunk(json!([choice]), Value::Null)
    };
    let mut chunks = vec![with(choice.first_delta(), None)];
    chunks.extend(reply.pieces().iter().map(|piece| with(choice.delta(piece), None)));
    chunks.push(with(json!({}), Some(choice.finish_reason(reply))));
    if request.stream_usage {
        chunks.push(chunk(json!([]), usage(request, reply)));
    }
    chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
    chunks
}

fn description(model: &Model) -> Value {
    json!({ "id": model.name(), "object": "model", "created": 1_750_000_000, "owned_by": "system" })
}

async fn list_models() -> Response {
    let models = Vec::from_iter(MODELS.iter().map(description));
    with_headers(Json(json!({ "object": "list", "data": models })).into_response())
}

async fn read_model(Path(name): Path<String>) -> Result<Response, Refused> {
    let model = Model::find(&name)?;
    Ok(with_headers(Json(description(model)).into_response()))
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("Not allowed to {method} on {}.", uri.path());
    refused(
        StatusCode::METHOD_NOT_ALLOWED.as_u16(),
        Some("method_not_supported"),
        message,
    )
    .into_response()
}

async fn nothing_here(method: Method, uri: Uri) -> Response {
    refused(404, None, format!("Invalid URL ({method} {})", uri.path())).into_response()
}
