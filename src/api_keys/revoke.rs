//! Revoking a key: it opens nothing from then on.

use super::ApiKey;
use crate::{
    audit::{self, Action, By},
    database::{Database, operation},
    ids::ApiKeyId,
    integrations::{Repeat, neon::Statement, upstash::Upstash},
    limits,
    problem::Problem,
};

/// `DELETE /v1/api-keys/{id}`: revokes a key and answers what it is now. Revoking it again changes nothing.
///
/// Isolates that remember the key are told through Redis. While Redis is away they ask the database for every key, so
/// that a key is refused at once either way; only where this one message fails and Redis then answers, a key may open
/// for as long as it is remembered.
///
/// # Errors
/// 404 `not_found`.
pub async fn revoke(database: &Database, upstash: &Upstash, by: By<'_>, id: ApiKeyId) -> Result<ApiKey, Problem> {
    let now = database.now();
    let mut transaction = database.enter(by.principal, operation!("api_keys.revoke"));
    let revoke = Statement::new(include_str!("sql/revoke.sql")).bind(id).bind(now);
    transaction.push(audit::bind_done(
        revoke,
        database.clock(),
        by,
        Action::ApiKeysRevoke,
        id,
    ));
    let read = transaction.push(Statement::new(include_str!("sql/read.sql")).bind(id));
    let api_key: ApiKey = transaction
        .commit()
        .await?
        .one(read)?
        .ok_or_else(|| Problem::not_found("API key"))?;
    let set = limits::set_revoked(id, 0, now.as_second());
    if let Err(error) = upstash.command(set, Repeat::Harmless).await {
        tracing::error!(%error, key = %id, "a revoked key may be remembered for a minute");
    }
    Ok(api_key)
}
