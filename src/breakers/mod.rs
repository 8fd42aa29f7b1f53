//! Breakers and lanes of the providers, shared by all isolates in Redis: a sick provider is left alone for a while, and no
//! provider is asked by more calls at once than is good for it.
//!
//! Must never hold a call up because Redis is away: then every call goes on, as if there were no breaker.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    ids::ClaimId,
    integrations::{
        Repeat,
        provider::Provider,
        upstash::{Command, Key, Upstash},
    },
    platform::Clock,
};

/// Failures within [`WINDOW`], without a success between them, that open a breaker.
const FAILURES: u32 = 5;
/// The time in which failures count together.
const WINDOW: Duration = Duration::from_secs(60);
/// How long a breaker stays open the first time; each failed probe doubles it.
const FIRST_OPEN: Duration = Duration::from_secs(10);
/// How long it stays open at most.
const LONGEST_OPEN: Duration = Duration::from_secs(5 * 60);
/// How long a probe may take before the next one.
const PROBE: Duration = Duration::from_secs(30);
/// Calls at once, of all isolates, under one key: below what the providers' lower tiers allow.
const LANES: u32 = 64;
/// A lane is given back by itself this long after its call must have ended.
const LANE_SLACK: Duration = Duration::from_secs(5);
/// Redis is asked on the way to a call that takes longer than this by itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// The breakers and lanes of all providers.
#[derive(Clone)]
pub struct Breakers {
    upstash: Upstash,
    clock: Arc<dyn Clock>,
    lanes: u32,
}

/// Whether a call may be made.
#[derive(Debug)]
pub enum Admission {
    /// It may. How it went must be reported.
    Admitted(Pass),
    /// The breaker is open.
    Open {
        /// For how long.
        retry_after: Duration,
    },
    /// All lanes are taken.
    Busy,
}

/// A call that was admitted.
#[derive(Debug)]
pub struct Pass {
    provider: Provider,
    breaker: Key,
    lanes: Key,
    call: String,
    /// Redis does not know of it.
    unseen: bool,
}

/// What a call says about its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered as it should, if only to refuse what was wrong with the request.
    Well,
    /// It broke.
    Sick,
    /// Neither: its limit was reached, or nothing was asked.
    Neither,
}

impl Health {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Sick => "sick",
            Self::Neither => "neither",
        }
    }
}

impl Breakers {
    /// The breakers in this Redis.
    pub fn new(upstash: Upstash, clock: Arc<dyn Clock>) -> Self {
        Self {
            upstash: upstash.with_timeout(PATIENCE),
            clock,
            lanes: LANES,
        }
    }

    /// The same with another number of lanes for each key of each provider.
    #[must_use]
    pub fn with_lanes(self, lanes: u32) -> Self {
        Self { lanes, ..self }
    }

    /// Asks whether a call that ends within `timeout` may be made: one request to Redis. `account` tells the keys of a
    /// provider apart, which have limits of their own; the breaker is the provider's.
    pub async fn admit(&self, provider: Provider, account: &str, timeout: Duration) -> Admission {
        let mut pass = Pass {
            provider,
            breaker: Key::breaker(provider),
            lanes: Key::provider_lanes(provider, account),
            call: ClaimId::new(&*self.clock).to_string(),
            unseen: false,
        };
        let now = self.clock.now().as_millisecond();
        let ends = now.saturating_add(millis(timeout.saturating_add(LANE_SLACK)));
        let command = Command::eval(
            include_str!("admit.lua"),
            &[pass.breaker.clone(), pass.lanes.clone()],
            [
                Value::from(now),
                Value::from(pass.call.as_str()),
                Value::from(ends),
                Value::from(self.lanes),
                Value::from(millis(PROBE)),
            ],
        );
        let reply = match self.upstash.command(command, Repeat::Harmless).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%provider, %error, "a breaker could not be asked; the call goes on");
                pass.unseen = true;
                return Admission::Admitted(pass);
            }
        };
        let word = reply.get(0).and_then(Value::as_str).unwrap_or_default();
        let wait = reply.get(1).and_then(Value::as_u64).unwrap_or_default();
        match word {
            "open" => Admission::Open {
                retry_after: Duration::from_millis(wait),
            },
            "busy" => Admission::Busy,
            _ => Admission::Admitted(pass),
        }
    }

    /// Says how a call went and gives its lane back: one request to Redis. If it cannot be asked, the lane ends by itself.
    pub async fn report(&self, pass: Pass, health: Health) {
        if pass.unseen {
            return;
        }
        let command = Command::eval(
            include_str!("report.lua"),
            &[pass.breaker, pass.lanes],
            [
                Value::from(self.clock.now().as_millisecond()),
                Value::from(pass.call),
                Value::from(health.as_str()),
                Value::from(FAILURES),
                Value::from(millis(WINDOW)),
                Value::from(millis(FIRST_OPEN)),
                Value::from(millis(LONGEST_OPEN)),
            ],
        );
        // A failure counted twice would open the breaker early.
        match self.upstash.command(command, Repeat::Never).await {
            Ok(reply) if reply == "opened" => {
                tracing::warn!(provider = %pass.provider, "the breaker of a provider opened");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(provider = %pass.provider, %error, "a call could not be reported to its breaker")
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
