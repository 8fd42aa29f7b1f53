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
    /// The step with its output, if it lies in the archive.
    pub async fn with_output(mut self, archive: Option<&Archive>) -> Self {
        if let Some(reference) = &self.output_ref
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
