//! The door of a vendor's stand-in: reads each request, records it, and lets the script answer in the vendor's place.
//! `GET`, `POST` (a step or a list) and `DELETE /_script`; `GET` and `DELETE /_received`.
//! Must never know one vendor from another: what differs is behind [`Vendor`].

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::{StreamExt, stream};

use super::received::{Key, Received, Record, Request};
use super::script::{Answer, Breach, Script, Step, Then};
use super::{LIMIT_BYTES, broken};
use crate::faults::Sight;
use crate::serve;

/// What the door must know of whom it stands in for.
pub(super) trait Vendor: Send + Sync + 'static {
    /// The documented errors, by the names that a script may use.
    fn errors(&self) -> &'static [&'static str];

    /// The answer that goes with one of [`Vendor::errors`].
    fn error(&self, name: &str) -> Response;

    /// The same error as an event within a stream; `None` of a vendor that does not stream.
    fn error_event(&self, name: &str) -> Option<Bytes> {
        let _ = name;
        None
    }

    /// Whether the request carries the right key.
    fn key(&self, request: &Parts) -> Key;

    /// The path as it may be shown, for a vendor whose paths hold secrets.
    fn path(&self, request: &Parts) -> String {
        request.uri.path().to_owned()
    }

    /// The largest request, in bytes.
    fn limit_bytes(&self) -> usize {
        LIMIT_BYTES
    }

    /// The answer to a request that is larger.
    fn too_large(&self) -> Response {
        StatusCode::PAYLOAD_TOO_LARGE.into_response()
    }
}

/// What the script makes a model say; handlers find it in the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Said(pub(super) String);

/// The door of one stand-in. A clone is a handle on the same one.
#[derive(Clone)]
pub(super) struct Reception {
    vendor: Arc<dyn Vendor>,
    script: Script,
    record: Record,
}

impl fmt::Debug for Reception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reception")
            .field("script", &self.script)
            .finish_non_exhaustive()
    }
}

impl Reception {
    pub(super) fn new(vendor: Arc<dyn Vendor>) -> Self {
        Self {
            vendor,
            script: Script::default(),
            record: Record::default(),
        }
    }

    /// Adds to what is answered next.
    ///
    /// # Errors
    /// The vendor has no error of that name.
    pub(super) fn script(&self, steps: impl IntoIterator<Item = Step>) -> Result<()> {
        let steps = Vec::from_iter(steps);
        let known = self.vendor.errors();
        if let Some(name) = steps
            .iter()
            .filter_map(Step::names_error)
            .find(|name| !known.contains(name))
        {
            bail!("no documented error is called {name}; there are {}", known.join(", "));
        }
        steps.into_iter().for_each(|step| self.script.add(step));
        Ok(())
    }

    pub(super) fn clear_script(&self) {
        self.script.clear();
    }

    pub(super) fn received(&self) -> Received {
        self.record.read()
    }

    pub(super) fn forget_received(&self) {
        self.record.forget();
    }

    /// The stand-in's own routes behind the door, and beside them those that control it.
    pub(super) fn before(&self, routes: Router) -> Router {
        let control = Router::new()
            .route("/_script", get(read_script).post(add_steps).delete(clear_script))
            .route("/_received", get(read_received).delete(forget_received))
            .with_state(self.clone());
        routes.layer(from_fn_with_state(self.clone(), receive)).merge(control)
    }

    /// Carries out a step; `usual` is what would be answered without it.
    async fn carry_out(&self, answer: Answer, usual: impl Future<Output = Response>) -> Response {
        match answer {
            Answer::Error(name) => self.vendor.error(&name),
            Answer::Say(_) => usual.await,
            Answer::Garbage => broken::garbage().await,
            Answer::Stream(breach) => self.breach(breach, usual.await),
            Answer::Fault(action) => match serve::act(Some(action), usual).await {
                Ok(answer) => answer,
                Err(_) => broken::drop_connection().await,
            },
        }
    }

    fn breach(&self, breach: Breach, answer: Response) -> Response {
        let event = match &breach.then {
            Then::Error(name) => {
                let streams = answer
                    .headers()
                    .get(header::CONTENT_TYPE)
                    .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
                match self.vendor.error_event(name).filter(|_| streams) {
                    Some(event) => event,
                    // What is not streamed cannot go wrong half-way: the vendor would have said so at once.
                    None => return self.vendor.error(name),
                }
            }
            Then::Stall { .. } | Then::Drop => Bytes::new(),
        };
        let (mut parts, body) = answer.into_parts();
        // It would no longer be true.
        parts.headers.remove(header::CONTENT_LENGTH);
        let pieces = stream::unfold((body.into_data_stream(), 0), move |(mut pieces, said): (_, usize)| {
            let (then, event) = (breach.then.clone(), event.clone());
            async move {
                let piece = if said == breach.after {
                    match then {
                        Then::Stall { ms } => {
                            tokio::time::sleep(Duration::from_millis(ms)).await;
                            pieces.next().await?.map_err(io::Error::other)
                        }
                        Then::Drop => {
                            // So that what came before is really sent.
                            tokio::time::sleep(broken::PAUSE).await;
                            Err(broken::broken_off())
                        }
                        Then::Error(_) => Ok(event),
                    }
                } else if said > breach.after && matches!(then, Then::Error(_)) {
                    return None;
                } else {
                    pieces.next().await?.map_err(io::Error::other)
                };
                Some((piece, (pieces, said.saturating_add(1))))
            }
        });
        Response::from_parts(parts, Body::from_stream(pieces))
    }
}

/// Stands before the stand-in's own routes.
async fn receive(State(reception): State<Reception>, request: HttpRequest, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let vendor = &reception.vendor;
    let Ok(body) = to_bytes(body, vendor.limit_bytes()).await else {
        return vendor.too_large();
    };
    let path = vendor.path(&parts);
    let key = vendor.key(&parts);
    let method = parts.method.as_str();
    reception
        .record
        .note(Request::new(method, path, key, &parts.headers, &body));
    let turn = reception.script.turn(Sight {
        path_and_query: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: &parts.headers,
        body: &body,
    });
    if !turn.delay.is_zero() {
        tokio::time::sleep(turn.delay).await;
    }
    let mut request = HttpRequest::from_parts(parts, Body::from(body));
    if let Some(Answer::Say(text)) = &turn.answer {
        request.extensions_mut().insert(Said(text.clone()));
    }
    let usual = next.run(request);
    let mut answer = match turn.answer {
        Some(answer) => reception.carry_out(answer, usual).await,
        None => usual.await,
    };
    if let Some(value) = turn.retry_after.and_then(|value| HeaderValue::try_from(value).ok()) {
        answer.headers_mut().insert(header::RETRY_AFTER, value);
    }
    answer
}

async fn read_script(State(reception): State<Reception>) -> Json<Vec<Step>> {
    Json(reception.script.steps())
}

async fn add_steps(State(reception): State<Reception>, body: Bytes) -> Response {
    // Told apart by the first byte, not by an untagged enum, so that the error names the field that is wrong.
    let steps = if body.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice::<Vec<Step>>(&body)
    } else {
        serde_json::from_slice::<Step>(&body).map(|step| vec![step])
    };
    let added = steps
        .map_err(anyhow::Error::from)
        .and_then(|steps| reception.script(steps));
    match added {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("not a step: {error}\n")).into_response(),
    }
}

async fn clear_script(State(reception): State<Reception>) -> StatusCode {
    reception.clear_script();
    StatusCode::NO_CONTENT
}

async fn read_received(State(reception): State<Reception>) -> Json<Received> {
    Json(reception.received())
}

async fn forget_received(State(reception): State<Reception>) -> StatusCode {
    reception.forget_received();
    StatusCode::NO_CONTENT
}
