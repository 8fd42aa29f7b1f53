//! What a tenant hands over in confidence: secrets that plans refer to (`{{secrets.name}}`), by name. Write-only: nothing
//! here answers a value, and the database only ever sees it sealed.

mod sealed_values;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::sealed_values::{Kind, SealedRow, not_configured};
use crate::{
    audit::{Action, By},
    auth::Principal,
    body::Body,
    database::{Database, operation},
    problem::{FieldError, Problem},
    sealing::Sealer,
};

/// Secrets of a tenant.
pub const MAX_SECRETS: u32 = 100;
/// Characters of a name.
pub const MAX_NAME_CHARS: usize = 64;
/// Bytes of a value: it goes into a header.
pub const MAX_VALUE_BYTES: usize = 4096;

const SECRETS: Kind = Kind {
    word: "secret",
    most: MAX_SECRETS,
    put: Action::SecretsPut,
    delete: Action::SecretsDelete,
};

/// A secret to keep.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"value": "what nobody else should know"}))]
pub struct NewSecret {
    /// The value: visible ASCII without line ends, at most 4,096 bytes. It is shown to nobody.
    #[schema(value_type = String, min_length = 1, max_length = 4096, write_only)]
    pub value: SecretString,
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "name": "shop_token", "created_at": "2026-11-28T10:00:00Z", "updated_at": "2026-11-28T10:00:00Z",
    "updated_by": "session:sess_1 user_1"
}))]
pub struct Secret {
    /// What plans call it.
    pub name: String,
    /// When there first was one of this name.
    pub created_at: Timestamp,
    /// When its present value was given.
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
}

/// The secrets of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Secrets {
    /// All of them, ordered by name.
    pub items: Vec<Secret>,
}

impl From<SealedRow> for Secret {
    fn from(row: SealedRow) -> Self {
        Self {
            name: row.name,
            created_at: row.created_at,
            updated_at: row.updated_at,
            updated_by: row.updated_by,
        }
    }
}

/// `PUT /v1/secrets/{name}`: keeps a value under a name, in place of an earlier one. Steps that start from now on get it.
///
/// # Errors
/// 422 `invalid_request`; 409 `too_many_secrets`; 503 `sealing_not_configured`.
pub async fn put(
    database: &Database,
    sealer: Option<&Sealer>,
    by: By<'_>,
    name: &str,
    body: Body<NewSecret>,
) -> Result<Secret, Problem> {
    let sealer = sealer.ok_or_else(not_configured)?;
    let value = &body.value.value;
    check(name, value)?;
    let mut transaction = database.enter(by.principal, operation!("secrets.put"));
    SECRETS.put(&mut transaction, database, sealer, by, &[(name, value)])?;
    let read = SECRETS.list(&mut transaction, Some(name), false);
    let row: Option<SealedRow> = transaction.commit().await?.one(read)?;
    row.map(Secret::from).ok_or_else(|| {
        Problem::conflict(
            "too_many_secrets",
            format!("a tenant has at most {MAX_SECRETS} secrets; delete one first"),
        )
    })
}

/// `GET /v1/secrets`: which there are.
///
/// # Errors
/// 503 `unavailable`.
pub async fn list(database: &Database, principal: &Principal) -> Result<Secrets, Problem> {
    let mut transaction = database.enter(principal, operation!("secrets.list"));
    let read = SECRETS.list(&mut transaction, None, false);
    let rows: Vec<SealedRow> = transaction.commit().await?.all(read)?;
    Ok(Secrets {
        items: rows.into_iter().map(Secret::from).collect(),
    })
}

/// `GET /v1/secrets/{name}`: when it was given and by whom.
///
/// # Errors
/// 404 `not_found`.
pub async fn get(database: &Database, principal: &Principal, name: &str) -> Result<Secret, Problem> {
    let mut transaction = database.enter(principal, operation!("secrets.get"));
    let read = SECRETS.list(&mut transaction, Some(sound(name)?), false);
    let row: Option<SealedRow> = transaction.commit().await?.one(read)?;
    row.map(Secret::from).ok_or_else(|| Problem::not_found("secret"))
}

/// `DELETE /v1/secrets/{name}`: steps that name it fail from now on.
///
/// # Errors
/// 404 `not_found`.
pub async fn delete(database: &Database, by: By<'_>, name: &str) -> Result<(), Problem> {
    let mut transaction = database.enter(by.principal, operation!("secrets.delete"));
    let deleted = SECRETS.delete(&mut transaction, database, by, &[sound(name)?]);
    if transaction.commit().await?.affected(deleted) == 0 {
        return Err(Problem::not_found("secret"));
    }
    Ok(())
}

/// A name that a plan could refer to.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && name.len() <= MAX_NAME_CHARS
}

/// What is no name is nobody's.
fn sound(name: &str) -> Result<&str, Problem> {
    if is_name(name) {
        Ok(name)
    } else {
        Err(Problem::not_found("secret"))
    }
}

fn check(name: &str, value: &SecretString) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if !is_name(name) {
        let detail = format!(
            "a name begins with a letter or _, and has letters, digits, _ and -, {MAX_NAME_CHARS} characters at most"
        );
        errors.push(FieldError::new("", "invalid_name", detail));
    }
    let value = value.expose_secret();
    if value.is_empty() || value.len() > MAX_VALUE_BYTES {
        let detail = format!("has from 1 to {MAX_VALUE_BYTES} bytes");
        errors.push(FieldError::new("/value", "out_of_range", detail));
    } else if !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        let detail = "is visible ASCII without line ends: it goes into a header";
        errors.push(FieldError::new("/value", "invalid_value", detail));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}
