//! One execution of one claimed step: condition, references, skill, within its timeout. Always ends in an outcome.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use futures::future::{Either, select};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{
    Engine,
    archived::Loaded,
    turn::{Claimed, MAX_CARRIED_BYTES},
};
use crate::{
    runs::references::{Resolved, Scope, StepResult, resolve},
    skills::{
        Call, Category, EffectClass, Outcome, OutcomeError, OutcomeStatus, SecretValues, jmespath,
        outcome::{IntegrationCall, Usage},
    },
    tenants::Owner,
};

/// How long a skill may take beyond its timeout: to read its breaker and to report to it.
pub(super) const OVERTIME: Duration = Duration::from_secs(3);
/// What stands in an outcome where a secret stood.
const REDACTED: &str = "[redacted]";
/// A shorter text is no secret, and would be found in everything.
const LEAST_SECRET_BYTES: usize = 6;

/// What a claimed step turned out to be, before anything outside is touched.
pub(super) enum Prepared {
    /// It is to be executed, with these params and, if it goes outside, towards this host.
    Ready { params: Resolved, host: Option<String> },
    /// It has ended already: skipped, or its params cannot be had.
    Settled(Box<Outcome>),
}

impl Engine {
    /// Looks at the condition and resolves the references. `input`: the run's, if it could be read; `secrets`: those that
    /// the step names; `loaded`: the archived outputs that it refers to.
    pub(super) fn prepare(
        &self,
        step: &mut Claimed,
        input: Option<&Value>,
        secrets: &BTreeMap<String, SecretString>,
        loaded: &Loaded,
    ) -> Prepared {
        if step.needs_all_skipped {
            return skipped("needs_skipped", "every step that it needs was skipped");
        }
        if step.too_large {
            let reason = format!(
                "its params, the run's input and the outputs it refers to are over {MAX_CARRIED_BYTES} bytes together"
            );
            return failed(Category::Validation, "reference_failed", reason);
        }
        let mut steps = BTreeMap::new();
        let mut is_readable = true;
        for (key, referenced) in std::mem::take(&mut step.refs) {
            let output = match &referenced.archived {
                None => serde_json::from_str(referenced.output.get()).map_err(|_| None),
                Some(archived) => match loaded.get(&archived.key) {
                    Some(Ok(output)) => Ok(output.clone()),
                    Some(Err(error)) => Err(Some(error.clone())),
                    None => Err(None),
                },
            };
            match output {
                Ok(output) => drop(steps.insert(
                    key,
                    StepResult {
                        output,
                        status: referenced.status,
                    },
                )),
                Err(Some(error)) => return Prepared::Settled(Box::new(Outcome::failed(error))),
                Err(None) => is_readable = false,
            }
        }
        let (Some(input), true, Ok(params)) = (input, is_readable, serde_json::from_str(step.params.get())) else {
            return failed(
                Category::Validation,
                "reference_failed",
                "its params, the run's input or an output it refers to nest too deep to be read".to_owned(),
            );
        };
        let scope = Scope { input, steps, secrets };
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
            .then(|| skill.host(&params.params).unwrap_or_else(|| step.skill.clone()));
        Prepared::Ready { params, host }
    }

    /// A skill that calls outside and does not list its calls has made one, of what its contract names.
    fn note_call(&self, step: &Claimed, outcome: &mut Outcome) {
        if !outcome.calls.is_empty() || outcome.usage.requests == 0 {
            return;
        }
        let needed = self
            .skills
            .get(&step.skill)
            .and_then(|skill| skill.identity().integrations.first());
        outcome.calls.push(IntegrationCall {
            integration: needed.copied().unwrap_or("http").into(),
            requests: outcome.usage.requests,
            bytes_out: outcome.usage.bytes_out,
            bytes_in: outcome.usage.bytes_in,
            duration_ms: outcome.duration_ms,
            cost_microusd: outcome.cost_microusd,
            provider_status: outcome.error.as_ref().and_then(|error| error.provider_status),
            code: outcome.error.as_ref().map(|error| error.code.clone()),
            provider_request_id: outcome.provider_request_id.clone(),
            ..IntegrationCall::default()
        });
    }

    /// Executes the skill. Whatever it does, an outcome comes back within the step's timeout.
    pub(super) async fn execute(&self, step: &Claimed, params: &Resolved, owner: &Owner) -> Outcome {
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
                    params: &params.params,
                    secrets: &params.secrets,
                    owner,
                    tenant: step.tenant_id,
                    run: step.run_id,
                    step: step.step_id,
                    attempt: step.attempt.saturating_add(1),
                    idempotency_key: &key,
                    timeout,
                    services: &self.services,
                });
                // The skill keeps the timeout by itself; this one is for a skill that does not.
                let limit = self.platform.clock.sleep(timeout.saturating_add(OVERTIME));
                let outcome = match select(call, limit).await {
                    Either::Left((outcome, _)) => outcome,
                    // What it had spent by then went with it.
                    Either::Right(((), _)) => Outcome {
                        cost_microusd: None,
                        usage: Usage {
                            requests: 1,
                            ..Usage::default()
                        },
                        ..Outcome::failed(timed_out(step))
                    },
                };
                let outcome = without_secrets(outcome, &params.secrets);
                let outcome = Outcome {
                    skill_version: Cow::Borrowed(skill.identity().version),
                    ..outcome
                };
                self.keep(step, outcome).await
            }
        };
        let took = Duration::try_from(began.duration_until(self.platform.clock.now())).unwrap_or_default();
        outcome.duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.note_call(step, &mut outcome);
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

/// A target that echoes what it was sent must not carry a secret into what is stored.
fn without_secrets(mut outcome: Outcome, secrets: &SecretValues) -> Outcome {
    let mut secrets: Vec<&str> = secrets
        .values()
        .map(ExposeSecret::expose_secret)
        .filter(|secret| secret.len() >= LEAST_SECRET_BYTES)
        .collect();
    // One may hold another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        let clean = |text: &mut String| {
            if text.contains(secret) {
                *text = text.replace(secret, REDACTED);
            }
        };
        outcome.output = outcome.output.map(|output| without(output, secret));
        outcome.error.iter_mut().for_each(|error| clean(&mut error.message));
        let ids = outcome
            .calls
            .iter_mut()
            .filter_map(|call| call.provider_request_id.as_mut());
        ids.chain(outcome.provider_request_id.as_mut()).for_each(clean);
    }
    outcome
}

fn without(value: Value, secret: &str) -> Value {
    match value {
        Value::String(text) if text.contains(secret) => Value::String(text.replace(secret, REDACTED)),
        Value::Array(items) => items.into_iter().map(|item| without(item, secret)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name.replace(secret, REDACTED), without(value, secret)))
            .collect(),
        other => other,
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
