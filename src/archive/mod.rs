//! The archive: what is too large for a row, outside the database. Every key of the project is made here and begins with
//! what it is for and whose it is, so that a tenant's objects can be erased together.
//!
//! Must never hand out an object that is not what was stored: content is found by its hash and checked against it.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{Either, select};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    digest::sha256_hex,
    ids::{StepId, TenantId},
    platform::{Clock, ObjectStore, PlatformError},
};

/// Outputs of steps that are larger than this, in bytes of compact JSON, go to the archive.
pub const INLINE_BYTES: usize = 64 * 1024;
/// The largest output that a skill may hand over to be archived, and the largest that is read back: later steps and the API
/// read it whole, and memory is bounded. A skill that writes its output as text by itself may store a larger one.
pub const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;
/// How long the archive may take for one object, or for deleting some.
const PATIENCE: Duration = Duration::from_secs(10);

/// The folders that hold what is a tenant's.
const FOLDERS: [&str; 2] = ["outputs", "calendar"];

/// Where an archived output is, as its step's row keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputRef {
    /// The object.
    pub key: String,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
}

impl OutputRef {
    /// Whether the output is small enough to be read back.
    pub fn is_readable(&self) -> bool {
        usize::try_from(self.bytes).is_ok_and(|bytes| bytes <= MAX_OUTPUT_BYTES)
    }
}

/// Why an output cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The platform failed; the same may succeed in a moment.
    #[error("the archive cannot be reached: {0}")]
    Unreachable(#[from] PlatformError),
    /// There is no such object.
    #[error("the archived object is gone")]
    Missing,
    /// The object is another one than was stored.
    #[error("the archived object is not what was stored")]
    Corrupt,
}

/// The archive. Nobody waits longer for an object than ten seconds.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
}

impl Archive {
    /// An archive in this bucket.
    pub fn new(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    async fn patiently<T>(&self, work: impl Future<Output = Result<T, PlatformError>>) -> Result<T, Error> {
        let limit = async { self.clock.sleep(PATIENCE).await };
        match select(pin!(work), pin!(limit)).await {
            Either::Left((result, _)) => Ok(result?),
            Either::Right(((), _)) => Err(PlatformError("no answer in time".to_owned()).into()),
        }
    }

    /// Stores the output of a tenant's step. Stored again it is the same object under the same key.
    ///
    /// # Errors
    /// The platform failed.
    pub async fn put_output(&self, tenant: TenantId, at: Timestamp, json: Bytes) -> Result<OutputRef, Error> {
        let sha256 = sha256_hex(&json);
        // The date of an RFC 3339 time.
        let day: String = at
            .to_string()
            .chars()
            .take(10)
            .map(|char| if char == '-' { '/' } else { char })
            .collect();
        let output = OutputRef {
            key: format!("outputs/{tenant}/{day}/{sha256}.json"),
            bytes: u64::try_from(json.len()).unwrap_or(u64::MAX),
            sha256,
        };
        let put = self.store.put(&output.key, "application/json", json);
        self.patiently(put).await?;
        Ok(output)
    }

    /// Reads an output back, checked against its hash. One that is not [readable](OutputRef::is_readable) cannot be.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn get_output(&self, output: &OutputRef) -> Result<Box<RawValue>, Error> {
        let get = self.store.get(&output.key, MAX_OUTPUT_BYTES);
        let bytes = self.patiently(get).await?.ok_or(Error::Missing)?;
        if sha256_hex(&bytes) != output.sha256 {
            return Err(Error::Corrupt);
        }
        serde_json::from_slice(&bytes).map_err(|_| Error::Corrupt)
    }

    /// Stores the calendar file of a step, in place of an earlier one.
    ///
    /// # Errors
    /// The platform failed.
    pub async fn put_calendar(&self, tenant: TenantId, step: StepId, ics: String) -> Result<(), Error> {
        let key = calendar_key(tenant, step);
        let put = self.store.put(&key, "text/calendar; charset=utf-8", Bytes::from(ics));
        self.patiently(put).await
    }

    /// The calendar file of a step, at most `max_bytes` long.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn get_calendar(&self, tenant: TenantId, step: StepId, max_bytes: usize) -> Result<Bytes, Error> {
        let key = calendar_key(tenant, step);
        self.patiently(self.store.get(&key, max_bytes))
            .await?
            .ok_or(Error::Missing)
    }

    /// Deletes some of a tenant's objects. Returns how many, and whether there are more.
    ///
    /// # Errors
    /// The platform failed.
    pub async fn erase_some(&self, tenant: TenantId) -> Result<(u64, bool), Error> {
        let (mut objects, mut more) = (0_u64, false);
        for folder in FOLDERS {
            let prefix = format!("{folder}/{tenant}/");
            let deleted = self.patiently(self.store.delete_some(&prefix)).await?;
            objects = objects.saturating_add(deleted.objects);
            more |= deleted.more;
        }
        Ok((objects, more))
    }
}

fn calendar_key(tenant: TenantId, step: StepId) -> String {
    format!("calendar/{tenant}/{step}.ics")
}

#[cfg(test)]
mod tests {
    use futures::future::{self, FutureExt, LocalBoxFuture};

    use super::*;
    use crate::platform::Deleted;

    /// Whose every wait is over at once.
    struct Impatient;

    impl Clock for Impatient {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn sleep(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
            future::ready(()).boxed_local()
        }
    }

    /// A bucket that never answers.
    struct Silent;

    impl ObjectStore for Silent {
        fn put(&self, _: &str, _: &str, _: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
            future::pending().boxed_local()
        }

        fn get(&self, _: &str, _: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>> {
            future::pending().boxed_local()
        }

        fn delete_some(&self, _: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>> {
            future::pending().boxed_local()
        }
    }

    #[test]
    fn nobody_waits_for_an_archive_that_does_not_answer() {
        let archive = Archive::new(Arc::new(Silent), Arc::new(Impatient));
        let tenant: TenantId = "ten_018f0000000070008000000000000001".parse().unwrap();
        let step: StepId = "stp_018f0000000070008000000000000001".parse().unwrap();
        let output = OutputRef {
            key: "outputs/x".to_owned(),
            bytes: 1,
            sha256: String::new(),
        };
        let at = Timestamp::UNIX_EPOCH;
        let now = |work: LocalBoxFuture<'_, Result<(), Error>>| work.now_or_never().expect("it waits");
        for result in [
            now(archive
                .put_output(tenant, at, Bytes::new())
                .map(|done| done.map(drop))
                .boxed_local()),
            now(archive.get_output(&output).map(|done| done.map(drop)).boxed_local()),
            now(archive.put_calendar(tenant, step, String::new()).boxed_local()),
            now(archive
                .get_calendar(tenant, step, 1)
                .map(|done| done.map(drop))
                .boxed_local()),
            now(archive.erase_some(tenant).map(|done| done.map(drop)).boxed_local()),
        ] {
            assert!(matches!(result, Err(Error::Unreachable(_))), "{result:?}");
        }
    }
}
