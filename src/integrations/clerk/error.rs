//! What can go wrong between us and Clerk, sorted by what the caller may do next. Must never hold the secret key.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::integrations::{Body, TookEffect, exchange::Failure};

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The secret key is wrong, or may not do this.
    #[error("Clerk refused the secret key ({status}): {message}")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// What Clerk said.
        message: String,
    },
    /// There is no such session or user.
    #[error("Clerk knows no such session or user")]
    NotFound,
    /// Clerk refused what was asked for.
    #[error("Clerk refused the call: {code}: {message}")]
    Invalid {
        /// Clerk's code, such as `invalid_action_for_session`.
        code: String,
        /// What Clerk said.
        message: String,
    },
    /// Too many calls: 1,000 in ten seconds are allowed.
    #[error("Clerk allows no more calls for now")]
    RateLimited {
        /// How long to wait, where Clerk said so.
        retry_after: Option<Duration>,
    },
    /// Clerk could not be reached, or its answer was lost on the way.
    #[error("Clerk is out of reach: {reason}")]
    Unreachable {
        /// Whether the call may have been carried out.
        took_effect: TookEffect,
        /// What the platform or the service said.
        reason: String,
    },
    /// No complete answer in time. The call may have been carried out.
    #[error("no answer from Clerk within {0:?}")]
    Timeout(Duration),
    /// The answer is longer than is sound.
    #[error("the {0} is larger than it should be")]
    TooLarge(Body),
    /// The answer has another shape than it must have.
    #[error("the answer of Clerk could not be read: {0}")]
    Protocol(String),
}

/// An error as Clerk writes it.
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    code: String,
    message: String,
    long_message: Option<String>,
}

impl Error {
    /// Whether the same call may succeed in a moment.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout(_))
    }

    pub(super) fn from_failure(failure: Failure, timeout: Duration) -> Self {
        let unreachable = |took_effect, reason| Self::Unreachable { took_effect, reason };
        match failure {
            Failure::NotSent(reason) => unreachable(TookEffect::No, reason),
            Failure::Lost(reason) => unreachable(TookEffect::Unknown, reason),
            Failure::Timeout => Self::Timeout(timeout),
            Failure::TooLong => Self::TooLarge(Body::Answer),
        }
    }

    /// What an answer other than 200 means.
    pub(super) fn from_answer(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let refusal = serde_json::from_slice(body).ok();
        let detail = refusal.and_then(|Refusal { errors }| errors.into_iter().next());
        let (code, message) = match detail {
            Some(detail) => (detail.code, detail.long_message.unwrap_or(detail.message)),
            None => (String::new(), format!("HTTP status {}", status.as_u16())),
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Unauthorized {
                status: status.as_u16(),
                message,
            },
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited { retry_after },
            _ if status.is_server_error() => Self::Unreachable {
                took_effect: TookEffect::Unknown,
                reason: message,
            },
            _ if status.is_client_error() => Self::Invalid { code, message },
            // Redirects are not followed; nothing else is an answer of Clerk's.
            _ => Self::Protocol(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> Error {
        Error::from_answer(
            StatusCode::from_u16(status).unwrap(),
            Some(Duration::from_secs(7)),
            body.as_bytes(),
        )
    }

    #[test]
    fn statuses_say_who_failed_and_what_may_be_tried_again() {
        const BODY: &str = r#"{"errors":[{"code":"c","message":"m","long_message":"long"}],"clerk_trace_id":"t"}"#;
        let message = "long".to_owned();
        let unauthorized = |status| Error::Unauthorized {
            status,
            message: message.clone(),
        };
        assert_eq!(error(401, BODY), unauthorized(401));
        assert_eq!(error(403, BODY), unauthorized(403));
        assert_eq!(error(404, BODY), Error::NotFound);
        let invalid = Error::Invalid {
            code: "c".to_owned(),
            message: message.clone(),
        };
        assert_eq!(error(422, BODY), invalid);
        assert_eq!(error(400, BODY), invalid);
        let limited = Error::RateLimited {
            retry_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(error(429, BODY), limited);
        assert!(!limited.is_passing() && !invalid.is_passing());
        for status in [500, 502, 503, 504] {
            assert!(error(status, "<html>").is_passing(), "{status}");
        }
        for odd in [204, 302] {
            assert!(matches!(error(odd, ""), Error::Protocol(_)), "{odd}");
        }
    }

    #[test]
    fn an_error_without_clerks_shape_is_named_by_its_status() {
        for body in ["", "<html>", "{}", r#"{"errors":[]}"#, r#"{"errors":"x"}"#] {
            assert_eq!(
                error(422, body).to_string(),
                "Clerk refused the call: : HTTP status 422",
                "{body}"
            );
        }
    }
}
