//! Why a credential was refused: one stable word for logs and audits, and nearly nothing for the caller, so that a
//! refusal never says how far a forgery came.

use crate::problem::Problem;

/// Why a bearer token does not identify anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.reason())]
pub enum Refusal {
    /// It is no signed JSON Web Token in compact form.
    Malformed,
    /// It is longer than [`super::MAX_TOKEN_BYTES`].
    TooLong,
    /// The issuer that it names is not one of ours, or it names none.
    WrongIssuer,
    /// No bearer tokens are accepted: neither Clerk nor `JWT_SECRET` is set.
    NotConfigured,
    /// The issuer's tokens are signed by another algorithm than its header says.
    WrongAlgorithm,
    /// Its header's `typ` is not `JWT`.
    WrongType,
    /// Its header demands an extension (`crit`), and we have none.
    CriticalHeader,
    /// It is a token of Clerk's for machines, not for a session.
    MachineToken,
    /// Its header names no key.
    NoKey,
    /// The issuer has no such key.
    UnknownKey,
    /// The issuer's keys could not be had; whether the token is good is not known.
    KeysUnavailable,
    /// Its signature is not the issuer's.
    WrongSignature,
    /// The signature holds, but this claim is missing, or has another form than it must have.
    WrongClaim(&'static str),
    /// It is addressed to somebody else (`aud`).
    WrongAudience,
    /// It was made for an application that is not one of ours (`azp`), or does not say for which.
    WrongParty,
    /// It was good once.
    Expired,
    /// It is not good yet (`nbf`), or comes from the future (`iat`).
    NotYetValid,
    /// The user has not finished signing in (`sts`).
    PendingSession,
    /// It claims a role that its issuer may not give.
    WrongRole,
}

impl Refusal {
    /// The word for logs, counters and audits. Stable, snake_case; never shown to the caller.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::TooLong => "token_too_long",
            Self::WrongIssuer => "wrong_issuer",
            Self::NotConfigured => "bearer_not_configured",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongType => "wrong_type",
            Self::CriticalHeader => "critical_header",
            Self::MachineToken => "machine_token",
            Self::NoKey => "no_key",
            Self::UnknownKey => "unknown_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::WrongSignature => "wrong_signature",
            Self::WrongClaim(_) => "wrong_claim",
            Self::WrongAudience => "wrong_audience",
            Self::WrongParty => "wrong_party",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::PendingSession => "session_pending",
            Self::WrongRole => "wrong_role",
        }
    }

    /// What the caller is told: 401 `unauthenticated`; 401 `token_expired`, which only the holder of a token with a
    /// good signature can see, and needs in order to fetch a new one; 503 `unavailable` where we could not find out.
    pub fn problem(self) -> Problem {
        let unauthenticated = |detail: &str| Problem::new(401, "unauthenticated", "No valid credential", detail);
        match self {
            Self::Expired => Problem::new(
                401,
                "token_expired",
                "The token has expired",
                "fetch a new token and send the request again",
            ),
            Self::KeysUnavailable => Problem::unavailable("the token cannot be checked at the moment"),
            Self::NotConfigured => {
                unauthenticated("this installation accepts no bearer tokens; send the header X-API-Key")
            }
            _ => unauthenticated("the token is not valid"),
        }
    }
}
