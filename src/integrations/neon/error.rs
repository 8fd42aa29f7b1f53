//! What can go wrong between us and the database, sorted by what the caller may do next.
//! Must never hold the connection string, the statements or their parameters.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::integrations::{Body, TookEffect, exchange::Failure};

/// Why a batch has no answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The database refused a statement, and the whole batch was rolled back.
    #[error("the database refused the batch: {} ({})", .0.message, .0.sqlstate)]
    Database(Box<DatabaseError>),
    /// The database could not be reached, or its answer was lost on the way.
    #[error("the database is out of reach: {reason}")]
    Unreachable {
        /// Whether the batch may have been committed.
        took_effect: TookEffect,
        /// What the platform or the gateway said.
        reason: String,
    },
    /// No complete answer in time. The batch may have been committed.
    #[error("no answer from the database within {0:?}")]
    Timeout(Duration),
    /// Over the gateway's limit of 10 MiB. Nothing took effect, except under an answer that our own bound cut off.
    #[error("the {body} is larger than the database's gateway allows")]
    TooLarge {
        /// Which body.
        body: Body,
        /// Whether the batch may have been committed.
        took_effect: TookEffect,
    },
    /// The gateway refused the request itself: the password, the database's name, a header. Nothing took effect.
    #[error("the database's gateway refused the request ({status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the gateway said.
        message: String,
    },
    /// A parameter could not become JSON. Nothing was sent.
    #[error("the batch cannot be sent: {0}")]
    Unsendable(String),
    /// The answer has another shape than the statement promised. The batch was committed.
    #[error("the database's answer could not be read: {0}")]
    Protocol(String),
}

/// An error of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseError {
    /// Five characters: the class and the condition.
    pub sqlstate: String,
    /// For a person; may quote data.
    pub message: String,
    /// More of the same.
    pub detail: Option<String>,
    /// The constraint that did not hold.
    pub constraint: Option<String>,
    /// The table, where PostgreSQL names it.
    pub table: Option<String>,
    /// The column, where PostgreSQL names it.
    pub column: Option<String>,
}

impl Error {
    /// PostgreSQL's code, where it was PostgreSQL that refused.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Database(error) => Some(&error.sqlstate),
            _ => None,
        }
    }

    /// The name of the constraint that did not hold.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error.constraint.as_deref(),
            _ => None,
        }
    }

    /// Whether the batch was refused for the data it carried, so that the same batch will be refused again, while
    /// another one may pass: classes 22 (data), 23 (constraints) and 54 (limits), or a request over 10 MiB.
    pub fn is_data_error(&self) -> bool {
        match self {
            Self::Database(error) => ["22", "23", "54"].iter().any(|class| error.sqlstate.starts_with(class)),
            Self::TooLarge {
                body: Body::Request, ..
            } => true,
            _ => false,
        }
    }

    /// Whether the batch may have been committed all the same.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Unreachable { took_effect, .. } | Self::TooLarge { took_effect, .. } => {
                *took_effect == TookEffect::Unknown
            }
            Self::Timeout(_) | Self::Protocol(_) => true,
            Self::Database(_) | Self::Refused { .. } | Self::Unsendable(_) => false,
        }
    }

    /// Whether nothing took effect for a passing reason: such a batch is tried again, whatever it does.
    pub(super) fn is_undone_and_passing(&self) -> bool {
        match self {
            Self::Unreachable { took_effect, .. } => *took_effect == TookEffect::No,
            // serialization_failure, deadlock_detected
            Self::Database(error) => matches!(error.sqlstate.as_str(), "40001" | "40P01"),
            _ => false,
        }
    }

    /// Whether nobody knows what became of the batch: it is tried again only where that is harmless.
    pub(super) fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Unreachable {
                took_effect: TookEffect::Unknown,
                ..
            } | Self::Timeout(_)
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
            Failure::TooLong => Self::TooLarge {
                body: Body::Answer,
                took_effect: TookEffect::Unknown,
            },
        }
    }

    /// What an answer other than 200 means.
    pub(super) fn from_answer(status: StatusCode, body: &[u8]) -> Self {
        let wire: WireError = serde_json::from_slice(body).unwrap_or_default();
        match status.as_u16() {
            413 => {
                return Self::TooLarge {
                    body: Body::Request,
                    took_effect: TookEffect::No,
                };
            }
            // The gateway rolls back before it answers so.
            507 => {
                return Self::TooLarge {
                    body: Body::Answer,
                    took_effect: TookEffect::No,
                };
            }
            _ => {}
        }
        if let Some(took_effect) = effect_of_lost_session(status, &wire) {
            let reason = if wire.message.is_empty() {
                format!("HTTP status {}", status.as_u16())
            } else {
                wire.message
            };
            return Self::Unreachable { took_effect, reason };
        }
        if wire.code.is_empty() {
            let message = if wire.message.is_empty() {
                "no reason given".to_owned()
            } else {
                wire.message
            };
            return Self::Refused {
                status: status.as_u16(),
                message,
            };
        }
        Self::Database(Box::new(DatabaseError {
            sqlstate: wire.code,
            message: wire.message,
            detail: wire.detail,
            constraint: wire.constraint,
            table: wire.table,
            column: wire.column,
        }))
    }
}

/// The keys of an error's body that we look at, of the 17 that it has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WireError {
    message: String,
    code: String,
    detail: Option<String>,
    constraint: Option<String>,
    table: Option<String>,
    column: Option<String>,
}

/// How the gateway's messages begin when it had no session with the database yet, so that no statement was executed
/// (proxy/src/serverless/backend.rs and proxy/src/control_plane/errors.rs of neondatabase/neon).
const NEVER_CONNECTED: [&str; 5] = [
    "Control plane request failed",
    "Couldn't connect to compute node",
    "Could not establish HTTP connection to the database",
    "Failed to acquire permit to connect to the database",
    "Too many connections attempts",
];

/// How they begin when the session broke during the batch, perhaps during its commit. They come as 400 without a
/// SQLSTATE, like a bad password (the client's own errors in proxy/src/serverless/sql_over_http.rs).
const SESSION_BROKE: [&str; 3] = [
    "connection closed",
    "error communicating with the server",
    "unexpected message from server",
];

/// What became of a batch whose session with the database is gone; `None` if the answer is about something else.
fn effect_of_lost_session(status: StatusCode, wire: &WireError) -> Option<TookEffect> {
    let begins_with_any = |messages: &[&str]| messages.iter().any(|begin| wire.message.starts_with(begin));
    match wire.code.as_str() {
        // cannot_connect_now, too_many_connections: the session never began.
        "57P03" | "53300" => Some(TookEffect::No),
        // The connection's own exceptions, statement_completion_unknown, and a session ended from outside.
        "08000" | "08003" | "08006" | "08007" | "40003" | "57P01" | "57P02" | "57P05" => Some(TookEffect::Unknown),
        code if status.is_server_error() && begins_with_any(&NEVER_CONNECTED) => {
            tracing::debug!(code, "the gateway has no session with the database");
            Some(TookEffect::No)
        }
        "" if status.is_server_error() || begins_with_any(&SESSION_BROKE) => Some(TookEffect::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, message: &str, code: &str) -> Error {
        let body = serde_json::json!({ "message": message, "code": code, "detail": null, "constraint": "runs_pkey" });
        Error::from_answer(
            StatusCode::from_u16(status).unwrap(),
            &serde_json::to_vec(&body).unwrap(),
        )
    }

    #[test]
    fn an_error_of_postgres_keeps_its_code_and_constraint() {
        let error = answer(400, "duplicate key value", "23505");
        assert_eq!(
            (error.sqlstate(), error.constraint()),
            (Some("23505"), Some("runs_pkey"))
        );
        assert!(error.is_data_error() && !error.may_have_taken_effect() && !error.is_undone_and_passing());
        assert!(answer(400, "program limit", "54000").is_data_error());
        assert!(!answer(400, "no such table", "42P01").is_data_error());
        assert!(answer(400, "deadlock detected", "40P01").is_undone_and_passing());
    }

    #[test]
    fn what_never_connected_took_no_effect() {
        for error in [
            answer(500, "Control plane request failed", ""),
            answer(503, "Couldn't connect to compute node: timed out", ""),
            answer(500, "the database system is starting up", "57P03"),
            answer(500, "sorry, too many clients already", "53300"),
        ] {
            assert!(
                error.is_undone_and_passing() && !error.may_have_taken_effect(),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_session_that_broke_leaves_the_effect_unknown() {
        for error in [
            answer(400, "connection closed", ""),
            answer(400, "error communicating with the server", ""),
            answer(400, "terminating connection due to administrator command", "57P01"),
            answer(500, "something else", ""),
            Error::from_answer(StatusCode::BAD_GATEWAY, b"<html>"),
        ] {
            assert!(error.is_lost() && error.may_have_taken_effect(), "{error:?}");
        }
    }

    #[test]
    fn what_the_gateway_itself_refuses_is_neither_lost_nor_an_error_of_the_database() {
        let error = answer(400, "password authentication failed for user 'aos_api'", "");
        assert!(matches!(error, Error::Refused { status: 400, .. }), "{error:?}");
        assert!(!error.is_lost() && !error.is_undone_and_passing() && !error.may_have_taken_effect());
        let error = Error::from_answer(StatusCode::INSUFFICIENT_STORAGE, b"{}");
        assert_eq!(
            error,
            Error::TooLarge {
                body: Body::Answer,
                took_effect: TookEffect::No
            }
        );
        assert!(answer(413, "payload too large", "").is_data_error());
    }
}
