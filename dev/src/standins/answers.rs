//! Answers to order, all of them correct HTTP: a status, a slow one, a large one, one that fails first, redirects.
//! Must never make more than is asked for within its bounds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures::stream;
use serde::Deserialize;
use serde_json::json;

const SLOWEST: Duration = Duration::from_secs(300);
/// The most of `/bytes`.
const BYTES: usize = 64 * 1024 * 1024;
/// One piece of `/bytes`, over and over.
const PIECE: &[u8] = &[b'x'; 64 * 1024];
/// Keys of `/flaky` that are remembered; all are forgotten when there is one more.
const FLAKY_KEYS: usize = 10_000;

pub(super) fn routes() -> Router {
    let flaky = Router::new()
        .route("/flaky/{key}", any(flaky))
        .with_state(Calls::default());
    Router::new()
        .route("/status/{code}", any(status))
        .route("/slow", any(slow))
        .route("/bytes", get(bytes))
        .route("/chunked", get(chunked))
        .route("/redirect", any(redirect))
        .route("/redirect-loop", any(redirect_loop))
        .merge(flaky)
}

/// The calls that each key of `/flaky` has had.
type Calls = Arc<Mutex<HashMap<String, u64>>>;

fn refused(reason: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": reason }))).into_response()
}

/// A status that a final answer may have.
fn final_status(code: u16) -> Option<StatusCode> {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
}

fn with_header(mut response: Response, name: HeaderName, value: &str) -> Response {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            response.headers_mut().insert(name, value);
            response
        }
        Err(_) => refused("the value fits no header"),
    }
}

#[derive(Debug, Deserialize)]
struct Told {
    retry_after: Option<String>,
}

/// `/status/429?retry_after=2`.
async fn status(Path(code): Path<u16>, Query(told): Query<Told>) -> Response {
    let Some(status) = final_status(code) else {
        return refused("no status of an answer");
    };
    let response = (status, Json(json!({ "status": code }))).into_response();
    match told.retry_after {
        Some(value) => with_header(response, header::RETRY_AFTER, &value),
        None => response,
    }
}

#[derive(Debug, Deserialize)]
struct Wait {
    #[serde(default)]
    ms: u64,
}

/// `/slow?ms=500`: waits before it answers.
async fn slow(Query(wait): Query<Wait>) -> Response {
    tokio::time::sleep(Duration::from_millis(wait.ms).min(SLOWEST)).await;
    Json(json!({ "waited_ms": wait.ms })).into_response()
}

#[derive(Debug, Deserialize)]
struct Length {
    #[serde(default)]
    n: usize,
}

/// `/bytes?n=1000`: that many times `x`, with a `Content-Length`.
async fn bytes(Query(length): Query<Length>) -> Response {
    if length.n > BYTES {
        return refused("too many bytes");
    }
    let pieces = stream::unfold(length.n, |left| async move {
        let piece = PIECE.get(..left).unwrap_or(PIECE);
        if piece.is_empty() {
            None
        } else {
            Some((Ok::<_, std::io::Error>(Bytes::from_static(piece)), left - piece.len()))
        }
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (header::CONTENT_LENGTH, HeaderValue::from(length.n)),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// `/chunked`: `{"chunks":[1,2,3]}` in five pieces, without a `Content-Length`.
async fn chunked() -> Response {
    let pieces = stream::unfold(
        ["{\"chunks\":[", "1,", "2,", "3", "]}"].into_iter(),
        |mut pieces| async move {
            let piece = pieces.next()?;
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, std::io::Error>(piece), pieces))
        },
    );
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response()
}

#[derive(Debug, Deserialize)]
struct Failures {
    fail: Option<u64>,
    status: Option<u16>,
    retry_after: Option<String>,
}

/// `/flaky/{key}?fail=2&status=503&retry_after=1`: the first calls of each key fail, then all succeed.
async fn flaky(State(calls): State<Calls>, Path(key): Path<String>, Query(failures): Query<Failures>) -> Response {
    let Some(status) = final_status(failures.status.unwrap_or(503)) else {
        return refused("no status of an answer");
    };
    let call = {
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= FLAKY_KEYS && !calls.contains_key(&key) {
            calls.clear();
        }
        let call = calls.entry(key.clone()).or_insert(0);
        *call += 1;
        *call
    };
    let answer = Json(json!({ "key": key, "call": call }));
    if call > failures.fail.unwrap_or(1) {
        return answer.into_response();
    }
    let response = (status, answer).into_response();
    match failures.retry_after {
        Some(value) => with_header(response, header::RETRY_AFTER, &value),
        None => response,
    }
}

#[derive(Debug, Deserialize)]
struct Onward {
    to: String,
    status: Option<u16>,
}

/// `/redirect?to=…&status=302`, to any address.
async fn redirect(Query(onward): Query<Onward>) -> Response {
    match final_status(onward.status.unwrap_or(302)).filter(StatusCode::is_redirection) {
        Some(status) => with_header(status.into_response(), header::LOCATION, &onward.to),
        None => refused("no status of a redirect"),
    }
}

async fn redirect_loop() -> Response {
    with_header(StatusCode::FOUND.into_response(), header::LOCATION, "/redirect-loop")
}
