//! OpenAI's errors and the headers of every answer: <https://platform.openai.com/docs/guides/error-codes>.
//! Must never answer without a request id.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Requests and tokens in a minute.
const REQUESTS: u64 = 10_000;
const TOKENS: u64 = 30_000_000;

/// A request that is refused, as the vendor's body has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    status: u16,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

/// A request that is wrong in itself.
pub(super) fn invalid(param: impl Into<String>, code: Option<&'static str>, message: impl Into<String>) -> Refused {
    Refused {
        status: 400,
        message: message.into(),
        kind: "invalid_request_error",
        param: Some(param.into()),
        code,
    }
}

/// The same where the vendor names no parameter.
pub(super) fn refused(status: u16, code: Option<&'static str>, message: impl Into<String>) -> Refused {
    Refused {
        status,
        message: message.into(),
        kind: "invalid_request_error",
        param: None,
        code,
    }
}

/// The documented errors that a script may name: their codes, or the type of those without one.
pub(super) const NAMES: [&str; 11] = [
    "invalid_request_error",
    "context_length_exceeded",
    "invalid_api_key",
    "unsupported_country_region_territory",
    "model_not_found",
    "conflict",
    "unprocessable_entity",
    "rate_limit_exceeded",
    "insufficient_quota",
    "server_error",
    "service_unavailable",
];

/// One of [`NAMES`], as the vendor says it.
pub(super) fn documented(name: &str) -> Refused {
    let error = |status, kind, code, message: &str| Refused {
        status,
        message: message.to_owned(),
        kind,
        param: None,
        code,
    };
    let invalid = "invalid_request_error";
    match name {
        "context_length_exceeded" => Refused {
            param: Some("messages".to_owned()),
            ..error(
                400,
                invalid,
                Some("context_length_exceeded"),
                "This model's maximum context length is 128000 tokens. Please reduce the length of the messages.",
            )
        },
        "invalid_api_key" => error(401, invalid, Some("invalid_api_key"), WRONG_KEY),
        "unsupported_country_region_territory" => error(
            403,
            "request_forbidden",
            Some("unsupported_country_region_territory"),
            "Country, region, or territory not supported",
        ),
        "model_not_found" => error(
            404,
            invalid,
            Some("model_not_found"),
            "The model does not exist or you do not have access to it.",
        ),
        "conflict" => error(
            409,
            invalid,
            Some("conflict"),
            "The resource was changed by another request.",
        ),
        "unprocessable_entity" => error(422, invalid, None, "The request could not be processed."),
        "rate_limit_exceeded" => error(
            429,
            "requests",
            Some("rate_limit_exceeded"),
            "Rate limit reached for requests per min (RPM). Please try again in 1s.",
        ),
        "insufficient_quota" => error(
            429,
            "insufficient_quota",
            Some("insufficient_quota"),
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        "server_error" => error(
            500,
            "server_error",
            None,
            "The server had an error while processing your request. Sorry about that!",
        ),
        "service_unavailable" => error(
            503,
            "service_unavailable",
            None,
            "The engine is currently overloaded, please try again later.",
        ),
        _ => error(400, invalid, None, "Invalid request."),
    }
}

/// The vendor shows the key's first and last characters; the stand-in does not.
pub(super) const WRONG_KEY: &str =
    "Incorrect API key provided: ****. You can find your API key at https://platform.openai.com/account/api-keys.";

impl Refused {
    fn body(&self) -> Value {
        let Self {
            message,
            kind,
            param,
            code,
            ..
        } = self;
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }

    /// An error within a stream.
    pub(super) fn event(&self) -> String {
        format!("data: {}\n\n", self.body())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = (status, Json(self.body())).into_response();
        let limited = self.code == Some("rate_limit_exceeded");
        if limited {
            set(answer.headers_mut(), "retry-after", "1");
        }
        // Who is not let in has no limits to be told of.
        if self.status != 401 {
            rate_limit(answer.headers_mut(), limited);
        }
        with_request_id(answer)
    }
}

/// The headers of a successful answer.
pub(super) fn with_headers(mut answer: Response) -> Response {
    rate_limit(answer.headers_mut(), false);
    with_request_id(answer)
}

fn with_request_id(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    set(headers, "x-request-id", &new_id("req_"));
    set(headers, "openai-version", "2020-10-01");
    set(headers, "openai-organization", "aos-local");
    set(headers, "openai-processing-ms", "1");
    answer
}

/// A new id, such as `chatcmpl-…`.
pub(super) fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::now_v7().simple())
}

/// `x-ratelimit-*`: nearly all is left, or nothing of the requests.
fn rate_limit(headers: &mut HeaderMap, exhausted: bool) {
    let (remaining, reset) = if exhausted { (0, "1s") } else { (REQUESTS - 1, "6ms") };
    set(headers, "x-ratelimit-limit-requests", &REQUESTS.to_string());
    set(headers, "x-ratelimit-limit-tokens", &TOKENS.to_string());
    set(headers, "x-ratelimit-remaining-requests", &remaining.to_string());
    set(headers, "x-ratelimit-remaining-tokens", &(TOKENS - 1).to_string());
    set(headers, "x-ratelimit-reset-requests", reset);
    set(headers, "x-ratelimit-reset-tokens", "6m0s");
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
