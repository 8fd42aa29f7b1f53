//! What the look-ups of a request came to.

use crate::{auth::TenantName, integrations::upstash::Command, problem::Problem, tenants::Limits};

/// The limit that binds a request most, as the headers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a minute.
    pub limit: u32,
    /// How many are left of them now.
    pub remaining: u32,
    /// Seconds: for a refused request until there is room for one; else until the present minute ends.
    pub reset_s: u32,
}

impl RateLimit {
    /// The headers that every limited answer carries.
    pub fn headers(self) -> [(&'static str, u32); 3] {
        [
            ("RateLimit-Limit", self.limit),
            ("RateLimit-Remaining", self.remaining),
            ("RateLimit-Reset", self.reset_s),
        ]
    }
}

/// What the look-ups of a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether there is room for the request. It has been counted if there is.
    pub allowed: bool,
    /// Of all limits of the request the one with the least room.
    pub rate: RateLimit,
    /// Whether the session or the API key was revoked. Never true when `degraded`.
    pub revoked: bool,
    /// Redis was not asked or did not answer: this isolate alone limits, and revocation is not known. What an API key
    /// may do is then to be asked of the database.
    pub degraded: bool,
    /// What Redis says how many requests a minute the tenant has.
    pub entry: Option<u32>,
    /// For a stranger: the so-manieth of its kind in this minute.
    pub nth: Option<u32>,
}

impl Verdict {
    /// 429 `rate_limited` with its `Retry-After`, if there is no room.
    ///
    /// # Errors
    /// The problem.
    pub fn check_rate(&self) -> Result<(), Problem> {
        if self.allowed {
            return Ok(());
        }
        let RateLimit { limit, reset_s, .. } = self.rate;
        let detail = format!("there may be {limit} requests a minute; there is room again in {reset_s} s");
        Err(Problem {
            retry_after_s: Some(reset_s),
            ..Problem::new(429, "rate_limited", "Too many requests", detail)
        })
    }

    /// What to tell Redis after the answer, when the database has said `limits` and Redis knew another number.
    pub fn correction(&self, tenant: &TenantName, limits: &Limits) -> Option<Command> {
        let right = limits.per_minute();
        (!self.degraded && self.entry != Some(right)).then(|| super::set_entry(tenant, right))
    }
}
