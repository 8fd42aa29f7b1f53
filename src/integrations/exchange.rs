//! One HTTP request and its whole answer, bounded in time and size. Must never decide about a repeat: it only says
//! what is known about the request's fate.

use std::{pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt,
    future::{Either, select},
};
use http::{HeaderMap, StatusCode};

use crate::platform::Clock;

/// A complete answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no complete answer.
pub(super) enum Failure {
    /// Nothing reached the service.
    NotSent(String),
    /// The connection broke before the end of the answer.
    Lost(String),
    /// The time was up.
    Timeout,
    /// The answer was longer than allowed and was not read to its end.
    TooLong,
}

/// Sends a request and reads its answer to the end, within `timeout`, up to `max_bytes`.
pub(super) async fn exchange(
    clock: &dyn Clock,
    request: reqwest::RequestBuilder,
    timeout: Duration,
    max_bytes: usize,
) -> Result<Answer, Failure> {
    within(clock, timeout, async {
        let response = request.send().await.map_err(failure)?;
        let (status, headers) = (response.status(), response.headers().clone());
        read(response, max_bytes)
            .await
            .map(|body| Answer { status, headers, body })
    })
    .await
}

/// Gives `work` up after `timeout`, which ends its request.
///
/// Raced against the platform's clock, not left to reqwest: in wasm its timeout is told apart from other failures only
/// before the headers have come, and a body that stops half way would look like a broken connection.
pub(super) async fn within<T>(
    clock: &dyn Clock,
    timeout: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match select(pin!(work), clock.sleep(timeout)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(Failure::Timeout),
    }
}

/// Reads a body piece by piece and stops as soon as it is longer than `max_bytes`.
pub(super) async fn read(response: reqwest::Response, max_bytes: usize) -> Result<Bytes, Failure> {
    // Only a hint: where the platform unpacks a compressed answer, this is still the packed length.
    let announced = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or_default();
    if announced > max_bytes {
        return Err(Failure::TooLong);
    }
    let mut pieces = pin!(response.bytes_stream());
    let mut body = BytesMut::with_capacity(announced);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(failure)?;
        if body.len().saturating_add(piece.len()) > max_bytes {
            return Err(Failure::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// What an error of reqwest says about the request's fate.
pub(super) fn failure(error: reqwest::Error) -> Failure {
    let not_sent = error.is_builder() || never_connected(&error);
    let reason = reason(&error.without_url());
    if not_sent {
        Failure::NotSent(reason)
    } else {
        Failure::Lost(reason)
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn never_connected(error: &reqwest::Error) -> bool {
    error.is_connect()
}

/// The platform's fetch does not say how far it came, so the worst is assumed.
#[cfg(target_arch = "wasm32")]
fn never_connected(_: &reqwest::Error) -> bool {
    false
}

/// An error with its causes, on one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
