//! Anthropic's errors and the headers of every answer: <https://platform.claude.com/docs/en/api/errors>.
//! Must never answer without a request id.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Requests and tokens in a minute.
const REQUESTS: u64 = 4_000;
const INPUT_TOKENS: u64 = 2_000_000;
const OUTPUT_TOKENS: u64 = 400_000;

/// One documented error: its type, its status, what it says by itself, whether trying again may help.
struct Documented {
    kind: &'static str,
    status: u16,
    message: &'static str,
    retry: bool,
}

const fn documented(kind: &'static str, status: u16, message: &'static str, retry: bool) -> Documented {
    Documented {
        kind,
        status,
        message,
        retry,
    }
}

const DOCUMENTED: [Documented; 10] = [
    documented("invalid_request_error", 400, "Invalid request.", false),
    documented("authentication_error", 401, "invalid x-api-key", false),
    documented(
        "billing_error",
        402,
        "Your credit balance is too low to access the API.",
        false,
    ),
    documented(
        "permission_error",
        403,
        "Your API key may not use this resource.",
        false,
    ),
    documented("not_found_error", 404, "Not found", false),
    documented("request_too_large", 413, "Request exceeds the maximum size", false),
    documented(
        "rate_limit_error",
        429,
        "This request would exceed your rate limit.",
        true,
    ),
    documented("api_error", 500, "Internal server error", true),
    documented("timeout_error", 504, "Request timed out", true),
    documented("overloaded_error", 529, "Overloaded", true),
];

/// The types of the documented errors, which a script may name.
pub(super) const KINDS: [&str; DOCUMENTED.len()] = {
    let mut kinds = [""; DOCUMENTED.len()];
    let mut at = 0;
    while at < kinds.len() {
        kinds[at] = DOCUMENTED[at].kind;
        at += 1;
    }
    kinds
};

/// A request that is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    kind: &'static str,
    message: String,
}

/// A request that is wrong in itself.
pub(super) fn invalid(message: impl Into<String>) -> Refused {
    refused("invalid_request_error", message)
}

pub(super) fn refused(kind: &'static str, message: impl Into<String>) -> Refused {
    Refused {
        kind,
        message: message.into(),
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        answer(self.kind, Some(&self.message))
    }
}

fn documented_as(kind: &str) -> &'static Documented {
    let [first, rest @ ..] = &DOCUMENTED;
    rest.iter().find(|error| error.kind == kind).unwrap_or(first)
}

fn body(error: &Documented, message: Option<&str>, request_id: &str) -> Value {
    json!({
        "type": "error",
        "error": { "type": error.kind, "message": message.unwrap_or(error.message) },
        "request_id": request_id,
    })
}

/// An error with its status and headers; without a message it says what the vendor usually says.
pub(super) fn answer(kind: &str, message: Option<&str>) -> Response {
    let error = documented_as(kind);
    let request_id = new_id("req");
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = (status, Json(body(error, message, &request_id))).into_response();
    let headers = answer.headers_mut();
    set(headers, "x-should-retry", if error.retry { "true" } else { "false" });
    let limited = error.kind == "rate_limit_error";
    if limited {
        set(headers, "retry-after", "1");
    }
    // Who is not let in has no limits to be told of.
    if error.status != 401 {
        rate_limit(headers, limited);
    }
    with_request_id(answer, &request_id)
}

/// An error within a stream.
pub(super) fn event(kind: &str) -> String {
    let error = body(documented_as(kind), None, &new_id("req"));
    format!("event: error\ndata: {error}\n\n")
}

/// The headers of a successful answer.
pub(super) fn with_headers(mut answer: Response) -> Response {
    rate_limit(answer.headers_mut(), false);
    with_request_id(answer, &new_id("req"))
}

fn with_request_id(mut answer: Response, request_id: &str) -> Response {
    set(answer.headers_mut(), "request-id", request_id);
    set(
        answer.headers_mut(),
        "anthropic-organization-id",
        "00000000-0000-4000-8000-000000000000",
    );
    answer
}

/// A new id, such as `msg_…`.
pub(super) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

/// `anthropic-ratelimit-*`: nearly all is left, or nothing.
fn rate_limit(headers: &mut HeaderMap, exhausted: bool) {
    let in_a_second = Timestamp::now().saturating_add(SignedDuration::from_secs(1));
    let reset = in_a_second.map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    for (what, limit) in [
        ("requests", REQUESTS),
        ("tokens", INPUT_TOKENS + OUTPUT_TOKENS),
        ("input-tokens", INPUT_TOKENS),
        ("output-tokens", OUTPUT_TOKENS),
    ] {
        let remaining = if exhausted { 0 } else { limit - 1 };
        set(
            headers,
            &format!("anthropic-ratelimit-{what}-limit"),
            &limit.to_string(),
        );
        set(
            headers,
            &format!("anthropic-ratelimit-{what}-remaining"),
            &remaining.to_string(),
        );
        set(headers, &format!("anthropic-ratelimit-{what}-reset"), &reset);
    }
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (axum::http::HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}
