//! Breakers and lanes of the providers, shared by all isolates in Redis: a sick provider is left alone for a while, and no
//! provider is asked by more calls at once than is good for it.
//!
//! Must never hold a call up because Redis is away: then every call goes on, as if there were no breaker. Must never let one
//! tenant close a provider to the others.

use std::{iter, pin::pin, sync::Arc, time::Duration};

use futures::future::{Either, select};
use serde_json::Value;

use crate::{
    ids::{ClaimId, TenantId},
    integrations::{
        Repeat,
        provider::Provider,
        upstash::{Absence, Command, Key, Upstash},
    },
    platform::Clock,
};

/// Failures within [`WINDOW`], without a success between them, that open a breaker.
const FAILURES: u32 = 5;
/// How many of them may be one tenant's, where a breaker is shared: it takes two to open it.
const FAILURES_OF_ONE: u32 = 3;
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
/// The longest that a call waits for Redis before it begins, and again after it has ended. If Redis did not answer by then,
/// the next calls do not wait at all.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// The breakers and lanes of all providers. Clones share what they know of Redis.
#[derive(Clone)]
pub struct Breakers {
    upstash: Upstash,
    clock: Arc<dyn Clock>,
    absence: Arc<Absence>,
    lanes: u32,
}

/// Whose key a call is made with, and for which tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The tenant's own.
    Own(TenantId),
    /// The installation's, which others use too.
    Installation(TenantId),
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
    account: Account,
    call: String,
    /// Redis does not know of it.
    unseen: bool,
}

/// What a call passes on its way to a provider: a breaker and the lanes beside it.
struct Gate {
    breaker: Key,
    lanes: Key,
    /// How many lanes there are.
    width: u32,
    /// How many failures of one tenant count.
    most_of_one: u32,
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

impl Account {
    const fn tenant(self) -> TenantId {
        match self {
            Self::Own(tenant) | Self::Installation(tenant) => tenant,
        }
    }
}

impl Breakers {
    /// The breakers in this Redis.
    pub fn new(upstash: Upstash, clock: Arc<dyn Clock>) -> Self {
        Self {
            upstash: upstash.with_timeout(PATIENCE),
            absence: Arc::new(Absence::new(Arc::clone(&clock))),
            clock,
            lanes: LANES,
        }
    }

    /// The same with another number of lanes for each key of each provider.
    #[must_use]
    pub fn with_lanes(self, lanes: u32) -> Self {
        Self { lanes, ..self }
    }

    /// Asks whether a call that ends within `timeout` may be made: one request to Redis, for [`PATIENCE`].
    pub async fn admit(&self, provider: Provider, account: Account, timeout: Duration) -> Admission {
        let mut pass = Pass {
            provider,
            account,
            call: ClaimId::new(&*self.clock).to_string(),
            unseen: false,
        };
        let now = self.clock.now().as_millisecond();
        let ends = now.saturating_add(millis(timeout.saturating_add(LANE_SLACK)));
        let gates = self.gates(provider, account);
        let args = [
            Value::from(now),
            Value::from(pass.call.as_str()),
            Value::from(ends),
            Value::from(millis(PROBE)),
        ];
        let command = Command::eval(
            include_str!("admit.lua"),
            &keys(&gates),
            args.into_iter().chain(gates.iter().map(|gate| gate.width.into())),
        );
        // Its lanes know a call that asks again.
        let Some(reply) = self.ask(provider, command, Repeat::Harmless).await else {
            pass.unseen = true;
            return Admission::Admitted(pass);
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

    /// Says how a call went and gives its lanes back: one request to Redis, for [`PATIENCE`]. If it cannot be asked, the
    /// lanes end by themselves.
    pub async fn report(&self, pass: Pass, health: Health) {
        if pass.unseen {
            return;
        }
        let gates = self.gates(pass.provider, pass.account);
        let args = [
            Value::from(self.clock.now().as_millisecond()),
            Value::from(pass.call),
            Value::from(pass.account.tenant().to_string()),
            Value::from(health.as_str()),
            Value::from(FAILURES),
            Value::from(millis(WINDOW)),
            Value::from(millis(FIRST_OPEN)),
            Value::from(millis(LONGEST_OPEN)),
        ];
        let command = Command::eval(
            include_str!("report.lua"),
            &keys(&gates),
            args.into_iter().chain(gates.iter().map(|gate| gate.most_of_one.into())),
        );
        // A failure counted twice would open the breaker early.
        let reply = self.ask(pass.provider, command, Repeat::Never).await;
        let opened = reply
            .and_then(|number| usize::try_from(number.as_u64()?).ok()?.checked_sub(1))
            .and_then(|index| gates.get(index));
        if let Some(Gate { breaker, .. }) = opened {
            tracing::warn!(provider = %pass.provider, %breaker, "the breaker of a provider opened");
        }
    }

    /// What a call passes: what is its tenant's, and with the installation's key also what all share who use that. There one
    /// tenant has at most half of the lanes.
    fn gates(&self, provider: Provider, account: Account) -> Vec<Gate> {
        let gate = |tenant, width, most_of_one| Gate {
            breaker: Key::breaker(provider, tenant),
            lanes: Key::provider_lanes(provider, tenant),
            width,
            most_of_one,
        };
        match account {
            Account::Own(tenant) => vec![gate(Some(tenant), self.lanes, FAILURES)],
            Account::Installation(tenant) => vec![
                gate(Some(tenant), self.lanes.div_ceil(2), FAILURES),
                gate(None, self.lanes, FAILURES_OF_ONE),
            ],
        }
    }

    /// Redis's reply; `None` if there is none in time, or there was none a moment ago.
    async fn ask(&self, provider: Provider, command: Command, repeat: Repeat) -> Option<Value> {
        if !self.absence.may_ask() {
            return None;
        }
        // The client's own tries may take twice as long.
        let reply = match select(pin!(self.upstash.command(command, repeat)), self.clock.sleep(PATIENCE)).await {
            Either::Left((reply, _)) => reply.map_err(|error| error.to_string()),
            Either::Right(_) => Err(format!("no answer within {} ms", PATIENCE.as_millis())),
        };
        match reply {
            Ok(reply) => {
                if self.absence.end() {
                    tracing::info!("Redis is back; the breakers are asked again");
                }
                Some(reply)
            }
            Err(error) => {
                tracing::warn!(%provider, error, "the breakers cannot be asked; calls go on without them");
                self.absence.begin();
                None
            }
        }
    }
}

fn keys(gates: &[Gate]) -> Vec<Key> {
    let of = |gate: &Gate| iter::once(gate.breaker.clone()).chain(iter::once(gate.lanes.clone()));
    gates.iter().flat_map(of).collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
