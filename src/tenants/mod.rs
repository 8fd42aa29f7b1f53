//! Tenants: the owners of data, as the operator sees them: what they may use, and their end.
//!
//! Nothing here shows what a tenant keeps. A tenant is created by the first verified request of its own, never here.

mod erase;
mod known;
mod own;
mod patch;
mod read;
mod settings;
mod tier;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::known::Known;
pub use self::{
    erase::{Erasure, erase},
    own::{Held, Installation, OwnSetting, Owner, UnknownOwnSetting},
    patch::{TenantPatch, patch},
    read::{get, list},
    settings::{SettingsChange, Source, TenantSetting, TenantSettings, put_settings, settings},
    tier::{Limits, Tier, UnknownTier},
};
use crate::ids::TenantId;

/// The largest `requests_per_minute`, of a tenant and of an API key.
pub const MAX_REQUESTS_PER_MINUTE: u32 = 1_000_000;
/// The largest `max_concurrent_steps`.
pub const MAX_CONCURRENT_STEPS: u32 = 10_000;

/// A tenant, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "ten_018f0000000070008000000000000001", "name": "org_2abc", "tier": "pro", "max_concurrent_steps": 50,
    "requests_per_minute": null, "created_at": "2026-11-23T10:00:00Z", "erasing_since": null
}))]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What its verified identity calls it: an organisation, a user, or a name that the operator gave.
    pub name: String,
    /// What it may use.
    pub tier: Tier,
    /// How many of its steps may run at once.
    pub max_concurrent_steps: u32,
    /// Requests a minute in place of the tier's; `null`: as many as the tier has.
    pub requests_per_minute: Option<u32>,
    /// When its first request came.
    pub created_at: Timestamp,
    /// Since when it lets nobody in and its rows are being erased.
    pub erasing_since: Option<Timestamp>,
}
