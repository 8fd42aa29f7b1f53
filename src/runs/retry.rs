//! How long a step waits before its next attempt.
//!
//! Exponential backoff with jitter seeded by run, step and attempt: the same attempt always waits equally long, so a
//! completion that is sent twice schedules the same moment. It never waits less than the provider asked for.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::plan::RetryPolicy;
use crate::ids::{RunId, StepId};

/// No wait is longer, neither ours nor a provider's: one hour, in milliseconds.
pub const MAX_DELAY_MS: u64 = 3_600_000;

/// What the jitter is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// The attempt that failed, from 1.
    pub attempt: u32,
}

/// The wait between the attempt of `seed`, which failed, and the next one.
///
/// The ceiling is `backoff_ms · 2^(attempt − 1)`, at most [`MAX_DELAY_MS`]. Half of it is always waited, the other half
/// is drawn ("equal jitter"): waits grow with every attempt, and steps that failed together do not come back together.
/// `retry_after_ms` is what the provider asked for; it is the least that is waited, up to [`MAX_DELAY_MS`].
pub fn delay(policy: RetryPolicy, seed: Seed, retry_after_ms: Option<u64>) -> Duration {
    let ceiling = ceiling_ms(policy, seed.attempt);
    let half = ceiling / 2;
    let drawn = half.saturating_add(draw(seed, ceiling.saturating_sub(half)));
    Duration::from_millis(drawn.max(retry_after_ms.unwrap_or(0)).min(MAX_DELAY_MS))
}

/// The longest wait after `attempt`, before the provider is heard; never falls from one attempt to the next.
fn ceiling_ms(policy: RetryPolicy, attempt: u32) -> u64 {
    let doublings = attempt.saturating_sub(1);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    policy.backoff_ms.saturating_mul(factor).min(MAX_DELAY_MS)
}

/// A number from 0 to `span`, both included, evenly spread over seeds.
fn draw(seed: Seed, span: u64) -> u64 {
    let digest = Sha256::new()
        .chain_update(seed.run.uuid().as_bytes())
        .chain_update(seed.step.uuid().as_bytes())
        .chain_update(seed.attempt.to_be_bytes())
        .finalize();
    let random = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    // The high half of the product: `random / 2^64` of `span + 1`, without a float and without a modulus.
    let scaled = u128::from(random).saturating_mul(u128::from(span).saturating_add(1)) >> 64;
    u64::try_from(scaled).unwrap_or(span)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn seed(run: u128, step: u128, attempt: u32) -> Seed {
        Seed {
            run: RunId(Uuid::from_u128(run)),
            step: StepId(Uuid::from_u128(step)),
            attempt,
        }
    }

    fn policy(backoff_ms: u64) -> RetryPolicy {
        RetryPolicy {
            attempts: 10,
            backoff_ms,
        }
    }

    /// Holds the algorithm still: a changed wait would move the due times of steps that a repeated completion names.
    #[test]
    fn the_wait_of_a_known_seed_stays_what_it_was() {
        let waits: Vec<u128> = (1..=4)
            .map(|attempt| delay(policy(1_000), seed(1, 2, attempt), None).as_millis())
            .collect();
        assert_eq!(waits, [654, 1_205, 2_550, 4_129]);
    }

    #[test]
    fn a_providers_wish_is_the_least_and_an_hour_is_the_most() {
        assert_eq!(delay(policy(100), seed(1, 1, 1), Some(45_000)), Duration::from_secs(45));
        assert_eq!(
            delay(policy(100), seed(1, 1, 1), Some(u64::MAX)),
            Duration::from_hours(1)
        );
        assert!(delay(policy(60_000), seed(1, 1, 1), Some(1)) >= Duration::from_secs(30));
    }

    #[test]
    fn steps_that_failed_together_do_not_come_back_together() {
        let waits: std::collections::BTreeSet<Duration> = (0..100)
            .map(|step| delay(policy(60_000), seed(7, step, 1), None))
            .collect();
        assert!(waits.len() > 90, "{} different waits of 100", waits.len());
    }

    #[test]
    fn the_whole_upper_half_is_drawn_from() {
        let waits: Vec<u128> = (0..2_000)
            .map(|step| delay(policy(100), seed(7, step, 1), None).as_millis())
            .collect();
        assert_eq!(waits.iter().min(), Some(&50));
        assert_eq!(waits.iter().max(), Some(&100));
    }

    proptest! {
        #[test]
        fn a_wait_is_the_same_every_time_it_is_asked_for(
            run: u128, step: u128, attempt: u32, backoff in 100..=MAX_DELAY_MS, wish: Option<u64>,
        ) {
            let once = delay(policy(backoff), seed(run, step, attempt), wish);
            prop_assert_eq!(once, delay(policy(backoff), seed(run, step, attempt), wish));
        }

        #[test]
        fn a_wait_lies_in_the_upper_half_of_its_ceiling(
            run: u128, step: u128, attempt in 1..=10_u32, backoff in 100..=MAX_DELAY_MS,
        ) {
            let ceiling = (backoff << (attempt - 1)).min(MAX_DELAY_MS);
            let wait = u64::try_from(delay(policy(backoff), seed(run, step, attempt), None).as_millis()).unwrap();
            prop_assert!(wait >= ceiling / 2 && wait <= ceiling, "{} of {}", wait, ceiling);
        }

        #[test]
        fn a_providers_wish_is_honoured_up_to_an_hour(run: u128, attempt: u32, backoff in 100..=MAX_DELAY_MS, wish: u64) {
            let wait = delay(policy(backoff), seed(run, 1, attempt), Some(wish));
            prop_assert!(wait >= Duration::from_millis(wish.min(MAX_DELAY_MS)));
            prop_assert!(wait <= Duration::from_millis(MAX_DELAY_MS));
        }

        #[test]
        fn the_ceiling_never_falls_and_never_passes_an_hour(attempt in 0..u32::MAX, backoff: u64) {
            let (this, next) = (ceiling_ms(policy(backoff), attempt), ceiling_ms(policy(backoff), attempt + 1));
            prop_assert!(this <= next && next <= MAX_DELAY_MS);
        }
    }
}
