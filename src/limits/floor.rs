//! The local floor: what limits requests while Redis is away. Each isolate for itself, by half of what the limit would
//! be, since several isolates serve at once. Bounded: a flood of new names ends in one bucket that they share.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{RateLimit, lookups::Bucket};
use crate::integrations::upstash::Key;

/// Buckets that are kept; about 150 bytes each.
const MOST: usize = 10_000;
/// How often a full floor looks for buckets that nobody uses any more.
const PRUNE_EVERY_MS: i64 = 10_000;
/// One request, in the unit of the buckets: what a bucket for one request gains in a minute, one a millisecond.
const ONE: u64 = 60_000;

/// Buckets of tokens: each holds half its limit and fills up evenly within a minute.
#[derive(Debug, Default)]
pub(super) struct LocalFloor {
    buckets: HashMap<Key, Tokens>,
    shared: Option<Tokens>,
    pruned_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Tokens {
    half: u64,
    left: u64,
    at_ms: i64,
}

impl Tokens {
    /// A full bucket for half of `limit`, at least one request.
    fn full(limit: u32, now_ms: i64) -> Self {
        let half = u64::from(limit / 2).max(1);
        Self {
            half,
            left: half.saturating_mul(ONE),
            at_ms: now_ms,
        }
    }

    /// The same bucket now.
    fn at(self, now_ms: i64) -> Self {
        let passed = u64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or_default();
        let left = self.left.saturating_add(passed.saturating_mul(self.half));
        Self {
            left: left.min(self.half.saturating_mul(ONE)),
            at_ms: self.at_ms.max(now_ms),
            ..self
        }
    }

    fn fits(self) -> bool {
        self.left >= ONE
    }

    /// As the headers say it; the reset is when there is room for one more, or for all.
    fn rate(self) -> RateLimit {
        let missing = if self.fits() {
            self.half.saturating_mul(ONE)
        } else {
            ONE
        }
        .saturating_sub(self.left);
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        RateLimit {
            limit: number(self.half),
            remaining: number(self.left / ONE),
            reset_s: number(missing.div_ceil(self.half.max(1).saturating_mul(1_000))).max(1),
        }
    }
}

impl LocalFloor {
    /// Takes one request from each bucket, or from none; answers whether it did and which of them binds most.
    pub(super) fn take(&mut self, buckets: &[Bucket], now: Timestamp) -> (bool, RateLimit) {
        let now_ms = now.as_millisecond();
        let mut states: Vec<(Option<&Key>, Tokens)> = buckets
            .iter()
            .map(|bucket| {
                let key = self.is_kept(&bucket.key, now_ms).then_some(&bucket.key);
                let kept = match key {
                    Some(key) => self.buckets.get(key).copied(),
                    None => self.shared,
                };
                let full = Tokens::full(bucket.limit, now_ms);
                // A limit that changed begins anew.
                let tokens = kept.filter(|kept| kept.half == full.half || key.is_none());
                (key, tokens.unwrap_or(full).at(now_ms))
            })
            .collect();
        let allowed = states.iter().all(|(_, tokens)| tokens.fits());
        for (key, tokens) in &mut states {
            if allowed {
                tokens.left = tokens.left.saturating_sub(ONE);
            }
            match key {
                Some(key) => drop(self.buckets.insert((*key).clone(), *tokens)),
                None => self.shared = Some(*tokens),
            }
        }
        let tightest = states.iter().map(|(_, tokens)| tokens).min_by_key(|tokens| tokens.left);
        let rate = tightest.map_or(Tokens::full(0, now_ms).rate(), |tokens| tokens.rate());
        (allowed, rate)
    }

    /// Whether there is a bucket for this key, or room for one.
    fn is_kept(&mut self, key: &Key, now_ms: i64) -> bool {
        if self.buckets.contains_key(key) || self.buckets.len() < MOST {
            return true;
        }
        if now_ms.saturating_sub(self.pruned_ms) >= PRUNE_EVERY_MS {
            self.pruned_ms = now_ms;
            self.buckets
                .retain(|_, tokens| tokens.at(now_ms).left < tokens.half.saturating_mul(ONE));
        }
        self.buckets.len() < MOST
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bucket(name: &str, limit: u32) -> Bucket {
        Bucket {
            key: Key::address_rate(name),
            limit,
        }
    }

    fn passes(floor: &mut LocalFloor, buckets: &[Bucket], times: u32, now: Timestamp) -> usize {
        (0..times).filter(|_| floor.take(buckets, now).0).count()
    }

    #[test]
    fn half_the_limit_passes_at_once_and_comes_back_within_a_minute() {
        let (mut floor, now) = (LocalFloor::default(), Timestamp::UNIX_EPOCH);
        let buckets = [bucket("a", 60)];
        assert_eq!(passes(&mut floor, &buckets, 100, now), 30);
        let (allowed, rate) = floor.take(&buckets, now);
        assert!(!allowed);
        assert_eq!((rate.limit, rate.remaining, rate.reset_s), (30, 0, 2));
        // Asking without success takes nothing away.
        let mut later = now;
        for _ in 0..2_000 {
            later += Duration::from_millis(1);
            if floor.take(&buckets, later).0 {
                break;
            }
        }
        assert_eq!(later.duration_since(now).as_millis(), 2_000);
        assert_eq!(passes(&mut floor, &buckets, 100, later + Duration::from_secs(60)), 30);
    }

    #[test]
    fn a_request_is_taken_from_all_its_buckets_or_from_none() {
        let (mut floor, now) = (LocalFloor::default(), Timestamp::UNIX_EPOCH);
        let both = [bucket("tenant", 60), bucket("key", 4)];
        assert_eq!(passes(&mut floor, &both, 10, now), 2);
        assert_eq!(passes(&mut floor, &both[..1], 100, now), 28);
    }

    #[test]
    fn a_flood_of_names_shares_one_bucket_and_the_floor_stays_small() {
        let (mut floor, now) = (LocalFloor::default(), Timestamp::UNIX_EPOCH);
        let flood = |floor: &mut LocalFloor, from: usize, now| {
            (from..from + MOST + 500)
                .filter(|n| floor.take(&[bucket(&n.to_string(), 60)], now).0)
                .count()
        };
        assert_eq!(flood(&mut floor, 0, now), MOST + 30);
        assert_eq!(floor.buckets.len(), MOST);
        // Who was there before goes on as before; and those who are gone make room.
        assert!(floor.take(&[bucket("0", 60)], now).0);
        assert!(flood(&mut floor, MOST * 2, now + Duration::from_secs(61)) >= MOST);
    }
}
