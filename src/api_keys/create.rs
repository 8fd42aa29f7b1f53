//! Making a key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ApiKey, CreatedApiKey, MAX_KEYS, rules, secret::NewKey};
use crate::{
    audit::{self, Action, By},
    auth::{Permission, PermissionSet},
    body::Body,
    database::{Database, operation},
    idempotency::{Answer, IdempotencyKey, Reservation},
    ids::ApiKeyId,
    integrations::neon::Statement,
    problem::{FieldError, Problem},
    tenants::MAX_REQUESTS_PER_MINUTE,
};

/// A key to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ci", "scopes": ["runs:create", "runs:read"], "expires_at": "2027-11-23T10:00:00Z"}))]
pub struct NewApiKey {
    /// What people call it; need not be unique.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// What it may do: permissions that the caller has.
    #[schema(value_type = Vec<Permission>, min_items = 1)]
    pub scopes: Vec<Permission>,
    /// Requests a minute that may be made with it; the tenant's limit holds beside it.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub requests_per_minute: Option<u32>,
    /// When it ends; without it, when it is revoked.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// `POST /v1/api-keys`: makes a key. The answer (201) holds a [`CreatedApiKey`], which alone shows the key.
///
/// # Errors
/// 422 `invalid_request`, for a scope that the caller may not give at its place in `/scopes`; 409 `too_many_api_keys`,
/// 409 `idempotency_conflict`; 503 `unavailable`.
pub async fn create(
    database: &Database,
    by: By<'_>,
    key: Option<&IdempotencyKey>,
    body: Body<NewApiKey>,
) -> Result<Answer, Problem> {
    let Body { value: new, json } = body;
    let now = database.now();
    let scopes = check(&new, by, now)?;
    let secret = NewKey::make()?;
    let created = CreatedApiKey {
        key: None,
        api_key: ApiKey {
            id: ApiKeyId::new(database.clock()),
            name: new.name,
            prefix: secret.prefix.clone(),
            scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            requests_per_minute: new.requests_per_minute,
            created_by: by.principal.label().to_string(),
            created_at: now,
            expires_at: new.expires_at.map(as_stored),
            last_used_at: None,
            revoked_at: None,
            rotated_from: None,
        },
    };
    // The answer that is kept for the Idempotency-Key never held the key.
    let reservation = Reservation::new("POST /v1/api-keys", key, &json, 201, &created)?;
    let api_key = &created.api_key;

    let mut transaction = database.enter(by.principal, operation!("api_keys.create"));
    reservation.reserve(&mut transaction);
    transaction.push(Statement::new(include_str!("sql/lock.sql")));
    let insert = reservation
        .bind(Statement::new(include_str!("sql/create.sql")))
        .bind(api_key.id)
        .bind(&api_key.name)
        .bind(secret.hash.as_str())
        .bind(&api_key.prefix)
        .bind_json(&api_key.scopes)
        .bind(api_key.requests_per_minute)
        .bind(&api_key.created_by)
        .bind(now)
        .bind(api_key.expires_at)
        .bind(MAX_KEYS);
    let insert = audit::bind_done(insert, database.clock(), by, Action::ApiKeysCreate, api_key.id);
    transaction.push(insert);
    let is_there = transaction.push(Statement::new(include_str!("sql/is_there.sql")).bind(api_key.id));
    reservation.release(
        Statement::new(include_str!("sql/release_key.sql")).bind(api_key.id),
        &mut transaction,
    );
    let held = reservation.read(&mut transaction);
    let rows = transaction.commit().await?;

    if let Some(first) = reservation.replay(&rows, held)? {
        return Ok(first);
    }
    if !rows.only::<bool>(is_there)? {
        return Err(rules::too_many());
    }
    Ok(showing(reservation.into_answer(), &secret))
}

/// The answer with the key in it.
pub(super) fn showing(mut answer: Answer, secret: &NewKey) -> Answer {
    if let Value::Object(body) = &mut answer.body {
        body.insert("key".to_owned(), Value::from(secret.show()));
    }
    answer
}

/// A time as exactly as the database keeps it.
pub(super) fn as_stored(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

fn check(new: &NewApiKey, by: By<'_>, now: Timestamp) -> Result<PermissionSet, Problem> {
    let mut errors = Vec::new();
    rules::check_name(&new.name, &mut errors);
    rules::check_expiry(new.expires_at, now, &mut errors);
    if new
        .requests_per_minute
        .is_some_and(|number| number == 0 || number > MAX_REQUESTS_PER_MINUTE)
    {
        errors.push(FieldError::new(
            "/requests_per_minute",
            "out_of_range",
            format!("must be from 1 to {MAX_REQUESTS_PER_MINUTE}"),
        ));
    }
    if new.scopes.is_empty() {
        errors.push(FieldError::new(
            "/scopes",
            "required",
            "a key without scopes could do nothing",
        ));
    }
    let may_give = rules::may_give(by.principal);
    let mut scopes = PermissionSet::EMPTY;
    for (index, scope) in new
        .scopes
        .iter()
        .enumerate()
        .take(Permission::ALL.len().saturating_add(1))
    {
        let at = format!("/scopes/{index}");
        if scopes.contains(*scope) {
            errors.push(FieldError::new(at, "duplicate", "is named already"));
        } else if !may_give.contains(*scope) {
            errors.push(FieldError::new(
                at,
                "not_allowed",
                "you may not give this permission to a key",
            ));
        }
        scopes = scopes.union(PermissionSet::of(&[*scope]));
    }
    if errors.is_empty() {
        Ok(scopes)
    } else {
        Err(Problem::invalid(errors))
    }
}
