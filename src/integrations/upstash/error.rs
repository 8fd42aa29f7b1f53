//! What can go wrong between us and Redis, sorted by what the caller may do next.
//! Must never hold the token or a command's arguments.

use std::time::Duration;

use http::StatusCode;

use crate::integrations::{Body, TookEffect, exchange::Failure};

/// What Redis said about one command, such as `WRONGTYPE Operation against a key …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub String);

impl CommandError {
    /// The first word: `ERR`, `WRONGTYPE`, `NOSCRIPT`, …
    pub fn code(&self) -> &str {
        self.0.split_whitespace().next().unwrap_or_default()
    }
}

/// Why a request has no results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Redis refused the command.
    #[error("Redis refused the command: {0}")]
    Command(#[from] CommandError),
    /// The account's requests are used up, for the day, the month or this moment.
    #[error("the limit of requests to Redis is reached: {0}")]
    Quota(String),
    /// The token is wrong, or may not do this.
    #[error("Redis refused the token: {0}")]
    Unauthorized(String),
    /// Redis could not be reached, or its answer was lost on the way.
    #[error("Redis is out of reach: {reason}")]
    Unreachable {
        /// Whether the commands may have been executed.
        took_effect: TookEffect,
        /// What the platform or the service said.
        reason: String,
    },
    /// No complete answer in time. The commands may have been executed.
    #[error("no answer from Redis within {0:?}")]
    Timeout(Duration),
    /// Over the limit of 10 MB. Nothing was executed if it is the request that was too large.
    #[error("the {0} is larger than Redis may send or receive")]
    TooLarge(Body),
    /// The answer has another shape than the protocol's. The commands have been executed.
    #[error("the answer of Redis could not be read: {0}")]
    Protocol(String),
}

impl Error {
    /// Whether commands may have been executed all the same.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Unreachable { took_effect, .. } => *took_effect == TookEffect::Unknown,
            Self::Timeout(_) | Self::Protocol(_) => true,
            Self::TooLarge(body) => *body == Body::Answer,
            Self::Command(_) | Self::Quota(_) | Self::Unauthorized(_) => false,
        }
    }

    /// Whether nobody knows what became of the commands, so that only a harmless request is tried again.
    pub(super) fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Unreachable {
                took_effect: TookEffect::Unknown,
                ..
            } | Self::Timeout(_)
        )
    }

    /// Whether nothing was sent, so that any request is tried again.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Unreachable {
                took_effect: TookEffect::No,
                ..
            }
        )
    }

    pub(super) fn from_failure(failure: Failure, timeout: Duration) -> Self {
        match failure {
            Failure::NotSent(reason) => Self::Unreachable {
                took_effect: TookEffect::No,
                reason,
            },
            Failure::Lost(reason) => Self::Unreachable {
                took_effect: TookEffect::Unknown,
                reason,
            },
            Failure::Timeout => Self::Timeout(timeout),
            Failure::TooLong => Self::TooLarge(Body::Answer),
        }
    }

    /// What the text of an error means, in an answer of its own or beside results.
    pub(super) fn from_text(text: String) -> Self {
        let is_quota = ["max daily request limit exceeded", "max requests limit exceeded"]
            .iter()
            .any(|quota| text.contains(quota));
        if is_quota {
            Self::Quota(text)
        } else {
            Self::Command(CommandError(text))
        }
    }

    /// What an answer other than 200 means; `text` is its `error`, if it had one.
    pub(super) fn from_answer(status: StatusCode, text: Option<String>) -> Self {
        let known = text.is_some();
        let text = text.unwrap_or_else(|| format!("HTTP status {}", status.as_u16()));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Unauthorized(text),
            StatusCode::TOO_MANY_REQUESTS => Self::Quota(text),
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge(Body::Request),
            _ if status.is_server_error() || !known => Self::Unreachable {
                took_effect: TookEffect::Unknown,
                reason: text,
            },
            _ => Self::from_text(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_up_requests_are_their_own_error() {
        let text = "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000.".to_owned();
        assert_eq!(
            Error::from_answer(StatusCode::BAD_REQUEST, Some(text.clone())),
            Error::Quota(text)
        );
        assert!(matches!(
            Error::from_text("ERR max requests limit exceeded".into()),
            Error::Quota(_)
        ));
    }

    #[test]
    fn statuses_say_who_failed() {
        let wrong_type = Error::from_answer(StatusCode::BAD_REQUEST, Some("WRONGTYPE Operation".into()));
        assert!(
            matches!(&wrong_type, Error::Command(error) if error.code() == "WRONGTYPE"),
            "{wrong_type:?}"
        );
        assert!(Error::from_answer(StatusCode::BAD_GATEWAY, None).is_lost());
        assert!(Error::from_answer(StatusCode::INTERNAL_SERVER_ERROR, Some("ERR away".into())).is_lost());
        assert!(matches!(
            Error::from_answer(StatusCode::UNAUTHORIZED, Some("WRONGPASS".into())),
            Error::Unauthorized(_)
        ));
    }
}
