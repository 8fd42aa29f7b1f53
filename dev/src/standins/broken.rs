//! Answers that no server should give: half a body, garbage under a JSON label, none at all.
//! Must never look right by accident.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::{StreamExt, stream};

/// Between the first half and the end of the connection, so that the half is really sent.
pub(super) const PAUSE: Duration = Duration::from_millis(30);

pub(super) fn routes() -> Router {
    Router::new()
        .route("/half", any(half))
        .route("/garbage", any(garbage))
        .route("/drop", any(drop_connection))
}

pub(super) fn broken_off() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

/// The first half of a JSON document whose `Content-Length` promises all of it; then the connection is closed.
async fn half() -> Response {
    let whole = Bytes::from_static(br#"{"complete":"only if you can read this to its very end"}"#);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_LENGTH, HeaderValue::from(whole.len())),
    ];
    let pieces = stream::iter([Ok(whole.slice(..whole.len() / 2))]).chain(stream::once(async {
        tokio::time::sleep(PAUSE).await;
        Err(broken_off())
    }));
    (headers, Body::from_stream(pieces)).into_response()
}

/// Called JSON, and neither JSON nor UTF-8.
pub(super) async fn garbage() -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        &b"{\"a\":\xff\xfe\x00,,]"[..],
    )
        .into_response()
}

/// Closes the connection without an answer: a body that fails before its first byte takes the head with it, which
/// hyper has not sent by then.
pub(super) async fn drop_connection() -> Response {
    Body::from_stream(stream::once(async { Err::<Bytes, _>(broken_off()) })).into_response()
}
