//! One entry, and how a transaction writes it.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    auth::Principal,
    database::{Database, Transaction, operation},
    ids::{AuditId, TenantId},
    integrations::neon::Statement,
    platform::Clock,
    problem::Problem,
};

/// Who does it, and in which request: what every entry says first.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// The verified caller.
    pub principal: &'a Principal,
    /// The request's id, as in `X-Request-Id`.
    pub request_id: &'a str,
}

/// An action that is audited each time it is done. The words are those of the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An API key was created.
    ApiKeysCreate,
    /// An API key was revoked.
    ApiKeysRevoke,
    /// An API key was given a successor.
    ApiKeysRotate,
    /// A secret was given a value.
    SecretsPut,
    /// A secret was deleted.
    SecretsDelete,
    /// A session was ended.
    SessionsRevoke,
    /// A tenant's own settings were changed.
    SettingsPut,
    /// A tenant's tier or limits were set.
    TenantsUpdate,
    /// A tenant's erasure was asked for.
    TenantsErase,
}

impl Action {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKeysCreate => "api_keys.create",
            Self::ApiKeysRevoke => "api_keys.revoke",
            Self::ApiKeysRotate => "api_keys.rotate",
            Self::SecretsPut => "secrets.put",
            Self::SecretsDelete => "secrets.delete",
            Self::SettingsPut => "settings.put",
            Self::SessionsRevoke => "sessions.revoke",
            Self::TenantsUpdate => "tenants.update",
            Self::TenantsErase => "tenants.erase",
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
}

impl AuditOutcome {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

impl FromStr for AuditOutcome {
    type Err = UnknownOutcome;

    fn from_str(word: &str) -> Result<Self, UnknownOutcome> {
        [Self::Done, Self::Refused]
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
            .ok_or(UnknownOutcome)
    }
}

/// A text that is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such outcome")]
pub struct UnknownOutcome;

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "aud_018f0000000070008000000000000001", "at": "2026-11-23T10:00:00Z", "tenant": "org_2abc",
    "actor": "session:sess_1 user_1", "credential": "session", "action": "api_keys.create",
    "target": "key_018f0000000070008000000000000002", "outcome": "done", "code": null, "request_id": "req_1",
    "sampled_of": null
}))]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// The tenant's name; `null` for strangers.
    pub tenant: Option<String>,
    /// Who, and how it was proved; `null` for strangers.
    pub actor: Option<String>,
    /// The kind of credential that was shown.
    pub credential: String,
    /// What was to be done: the operation's name.
    pub action: String,
    /// What it was to be done to.
    pub target: Option<String>,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// The code of the problem, if it was refused.
    pub code: Option<String>,
    /// The request's id.
    pub request_id: String,
    /// Strangers are sampled: this entry was the so-manieth of its kind in its minute.
    pub sampled_of: Option<u32>,
}

/// Writes that an action outside the database was done, for the caller's tenant.
///
/// # Errors
/// 503 `unavailable`: it was done, and is not written.
pub async fn done(database: &Database, by: By<'_>, action: Action, target: &str) -> Result<(), Problem> {
    let mut transaction = database.enter(by.principal, operation!("audit.done"));
    let statement = Statement::new(include_str!("sql/done.sql"));
    transaction.push(bind_done(statement, database.clock(), by, action, target));
    transaction.commit().await?;
    Ok(())
}

/// Writes, in the transaction, that an action was done to a tenant that is there; nothing if it is not.
pub(crate) fn done_to(
    transaction: &mut Transaction<'_>,
    clock: &dyn Clock,
    by: By<'_>,
    tenant: TenantId,
    action: Action,
    target: impl fmt::Display,
) {
    let statement = Statement::new(include_str!("sql/done_to.sql")).bind(tenant);
    transaction.push(bind_done(statement, clock, by, action, target));
}

/// The parameters of `note_done` for a statement that writes the entry only if it did something. They come last: the
/// entry's id, who, by which kind of credential, the action, what it was done to, the request.
pub(crate) fn bind_done(
    statement: Statement,
    clock: &dyn Clock,
    by: By<'_>,
    action: Action,
    target: impl fmt::Display,
) -> Statement {
    statement
        .bind(AuditId::new(clock))
        .bind(by.principal.label().to_string())
        .bind(by.principal.credential.kind())
        .bind(action.as_str())
        .bind(target.to_string())
        .bind(by.request_id)
}
