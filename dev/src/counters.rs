//! What a gateway or stand-in was asked: a total and a log of the latest requests, for tests that assert on counts.
//! Must never hold passwords, parameters or bodies: labels, names and numbers only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

/// How many requests the log keeps; older ones are forgotten, the total still counts them.
pub const LOG_LENGTH: usize = 10_000;

/// One request, as it is logged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestEntry {
    /// What it was for, by the gateway's own rule; the method and path until the gateway has said.
    pub label: String,
    /// Header `x-aos-role`, if it was sent.
    pub role: Option<String>,
    /// Who it signed in as, where the gateway knows users.
    pub user: Option<String>,
    /// How many queries or commands it carried.
    pub queries: usize,
    /// When it came, in milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// From its head being read to its answer being ready; `None` while it is being worked on.
    pub duration_ms: Option<f64>,
    /// The status of the answer; `None` while it is being worked on, or when a fault left it without one.
    pub status: Option<u16>,
}

/// The count and log at one moment, oldest request first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Snapshot {
    pub total: u64,
    pub requests: Vec<RequestEntry>,
}

impl Snapshot {
    /// How many of the logged requests carry this label.
    pub fn labelled(&self, label: &str) -> usize {
        self.requests.iter().filter(|request| request.label == label).count()
    }
}

#[derive(Debug, Default)]
struct Log {
    total: u64,
    /// The number of the first entry that is still kept; numbers go on after a reset.
    first: u64,
    requests: VecDeque<RequestEntry>,
}

/// The count and log of one server. A clone is a handle on the same count.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    log: Arc<Mutex<Log>>,
}

impl Counters {
    pub fn snapshot(&self) -> Snapshot {
        let log = self.lock();
        Snapshot {
            total: log.total,
            requests: log.requests.iter().cloned().collect(),
        }
    }

    /// Forgets everything. A request that is still being worked on does not come back.
    pub fn reset(&self) {
        let mut log = self.lock();
        log.total = 0;
        log.first += log.requests.len() as u64;
        log.requests.clear();
    }

    /// Counts a request that has just come in; the note is for what is learned about it later.
    pub fn begin(&self, label: String, role: Option<String>) -> RequestNote {
        let at_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let entry = RequestEntry {
            label,
            role,
            user: None,
            queries: 0,
            at_ms,
            duration_ms: None,
            status: None,
        };
        let mut log = self.lock();
        log.total += 1;
        if log.requests.len() == LOG_LENGTH {
            log.requests.pop_front();
            log.first += 1;
        }
        let number = log.first + log.requests.len() as u64;
        log.requests.push_back(entry);
        RequestNote {
            counters: self.clone(),
            number,
            begun: Instant::now(),
        }
    }

    /// `GET` and `DELETE /_control/requests`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route(
                "/_control/requests",
                get(|State(counters): State<Self>| async move { Json(counters.snapshot()) }).delete(
                    |State(counters): State<Self>| async move {
                        counters.reset();
                        StatusCode::NO_CONTENT
                    },
                ),
            )
            .with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to one request's entry in the log. Handlers find it in the request's extensions.
#[derive(Debug, Clone)]
pub struct RequestNote {
    counters: Counters,
    number: u64,
    begun: Instant,
}

impl RequestNote {
    /// Says what the request was for, who sent it and how many queries it carried.
    pub fn describe(&self, label: String, user: Option<String>, queries: usize) {
        self.with(|entry| {
            entry.label = label;
            entry.user = user;
            entry.queries = queries;
        });
    }

    /// Says that the work is over; `status` is `None` when the connection was closed without an answer.
    pub(crate) fn end(&self, status: Option<u16>) {
        let duration = self.begun.elapsed().as_secs_f64() * 1000.0;
        self.with(|entry| {
            entry.duration_ms = Some(duration);
            entry.status = status;
        });
    }

    fn with(&self, change: impl FnOnce(&mut RequestEntry)) {
        let mut log = self.counters.lock();
        let index = self
            .number
            .checked_sub(log.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| log.requests.get_mut(index)) {
            change(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_the_total_is_not() {
        let counters = Counters::default();
        let first = counters.begin("first".into(), None);
        for _ in 0..LOG_LENGTH {
            counters.begin("later".into(), None);
        }
        first.describe("forgotten".into(), None, 1);
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.total, LOG_LENGTH as u64 + 1);
        assert_eq!(snapshot.labelled("later"), LOG_LENGTH);
    }

    #[test]
    fn a_request_from_before_a_reset_does_not_come_back() {
        let counters = Counters::default();
        let before = counters.begin("before".into(), None);
        counters.reset();
        counters.begin("after".into(), None);
        before.describe("before".into(), Some("somebody".into()), 3);
        before.end(Some(200));
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.total, 1);
        assert_eq!(snapshot.requests[0].label, "after");
        assert_eq!(snapshot.requests[0].status, None);
    }
}
