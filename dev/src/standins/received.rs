//! What a vendor's stand-in was sent: a count, and the latest requests with their bodies, for tests that look at what
//! really goes out. Must never hold a key: of it is kept only whether it was right.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

/// Requests that are kept, the latest; the count still has the older ones.
const REQUESTS: usize = 500;
/// The longest body that is kept, in bytes.
const BODY_BYTES: usize = 128 * 1024;
/// Headers that carry keys, and are not kept.
const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// What a request had to open the door with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    Right,
    Wrong,
    Missing,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub key: Key,
    /// Names in lower case, without those that carry keys.
    pub headers: BTreeMap<String, String>,
    /// The body's JSON, or its text if it is none; null if it was longer than 128 KiB.
    pub body: Value,
    /// How long the body was, in bytes.
    pub body_bytes: usize,
    /// In milliseconds of the Unix epoch.
    pub at: u64,
}

impl Request {
    pub(super) fn new(method: &str, path: String, key: Key, headers: &HeaderMap, body: &[u8]) -> Self {
        let headers = headers
            .iter()
            .filter(|(name, _)| !SECRET.contains(&name.as_str()))
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect();
        let kept = if body.len() > BODY_BYTES {
            Value::Null
        } else {
            serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into())
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            method: method.to_owned(),
            path,
            key,
            headers,
            body: kept,
            body_bytes: body.len(),
            at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// All that a stand-in has received since it was last told to forget.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Received {
    pub count: u64,
    /// The latest, oldest first.
    pub requests: VecDeque<Request>,
}

/// The record of one stand-in. A clone is a handle on the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Record(Arc<Mutex<Received>>);

impl Record {
    pub(super) fn note(&self, request: Request) {
        let mut received = self.lock();
        received.count += 1;
        if received.requests.len() == REQUESTS {
            received.requests.pop_front();
        }
        received.requests.push_back(request);
    }

    pub(super) fn read(&self) -> Received {
        self.lock().clone()
    }

    pub(super) fn forget(&self) {
        *self.lock() = Received::default();
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_without_their_keys_and_all_are_counted() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer s3cret"),
            ("x-api-key", "s3cret"),
            ("x-other", "seen"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let record = Record::default();
        for number in 0..=REQUESTS {
            let body = format!(r#"{{"number":{number}}}"#);
            record.note(Request::new(
                "POST",
                "/v1".to_owned(),
                Key::Right,
                &headers,
                body.as_bytes(),
            ));
        }
        let received = record.read();
        assert_eq!((received.count, received.requests.len()), (501, 500));
        assert_eq!(received.requests[0].body["number"], 1);
        let written = serde_json::to_string(&received).unwrap();
        assert!(!written.contains("s3cret") && written.contains(r#""x-other":"seen""#));
        record.forget();
        assert_eq!(record.read(), Received::default());
    }

    #[test]
    fn a_long_body_is_only_measured() {
        let body = vec![b'x'; BODY_BYTES + 1];
        let request = Request::new("POST", String::new(), Key::Missing, &HeaderMap::new(), &body);
        assert_eq!((request.body, request.body_bytes), (Value::Null, BODY_BYTES + 1));
    }
}
