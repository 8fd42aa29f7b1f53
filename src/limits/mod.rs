//! Rate limits: how many requests a minute a tenant, an API key or a stranger's network may send, and what else is asked
//! of Redis before a request is answered: whether its session or key was revoked.
//!
//! One request to Redis per request of a caller. It never holds a request up for long: where Redis is away the isolate
//! limits by itself, more narrowly, and says so.

mod floor;
mod limiter;
mod lookups;
mod verdict;

use std::time::Duration;

pub use self::{
    limiter::Limiter,
    lookups::{Lookups, Subject},
    verdict::{RateLimit, Verdict},
};
use crate::{
    auth::TenantName,
    ids::ApiKeyId,
    integrations::upstash::{Command, Key},
};

/// Requests a minute from one network without a valid credential.
pub const STRANGERS_PER_MINUTE: u32 = 30;
/// How long Redis remembers a tenant's limit; whoever learns it from the database sets it again.
const ENTRY_TTL: Duration = Duration::from_hours(24);

/// Tells all isolates how many requests a minute a tenant has.
pub fn set_entry(tenant: &TenantName, per_minute: u32) -> Command {
    Command::set_ex(&Key::tenant_limit(tenant), &per_minute.to_string(), ENTRY_TTL)
}

/// Tells all isolates from when on (seconds since 1970) an API key is refused. They remember keys for
/// [`crate::api_keys::REMEMBERED_FOR`]; after that the database says it.
pub(crate) fn set_revoked(key: ApiKeyId, from_s: i64, now_s: i64) -> Command {
    let ahead = u64::try_from(from_s.saturating_sub(now_s)).unwrap_or_default();
    let ttl = crate::api_keys::REMEMBERED_FOR
        .saturating_mul(2)
        .saturating_add(Duration::from_secs(ahead));
    Command::set_ex(&Key::revoked_api_key(key), &from_s.to_string(), ttl)
}
