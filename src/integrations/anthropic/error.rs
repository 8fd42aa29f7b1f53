//! Anthropic's errors: <https://platform.claude.com/docs/en/api/errors>. Must never take a limit of the account for a
//! wrong request, or the other way round: on it hangs whether somebody else is asked.

use http::StatusCode;
use serde_json::Value;

use crate::integrations::{
    model::Reason,
    provider::{ErrorKind, kind_of_status},
};

/// What an answer with an error says.
pub(super) fn of_answer(status: StatusCode, body: &[u8]) -> Reason {
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let (word, message) = words(&body);
    let kind = kind_of_type(word, message).unwrap_or_else(|| kind_of_status(status));
    let message = if message.is_empty() {
        format!("it answered with status {status}")
    } else {
        message.to_owned()
    };
    Reason {
        is_too_long: is_too_long(kind, &message),
        ..Reason::new(kind, message)
    }
}

/// What an event `error` within a stream says.
pub(super) fn of_event(event: &Value) -> Reason {
    let (word, message) = words(event);
    let kind = kind_of_type(word, message).unwrap_or(ErrorKind::ServerError);
    Reason {
        is_too_long: is_too_long(kind, message),
        ..Reason::new(kind, format!("the answer broke off: {message}"))
    }
}

/// The type of the error and what it says.
fn words(body: &Value) -> (&str, &str) {
    let word = |pointer| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (word("/error/type"), word("/error/message"))
}

fn kind_of_type(word: &str, message: &str) -> Option<ErrorKind> {
    Some(match word {
        "invalid_request_error" if is_used_up(message) => ErrorKind::Quota,
        "invalid_request_error" => ErrorKind::Rejected,
        "authentication_error" => ErrorKind::Unauthorized,
        "billing_error" => ErrorKind::Quota,
        "permission_error" => ErrorKind::Forbidden,
        "not_found_error" => ErrorKind::NotFound,
        "conflict_error" => ErrorKind::Conflict,
        "request_too_large" => ErrorKind::TooLarge,
        "rate_limit_error" => ErrorKind::RateLimited,
        "api_error" => ErrorKind::ServerError,
        "timeout_error" => ErrorKind::Timeout,
        "overloaded_error" => ErrorKind::Overloaded,
        _ => return None,
    })
}

/// The account's money or its own limit for the month, which the vendor also says with `invalid_request_error`.
fn is_used_up(message: &str) -> bool {
    message.contains("credit balance is too low") || message.contains("API usage limits")
}

/// `prompt is too long: 210000 tokens > 200000 maximum`; or the prompt with `max_tokens` is.
fn is_too_long(kind: ErrorKind, message: &str) -> bool {
    kind == ErrorKind::Rejected && (message.contains("prompt is too long") || message.contains("exceed context limit"))
}
