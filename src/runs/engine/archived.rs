//! Outputs that are too large for a row: stored in the archive before a step is settled, read back before a step that
//! refers to them starts. Must never settle a step whose output is nowhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::Value;

use super::{Engine, turn::Claimed};
use crate::{
    archive::{self, Archive, OutputRef},
    runs::plan::compact_len,
    skills::{Category, Outcome, OutcomeError, OutcomeStatus},
};

/// The largest output that is kept in a row, in bytes of compact JSON: where there is no archive, or it is away.
const MAX_ROW_BYTES: usize = 1024 * 1024;
/// Objects that are read at once.
const READ_AT_ONCE: usize = 2;

/// Archived outputs, or why they cannot be had, by their keys in the archive.
pub(super) type Loaded = BTreeMap<String, Result<Value, OutcomeError>>;

impl Engine {
    /// The outcome with an output that fits its row: a large one is moved to the archive.
    ///
    /// While the archive is waited for the output is there as text alone: as values it may take many times the room, and
    /// several lanes wait at once.
    pub(super) async fn keep(&self, step: &Claimed, mut outcome: Outcome) -> Outcome {
        let Some(output) = outcome.output.take() else {
            return outcome;
        };
        outcome.output_weight = weight(&output);
        if compact_len(&output, archive::INLINE_BYTES).is_some() {
            return with_output(outcome, output);
        }
        let fits_row = compact_len(&output, MAX_ROW_BYTES).is_some();
        let Some(archive) = &self.services.archive else {
            return if fits_row {
                with_output(outcome, output)
            } else {
                too_large(outcome, MAX_ROW_BYTES)
            };
        };
        // A JSON value can always be written.
        let json = Bytes::from(serde_json::to_vec(&output).unwrap_or_default());
        if json.is_empty() || json.len() > archive::MAX_OUTPUT_BYTES {
            return too_large(outcome, archive::MAX_OUTPUT_BYTES);
        }
        drop(output);
        match self.put(archive, step, json.clone()).await {
            Ok(reference) => Outcome {
                output_ref: Some(reference),
                ..outcome
            },
            Err(error) => match serde_json::from_slice(&json) {
                Ok(output) if fits_row => {
                    tracing::warn!(step = %step.step_id, %error, "an output stays in its row: the archive is away");
                    with_output(outcome, output)
                }
                _ => failed(outcome, unreachable(&error)),
            },
        }
    }

    async fn put(&self, archive: &Archive, step: &Claimed, json: Bytes) -> Result<OutputRef, archive::Error> {
        let now = self.platform.clock.now();
        archive.put_output(step.tenant_id, now, json).await
    }

    /// Reads archived outputs, each once.
    pub(super) async fn load(&self, wanted: Vec<OutputRef>) -> Loaded {
        let distinct: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|reference| (reference.key.clone(), reference))
            .collect();
        stream::iter(distinct)
            .map(|(key, reference)| async move {
                let loaded = match &self.services.archive {
                    None => Err(OutcomeError::new(
                        Category::Configuration,
                        "integration_not_configured",
                        "an output that the step refers to is in the archive, which is not configured any more",
                    )),
                    Some(archive) => archive
                        .get_output(&reference)
                        .await
                        .and_then(|json| serde_json::from_str(json.get()).map_err(|_| archive::Error::Corrupt))
                        .map_err(|error| unreachable(&error)),
                };
                (key, loaded)
            })
            .buffer_unordered(READ_AT_ONCE)
            .collect()
            .await
    }
}

/// What an output takes in memory as values, in bytes: 24 each on wasm32, and the texts beside them.
fn weight(output: &Value) -> u64 {
    const VALUE_BYTES: u64 = 24;
    let sum = |inner: u64| inner.saturating_add(VALUE_BYTES);
    match output {
        Value::Array(items) => sum(items.iter().fold(0, |all, item| all.saturating_add(weight(item)))),
        Value::Object(fields) => sum(fields.iter().fold(0, |all, (name, item)| {
            all.saturating_add(bytes(name)).saturating_add(weight(item))
        })),
        Value::String(text) => sum(bytes(text)),
        _ => VALUE_BYTES,
    }
}

fn bytes(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

fn with_output(outcome: Outcome, output: Value) -> Outcome {
    Outcome {
        output: Some(output),
        ..outcome
    }
}

fn unreachable(error: &archive::Error) -> OutcomeError {
    match error {
        archive::Error::Unreachable(_) => {
            OutcomeError::new(Category::Network, "archive_unreachable", error.to_string()).retryable()
        }
        archive::Error::Missing | archive::Error::Corrupt => {
            OutcomeError::new(Category::Internal, "archived_output_lost", error.to_string())
        }
    }
}

fn too_large(outcome: Outcome, limit: usize) -> Outcome {
    let error = OutcomeError::new(
        Category::Content,
        "output_too_large",
        format!("the output is over {limit} bytes, more than can be kept here"),
    );
    failed(outcome, error)
}

/// The same execution, effects, costs and all, whose output could not be kept.
fn failed(outcome: Outcome, error: OutcomeError) -> Outcome {
    // What changed the outside world must not be repeated for the sake of its output.
    let retryable = error.retryable && outcome.effects.is_empty();
    Outcome {
        status: OutcomeStatus::Failed,
        output: None,
        error: Some(OutcomeError { retryable, ..error }),
        ..outcome
    }
}
