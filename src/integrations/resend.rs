//! Resend's mail: `POST /emails`, whose `Idempotency-Key` is kept for 24 hours. Must never send without a key of that kind,
//! nor say of a mail that it was refused where nobody knows.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::provider::{Answered, Endpoint, ErrorKind, Provider, ProviderError, Traffic, bearer, kind_of_status};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Resend's front refuses requests that do not say what they come from.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("AOS/", env!("CARGO_PKG_VERSION")));
/// An answer is an id or an error.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A mail as Resend takes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mail<'a> {
    /// `a@example.com` or `A <a@example.com>`.
    pub from: &'a str,
    /// Recipients.
    pub to: Vec<&'a str>,
    /// Recipients of a copy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<&'a str>,
    /// Recipients of a copy that the others do not see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<&'a str>,
    /// Where answers go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reply_to: Vec<&'a str>,
    /// One line.
    pub subject: &'a str,
    /// The plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// The HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<&'a str>,
    /// Files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment<'a>>,
    /// For Resend's own statistics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag<'a>>,
}

/// A file that goes with a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attachment<'a> {
    /// Without a path.
    pub filename: &'a str,
    /// In base64.
    pub content: &'a str,
    /// By the file's name where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
}

/// A tag; letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tag<'a> {
    /// At most 256 characters.
    pub name: &'a str,
    /// At most 256 characters.
    pub value: &'a str,
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Resend's id of it.
    pub id: String,
    /// What went over the wire.
    pub traffic: Traffic,
}

#[derive(Deserialize)]
struct Taken {
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    name: String,
    message: String,
}

/// Sends a mail. Sent again under the same `idempotency_key` within a day, it is not sent twice.
///
/// # Errors
/// [`ProviderError`]
pub async fn send(
    endpoint: &Endpoint,
    key: &SecretString,
    mail: &Mail<'_>,
    idempotency_key: &str,
    timeout: Duration,
) -> Result<Sent, ProviderError> {
    let wrong = |reason: &str| ProviderError::new(Provider::Resend, ErrorKind::Rejected, reason);
    let idempotency_key =
        HeaderValue::from_str(idempotency_key).map_err(|_| wrong("the idempotency key fits no header"))?;
    let body = serde_json::to_vec(mail).map_err(|_| wrong("the mail cannot be written as JSON"))?;
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, bearer(Provider::Resend, key)?),
        (header::USER_AGENT, USER_AGENT),
        (IDEMPOTENCY_KEY, idempotency_key),
    ]);
    let answered = endpoint.post(headers, body, timeout, MAX_ANSWER_BYTES).await?;
    if !answered.status.is_success() {
        return Err(refused(endpoint, answered));
    }
    match serde_json::from_slice::<Taken>(&answered.body) {
        Ok(Taken { id }) if !id.is_empty() => Ok(Sent {
            id,
            traffic: answered.traffic,
        }),
        _ => Err(endpoint.refusal(answered, ErrorKind::InvalidAnswer, "the answer has no id of the mail")),
    }
}

fn refused(endpoint: &Endpoint, answered: Answered) -> ProviderError {
    let refused: Refused = serde_json::from_slice(&answered.body).unwrap_or_default();
    let kind = kind(&refused.name, answered.status);
    let message = if refused.name.is_empty() {
        format!("status {} without an error of Resend's", answered.status.as_u16())
    } else {
        format!("{}: {}", refused.name, refused.message)
    };
    endpoint.refusal(answered, kind, message)
}

/// By the error's name, since several names share a status and one name has several.
fn kind(name: &str, status: StatusCode) -> ErrorKind {
    match name {
        "missing_api_key" | "invalid_api_key" => ErrorKind::Unauthorized,
        // With status 401: the key is right and may not do this.
        "restricted_api_key" | "security_error" => ErrorKind::Forbidden,
        "invalid_idempotent_request" => ErrorKind::Conflict,
        "concurrent_idempotent_requests" => ErrorKind::InFlight,
        "daily_quota_exceeded" | "monthly_quota_exceeded" => ErrorKind::Quota,
        "rate_limit_exceeded" => ErrorKind::RateLimited,
        // `validation_error` is 400 and 422 for the mail, 401 for the key, 403 for a domain that is not verified.
        _ => kind_of_status(status),
    }
}
