//! Outputs that lie in the archive, read through for whoever reads a run or a step. One that cannot be had is left out and
//! says so; it must never keep the rest from being read.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use serde_json::value::RawValue;

use super::view::{Run, Step};
use crate::archive::{Archive, OutputRef};

/// Objects that are read at once.
const READ_AT_ONCE: usize = 4;

impl Run {
    /// The run with those of its outputs that lie in the archive.
    pub async fn with_outputs(mut self, archive: Option<&Archive>) -> Self {
        let archived = std::mem::take(&mut self.archived);
        let loaded: Vec<_> = stream::iter(archived)
            .map(|(key, reference)| async move { (key, load(archive, &reference).await) })
            .buffer_unordered(READ_AT_ONCE)
            .collect()
            .await;
        for (key, output) in loaded {
            match output {
                Some(output) => drop(self.output.get_or_insert_with(BTreeMap::new).insert(key, output)),
                None => self.output_omitted.push(key),
            }
        }
        self
    }
}

impl Step {
    /// The step with its output, if it lies in the archive and is no larger than what a skill may hand over. A larger one
    /// would be in memory several times.
    pub async fn with_output(mut self, archive: Option<&Archive>) -> Self {
        if let Some(reference) = self.output_ref.as_ref().filter(|output| output.is_readable())
            && let Some(output) = load(archive, reference).await
        {
            self.output = Some(output);
            self.output_omitted = false;
        }
        self
    }
}

async fn load(archive: Option<&Archive>, reference: &OutputRef) -> Option<Box<RawValue>> {
    archive?
        .get_output(reference)
        .await
        .inspect_err(|error| tracing::warn!(%error, key = reference.key, "an archived output could not be read"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use bytes::Bytes;
    use futures::future::{self, FutureExt, LocalBoxFuture};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        archive::MAX_OUTPUT_BYTES,
        digest::sha256_hex,
        platform::{Clock, Deleted, ObjectStore, PlatformError},
    };

    const OUTPUT: &str = r#"{"n":1}"#;

    /// A bucket in which every object is the same, and how often one was read.
    #[derive(Default)]
    struct Bucket(AtomicUsize);

    impl ObjectStore for Bucket {
        fn put(&self, _: &str, _: &str, _: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
            future::ready(Ok(())).boxed_local()
        }

        fn get(&self, _: &str, _: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            future::ready(Ok(Some(OUTPUT.into()))).boxed_local()
        }

        fn delete_some(&self, _: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>> {
            future::ready(Ok(Deleted::default())).boxed_local()
        }
    }

    struct NoClock;

    impl Clock for NoClock {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn sleep(&self, _: std::time::Duration) -> LocalBoxFuture<'static, ()> {
            future::pending().boxed_local()
        }
    }

    fn step(bytes: usize) -> Step {
        let step = json!({
            "id": "stp_018f0000000070008000000000000001", "key": "a", "skill": "voyage_embed", "status": "succeeded",
            "params": {}, "attempt": 1, "max_attempts": 3, "output": null, "output_omitted": true,
            "output_ref": {"key": "outputs/x", "bytes": bytes, "sha256": sha256_hex(OUTPUT.as_bytes())},
            "error": null, "outcome": null, "cost_microusd": null, "duration_ms": null, "due_at": null,
            "started_at": null, "ended_at": null
        });
        serde_json::from_str(&step.to_string()).unwrap()
    }

    #[test]
    fn an_output_of_more_than_four_mebibytes_is_not_read_through() {
        let bucket = Arc::new(Bucket::default());
        let archive = Archive::new(bucket.clone(), Arc::new(NoClock));
        let read = |bytes| step(bytes).with_output(Some(&archive)).now_or_never().unwrap();

        let shown = read(MAX_OUTPUT_BYTES);
        assert_eq!(
            shown.output.map(|output| output.get().to_owned()).as_deref(),
            Some(OUTPUT)
        );
        assert!(!shown.output_omitted);
        assert_eq!(bucket.0.load(Ordering::Relaxed), 1);

        let left_out = read(MAX_OUTPUT_BYTES + 1);
        assert!(left_out.output.is_none() && left_out.output_omitted && left_out.output_ref.is_some());
        assert_eq!(bucket.0.load(Ordering::Relaxed), 1);
    }
}
