//! How a query can fail, by what the database, its gateway or the way there said.

use crate::{
    integrations::{Body, neon},
    skills::{
        Category, OutcomeError,
        failure::{Failure, failures},
    },
};

failures! {
    /// How a query can fail.
    pub(super) enum QueryFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
        NotConfigured {
            code: "integration_not_configured", category: Category::Configuration, retryable: false,
            when: "the tenant has no query_database_url; the installation's is for the operator's tenant alone",
        },
        DatabaseNotAllowed {
            code: "database_not_allowed", category: Category::Configuration, retryable: false,
            when: "the connection string is none, its host is not Neon's, or the database is AOS's own",
        },
        Unauthorized {
            code: "integration_unauthorized", category: Category::Configuration, retryable: false,
            when: "the database refuses the user or the password, or there is no such database",
        },
        QuotaExhausted {
            code: "quota_exhausted", category: Category::RateLimit, retryable: false,
            when: "the Neon project's quota is used up",
        },
        RateLimited {
            code: "rate_limited", category: Category::RateLimit, retryable: true,
            when: "Neon takes no more requests for now",
        },
        PermissionDenied {
            code: "permission_denied", category: Category::Permission, retryable: false,
            when: "the database's role may not read this",
        },
        QueryRejected {
            code: "query_rejected", category: Category::Validation, retryable: false,
            when: "the database refuses the query: it is wrong, its values are, or it does more than read",
        },
        // Another attempt would take as long: the query has to change, or the step's time, up to the limit.
        QueryTimeout {
            code: "query_timeout", category: Category::Timeout, retryable: false,
            when: "the database gave the query up after the time it may take",
        },
        OutputTooLarge {
            code: "output_too_large", category: Category::Content, retryable: false,
            when: "the rows are over 10 MiB, the first one alone is over 1 MiB, or a value nests deeper than 64 levels",
        },
        Unavailable {
            code: "provider_unavailable", category: Category::Provider, retryable: true,
            when: "the database is out of room, broke, or another transaction is in the way",
        },
        InvalidAnswer {
            code: "invalid_answer", category: Category::Provider, retryable: true,
            when: "the gateway's answer is not what its protocol says",
        },
        Network {
            code: "network", category: Category::Network, retryable: true,
            when: "the database is away or the connection failed; a repeat changes nothing",
        },
        Timeout {
            code: "timeout", category: Category::Timeout, retryable: true,
            when: "the gateway gave no complete answer in the step's time",
        },
    }
}

/// The error of a query that the client has no rows of. `status`: of the answer, if there was one.
pub(super) fn error(error: &neon::Error) -> OutcomeError {
    let (failure, status, message) = match error {
        neon::Error::Database(error) => (of_sqlstate(&error.sqlstate), Some(400), in_words(error)),
        neon::Error::Refused { status, message } => (of_refusal(*status, message), Some(*status), message.clone()),
        neon::Error::TooLarge { body: Body::Answer, .. } => {
            let message = "the rows have more than 10 MiB; ask for fewer rows or shorter values";
            (QueryFailure::OutputTooLarge, Some(507), message.to_owned())
        }
        neon::Error::TooLarge { .. } => (QueryFailure::QueryRejected, Some(413), error.to_string()),
        neon::Error::Unsendable(_) => (QueryFailure::InvalidParams, None, error.to_string()),
        neon::Error::Unreachable { .. } => (QueryFailure::Network, None, error.to_string()),
        neon::Error::Timeout(_) => (QueryFailure::Timeout, None, error.to_string()),
        neon::Error::Protocol(_) => (QueryFailure::InvalidAnswer, None, error.to_string()),
    };
    failure.error(message).from_provider(super::PROVIDER, status)
}

/// By class and condition: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_sqlstate(sqlstate: &str) -> QueryFailure {
    match sqlstate {
        "57014" => QueryFailure::QueryTimeout,
        "42501" => QueryFailure::PermissionDenied,
        // lock_not_available
        "55P03" => QueryFailure::Unavailable,
        // invalid_catalog_name: the database that the connection string names.
        "3D000" => QueryFailure::Unauthorized,
        _ => match sqlstate.get(..2).unwrap_or_default() {
            "28" => QueryFailure::Unauthorized,
            // Rollbacks, resources, operators, the system, the server itself.
            "40" | "53" | "57" | "58" | "XX" => QueryFailure::Unavailable,
            _ => QueryFailure::QueryRejected,
        },
    }
}

/// What the gateway itself refuses: the password, mostly.
fn of_refusal(status: u16, message: &str) -> QueryFailure {
    match status {
        402 => QueryFailure::QuotaExhausted,
        _ if message.contains("quota") => QueryFailure::QuotaExhausted,
        429 => QueryFailure::RateLimited,
        _ => QueryFailure::Unauthorized,
    }
}

/// What the database said; where it could not read the query, what it can be.
fn in_words(error: &neon::DatabaseError) -> String {
    let neon::DatabaseError { message, sqlstate, .. } = error;
    let hint = match sqlstate.as_str() {
        "42601" => "; a query is one SELECT, VALUES, TABLE or WITH … SELECT",
        "25006" => "; a query only reads",
        _ => "",
    };
    let detail = error
        .detail
        .as_ref()
        .map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{message}{detail} ({sqlstate}){hint}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::integrations::TookEffect;

    #[test]
    fn a_sqlstate_says_who_has_to_act() {
        for (failure, sqlstates) in [
            (
                QueryFailure::QueryRejected,
                vec![
                    "42601", "42P01", "42703", "22012", "22P02", "23505", "25006", "25001", "0A000", "21000", "08P01",
                    "P0001", "54001", "34000", "55000", "", "é",
                ],
            ),
            (QueryFailure::QueryTimeout, vec!["57014"]),
            (QueryFailure::PermissionDenied, vec!["42501"]),
            (QueryFailure::Unauthorized, vec!["28P01", "28000", "3D000"]),
            (
                QueryFailure::Unavailable,
                vec!["53100", "53200", "53400", "55P03", "40001", "40P01", "58030", "XX000"],
            ),
        ] {
            for sqlstate in sqlstates {
                assert_eq!(of_sqlstate(sqlstate), failure, "{sqlstate}");
            }
        }
    }

    #[test]
    fn every_error_of_the_client_has_a_failure() {
        let refused = |status, message: &str| neon::Error::Refused {
            status,
            message: message.to_owned(),
        };
        let too_large = |body| neon::Error::TooLarge {
            body,
            took_effect: TookEffect::No,
        };
        for (of_client, code, status) in [
            (
                refused(400, "password authentication failed for user 'u'"),
                "integration_unauthorized",
                Some(400),
            ),
            (refused(402, "pay"), "quota_exhausted", Some(402)),
            (
                refused(400, "Your project has exceeded the compute time quota."),
                "quota_exhausted",
                Some(400),
            ),
            (refused(429, "later"), "rate_limited", Some(429)),
            (too_large(Body::Answer), "output_too_large", Some(507)),
            (too_large(Body::Request), "query_rejected", Some(413)),
            (neon::Error::Unsendable("x".to_owned()), "invalid_params", None),
            (neon::Error::Timeout(Duration::from_secs(1)), "timeout", None),
            (neon::Error::Protocol("x".to_owned()), "invalid_answer", None),
            (
                neon::Error::Unreachable {
                    took_effect: TookEffect::Unknown,
                    reason: "x".to_owned(),
                },
                "network",
                None,
            ),
        ] {
            let error = error(&of_client);
            assert_eq!(
                (error.code.as_ref(), error.provider_status),
                (code, status),
                "{of_client}"
            );
            assert_eq!(error.provider.as_deref(), Some("neon"));
        }
    }
}
