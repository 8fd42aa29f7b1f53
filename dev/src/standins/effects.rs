//! `ANY /effects/{counter}`: counts what a skill does to the world, so that a test can tell once from twice.
//! `GET /effects/{counter}/tally` and `GET /effects` read the counts, `DELETE /effects` forgets them.
//! Must never merge two arrivals: a repeated idempotency key is flagged, and counted all the same.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

/// Counters there can be; one more is refused with 507, since an effect that is not counted would mislead.
const COUNTERS: usize = 10_000;
/// Arrivals that are kept of each counter; older ones are forgotten, the count still has them.
const ARRIVALS: usize = 1_000;
/// Idempotency keys that are remembered of each counter, the latest.
const KEYS: usize = 10_000;
/// What is kept of each body, in bytes.
const BODY_BYTES: usize = 4 * 1024;

/// One request that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrival {
    pub method: String,
    pub idempotency_key: Option<String>,
    /// The key had come before, at the same counter.
    pub duplicate_key: bool,
    /// The beginning of the body; bytes that are no UTF-8 are U+FFFD.
    pub body: String,
    /// How long the body was, in bytes.
    pub body_bytes: usize,
    /// In milliseconds of the Unix epoch.
    pub at: u64,
}

/// What a counter has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub count: u64,
    /// How many of them came with a key that had come before.
    pub duplicate_keys: u64,
    /// The latest, oldest first.
    pub arrivals: VecDeque<Arrival>,
}

#[derive(Debug, Default)]
struct Counter {
    tally: Tally,
    keys: HashSet<String>,
    /// The same keys, oldest first.
    keys_in_order: VecDeque<String>,
}

/// All counters. A clone is a handle on the same ones.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    counters: Arc<Mutex<BTreeMap<String, Counter>>>,
}

impl Effects {
    /// What has arrived at a counter; nothing yet is a count of 0.
    pub fn tally(&self, counter: &str) -> Tally {
        self.lock()
            .get(counter)
            .map(|counter| counter.tally.clone())
            .unwrap_or_default()
    }

    /// All counters that something has arrived at.
    pub fn tallies(&self) -> BTreeMap<String, Tally> {
        self.lock()
            .iter()
            .map(|(name, counter)| (name.clone(), counter.tally.clone()))
            .collect()
    }

    pub fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn routes(&self) -> Router {
        Router::new()
            .route("/effects/{counter}", any(arrive))
            .route("/effects/{counter}/tally", get(read_one))
            .route("/effects", get(read_all).delete(forget))
            .with_state(self.clone())
    }

    /// Records an arrival; `None` if there is no room for another counter.
    fn record(&self, name: &str, arrival: Arrival) -> Option<(u64, bool)> {
        let mut counters = self.lock();
        if counters.len() >= COUNTERS && !counters.contains_key(name) {
            return None;
        }
        Some(counters.entry(name.to_owned()).or_default().record(arrival))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Counter>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counter {
    /// The count with this arrival, and whether its key had come before.
    fn record(&mut self, mut arrival: Arrival) -> (u64, bool) {
        arrival.duplicate_key = arrival.idempotency_key.as_deref().is_some_and(|key| self.knows(key));
        self.tally.count += 1;
        self.tally.duplicate_keys += u64::from(arrival.duplicate_key);
        let answer = (self.tally.count, arrival.duplicate_key);
        if self.tally.arrivals.len() == ARRIVALS {
            self.tally.arrivals.pop_front();
        }
        self.tally.arrivals.push_back(arrival);
        answer
    }

    /// Whether the key had come before; from now on it has.
    fn knows(&mut self, key: &str) -> bool {
        if !self.keys.insert(key.to_owned()) {
            return true;
        }
        self.keys_in_order.push_back(key.to_owned());
        if self.keys_in_order.len() > KEYS
            && let Some(oldest) = self.keys_in_order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        false
    }
}

async fn arrive(
    State(effects): State<Effects>,
    Path(counter): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let key = headers
        .get("idempotency-key")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let arrival = Arrival {
        method: method.to_string(),
        idempotency_key: key,
        duplicate_key: false,
        body: String::from_utf8_lossy(body.get(..BODY_BYTES).unwrap_or(&body)).into_owned(),
        body_bytes: body.len(),
        at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    match effects.record(&counter, arrival) {
        Some((count, duplicate_key)) => Json(json!({ "count": count, "duplicate_key": duplicate_key })).into_response(),
        None => (
            StatusCode::INSUFFICIENT_STORAGE,
            Json(json!({ "error": "too many counters" })),
        )
            .into_response(),
    }
}

async fn read_one(State(effects): State<Effects>, Path(counter): Path<String>) -> Json<Tally> {
    Json(effects.tally(&counter))
}

async fn read_all(State(effects): State<Effects>) -> Json<BTreeMap<String, Tally>> {
    Json(effects.tallies())
}

async fn forget(State(effects): State<Effects>) -> StatusCode {
    effects.clear();
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(key: Option<&str>) -> Arrival {
        Arrival {
            method: "POST".to_owned(),
            idempotency_key: key.map(str::to_owned),
            duplicate_key: false,
            body: String::new(),
            body_bytes: 0,
            at: 0,
        }
    }

    #[test]
    fn a_repeated_key_is_counted_and_flagged() {
        let effects = Effects::default();
        assert_eq!(effects.record("mail", arrival(Some("k"))), Some((1, false)));
        assert_eq!(effects.record("mail", arrival(Some("k"))), Some((2, true)));
        assert_eq!(effects.record("mail", arrival(None)), Some((3, false)));
        assert_eq!(effects.record("other", arrival(Some("k"))), Some((1, false)));
        assert_eq!(effects.tally("mail").duplicate_keys, 1);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_count_is_not() {
        let effects = Effects::default();
        let arrivals = KEYS as u64 + 1;
        for number in 0..arrivals {
            effects.record("mail", arrival(Some(&number.to_string())));
        }
        let tally = effects.tally("mail");
        assert_eq!((tally.count, tally.arrivals.len()), (arrivals, ARRIVALS));
        assert_eq!(
            effects.record("mail", arrival(Some("0"))),
            Some((arrivals + 1, false)),
            "the oldest is forgotten"
        );
        assert_eq!(effects.record("mail", arrival(Some("2"))), Some((arrivals + 2, true)));
    }

    #[test]
    fn one_counter_too_many_is_refused() {
        let effects = Effects::default();
        for number in 0..COUNTERS {
            effects.record(&number.to_string(), arrival(None));
        }
        assert_eq!(effects.record("one more", arrival(None)), None);
        assert_eq!(effects.record("0", arrival(None)), Some((2, false)));
    }
}
