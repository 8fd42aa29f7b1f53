//! Problems: what a caller is told when a request is refused (RFC 9457, `application/problem+json`).
//!
//! A problem holds only what the caller may know. What broke on our side is logged where it broke and answered as
//! [`Problem::internal`], without its text.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

/// The page of the documentation that explains every problem code, up to the code.
pub const DOCS_BASE: &str = "https://aos.dev/docs/problems#";

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to the place in the request body; `?name` for a query parameter, `Header-Name:` for a header.
    pub pointer: String,
    /// Stable, snake_case.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// What is wrong and what would be right, for a person.
    pub detail: String,
}

impl FieldError {
    /// A bad field at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: Cow::Borrowed(code),
            detail: detail.into(),
        }
    }

    /// The same error seen from one level further out: `prefix` is put before the pointer.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer = format!("{prefix}{}", self.pointer);
        self
    }
}

/// `text` as one token of a JSON pointer (RFC 6901 section 3).
pub fn pointer_token(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// A page of our documentation.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this code.
    #[schema(value_type = String)]
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Stable, snake_case.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// The id of the request, also in the header `X-Request-Id`; filled in by the Worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The bad fields, if it was fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which a repeat may succeed; sent as `Retry-After`.
    #[serde(skip)]
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of its own code.
    pub fn new(status: u16, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{DOCS_BASE}{code}"),
            title: Cow::Borrowed(title),
            status,
            detail: detail.into(),
            code: Cow::Borrowed(code),
            request_id: None,
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// 422 `invalid_request`: the body was read and understood, and these fields of it are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.pointer.is_empty() => only.detail.clone(),
            [only] => format!("{}: {}", only.pointer, only.detail),
            many => format!("{} fields are wrong", many.len()),
        };
        Self {
            errors,
            ..Self::new(422, "invalid_request", "The request is not valid", detail)
        }
    }

    /// 404 `not_found`, also for what belongs to another tenant.
    pub fn not_found(what: &str) -> Self {
        Self::new(404, "not_found", "Not found", format!("there is no such {what}"))
    }

    /// 409 with a code of its own.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(409, code, "The request conflicts with the present state", detail)
    }

    /// 500 `internal`: the cause is in the log under the request's id, never in the answer.
    pub fn internal() -> Self {
        Self::new(
            500,
            "internal",
            "Something broke on our side",
            "the request could not be carried out; its id helps us to find out why",
        )
    }

    /// 503 `unavailable`: something that we need is away; a repeat may succeed.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(5),
            ..Self::new(503, "unavailable", "Not available at the moment", detail)
        }
    }
}
