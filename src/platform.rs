//! What the core takes from the platform: the clock, the job queue, the object store, and `Fetch` for URLs that a caller
//! chose.
//!
//! Futures are not `Send`: a Worker has one thread. The traits are `Send + Sync` so that they can lie in shared state.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use jiff::Timestamp;
use url::Url;

use crate::ids::StepId;

/// Time, and waiting. The only clock of the project: `std::time` panics on wasm32.
pub trait Clock: Send + Sync {
    /// The time now. On Workers it stands still during pure computation and moves with each I/O.
    fn now(&self) -> Timestamp;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()>;
}

/// A doorbell for one step that became due. It carries an id, never a payload; losing it loses nothing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// A hint: the claim takes due steps in fair order, perhaps others than this one.
    pub step_id: StepId,
    /// How long the queue should hold the message back, in seconds; not part of the message.
    #[serde(skip)]
    pub delay_s: u32,
}

/// The queue `skill-jobs`.
pub trait JobQueue: Send + Sync {
    /// Sends all jobs, in as few requests as the platform's limits allow (100 messages or 256 KB each).
    ///
    /// # Errors
    /// What the platform said; the minute cron rings again for what was not sent.
    fn ring(&self, jobs: Vec<Job>) -> LocalBoxFuture<'_, Result<(), PlatformError>>;
}

/// A request to a URL that a caller chose. Redirects are never followed by the platform.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The method.
    pub method: http::Method,
    /// Where to; already checked by the address guard.
    pub url: Url,
    /// The headers, as they go out.
    pub headers: http::HeaderMap,
    /// The body, if any.
    pub body: Option<Bytes>,
    /// The whole exchange, body included, is given up after this time.
    pub timeout: Duration,
    /// The answer's body is cut off after this many bytes.
    pub max_bytes: usize,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct FetchResponse {
    /// The status, 3xx included.
    pub status: http::StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body, at most `max_bytes` long.
    pub body: Bytes,
    /// Whether the body was longer than `max_bytes`.
    pub truncated: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nothing came in time. Whether the request took effect is unknown.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection could not be made or broke. Whether the request took effect is unknown.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// The request could not be made as asked; nothing was sent.
    #[error("the request was refused: {0}")]
    Refused(String),
}

/// The platform's own fetch, with redirects followed by hand. Only for URLs that a caller chose.
pub trait Fetch: Send + Sync {
    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// [`FetchError`], when there is no complete answer.
    fn fetch(&self, request: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>>;
}

/// An error of the platform itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlatformError(pub String);

/// The bucket of the archive. Keys are at most 1,024 bytes; one key is written at most once a second.
pub trait ObjectStore: Send + Sync {
    /// Writes an object; one that is there under the key is replaced.
    ///
    /// # Errors
    /// What the platform said; whether the object is there is unknown, and writing it again is harmless.
    fn put(&self, key: &str, content_type: &str, bytes: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>>;

    /// Reads an object of at most `max_bytes`; `None` if there is none.
    ///
    /// # Errors
    /// What the platform said, or that the object is larger.
    fn get(&self, key: &str, max_bytes: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>>;

    /// Deletes up to 1,000 objects whose keys begin so, and says whether there may be more.
    ///
    /// # Errors
    /// What the platform said; some may be deleted.
    fn delete_some(&self, prefix: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>>;
}

/// What [`ObjectStore::delete_some`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Objects that were deleted.
    pub objects: u64,
    /// Whether there are more.
    pub more: bool,
}

/// Everything the core takes from the platform.
#[derive(Clone)]
pub struct Platform {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The queue of skill jobs.
    pub jobs: Arc<dyn JobQueue>,
    /// Requests to URLs that a caller chose.
    pub fetch: Arc<dyn Fetch>,
}
