//! OpenAI's errors: <https://platform.openai.com/docs/guides/error-codes>. Must never take a limit of the account for a
//! wrong request, or the other way round: on it hangs whether somebody else is asked.

use http::StatusCode;
use serde_json::Value;

use crate::integrations::{
    model::Reason,
    provider::{ErrorKind, kind_of_status},
};

const TOO_LONG: &str = "context_length_exceeded";

/// What an answer with an error says.
pub(super) fn of_answer(status: StatusCode, body: &[u8]) -> Reason {
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let kind = kind(&body).unwrap_or_else(|| kind_of_status(status));
    let message = match text(&body, "/error/message") {
        "" => format!("it answered with status {status}"),
        message => message.to_owned(),
    };
    Reason {
        is_too_long: text(&body, "/error/code") == TOO_LONG,
        ..Reason::new(kind, message)
    }
}

/// What a chunk with an `error` in a stream says.
pub(super) fn of_chunk(chunk: &Value) -> Reason {
    let message = format!("the answer broke off: {}", text(chunk, "/error/message"));
    Reason {
        is_too_long: text(chunk, "/error/code") == TOO_LONG,
        ..Reason::new(kind(chunk).unwrap_or(ErrorKind::ServerError), message)
    }
}

fn text<'a>(body: &'a Value, pointer: &str) -> &'a str {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// By the error's code, or by its type where it has none that says more.
fn kind(body: &Value) -> Option<ErrorKind> {
    let of = |word: &str| {
        Some(match word {
            TOO_LONG | "invalid_request_error" | "content_policy_violation" => ErrorKind::Rejected,
            "invalid_api_key" | "invalid_authentication" | "authentication_error" => ErrorKind::Unauthorized,
            "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => ErrorKind::Quota,
            "model_not_found" => ErrorKind::NotFound,
            "rate_limit_exceeded" | "requests" | "tokens" => ErrorKind::RateLimited,
            "server_error" | "internal_error" => ErrorKind::ServerError,
            "service_unavailable" | "engine_overloaded" | "server_is_overloaded" | "slow_down" => ErrorKind::Overloaded,
            _ => return None,
        })
    };
    of(text(body, "/error/code")).or_else(|| {
        let word = text(body, "/error/type");
        // Says nothing that the status does not say better: a wrong key has it too.
        of(word).filter(|_| word != "invalid_request_error")
    })
}
