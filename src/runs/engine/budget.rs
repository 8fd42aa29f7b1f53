//! What one invocation may still do: wall time, subrequests, and lanes for outside calls.
//!
//! An invocation that knows its budget ends by itself with everything settled or released; one that does not is killed.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::platform::Clock;

/// Outside calls at once: six connections can wait for headers per invocation.
const OUTSIDE_LANES: usize = 6;
/// Outside calls at once to one host, so that a slow one leaves lanes to the others.
const LANES_PER_HOST: usize = 2;
/// Pure steps claimed at once. They take no lane; their params and outputs take memory.
const PURE_PLACES: usize = 32;
/// What is kept back for settling what has finished and ringing for what is left.
const RESERVE: Duration = Duration::from_secs(20);
/// Subrequests kept back likewise.
const RESERVED_SUBREQUESTS: u32 = 20;
/// Subrequests that one outside call may need: five redirects, for every hop two to look its name up and their repeats.
const SUBREQUESTS_PER_CALL: u32 = 32;

/// What one invocation may still do.
#[derive(Debug, Clone)]
pub struct InvocationBudget {
    ends: Timestamp,
    subrequests: u32,
    outside_lanes: usize,
    pure_places: usize,
    lanes_per_host: usize,
    running_pure: usize,
    parked: usize,
    running_at: BTreeMap<String, usize>,
}

impl InvocationBudget {
    /// A queue consumer on Workers Paid: 13 of the 15 minutes of wall time, 8,000 of the 10,000 subrequests (what clients
    /// repeat is not told to the budget), six connections.
    pub fn workers_paid(clock: &dyn Clock) -> Self {
        Self::new(clock, Duration::from_secs(13 * 60), 8_000)
    }

    /// An invocation that must end within `wall` and make at most `subrequests` requests.
    pub fn new(clock: &dyn Clock, wall: Duration, subrequests: u32) -> Self {
        let ends = clock.now().checked_add(wall).unwrap_or(Timestamp::MAX);
        Self {
            ends,
            subrequests,
            outside_lanes: OUTSIDE_LANES,
            pure_places: PURE_PLACES,
            lanes_per_host: LANES_PER_HOST,
            running_pure: 0,
            parked: 0,
            running_at: BTreeMap::new(),
        }
    }

    /// Requests made on the engine's own behalf.
    pub fn spend(&mut self, subrequests: u32) {
        self.subrequests = self.subrequests.saturating_sub(subrequests);
    }

    /// The longest timeout that a step may have to start now and end inside the invocation, in ms; 0: nothing may.
    pub fn longest_timeout_ms(&self, now: Timestamp) -> u32 {
        if self.subrequests <= RESERVED_SUBREQUESTS {
            return 0;
        }
        let left = Duration::try_from(now.duration_until(self.ends))
            .unwrap_or_default()
            .saturating_sub(RESERVE);
        u32::try_from(left.as_millis())
            .unwrap_or(u32::MAX)
            .min(i32::MAX.unsigned_abs())
    }

    /// Whether there is time to settle what has finished: the reserve is for that.
    pub fn may_settle(&self, now: Timestamp) -> bool {
        now < self.ends
    }

    /// Outside steps that may be claimed now.
    pub fn free_lanes(&self) -> usize {
        let affordable = self.subrequests.saturating_sub(RESERVED_SUBREQUESTS) / SUBREQUESTS_PER_CALL;
        let taken = self.running_outside().saturating_add(self.parked);
        self.outside_lanes
            .saturating_sub(taken)
            .min(usize::try_from(affordable).unwrap_or(usize::MAX))
    }

    /// Pure steps that may be claimed now.
    pub fn free_places(&self) -> usize {
        self.pure_places.saturating_sub(self.running_pure)
    }

    /// Takes a lane towards `host`; false if its lanes are taken.
    pub fn take_lane(&mut self, host: &str) -> bool {
        let running = self.running_at.entry(host.to_owned()).or_default();
        let free = *running < self.lanes_per_host;
        if free {
            *running = running.saturating_add(1);
            self.subrequests = self.subrequests.saturating_sub(1);
        }
        free
    }

    /// Gives a lane back.
    pub fn give_lane(&mut self, host: &str) {
        if let Some(running) = self.running_at.get_mut(host) {
            *running = running.saturating_sub(1);
        }
        self.running_at.retain(|_, running| *running > 0);
    }

    /// Counts pure steps that run.
    pub fn take_place(&mut self) {
        self.running_pure = self.running_pure.saturating_add(1);
    }

    /// Counts a pure step that ended.
    pub fn give_place(&mut self) {
        self.running_pure = self.running_pure.saturating_sub(1);
    }

    /// Says how many claimed outside steps wait for a lane to their host.
    pub fn set_parked(&mut self, parked: usize) {
        self.parked = parked;
    }

    fn running_outside(&self) -> usize {
        self.running_at
            .values()
            .fold(0, |sum, running| sum.saturating_add(*running))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::engine::tests::TestClock;

    #[test]
    fn a_host_gets_two_of_the_six_lanes() {
        let mut budget = InvocationBudget::workers_paid(&TestClock::default());
        assert_eq!(budget.free_lanes(), 6);
        assert!(budget.take_lane("a.example") && budget.take_lane("a.example"));
        assert!(!budget.take_lane("a.example"));
        assert!(budget.take_lane("b.example"));
        budget.set_parked(1);
        assert_eq!(budget.free_lanes(), 2);
        budget.give_lane("a.example");
        assert!(budget.take_lane("a.example"));
    }

    #[test]
    fn nothing_starts_that_cannot_end_inside_the_invocation() {
        let clock = TestClock::default();
        let budget = InvocationBudget::new(&clock, Duration::from_secs(60), 100);
        assert_eq!(budget.longest_timeout_ms(clock.now()), 40_000);
        clock.advance(Duration::from_secs(45));
        assert_eq!(budget.longest_timeout_ms(clock.now()), 0);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(budget.longest_timeout_ms(clock.now()), 0);
    }

    #[test]
    fn a_spent_budget_of_subrequests_claims_nothing() {
        let clock = TestClock::default();
        let mut budget = InvocationBudget::new(&clock, Duration::from_secs(600), 100);
        assert_eq!(budget.free_lanes(), 2);
        budget.spend(80);
        assert_eq!((budget.free_lanes(), budget.longest_timeout_ms(clock.now())), (0, 0));
    }
}
