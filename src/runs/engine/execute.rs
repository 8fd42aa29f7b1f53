//! One execution of one claimed step: condition, references, skill, within its timeout. Always ends in an outcome.

use std::{borrow::Cow, time::Duration};

use futures::future::{Either, select};
use serde_json::Value;

use super::{
    Engine,
    turn::{Claimed, MAX_CARRIED_BYTES},
};
use crate::{
    runs::references::{Scope, StepResult, resolve},
    skills::{Call, Category, EffectClass, Outcome, OutcomeError, OutcomeStatus, jmespath},
};

/// What a claimed step turned out to be, before anything outside is touched.
pub(super) enum Prepared {
    /// It is to be executed, with these params and, if it goes outside, towards this host.
    Ready { params: Value, host: Option<String> },
    /// It has ended already: skipped, or its params cannot be had.
    Settled(Box<Outcome>),
}

impl Engine {
    /// Looks at the condition and resolves the references. `input`: the run's, if it could be read.
    pub(super) fn prepare(&self, step: &mut Claimed, input: Option<&Value>) -> Prepared {
        if step.needs_all_skipped {
            return skipped("needs_skipped", "every step that it needs was skipped");
        }
        if step.too_large {
            let reason = format!(
                "its params, the run's input and the outputs it refers to are over {MAX_CARRIED_BYTES} bytes together"
            );
            return failed(Category::Validation, "reference_failed", reason);
        }
        let (Some(input), Ok(steps), Ok(params)) = (
            input,
            std::mem::take(&mut step.refs)
                .into_iter()
                .map(|(key, step)| {
                    Ok((
                        key,
                        StepResult {
                            output: serde_json::from_str(step.output.get())?,
                            status: step.status,
                        },
                    ))
                })
                .collect::<Result<_, serde_json::Error>>(),
            serde_json::from_str(step.params.get()),
        ) else {
            return failed(
                Category::Validation,
                "reference_failed",
                "its params, the run's input or an output it refers to nest too deep to be read".to_owned(),
            );
        };
        let scope = Scope { input, steps };
        if let Some(condition) = &step.condition {
            let holds =
                jmespath::compile(condition).and_then(|condition| jmespath::truthy(&condition, &scope.document()));
            match holds {
                Ok(true) => {}
                Ok(false) => return skipped("condition_false", "its condition did not hold"),
                Err(reason) => return failed(Category::Validation, "condition_failed", reason),
            }
        }
        let params = match resolve(&params, &scope) {
            Ok(params) => params,
            Err(error) => return failed(Category::Validation, "reference_failed", error.to_string()),
        };
        let Some(skill) = self.skills.get(&step.skill) else {
            return failed(
                Category::Configuration,
                "skill_unknown",
                format!("there is no skill `{}` any more", step.skill),
            );
        };
        let host = step
            .outside
            .then(|| skill.host(&params).unwrap_or_else(|| step.skill.clone()));
        Prepared::Ready { params, host }
    }

    /// Executes the skill. Whatever it does, an outcome comes back within the step's timeout.
    pub(super) async fn execute(&self, step: &Claimed, params: &Value) -> Outcome {
        let began = self.platform.clock.now();
        let mut outcome = match self.skills.get(&step.skill) {
            None => Outcome::failed(OutcomeError::new(
                Category::Configuration,
                "skill_unknown",
                "there is no such skill",
            )),
            Some(skill) => {
                let timeout = Duration::from_millis(step.timeout_ms.into());
                let key = step.step_id.to_string();
                let call = skill.execute(Call {
                    params,
                    tenant: step.tenant_id,
                    run: step.run_id,
                    step: step.step_id,
                    attempt: step.attempt.saturating_add(1),
                    idempotency_key: &key,
                    timeout,
                    services: &self.services,
                });
                // The skill keeps the timeout by itself; this one is for a skill that does not.
                let limit = self
                    .platform
                    .clock
                    .sleep(timeout.saturating_add(Duration::from_secs(1)));
                let outcome = match select(call, limit).await {
                    Either::Left((outcome, _)) => outcome,
                    Either::Right(((), _)) => Outcome::failed(timed_out(step)),
                };
                Outcome {
                    skill_version: Cow::Borrowed(skill.contract().version),
                    ..outcome
                }
            }
        };
        let took = Duration::try_from(began.duration_until(self.platform.clock.now())).unwrap_or_default();
        outcome.duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            run = %step.run_id,
            step = step.key,
            skill = step.skill,
            attempt = step.attempt.saturating_add(1),
            status = ?outcome.status,
            code = outcome.error.as_ref().map(|error| &*error.code),
            duration_ms = outcome.duration_ms,
            "executed"
        );
        outcome
    }
}

fn timed_out(step: &Claimed) -> OutcomeError {
    let message = format!("the skill did not end within {} ms", step.timeout_ms);
    if step.effect_class == EffectClass::Once {
        OutcomeError::new(Category::UnknownEffect, "unknown_effect", message)
    } else {
        OutcomeError::new(Category::Timeout, "timeout", message).retryable()
    }
}

fn skipped(code: &'static str, why: &str) -> Prepared {
    let error = OutcomeError::new(Category::Cancelled, code, why);
    Prepared::Settled(Box::new(Outcome {
        status: OutcomeStatus::Skipped,
        ..Outcome::failed(error)
    }))
}

fn failed(category: Category, code: &'static str, why: String) -> Prepared {
    Prepared::Settled(Box::new(Outcome::failed(OutcomeError::new(category, code, why))))
}
