//! Giving a key a successor: a new key that may do the same, and an end for the old one.

use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{ApiKey, CreatedApiKey, MAX_OVERLAP_S, create, rules, secret::NewKey};
use crate::{
    audit::{self, Action, By},
    body::Body,
    database::{Database, operation},
    idempotency::{Answer, IdempotencyKey, Reservation},
    ids::ApiKeyId,
    integrations::{Repeat, neon::Statement, upstash::Upstash},
    limits,
    problem::{FieldError, Problem},
};

/// How to replace a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"overlap_s": 3600}))]
pub struct Rotation {
    /// For how many seconds the old key still opens; 0 ends it now.
    #[serde(default = "default_overlap")]
    #[schema(minimum = 0, maximum = 604_800, default = 86_400)]
    pub overlap_s: u32,
    /// When the new key ends; without it, it lives as long as the old one was to live.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

fn default_overlap() -> u32 {
    24 * 60 * 60
}

/// What became of it.
#[derive(Deserialize)]
struct Verdict {
    created: bool,
    found: bool,
    ended: bool,
}

/// `POST /v1/api-keys/{id}/rotate`: makes a successor. The answer (201) holds a [`CreatedApiKey`], which alone shows the
/// new key.
///
/// # Errors
/// 404 `not_found`; 409 `api_key_ended`, if the old key opens nothing any more; 403 `forbidden`, if it may do more than
/// the caller may give; 422 `invalid_request`; 409 `idempotency_conflict`; 503 `unavailable`.
pub async fn rotate(
    database: &Database,
    upstash: &Upstash,
    by: By<'_>,
    id: ApiKeyId,
    key: Option<&IdempotencyKey>,
    body: Body<Rotation>,
) -> Result<Answer, Problem> {
    let Body { value: rotation, json } = body;
    let now = database.now();
    check(&rotation, now)?;
    let old_ends = now
        .checked_add(i64::from(rotation.overlap_s).seconds())
        .map_err(|_| Problem::internal())?;
    let secret = NewKey::make()?;
    let new_id = ApiKeyId::new(database.clock());
    // Which key is rotated is part of what is asked. What the answer will say is known to the database alone: it
    // completes the row itself.
    let asked = json!({"id": id, "body": json});
    let reservation = Reservation::new(
        "POST /v1/api-keys/{id}/rotate",
        key,
        &asked,
        201,
        &json!({"id": new_id}),
    )?;

    let mut transaction = database.enter(by.principal, operation!("api_keys.rotate"));
    reservation.reserve(&mut transaction);
    transaction.push(Statement::new(include_str!("sql/lock.sql")));
    let insert = reservation
        .bind(Statement::new(include_str!("sql/rotate.sql")))
        .bind(new_id)
        .bind(id)
        .bind(secret.hash.as_str())
        .bind(&secret.prefix)
        .bind_json(&rules::may_give(by.principal))
        .bind(by.principal.label().to_string())
        .bind(now)
        .bind(rotation.expires_at.map(create::as_stored))
        .bind(old_ends);
    let insert = audit::bind_done(insert, database.clock(), by, Action::ApiKeysRotate, id);
    transaction.push(insert);
    let verdict = transaction.push(
        Statement::new(include_str!("sql/rotated.sql"))
            .bind(new_id)
            .bind(id)
            .bind(now),
    );
    let read = transaction.push(Statement::new(include_str!("sql/read.sql")).bind(new_id));
    if key.is_some() {
        transaction.push(
            reservation
                .bind(Statement::new(include_str!("sql/complete_answer.sql")))
                .bind(new_id),
        );
    }
    reservation.release(
        Statement::new(include_str!("sql/release_key.sql")).bind(new_id),
        &mut transaction,
    );
    let held = reservation.read(&mut transaction);
    let rows = transaction.commit().await?;

    if let Some(first) = reservation.replay(&rows, held)? {
        let created = serde_json::from_value(first.body.clone()).map_err(|error| {
            tracing::error!(%error, "the answer of an earlier rotation cannot be read");
            Problem::internal()
        })?;
        return answered(first, &created);
    }
    match rows.only(verdict)? {
        Verdict { created: true, .. } => {}
        Verdict { found: false, .. } => return Err(Problem::not_found("API key")),
        Verdict { ended: true, .. } => {
            let detail = "the key was revoked or has expired; make a new one";
            return Err(Problem::conflict("api_key_ended", detail));
        }
        Verdict { .. } => {
            let detail = "the key may do more than you may give to a key";
            return Err(Problem::new(403, "forbidden", "Not allowed", detail));
        }
    }
    let created = CreatedApiKey {
        key: None,
        api_key: rows.only::<ApiKey>(read)?,
    };
    tell(upstash, id, old_ends, now).await;
    let answer = answered(reservation.into_answer(), &created)?;
    Ok(create::showing(answer, &secret))
}

/// Isolates that remember the old key without its end are told. Where that fails they hear it from the database, within
/// a minute.
async fn tell(upstash: &Upstash, id: ApiKeyId, ends: Timestamp, now: Timestamp) {
    let set = limits::set_revoked(id, ends.as_second(), now.as_second());
    if let Err(error) = upstash.command(set, Repeat::Harmless).await {
        tracing::warn!(%error, key = %id, "the end of a key could not be told");
    }
}

/// The answer says all about the new key, which lies beside the old one and not under it.
fn answered(answer: Answer, created: &CreatedApiKey) -> Result<Answer, Problem> {
    let body = serde_json::to_value(created).map_err(|error| {
        tracing::error!(%error, "an answer cannot become JSON");
        Problem::internal()
    })?;
    Ok(Answer {
        body,
        location: format!("/v1/api-keys/{}", created.api_key.id),
        ..answer
    })
}

fn check(rotation: &Rotation, now: Timestamp) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if rotation.overlap_s > MAX_OVERLAP_S {
        let detail = format!("must be from 0 to {MAX_OVERLAP_S}");
        errors.push(FieldError::new("/overlap_s", "out_of_range", detail));
    }
    rules::check_expiry(rotation.expires_at, now, &mut errors);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}
