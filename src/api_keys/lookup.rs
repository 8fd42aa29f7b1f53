//! Finding who a key belongs to, before any tenant is known: the one thing that the API's role may ask of all tenants
//! at once, and only by the hash of a whole key.

use jiff::Timestamp;
use serde::Deserialize;

use super::secret::KeyHash;
use crate::{
    auth::{Permission, PermissionSet, Principal, TenantName},
    database::Database,
    ids::ApiKeyId,
    integrations::neon::Statement,
    problem::Problem,
    tenants::Limits,
};

/// Whether a key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It does.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked, or its tenant is being erased.
    Revoked,
}

/// A key that was found by its hash: whoever showed it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its tenant.
    pub tenant: TenantName,
    /// What it may do.
    pub scopes: PermissionSet,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Whether it opened anything when the database was asked.
    pub state: KeyState,
    /// Requests a minute that may be made with it.
    pub requests_per_minute: Option<u32>,
    /// What its tenant may use.
    pub limits: Limits,
}

/// The same as the database says it.
#[derive(Deserialize)]
struct Row {
    id: ApiKeyId,
    tenant: String,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
    state: KeyState,
    requests_per_minute: Option<u32>,
    limits: Limits,
}

/// The key with this hash, in whatever state; `None` if there is none. Notes that it was used, at most once a minute.
///
/// # Errors
/// The database could not be asked.
pub async fn find(database: &Database, hash: &KeyHash) -> Result<Option<FoundKey>, Problem> {
    let statement = Statement::new(include_str!("sql/find.sql")).bind(hash.as_str());
    let Some(row) = database.outside(statement).await?.one::<Option<Row>>(0)?.flatten() else {
        return Ok(None);
    };
    let tenant: TenantName = row.tenant.parse().map_err(|error| {
        tracing::error!(%error, key = %row.id, "the tenant of a key has a name that cannot be one");
        Problem::internal()
    })?;
    database.learn(&tenant, row.limits);
    Ok(Some(FoundKey {
        id: row.id,
        tenant,
        // A permission that there is no more is no permission.
        scopes: row
            .scopes
            .iter()
            .filter_map(|word| word.parse::<Permission>().ok())
            .collect(),
        expires_at: row.expires_at,
        state: row.state,
        requests_per_minute: row.requests_per_minute,
        limits: row.limits,
    }))
}

impl FoundKey {
    /// Who is calling.
    ///
    /// # Errors
    /// 401 `api_key_revoked` or `api_key_expired`: only who has the key itself is told that.
    pub fn principal(&self, now: Timestamp) -> Result<Principal, Problem> {
        let refused = |code, detail| Err(Problem::new(401, code, "No valid credential", detail));
        match self.state {
            KeyState::Revoked => refused("api_key_revoked", "this key was revoked"),
            KeyState::Active if self.expires_at.is_none_or(|at| now < at) => {
                Ok(Principal::api_key(self.tenant.clone(), self.id, self.scopes))
            }
            KeyState::Active | KeyState::Expired => refused("api_key_expired", "this key has expired"),
        }
    }
}
