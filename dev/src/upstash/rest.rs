//! The REST endpoints: one command, `/pipeline`, `/multi-exec`, `/subscribe` and `/psubscribe`.
//! Must never run a command of a request whose token is wrong, or half of a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::watch;

use crate::counters::RequestNote;

use super::commands::Command;
use super::database::{Away, Database, Transaction};
use super::reply::{Encoding, Outcome};
use super::request;
use super::subscribe;

const WRONGPASS: &str = "WRONGPASS invalid or missing auth token. See https://docs.upstash.com/redis/troubleshooting/http_unauthorized for details.";
const SYNC_TOKEN: &str = "upstash-sync-token";

/// What every request sees.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    pub(super) database: Arc<Database>,
    pub(super) token: String,
    /// Counts answers, to have a new sync token for each. There is one Redis, so every read sees every write, whatever
    /// token it brings.
    pub(super) answered: Arc<AtomicU64>,
    pub(super) streams_stopped: watch::Receiver<bool>,
}

pub(super) fn router(gateway: Gateway) -> Router {
    Router::new().fallback(answer).with_state(gateway)
}

/// Why a request is not answered with results.
enum Refusal {
    /// 400, in Upstash's words.
    Client(String),
    Away(Away),
}

impl From<String> for Refusal {
    fn from(error: String) -> Self {
        Self::Client(error)
    }
}

impl From<Away> for Refusal {
    fn from(away: Away) -> Self {
        Self::Away(away)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Client(error) => failure(StatusCode::BAD_REQUEST, &error),
            Self::Away(away) => {
                tracing::warn!(error = %away, "a request failed");
                failure(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "ERR internal error: the database is not reachable",
                )
            }
        }
    }
}

fn failure(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

async fn answer(State(gateway): State<Gateway>, Extension(note): Extension<RequestNote>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if ![Method::HEAD, Method::GET, Method::POST, Method::PUT].contains(&parts.method) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let query = parts.uri.query().unwrap_or_default();
    if request::token(&parts.headers, query).is_none_or(|token| token != gateway.token) {
        return failure(StatusCode::UNAUTHORIZED, WRONGPASS);
    }
    if parts.method == Method::HEAD {
        return StatusCode::OK.into_response();
    }
    // Read before the body, which a streaming client need not end.
    if let Some((kind, channels)) = subscribe::asked(parts.uri.path()) {
        note.describe(kind.command().to_owned(), None, channels.len());
        return match subscribe::stream(&gateway, kind, channels).await {
            Ok(stream) => stream.into_response(),
            Err(away) => Refusal::from(away).into_response(),
        };
    }
    let body = match request::body(body).await {
        Ok(body) => body,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error),
    };
    match gateway
        .results(&parts.headers, parts.uri.path(), query, body, &note)
        .await
    {
        Ok(mut response) => {
            let token = gateway.answered.fetch_add(1, Ordering::Relaxed) + 1;
            response.headers_mut().insert(SYNC_TOKEN, HeaderValue::from(token));
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

impl Gateway {
    async fn results(
        &self,
        headers: &HeaderMap,
        path: &str,
        query: &str,
        body: Vec<u8>,
        note: &RequestNote,
    ) -> Result<Response, Refusal> {
        let encoding = request::encoding(headers)?;
        match path {
            "/pipeline" => {
                let commands = request::many_commands(&body)?;
                describe(note, "pipeline ", &commands);
                self.pipeline(&commands, encoding).await
            }
            "/multi-exec" => {
                let commands = request::many_commands(&body)?;
                describe(note, "multi-exec ", &commands);
                self.transaction(&commands, encoding).await
            }
            "/" => {
                let command = request::one_command(&body)?;
                self.single(command, encoding, note).await
            }
            path => {
                let command = request::command_of_path(path, query, body)?;
                self.single(command, encoding, note).await
            }
        }
    }

    async fn single(&self, command: Command, encoding: Encoding, note: &RequestNote) -> Result<Response, Refusal> {
        let commands = [command];
        describe(note, "", &commands);
        let outcome = self.outcomes(&commands, encoding).await?.pop();
        match outcome {
            Some(Outcome::Error(error)) => Err(Refusal::Client(error)),
            Some(result) => Ok(Json(result.into_json()).into_response()),
            None => Err(Refusal::Client("ERR empty command".to_owned())),
        }
    }

    async fn pipeline(&self, commands: &[Command], encoding: Encoding) -> Result<Response, Refusal> {
        Ok(list(self.outcomes(commands, encoding).await?))
    }

    async fn transaction(&self, commands: &[Command], encoding: Encoding) -> Result<Response, Refusal> {
        if let Some(refusal) = commands.iter().find_map(Command::refusal) {
            return Err(Refusal::Client(refusal));
        }
        match self.database.run_atomically(commands).await? {
            Transaction::Executed(replies) => Ok(list(
                replies
                    .iter()
                    .map(|reply| Outcome::from_reply(reply, encoding))
                    .collect(),
            )),
            Transaction::Discarded(error) => Err(Refusal::Client(error)),
        }
    }

    /// One outcome for each command, in order; a command that is refused does not reach Redis.
    async fn outcomes(&self, commands: &[Command], encoding: Encoding) -> Result<Vec<Outcome>, Away> {
        let refusals: Vec<_> = commands.iter().map(Command::refusal).collect();
        let served: Vec<_> = commands
            .iter()
            .zip(&refusals)
            .filter(|(_, refusal)| refusal.is_none())
            .map(|(command, _)| command.clone())
            .collect();
        let mut replies = self.database.run(&served).await?.into_iter();
        Ok(refusals
            .into_iter()
            .filter_map(|refusal| match refusal {
                Some(refusal) => Some(Outcome::Error(refusal)),
                None => replies.next().map(|reply| Outcome::from_reply(&reply, encoding)),
            })
            .collect())
    }
}

fn describe(note: &RequestNote, endpoint: &str, commands: &[Command]) {
    let names: Vec<_> = commands.iter().map(Command::name).collect();
    note.describe(format!("{endpoint}{}", names.join(",")), None, commands.len());
}

fn list(outcomes: Vec<Outcome>) -> Response {
    Json(outcomes.into_iter().map(Outcome::into_json).collect::<Vec<_>>()).into_response()
}
