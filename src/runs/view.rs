//! What the API shows of runs and steps.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use super::{
    plan::PlanDraft,
    status::{RunStatus, StepStatus},
};
use crate::{
    archive::OutputRef,
    ids::{AgentId, RunId, StepId},
    labels::Labels,
    skills::{
        Category, OutcomeError,
        outcome::{Effect, Usage},
    },
};

/// A run, without what may be large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "run_018f0000000070008000000000000002", "agent_id": "agt_018f0000000070008000000000000001",
    "status": "queued", "labels": {},
    "plan_hash": "9d2b6a6f3bd5f1a3e7c0d4c8b1c8a1b06f5a3a0f1f0e7d6c5b4a392817060504", "error": null,
    "steps": {"total": 5, "pending": 4, "queued": 1, "running": 0, "waiting": 0, "succeeded": 0, "failed": 0,
              "skipped": 0, "cancelled": 0},
    "created_at": "2026-11-23T10:00:00Z", "started_at": null, "ended_at": null
}))]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Who carries it out.
    pub agent_id: AgentId,
    /// Where it stands.
    pub status: RunStatus,
    /// The caller's own words.
    pub labels: Labels,
    /// SHA-256 of the plan, in hexadecimal: equal plans have equal hashes.
    pub plan_hash: String,
    /// Why it failed, or is failing while its last steps end.
    #[schema(required)]
    pub error: Option<RunError>,
    /// How many of its steps stand where.
    pub steps: StepCounts,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first step started.
    #[schema(required)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(required)]
    pub ended_at: Option<Timestamp>,
}

/// A run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Who carries it out.
    pub agent_id: AgentId,
    /// Where it stands.
    pub status: RunStatus,
    /// What it was created with.
    #[schema(value_type = Object)]
    pub input: Box<RawValue>,
    /// The caller's own words.
    pub labels: Labels,
    /// Its plan, defaults filled in.
    pub plan: PlanDraft,
    /// SHA-256 of the plan, in hexadecimal: equal plans have equal hashes.
    pub plan_hash: String,
    /// Once it has succeeded: the output of every step that no other step needs, by the step's key.
    #[schema(required, value_type = Option<BTreeMap<String, Value>>)]
    pub output: Option<BTreeMap<String, Box<RawValue>>>,
    /// Those of the outputs that lie in the archive and are still to be read.
    #[serde(skip)]
    pub(super) archived: BTreeMap<String, OutputRef>,
    /// Steps whose output is too large to be shown here; each can be read by itself at `…/steps/{key}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_omitted: Vec<String>,
    /// Why it failed, or is failing while its last steps end.
    #[schema(required)]
    pub error: Option<RunError>,
    /// How many of its steps stand where.
    pub steps: StepCounts,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first step started.
    #[schema(required)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(required)]
    pub ended_at: Option<Timestamp>,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"step": "fetch", "category": "provider", "code": "http_status", "message": "the server answered 500"}))]
pub struct RunError {
    /// The key of the step that failed, if it was a step.
    #[serde(default)]
    #[schema(required)]
    pub step: Option<String>,
    /// The kind.
    pub category: Category,
    /// Stable, snake_case.
    pub code: String,
    /// For a person.
    pub message: String,
}

/// How many steps of a run stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StepCounts {
    /// All of them.
    pub total: u32,
    /// Steps that they need have not ended.
    pub pending: u32,
    /// Due, or due at a time that is set.
    pub queued: u32,
    /// Being executed.
    pub running: u32,
    /// Waiting for a person.
    pub waiting: u32,
    /// Ended with an output.
    pub succeeded: u32,
    /// Ended with an error.
    pub failed: u32,
    /// Ended without being executed, as the plan has it.
    pub skipped: u32,
    /// Ended because the run did.
    pub cancelled: u32,
}

/// A step of a run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// Its name in the plan.
    pub key: String,
    /// The skill it calls.
    pub skill: String,
    /// Where it stands.
    pub status: StepStatus,
    /// The skill's input as the plan has it, references unresolved.
    #[schema(value_type = Object)]
    pub params: Box<RawValue>,
    /// Executions that began.
    pub attempt: u32,
    /// Executions there may be.
    pub max_attempts: u32,
    /// What it came to.
    #[schema(required, value_type = Value)]
    pub output: Option<Box<RawValue>>,
    /// Whether there is an output that is too large to be shown here: in a list, or over 4 MiB anywhere.
    #[serde(default, skip_serializing_if = "is_false")]
    pub output_omitted: bool,
    /// Where the output is, if it is too large to be kept with the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_ref: Option<OutputRef>,
    /// Why it failed, or failed the last time; why it was skipped.
    #[schema(required)]
    pub error: Option<OutcomeError>,
    /// What else is known of its last execution.
    #[schema(required)]
    pub outcome: Option<StepOutcome>,
    /// Micro-dollars of all attempts; `null` is unknown, not free.
    #[schema(required)]
    pub cost_microusd: Option<i64>,
    /// How long the last execution took, in milliseconds.
    #[schema(required)]
    pub duration_ms: Option<i64>,
    /// When it may start, while it is queued.
    #[schema(required)]
    pub due_at: Option<Timestamp>,
    /// When its last execution started.
    #[schema(required)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(required)]
    pub ended_at: Option<Timestamp>,
}

/// What is known of an execution besides its output or error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StepOutcome {
    /// What it changed outside.
    pub effects: Vec<Effect>,
    /// What it used.
    pub usage: Usage,
    /// The version of the skill's contract it ran under.
    pub skill_version: String,
    /// The provider's id of the request.
    #[schema(required)]
    pub provider_request_id: Option<String>,
}

/// The steps of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Steps {
    /// All of them, in the order of the plan.
    pub items: Vec<Step>,
}

/// One change of a run's or step's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "seq": 3, "entity": "step", "step_key": "fetch", "from_status": "queued", "to_status": "running", "attempt": 0,
    "error": null, "at": "2026-11-23T10:00:00.250Z"
}))]
pub struct HistoryEntry {
    /// Its number in the run, from 1 without gaps.
    pub seq: u32,
    /// What changed.
    #[schema(inline)]
    pub entity: HistoryEntity,
    /// The step's key, if it was a step.
    #[schema(required)]
    pub step_key: Option<String>,
    /// Where it stood before; `null` if it is new.
    #[schema(required)]
    pub from_status: Option<String>,
    /// Where it stands since.
    pub to_status: String,
    /// Executions of the step that had begun.
    #[schema(required)]
    pub attempt: Option<u32>,
    /// The error it had then: a step's or a run's.
    #[schema(required, value_type = Option<Object>)]
    pub error: Option<Value>,
    /// When.
    pub at: Timestamp,
}

/// What a history entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistoryEntity {
    /// The run.
    Run,
    /// One of its steps.
    Step,
}

/// A part of a run's history, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct History {
    /// The entries.
    pub items: Vec<HistoryEntry>,
    /// Sent as `after`, gives what follows; `null` when there is no more at the moment.
    #[schema(required)]
    pub next_after: Option<u32>,
}

fn is_false(value: &bool) -> bool {
    !value
}
