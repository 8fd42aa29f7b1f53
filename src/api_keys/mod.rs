//! API keys: a tenant's own keys to the API. A key is shown once, when it is made; what is kept is its hash.
//!
//! A key may do what its scopes say, never more than who made it, never what is the operator's. Nothing here prints or
//! stores a key, and nothing reads a hash back.

mod create;
mod lookup;
mod read;
mod remembered;
mod revoke;
mod rotate;
mod rules;
mod secret;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    create::{NewApiKey, create},
    lookup::{FoundKey, KeyState, find},
    read::{get, list},
    remembered::{REMEMBERED_FOR, RememberedKeys},
    revoke::revoke,
    rotate::{Rotation, rotate},
    secret::{KeyHash, hash_of},
};
use crate::ids::ApiKeyId;

/// Keys of a tenant that open something.
pub const MAX_KEYS: u32 = 100;
/// The longest time for which a key may live beside its successor, in seconds: 7 days.
pub const MAX_OVERLAP_S: u32 = 7 * 24 * 60 * 60;

/// A key, without what opens anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "key_018f0000000070008000000000000001", "name": "ci", "prefix": "aos_Qm9vdHN0", "scopes": ["runs:create", "runs:read"],
    "requests_per_minute": null, "created_by": "session:sess_1 user_1", "created_at": "2026-11-23T10:00:00Z",
    "expires_at": null, "last_used_at": "2026-11-23T10:05:00Z", "revoked_at": null, "rotated_from": null
}))]
pub struct ApiKey {
    /// Its id; not the key.
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// How the key begins.
    pub prefix: String,
    /// The permissions it has.
    pub scopes: Vec<String>,
    /// Requests a minute that may be made with it, within the tenant's limit; `null`: as many as the tenant has.
    pub requests_per_minute: Option<u32>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; `null`: when it is revoked.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The key whose place it took.
    pub rotated_from: Option<ApiKeyId>,
}

/// A key that was just made: the only answer that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "key_018f0000000070008000000000000001", "key": "aos_ (shown once)", "name": "ci", "prefix": "aos_Qm9vdHN0",
    "scopes": ["runs:create", "runs:read"], "requests_per_minute": null, "created_by": "session:sess_1 user_1",
    "created_at": "2026-11-23T10:00:00Z", "expires_at": null, "last_used_at": null, "revoked_at": null,
    "rotated_from": null
}))]
pub struct CreatedApiKey {
    /// The key, to be sent as `X-API-Key`; `null` when the answer is given again under its `Idempotency-Key`.
    pub key: Option<String>,
    /// All else about it.
    #[serde(flatten)]
    pub api_key: ApiKey,
}
