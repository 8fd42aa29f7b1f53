//! Asks Redis, briefly, and limits by itself when there is no answer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{Lookups, Verdict, floor::LocalFloor};
use crate::{
    integrations::{Repeat, upstash::Upstash},
    platform::Clock,
};

/// The longest that a request waits for Redis: the next ones do not.
const PATIENCE: Duration = Duration::from_millis(750);
/// How long Redis is left alone after it failed; then one request asks it for all.
const AWAY_FOR: Duration = Duration::from_secs(5);

/// An isolate's limiter.
pub struct Limiter {
    upstash: Upstash,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    floor: LocalFloor,
    /// While Redis is away: when it is asked again.
    ask_again: Option<Timestamp>,
}

impl Limiter {
    /// A limiter that counts in this Redis.
    pub fn new(upstash: Upstash, clock: Arc<dyn Clock>) -> Self {
        Self {
            upstash: upstash.with_timeout(PATIENCE),
            clock,
            state: Mutex::default(),
        }
    }

    /// Carries the look-ups out: one request to Redis, and none while it is away.
    pub async fn ask(&self, lookups: &Lookups) -> Verdict {
        if !self.may_ask() {
            return self.by_itself(lookups);
        }
        // Sent again it would count again.
        let replies = self.upstash.pipeline(lookups.commands(), Repeat::Never).await;
        match replies.map(|replies| (lookups.read(&replies), replies)) {
            Ok((Some(verdict), _)) => {
                if self.state().ask_again.take().is_some() {
                    tracing::info!("Redis is back; requests are limited together again");
                }
                return verdict;
            }
            Ok((None, replies)) => {
                let refused = replies.iter().find_map(|reply| reply.as_ref().err());
                tracing::error!(?refused, "Redis did not carry a request's look-ups out");
            }
            Err(error) => tracing::warn!(%error, "Redis is away; this isolate limits requests by itself"),
        }
        self.state().ask_again = Some(self.in_a_while());
        self.by_itself(lookups)
    }

    /// Whether Redis was away when it was asked last: limits are each isolate's own, and a revoked session lives until its
    /// token expires.
    pub fn is_degraded(&self) -> bool {
        self.state().ask_again.is_some()
    }

    /// Whether Redis is to be asked. While it is away, the first after a while asks and the others do not wait for it.
    fn may_ask(&self) -> bool {
        let mut state = self.state();
        match state.ask_again {
            None => true,
            Some(at) if at <= self.clock.now() => {
                state.ask_again = Some(self.in_a_while());
                true
            }
            Some(_) => false,
        }
    }

    fn by_itself(&self, lookups: &Lookups) -> Verdict {
        let (allowed, rate) = self.state().floor.take(&lookups.buckets, self.clock.now());
        Verdict {
            allowed,
            rate,
            revoked: false,
            degraded: true,
            entry: None,
            nth: None,
        }
    }

    fn in_a_while(&self) -> Timestamp {
        let now = self.clock.now();
        now.checked_add(AWAY_FOR).unwrap_or(now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
