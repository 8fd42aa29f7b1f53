//! What the engine's unit tests share.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures::future::LocalBoxFuture;
use jiff::Timestamp;

use crate::platform::Clock;

/// A clock that stands still until it is told to move.
#[derive(Default)]
pub(super) struct TestClock {
    ms: AtomicI64,
}

impl TestClock {
    pub(super) fn advance(&self, by: Duration) {
        self.ms
            .fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + self.ms.load(Ordering::Relaxed)).unwrap()
    }

    fn sleep(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}
