//! How often a request is tried and how long to wait in between. Must never begin a try after the deadline of all.

use std::time::Duration;

use jiff::Timestamp;

use crate::platform::Clock;

/// Tries in total, the first one included.
const MOST: u32 = 4;
/// The longest wait before the second try; each later one may be [`GROWTH`] times as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// 100 ms, 400 ms, 1.6 s: quick after a deadlock, and long enough in sum for a database that is waking up.
const GROWTH: u32 = 4;

/// The tries of one request.
pub(super) struct Tries<'a> {
    clock: &'a dyn Clock,
    begun: Timestamp,
    /// For all tries and the waits between them.
    total: Duration,
    made: u32,
}

impl<'a> Tries<'a> {
    /// The first try begins now; the last one ends before `total` has passed.
    pub(super) fn begin(clock: &'a dyn Clock, total: Duration) -> Self {
        Self {
            clock,
            begun: clock.now(),
            total,
            made: 1,
        }
    }

    /// What is left of the time of all tries.
    pub(super) fn time_left(&self) -> Duration {
        let passed = Duration::try_from(self.clock.now().duration_since(self.begun)).unwrap_or_default();
        self.total.saturating_sub(passed)
    }

    /// Which try this is, from 1.
    pub(super) fn number(&self) -> u32 {
        self.made
    }

    /// Waits for the next try, with jitter; `false`, without a wait, when there is none left.
    pub(super) async fn next(&mut self) -> bool {
        if self.made >= MOST {
            return false;
        }
        let factor = GROWTH.saturating_pow(self.made.saturating_sub(1));
        let wait = jittered(FIRST_WAIT.saturating_mul(factor));
        if wait >= self.time_left() {
            return false;
        }
        self.made = self.made.saturating_add(1);
        self.clock.sleep(wait).await;
        true
    }
}

/// Between half of `longest` and all of it, so that those who collided do not meet again.
fn jittered(longest: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without randomness the wait is the shortest one: still a wait.
    let share = if getrandom::fill(&mut random).is_ok() {
        u16::from_le_bytes(random)
    } else {
        0
    };
    longest.mul_f64(0.5 + f64::from(share) / f64::from(u16::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::{FutureExt, LocalBoxFuture};

    use super::*;

    /// A clock that is moved by the sleeps alone.
    #[derive(Default)]
    struct Stepped(Mutex<Duration>);

    impl Clock for Stepped {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH.checked_add(*self.0.lock().unwrap()).unwrap()
        }

        fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
            let mut passed = self.0.lock().unwrap();
            *passed = passed.saturating_add(duration);
            futures::future::ready(()).boxed_local()
        }
    }

    #[tokio::test]
    async fn there_are_four_tries_and_the_waits_between_them_grow() {
        let clock = Stepped::default();
        let mut tries = Tries::begin(&clock, Duration::from_secs(60));
        let mut waits = Vec::new();
        loop {
            let before = tries.time_left();
            if !tries.next().await {
                break;
            }
            waits.push(before.saturating_sub(tries.time_left()));
        }
        assert_eq!(tries.number(), 4);
        for (wait, longest) in waits.iter().zip([100, 400, 1600]) {
            let longest = Duration::from_millis(longest);
            assert!((0.5..=1.0).contains(&wait.div_duration_f64(longest)), "{waits:?}");
        }
        assert_eq!(waits.len(), 3);
    }

    #[tokio::test]
    async fn no_try_begins_after_the_deadline_of_all() {
        let clock = Stepped::default();
        let mut tries = Tries::begin(&clock, Duration::from_millis(120));
        assert!(tries.next().await);
        assert!(!tries.next().await);
        assert_eq!(tries.number(), 2);
    }
}
