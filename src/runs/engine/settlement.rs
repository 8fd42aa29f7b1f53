//! What an execution came to, as the database will keep it: the decision between retry and failure is made here.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::turn::Claimed;
use crate::{
    archive::OutputRef,
    ids::{RunId, StepId},
    runs::{
        plan::RetryPolicy,
        retry::{self, Seed},
    },
    skills::{
        Category, EffectClass, Outcome, OutcomeError, OutcomeStatus,
        outcome::{Effect, IntegrationCall},
    },
};

/// Where a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Succeeded,
    Failed,
    Skipped,
    /// Back to the queue after an attempt.
    Retry,
    /// Back to the queue, nothing having begun.
    Release,
}

/// One row of a turn's settlements.
#[derive(Debug, Clone)]
pub(super) struct Settlement {
    pub(super) step_id: StepId,
    pub(super) run_id: RunId,
    pub(super) claim_no: i32,
    pub(super) has_effect: bool,
    pub(super) effects: Vec<Effect>,
    verdict: Verdict,
    began: bool,
    output: Option<Value>,
    output_ref: Option<OutputRef>,
    output_weight: u64,
    /// Whether the effect may have happened although the attempt failed.
    lost: bool,
    calls: Vec<IntegrationCall>,
    error: Option<OutcomeError>,
    outcome: Option<Value>,
    cost_microusd: Option<i64>,
    duration_ms: Option<u64>,
    again_in: Duration,
}

impl Settlement {
    /// A step whose execution began and came to `outcome`; or that found no lane, and goes back.
    pub(super) fn of(step: &Claimed, mut outcome: Outcome) -> Self {
        if let Some(again_in) = outcome.deferred {
            return Self::release(step, again_in);
        }
        let output = outcome.output.take().map(without_nul);
        let error = outcome.error.take().map(|error| OutcomeError {
            message: error.message.replace('\0', "\u{fffd}"),
            ..error
        });
        let (verdict, again_in) = verdict(step, outcome.status, error.as_ref());
        let lost = has_effect(step) && error.as_ref().is_some_and(is_answer_lost);
        // Every attempt was made under one key, and none of them was answered: whoever has to decide must be told.
        let error = match error {
            Some(error) if lost && verdict == Verdict::Failed => Some(unknown(error)),
            error => error,
        };
        Self {
            step_id: step.step_id,
            run_id: step.run_id,
            claim_no: step.claim_no,
            has_effect: has_effect(step),
            verdict,
            // A skipped step was looked at, not executed.
            began: outcome.status != OutcomeStatus::Skipped,
            output,
            output_ref: outcome.output_ref.take(),
            output_weight: outcome.output_weight,
            lost,
            calls: outcome.calls.into_iter().map(storable).collect(),
            error,
            outcome: Some(without_nul(json!({
                "effects": outcome.effects,
                "usage": outcome.usage,
                "skill_version": outcome.skill_version,
                "provider_request_id": outcome.provider_request_id,
            }))),
            effects: outcome.effects,
            cost_microusd: outcome.cost_microusd,
            duration_ms: Some(outcome.duration_ms),
            again_in,
        }
    }

    /// A step that was claimed and could not be started: somebody may have it after `again_in`.
    pub(super) fn release(step: &Claimed, again_in: Duration) -> Self {
        Self {
            step_id: step.step_id,
            run_id: step.run_id,
            claim_no: step.claim_no,
            has_effect: has_effect(step),
            effects: Vec::new(),
            verdict: Verdict::Release,
            began: false,
            output: None,
            output_ref: None,
            output_weight: 0,
            lost: false,
            calls: Vec::new(),
            error: None,
            outcome: None,
            cost_microusd: None,
            duration_ms: None,
            again_in,
        }
    }

    /// The same execution, after the database refused what it brought: the step fails, its neighbours do not.
    pub(super) fn refused(&self, why: &str) -> Self {
        Self {
            verdict: Verdict::Failed,
            output: None,
            output_ref: None,
            outcome: None,
            effects: Vec::new(),
            cost_microusd: None,
            error: Some(OutcomeError::new(
                Category::Content,
                "output_refused",
                format!("the database refused the output: {}", why.replace('\0', "\u{fffd}")),
            )),
            ..self.clone()
        }
    }

    /// What the ledger should say; `None`: nothing happened, take it back.
    pub(super) fn ledger_state(&self) -> Option<&'static str> {
        match (&self.verdict, &self.error) {
            (Verdict::Release | Verdict::Skipped, _) => None,
            (_, Some(error)) if error.category == Category::UnknownEffect => Some("unknown"),
            _ => Some("finalised"),
        }
    }

    /// Whether the ledger is to remember that the effect may have happened, whatever comes of later attempts.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether the execution did what it was to do.
    pub(super) fn has_succeeded(&self) -> bool {
        matches!(self.verdict, Verdict::Succeeded)
    }

    /// The rows that `sql/settle_usage.sql` reads.
    pub(super) fn usage_rows(&self) -> impl Iterator<Item = UsageRow<'_>> {
        self.calls.iter().zip(0..).map(|(call, n)| UsageRow {
            step_id: self.step_id.uuid(),
            claim_no: self.claim_no,
            n,
            call,
        })
    }

    /// The row that `sql/settle.sql` reads.
    pub(super) fn row(&self) -> Value {
        json!({
            "step_id": self.step_id.uuid(),
            "claim_no": self.claim_no,
            "verdict": match self.verdict {
                Verdict::Succeeded => "succeeded",
                Verdict::Failed => "failed",
                Verdict::Skipped => "skipped",
                Verdict::Retry => "retry",
                Verdict::Release => "release",
            },
            "began": self.began,
            "output": self.output,
            "output_ref": self.output_ref,
            "output_weight": storable_number(self.output_weight, i32::MAX),
            // What an executor that was lost before had spent nobody knows.
            "priced": self.calls.iter().any(|call| call.price_version.is_some()),
            "error": self.error,
            "outcome": self.outcome,
            "cost_microusd": self.cost_microusd,
            "duration_ms": self.duration_ms.map(|ms| storable_number(ms, i32::MAX)),
            "again_in_ms": u64::try_from(self.again_in.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// One call of an integration, of one claim.
#[derive(Serialize)]
pub(super) struct UsageRow<'a> {
    step_id: uuid::Uuid,
    claim_no: i32,
    n: i16,
    #[serde(flatten)]
    call: &'a IntegrationCall,
}

fn has_effect(step: &Claimed) -> bool {
    matches!(step.effect_class, EffectClass::Repeatable | EffectClass::Once)
}

/// Whether nobody knows what became of the request: no answer, or none that could be read. Other failures of the network
/// come before anything is sent.
fn is_answer_lost(error: &OutcomeError) -> bool {
    matches!(
        &*error.code,
        "timeout" | "network" | "invalid_answer" | "unknown_effect"
    )
}

/// The same failure, saying what it means for the effect.
fn unknown(error: OutcomeError) -> OutcomeError {
    let message = format!("{}; whether it was carried out is unknown", error.message);
    OutcomeError {
        provider: error.provider,
        provider_status: error.provider_status,
        ..OutcomeError::new(Category::UnknownEffect, "unknown_effect", message)
    }
}

/// A call whose numbers the database can store, whatever a provider has said.
fn storable(call: IntegrationCall) -> IntegrationCall {
    let tokens = |tokens: Option<u64>| tokens.map(|tokens| storable_number(tokens, i64::MAX));
    IntegrationCall {
        requests: call.requests.min(i32::MAX.unsigned_abs()),
        input_tokens: tokens(call.input_tokens),
        cached_input_tokens: tokens(call.cached_input_tokens),
        output_tokens: tokens(call.output_tokens),
        bytes_out: storable_number(call.bytes_out, i64::MAX),
        bytes_in: storable_number(call.bytes_in, i64::MAX),
        duration_ms: storable_number(call.duration_ms, i32::MAX),
        ..call
    }
}

fn storable_number(number: u64, most: impl TryInto<u64>) -> u64 {
    most.try_into().map_or(number, |most| number.min(most))
}

/// Only what is marked retryable is tried again, never what may have happened already, and only as often as the plan
/// says.
fn verdict(step: &Claimed, status: OutcomeStatus, error: Option<&OutcomeError>) -> (Verdict, Duration) {
    let attempt = step.attempt.saturating_add(1);
    match (status, error) {
        (OutcomeStatus::Succeeded, _) => (Verdict::Succeeded, Duration::ZERO),
        (OutcomeStatus::Skipped, _) => (Verdict::Skipped, Duration::ZERO),
        (OutcomeStatus::Failed, Some(error))
            if error.retryable && error.category != Category::UnknownEffect && attempt < step.max_attempts =>
        {
            let policy = RetryPolicy {
                attempts: step.max_attempts,
                backoff_ms: step.backoff_ms,
            };
            let seed = Seed {
                run: step.run_id,
                step: step.step_id,
                attempt,
            };
            (Verdict::Retry, retry::delay(policy, seed, error.retry_after_ms))
        }
        (OutcomeStatus::Failed, _) => (Verdict::Failed, Duration::ZERO),
    }
}

/// PostgreSQL's text holds no NUL; in an output it becomes the replacement character.
fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(fields) => {
            let clean = |(name, value): (String, Value)| (name.replace('\0', "\u{fffd}"), without_nul(value));
            Value::Object(fields.into_iter().map(clean).collect())
        }
        other => other,
    }
}
