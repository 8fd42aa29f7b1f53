//! The wire form of a plan: what callers and planners send, and its limits.
//!
//! A draft is not a [`Plan`](super::Plan): nothing here says that its graph is sound or that its skills exist.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Steps of a plan.
pub const MAX_STEPS: usize = 100;
/// Characters of a step's id.
pub const MAX_ID_CHARS: usize = 64;
/// Bytes of a step's params as compact JSON.
pub const MAX_PARAMS_BYTES: usize = 64 * 1024;
/// Levels of objects and arrays in a step's params.
pub const MAX_PARAMS_DEPTH: usize = 32;
/// Steps that one step may need.
pub const MAX_NEEDS: usize = 100;
/// Bytes of a condition.
pub const MAX_WHEN_BYTES: usize = 1024;
/// Bytes of a whole plan as compact JSON.
pub const MAX_PLAN_BYTES: usize = 256 * 1024;
/// Tries at one step, the first one included.
pub const MAX_ATTEMPTS: u32 = 10;
/// The shortest first wait of a retry, in milliseconds.
pub const MIN_BACKOFF_MS: u64 = 100;
/// The longest first wait of a retry, in milliseconds: one hour.
pub const MAX_BACKOFF_MS: u64 = 3_600_000;
/// The longest a single attempt may take, in milliseconds: ten minutes.
pub const MAX_TIMEOUT_MS: u32 = 600_000;
/// How long an attempt may take where the plan does not say, in milliseconds.
pub const DEFAULT_TIMEOUT_MS: u32 = 30_000;

/// A plan as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanDraft {
    /// The steps; their order is only for readers, `needs` says what waits for what.
    #[schema(min_items = 1, max_items = 100)]
    pub steps: Vec<StepDraft>,
}

/// A step as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDraft {
    /// Names the step inside its plan: `needs`, references and conditions use it.
    #[schema(pattern = "^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
    pub id: String,
    /// The skill to call, by its name at `/v1/skills`.
    pub skill: String,
    /// The skill's input, at most 64 KiB and 32 levels deep. A string may hold references:
    /// `{{steps.fetch.output.items[0].id}}`, `{{steps.fetch.status}}`, `{{input.x}}`.
    #[serde(default = "no_params")]
    #[schema(value_type = Object, default = json!({}))]
    pub params: Value,
    /// Ids of the steps that must have ended before this one starts.
    #[serde(default)]
    #[schema(default = json!([]), max_items = 100)]
    pub needs: Vec<String>,
    /// What a failure of this step means for the run.
    #[serde(default)]
    #[schema(default = "abort")]
    pub on_error: OnError,
    /// How often the step is tried; without it, as the retry policy's own defaults say.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// How long one attempt may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    #[schema(minimum = 1, maximum = 600_000, default = 30_000)]
    pub timeout_ms: u32,
    /// A JMESPath condition over `{steps: {<id>: {output, status}}, input}`, at most 1 KiB; the step is skipped where
    /// it does not hold. `steps` holds the steps that the condition names, each of which must be in `needs`, directly
    /// or through other steps.
    #[serde(default)]
    #[schema(max_length = 1024)]
    pub when: Option<String>,
    /// Whether a person must approve the step before it starts. Only `false` is supported so far.
    #[serde(default)]
    #[schema(default = false)]
    pub requires_approval: bool,
}

fn no_params() -> Value {
    Value::Object(Map::new())
}

fn default_timeout_ms() -> u32 {
    DEFAULT_TIMEOUT_MS
}

/// What a failure of a step means for the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails; what has not started never will.
    #[default]
    Abort,
    /// The run goes on; to the steps after it the output is `null` and the status `failed`.
    Continue,
}

/// How often a step is tried and how long it waits in between; only failures marked retryable are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Tries in all, the first one included.
    #[schema(minimum = 1, maximum = 10, default = 3)]
    pub attempts: u32,
    /// The longest wait before the second try, in milliseconds; it doubles with each further one, up to an hour.
    #[schema(minimum = 100, maximum = 3_600_000, default = 1_000)]
    pub backoff_ms: u64,
}

impl Default for RetryPolicy {
    /// Three tries, the first wait about a second: cures a passing fault, does not hide a lasting one for long.
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff_ms: 1_000,
        }
    }
}
