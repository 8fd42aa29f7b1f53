//! Asks Redis, briefly, and limits by itself when there is no answer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Lookups, Verdict, floor::LocalFloor};
use crate::{
    integrations::{
        Repeat,
        upstash::{Absence, Upstash},
    },
    platform::Clock,
};

/// The longest that a request waits for Redis: the next ones do not.
const PATIENCE: Duration = Duration::from_millis(750);

/// An isolate's limiter.
pub struct Limiter {
    upstash: Upstash,
    clock: Arc<dyn Clock>,
    absence: Absence,
    floor: Mutex<LocalFloor>,
}

impl Limiter {
    /// A limiter that counts in this Redis.
    pub fn new(upstash: Upstash, clock: Arc<dyn Clock>) -> Self {
        Self {
            upstash: upstash.with_timeout(PATIENCE),
            absence: Absence::new(Arc::clone(&clock)),
            clock,
            floor: Mutex::default(),
        }
    }

    /// Carries the look-ups out: one request to Redis, and none while it is away.
    pub async fn ask(&self, lookups: &Lookups) -> Verdict {
        if !self.absence.may_ask() {
            return self.by_itself(lookups);
        }
        // Sent again it would count again.
        let replies = self.upstash.pipeline(lookups.commands(), Repeat::Never).await;
        match replies.map(|replies| (lookups.read(&replies), replies)) {
            Ok((Some(verdict), _)) => {
                if self.absence.end() {
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
        self.absence.begin();
        self.by_itself(lookups)
    }

    /// Whether Redis was away when it was asked last: limits are each isolate's own, and a revoked session lives until its
    /// token expires.
    pub fn is_degraded(&self) -> bool {
        self.absence.is_away()
    }

    fn by_itself(&self, lookups: &Lookups) -> Verdict {
        let (allowed, rate) = self.floor().take(&lookups.buckets, self.clock.now());
        Verdict {
            allowed,
            rate,
            revoked: false,
            degraded: true,
            entry: None,
            nth: None,
        }
    }

    fn floor(&self) -> MutexGuard<'_, LocalFloor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
