//! Remembers that Redis did not answer, for those who can do without it. Must never stop asking for good: after a while
//! one asks for all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::platform::Clock;

/// How long Redis is left alone after it failed.
const AWAY_FOR: Duration = Duration::from_secs(5);
/// In place of a time: Redis answers.
const HERE: i64 = i64::MIN;

/// Whether Redis was away when this isolate asked it last.
pub struct Absence {
    clock: Arc<dyn Clock>,
    /// When it is asked again (ms since 1970), or [`HERE`].
    ask_again: AtomicI64,
}

impl Absence {
    /// Nothing is known against it.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            ask_again: AtomicI64::new(HERE),
        }
    }

    /// Whether Redis is to be asked. While it is away, the first after a while asks and the others do not wait for it.
    pub fn may_ask(&self) -> bool {
        let at = self.ask_again.load(Ordering::Relaxed);
        let is_due = at <= self.clock.now().as_millisecond();
        let put_off = || {
            self.ask_again
                .compare_exchange(at, self.in_a_while(), Ordering::Relaxed, Ordering::Relaxed)
        };
        at == HERE || (is_due && put_off().is_ok())
    }

    /// Whether it is away.
    pub fn is_away(&self) -> bool {
        self.ask_again.load(Ordering::Relaxed) != HERE
    }

    /// It did not answer.
    pub fn begin(&self) {
        self.ask_again.store(self.in_a_while(), Ordering::Relaxed);
    }

    /// It answered. Says whether it had been away.
    pub fn end(&self) -> bool {
        self.ask_again.swap(HERE, Ordering::Relaxed) != HERE
    }

    fn in_a_while(&self) -> i64 {
        let away_for = i64::try_from(AWAY_FOR.as_millis()).unwrap_or(i64::MAX);
        self.clock.now().as_millisecond().saturating_add(away_for)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{FutureExt, LocalBoxFuture};
    use jiff::Timestamp;

    use super::*;

    #[derive(Default)]
    struct Stands(AtomicI64);

    impl Clock for Stands {
        fn now(&self) -> Timestamp {
            Timestamp::from_millisecond(self.0.load(Ordering::Relaxed)).unwrap()
        }

        fn sleep(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
            futures::future::pending().boxed_local()
        }
    }

    #[test]
    fn while_it_is_away_one_asks_every_five_seconds() {
        let clock = Arc::new(Stands::default());
        let absence = Absence::new(clock.clone());
        assert!(absence.may_ask() && absence.may_ask() && !absence.is_away());
        absence.begin();
        let asks = (0..20).filter(|second| {
            clock.0.store(second * 1_000, Ordering::Relaxed);
            let first = absence.may_ask();
            assert!(!absence.may_ask(), "the others do not wait for it");
            first
        });
        assert_eq!(asks.collect::<Vec<_>>(), [5, 10, 15]);
        assert!(absence.is_away() && absence.end());
        assert!(absence.may_ask() && absence.may_ask() && !absence.end());
    }
}
