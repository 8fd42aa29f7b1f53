//! Plans: the graph of steps of a run, from the wire form to the validated one.
//!
//! A [`Plan`] exists only if [`validate()`] found nothing wrong, or if it was stored by somebody for whom it had found
//! nothing wrong. Nothing here does I/O, and no input may make it panic.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod draft;
mod extent;
mod graph;
mod read;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests;
mod validate;
mod when;

pub(in crate::runs) use self::extent::{compact_len, is_deeper_than};
pub use self::{
    draft::*,
    validate::{PlanContext, validate},
};
use crate::skills::EffectClass;

/// A validated plan. Serialises to the JSON that is stored with the run; [`Plan::from_stored`] reads it back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    hash: String,
    steps: Vec<Step>,
}

/// A step of a validated plan. There are at most [`MAX_STEPS`], so an index always fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    index: u16,
    id: String,
    skill: String,
    params: Value,
    needs: Vec<u16>,
    refs: Vec<u16>,
    on_error: OnError,
    retry: RetryPolicy,
    timeout_ms: u32,
    when: Option<String>,
    effect_class: EffectClass,
    outside: bool,
    is_sink: bool,
    /// Absent in plans that were stored before there were secrets.
    #[serde(default)]
    secrets: BTreeSet<String>,
}

impl Plan {
    /// Reads a plan back that [`validate()`] had accepted and that was stored since. It is not validated again: a plan
    /// stays what it was when the run was created, whatever skills and limits are today.
    ///
    /// # Errors
    /// The value is not a stored plan.
    pub fn from_stored(stored: Value) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Stored {
            hash: String,
            steps: Vec<Step>,
        }
        let Stored { hash, steps } = serde_json::from_value(stored)?;
        Ok(Self { hash, steps })
    }

    /// The steps, in the order of the draft; a step's place is its [`Step::index`].
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The step with this id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id() == id)
    }

    /// SHA-256, in lower-case hexadecimal, over the RFC 8785 canonical JSON of [`Plan::draft`]: the same for drafts that
    /// differ only in spelled-out defaults or in the order of `needs`.
    pub fn plan_hash(&self) -> &str {
        &self.hash
    }

    /// The plan in its wire form, defaults filled in, `needs` in the order of the steps.
    pub fn draft(&self) -> PlanDraft {
        PlanDraft {
            steps: self.steps.iter().map(|step| self.step_draft(step)).collect(),
        }
    }

    fn step_draft(&self, step: &Step) -> StepDraft {
        let id_of = |index: &u16| self.steps.get(usize::from(*index)).map(|needed| needed.id.clone());
        StepDraft {
            id: step.id.clone(),
            skill: step.skill.clone(),
            params: step.params.clone(),
            needs: step.needs.iter().filter_map(id_of).collect(),
            on_error: step.on_error,
            retry: step.retry,
            timeout_ms: step.timeout_ms,
            when: step.when.clone(),
            requires_approval: false,
        }
    }

    /// The skills it uses.
    pub fn skills(&self) -> BTreeSet<&str> {
        self.steps.iter().map(Step::skill).collect()
    }

    /// The secrets that it names.
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.steps
            .iter()
            .flat_map(|step| step.secrets.iter().map(String::as_str))
            .collect()
    }

    /// JSON pointer, relative to the plan, to the first use of a skill: where to say that an agent may not use it.
    pub fn first_use(&self, skill: &str) -> Option<String> {
        let step = self.steps.iter().find(|step| step.skill() == skill)?;
        Some(format!("/steps/{}/skill", step.index))
    }
}

impl Step {
    /// Its place in the plan, from 0.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Its name inside the plan.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The skill it calls.
    pub fn skill(&self) -> &str {
        &self.skill
    }

    /// The skill's input, references unresolved; an object.
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// Indices of the steps that must have ended before it starts, ascending.
    pub fn needs(&self) -> &[u16] {
        &self.needs
    }

    /// Indices, ascending, of the steps whose output or status its params or its condition name: what has to be loaded
    /// to start it. All of them are ancestors through `needs`.
    pub fn refs(&self) -> &[u16] {
        &self.refs
    }

    /// What its failure means for the run.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// How often it is tried.
    pub fn retry(&self) -> RetryPolicy {
        self.retry
    }

    /// How long one attempt may take, in milliseconds.
    pub fn timeout_ms(&self) -> u32 {
        self.timeout_ms
    }

    /// Its condition: JMESPath over [`Scope::document`](super::references::Scope::document).
    pub fn when(&self) -> Option<&str> {
        self.when.as_deref()
    }

    /// What the outside world sees of it; the worst case where references leave it open.
    pub fn effect_class(&self) -> EffectClass {
        self.effect_class
    }

    /// Whether it reaches outside, and so needs a lane.
    pub fn outside(&self) -> bool {
        self.outside
    }

    /// The tenant's secrets that its params name.
    pub fn secrets(&self) -> &BTreeSet<String> {
        &self.secrets
    }

    /// Whether no step needs it: its output is part of the run's.
    pub fn is_sink(&self) -> bool {
        self.is_sink
    }
}
