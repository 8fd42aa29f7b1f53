//! The archive: what is too large for a row, outside the database. Every key of the project is made here and begins with
//! what it is for and whose it is, so that a tenant's objects can be erased together.
//!
//! Must never hand out an object that is not what was stored: content is found by its hash and checked against it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    digest::sha256_hex,
    ids::{StepId, TenantId},
    platform::{ObjectStore, PlatformError},
};

/// Outputs of steps that are larger than this, in bytes of compact JSON, go to the archive.
pub const INLINE_BYTES: usize = 64 * 1024;
/// The largest output that a skill may hand over to be archived. Later steps read it whole, and memory is bounded.
pub const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;
/// The largest output that is read through. A skill that writes its output as text by itself may store so much; no later
/// step can bring it in.
const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

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

/// The archive.
#[derive(Clone)]
pub struct Archive(Arc<dyn ObjectStore>);

impl Archive {
    /// An archive in this bucket.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
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
        self.0.put(&output.key, "application/json", json).await?;
        Ok(output)
    }

    /// Reads an output back, checked against its hash.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn get_output(&self, output: &OutputRef) -> Result<Box<RawValue>, Error> {
        let bytes = self.0.get(&output.key, MAX_TEXT_BYTES).await?.ok_or(Error::Missing)?;
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
        Ok(self
            .0
            .put(&key, "text/calendar; charset=utf-8", Bytes::from(ics))
            .await?)
    }

    /// The calendar file of a step, at most `max_bytes` long.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn get_calendar(&self, tenant: TenantId, step: StepId, max_bytes: usize) -> Result<Bytes, Error> {
        self.0
            .get(&calendar_key(tenant, step), max_bytes)
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
            let deleted = self.0.delete_some(&format!("{folder}/{tenant}/")).await?;
            objects = objects.saturating_add(deleted.objects);
            more |= deleted.more;
        }
        Ok((objects, more))
    }
}

fn calendar_key(tenant: TenantId, step: StepId) -> String {
    format!("calendar/{tenant}/{step}.ics")
}
