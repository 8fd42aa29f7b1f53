//! Resend's documented errors, in its shape: `{"statusCode", "message", "name"}`.
//! Must never say a name with a status that the vendor's list does not have beside it.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: u16,
    pub(super) name: &'static str,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(status: u16, name: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            name,
            message: message.into(),
        }
    }

    pub(super) fn missing_field(name: &str) -> Self {
        Self::new(422, "missing_required_field", format!("Missing `{name}` field."))
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(422, "validation_error", message)
    }

    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::new(422, "invalid_parameter", message)
    }

    pub(super) fn attachment(message: impl Into<String>) -> Self {
        Self::new(422, "invalid_attachment", message)
    }

    /// The error that a script names.
    pub(super) fn documented(scripted: &str) -> Self {
        let known = DOCUMENTED.iter().find(|(known, ..)| *known == scripted);
        match known {
            Some((_, status, name, message)) => Self::new(*status, name, *message),
            None => Self::new(500, "application_error", "An unexpected error occurred."),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({ "statusCode": self.status, "message": self.message, "name": self.name });
        let answer = (status, Json(body)).into_response();
        if self.name != "rate_limit_exceeded" {
            return answer;
        }
        let limits = [
            (header::RETRY_AFTER.as_str(), "1"),
            ("ratelimit-limit", "2"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "1"),
        ];
        (limits, answer).into_response()
    }
}

/// By the names of a script, which are the vendor's but where the vendor has one name with several statuses.
const DOCUMENTED: &[(&str, u16, &str, &str)] = &[
    (
        "invalid_idempotency_key",
        400,
        "invalid_idempotency_key",
        "The idempotency key must have between 1 and 256 characters.",
    ),
    (
        "validation_error",
        400,
        "validation_error",
        "There is an error in one of the fields of the request.",
    ),
    ("missing_api_key", 401, "missing_api_key", "Missing API Key"),
    (
        "restricted_api_key",
        401,
        "restricted_api_key",
        "This API key is restricted to only send emails",
    ),
    ("validation_error_401", 401, "validation_error", "API key is invalid"),
    ("invalid_api_key", 403, "invalid_api_key", "API key is invalid"),
    (
        "validation_error_403",
        403,
        "validation_error",
        "The domain is not verified. Please add and verify it.",
    ),
    ("not_found", 404, "not_found", "The requested endpoint does not exist."),
    (
        "method_not_allowed",
        405,
        "method_not_allowed",
        "The method is not allowed for this path.",
    ),
    (
        "invalid_idempotent_request",
        409,
        "invalid_idempotent_request",
        "The idempotency key was used for another request before.",
    ),
    (
        "concurrent_idempotent_requests",
        409,
        "concurrent_idempotent_requests",
        "Another request with this idempotency key is in progress.",
    ),
    (
        "invalid_attachment",
        422,
        "invalid_attachment",
        "An attachment must have either a `content` or a `path`.",
    ),
    (
        "invalid_from_address",
        422,
        "invalid_from_address",
        "Invalid `from` field.",
    ),
    ("invalid_parameter", 422, "invalid_parameter", "A parameter is invalid."),
    (
        "missing_required_field",
        422,
        "missing_required_field",
        "The request lacks a required field.",
    ),
    (
        "validation_error_422",
        422,
        "validation_error",
        "There is an error in one of the fields of the request.",
    ),
    (
        "rate_limit_exceeded",
        429,
        "rate_limit_exceeded",
        "Too many requests. You can only make 2 requests per second.",
    ),
    (
        "daily_quota_exceeded",
        429,
        "daily_quota_exceeded",
        "You have reached your daily email sending quota.",
    ),
    (
        "monthly_quota_exceeded",
        429,
        "monthly_quota_exceeded",
        "You have reached your monthly email sending quota.",
    ),
    (
        "application_error",
        500,
        "application_error",
        "An unexpected error occurred.",
    ),
    (
        "internal_server_error",
        500,
        "internal_server_error",
        "An unexpected error occurred.",
    ),
];

/// The names that a script may use.
pub(super) const NAMES: [&str; DOCUMENTED.len()] = {
    let mut names = [""; DOCUMENTED.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = DOCUMENTED[index].0;
        index += 1;
    }
    names
};
