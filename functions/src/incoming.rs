//! Requests on their way in, and answers on their way out: between JavaScript's types and the router's, and from bytes
//! to what an endpoint takes. No request, however broken, may end as a 500 here.

use std::{str::FromStr, sync::Arc};

use aos::{
    body::{self, MAX_BODY_BYTES},
    idempotency::IdempotencyKey,
    problem::Problem,
};
use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tracing::Instrument;
use worker::{Context, Env, ResponseBuilder, web_sys};

use crate::{
    answer::{self, Refused},
    caller, log,
    platform::WorkersQueue,
    router::{Scope, serve},
    state::Isolate,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The headers that endpoints look at. Each costs a way over the border to JavaScript, so the others stay there.
const HEADERS: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::ORIGIN,
    IDEMPOTENCY_KEY,
    caller::ADDRESS,
    caller::API_KEY,
    caller::MACHINE_TOKEN,
    caller::TENANT,
];
/// What a body may be: JSON, or JSON that is a merge patch (RFC 7396).
const MEDIA_TYPES: [&str; 2] = ["application/json", "application/merge-patch+json"];

/// Answers a request of the platform.
pub(crate) async fn answer(request: web_sys::Request, env: Env, context: Context) -> worker::Result<worker::Response> {
    let isolate = Isolate::get(&env);
    let response = match incoming(&request) {
        Ok(request) => serve(isolate, scope(env, context), request).await,
        Err(problem) => {
            let request_id = log::new_id(isolate.clock.as_ref());
            answer::finish(Refused(problem).into_response(), &request_id, isolate.is_production())
        }
    };
    outgoing(response).await
}

fn scope(env: Env, context: Context) -> Scope {
    Scope {
        // Its lines in the log are the request's too.
        after: Arc::new(move |work| context.wait_until(work.in_current_span())),
        jobs: Arc::new(WorkersQueue(env)),
    }
}

fn incoming(request: &web_sys::Request) -> Result<Request, Problem> {
    let refused = |detail| Problem::new(400, "invalid_request_line", "The request cannot be read", detail);
    let method = Method::from_bytes(request.method().as_bytes()).map_err(|_| refused("the method is not one"))?;
    let uri = Uri::try_from(request.url()).map_err(|_| refused("the URL is too long or not valid"))?;
    let body = request
        .body()
        .map_or_else(Body::empty, |stream| Body::new(worker::Body::new(stream)));
    let mut incoming = Request::new(body);
    *incoming.method_mut() = method;
    *incoming.uri_mut() = uri;
    *incoming.headers_mut() = headers(&request.headers());
    Ok(incoming)
}

fn headers(sent: &web_sys::Headers) -> HeaderMap {
    let read = |name: HeaderName| {
        let value = sent.get(name.as_str()).ok()??;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    HEADERS.into_iter().filter_map(read).collect()
}

async fn outgoing(response: Response) -> worker::Result<worker::Response> {
    let (parts, body) = response.into_parts();
    let headers = worker::Headers::new();
    for (name, value) in &parts.headers {
        headers.append(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    let builder = ResponseBuilder::new()
        .with_status(parts.status.as_u16())
        .with_headers(headers);
    // Every answer is whole by now; one copy takes it over the border, where a stream would take many steps.
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .map_err(|error| worker::Error::RustError(error.to_string()))?;
    // A status without a body (204) must not be given an empty one.
    Ok(if body.is_empty() {
        builder.empty()
    } else {
        builder.fixed(body.into())
    })
}

/// A JSON body, read within its limit.
pub(crate) struct Json<T>(pub(crate) body::Body<T>);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        check_media_type(request.headers())?;
        let bytes = read(request).await?;
        Ok(Self(body::parse(&bytes)?))
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let sent = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = sent.split(';').next().unwrap_or_default().trim();
    if MEDIA_TYPES.iter().any(|known| known.eq_ignore_ascii_case(media_type)) {
        return Ok(());
    }
    let detail = "send the body as JSON, with the header Content-Type: application/json";
    Err(Problem::new(
        415,
        "unsupported_media_type",
        "Not a media type that is read here",
        detail,
    ))
}

/// Refuses a body that is announced as too large, and stops reading one that turns out to be.
async fn read(request: Request) -> Result<BytesMut, Problem> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    let mut pieces = request.into_body().into_data_stream();
    let mut body = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            tracing::debug!(%error, "a body broke off");
            Problem::new(
                400,
                "incomplete_body",
                "The body is not complete",
                "the body broke off before its end",
            )
        })?;
        if body.len().saturating_add(piece.len()) > MAX_BODY_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn too_large() -> Problem {
    Problem::new(
        413,
        "body_too_large",
        "The body is too large",
        format!("a body may have {MAX_BODY_BYTES} bytes"),
    )
}

/// The parameters of a path, percent-decoded.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(Refused(Problem::new(
                400,
                "invalid_path",
                "The path cannot be read",
                "the path is not UTF-8",
            ))),
        }
    }
}

/// The id that a part of the path is.
///
/// # Errors
/// 404 `not_found`: what is no id is nothing's.
pub(crate) fn id<I: FromStr>(text: &str, what: &str) -> Result<I, Refused> {
    text.parse().map_err(|_| Refused(Problem::not_found(what)))
}

/// The header `Idempotency-Key`, if it is there.
pub(crate) struct Idempotency(pub(crate) Option<IdempotencyKey>);

impl<S: Sync> FromRequestParts<S> for Idempotency {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let key = parts
            .headers
            .get(IDEMPOTENCY_KEY)
            .map(|value| IdempotencyKey::parse(value.as_bytes()))
            .transpose()?;
        Ok(Self(key))
    }
}
