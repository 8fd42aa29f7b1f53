//! What an answer that is no success means; the table is in the description of [`super`].

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::WebFailure;
use crate::{
    integrations::provider::retry_after,
    platform::FetchResponse,
    skills::{EffectClass, OutcomeError, failure::Failure},
};

/// The error that an answer is to a call of this class.
pub(in crate::skills) fn refusal(
    response: &FetchResponse,
    class: EffectClass,
    host: &str,
    now: Timestamp,
) -> OutcomeError {
    let status = response.status;
    let error = meaning(status, class)
        .error(format!("{host} answered {status}"))
        .from_provider(host, Some(status.as_u16()));
    let retry_after_ms = retry_after(&response.headers, now)
        .filter(|_| error.retryable)
        .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    OutcomeError {
        retry_after_ms,
        ..error
    }
}

fn meaning(status: StatusCode, class: EffectClass) -> WebFailure {
    let is_once = class == EffectClass::Once;
    match status.as_u16() {
        429 => WebFailure::RateLimited,
        408 | 425 | 503 | 529 => WebFailure::ProviderUnavailable,
        502 | 504 | 520..=527 if is_once => WebFailure::UnknownEffect,
        500.. if is_once => WebFailure::ProviderFailed,
        500.. => WebFailure::ProviderUnavailable,
        401 | 403 | 407 | 451 => WebFailure::PermissionDenied,
        404 | 410 => WebFailure::NotFound,
        409 | 412 | 423 => WebFailure::Conflict,
        _ => WebFailure::RequestRejected,
    }
}

/// The target's id of the request, under the names that are in use.
pub(in crate::skills) fn request_id(headers: &HeaderMap) -> Option<String> {
    ["x-request-id", "request-id", "x-amzn-requestid", "cf-ray"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(|id| id.chars().take(200).collect())
}
