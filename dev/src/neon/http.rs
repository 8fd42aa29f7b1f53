//! The HTTP side: `POST /sql` and nothing else, body limits, headers of the answer.
//! Must never answer without `neon-request-id`, and never with a success that the database has not confirmed.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::failure::{Failure, MAX_REQUEST_BYTES};
use super::login::Login;
use super::pool::Pool;
use super::request::{Mode, Payload};
use super::run::{Ran, run};
use crate::counters::RequestNote;

/// How much of a body that is too large is read and thrown away, so that its sender gets to read the answer.
const DRAINED_BYTES: usize = 8 * MAX_REQUEST_BYTES;

pub(super) fn router(pool: Arc<Pool>) -> Router {
    Router::new()
        .route("/sql", post(sql).fallback(unsupported))
        .fallback(unsupported)
        .with_state(pool)
        .layer(axum::middleware::map_response(with_request_id))
}

async fn unsupported() -> Response {
    (StatusCode::BAD_REQUEST, axum::Json("query is not supported")).into_response()
}

async fn with_request_id(mut response: Response) -> Response {
    let id = uuid::Uuid::now_v7().to_string();
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("neon-request-id", id);
    }
    response
}

async fn sql(State(pool): State<Arc<Pool>>, request: Request) -> Response {
    let mut response = match answer(&pool, request).await {
        Ok((headers, body)) => (headers, body).into_response(),
        Err(failure) => (failure.status(), failure.to_json().to_string()).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

async fn answer(pool: &Pool, request: Request) -> Result<(HeaderMap, Bytes), Failure> {
    let (parts, body) = request.into_parts();
    // The body is read in any case: a connection with unread bytes could not be used again.
    let body = read(body).await;
    let login = Login::read(&parts.headers)?;
    let mode = Mode::read(&parts.headers)?;
    let payload = Payload::read(&body?)?;
    if let Some(note) = parts.extensions.get::<RequestNote>() {
        note.describe(payload.label(), Some(login.user.clone()), payload.statements().len());
    }
    let mut lease = pool.lease(&login).await?;
    let Ran { result, reusable } = run(&mut lease.backend, &payload, mode).await;
    if reusable {
        pool.give_back(login, lease);
    }
    let mut headers = HeaderMap::new();
    if matches!(payload, Payload::Batch { .. }) {
        mode.transaction.echo(&mut headers);
    }
    Ok((headers, result?.into()))
}

async fn read(mut body: Body) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    let mut dropped = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Body(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if dropped == 0 && bytes.len() + data.len() <= MAX_REQUEST_BYTES {
            bytes.extend_from_slice(&data);
        } else {
            dropped += data.len();
            if dropped > DRAINED_BYTES {
                break;
            }
        }
    }
    if dropped > 0 {
        Err(Failure::RequestTooLarge)
    } else {
        Ok(bytes.freeze())
    }
}
