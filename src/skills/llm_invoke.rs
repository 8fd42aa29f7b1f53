//! `llm_invoke`: asks a language model, Anthropic's or OpenAI's, and the other one where the first cannot. Must never hide
//! who answered or what each try cost, nor call an answer whole that was cut off.

mod attempts;
mod params;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::{Map, Value, json};

use self::{
    attempts::{Answered, Asked, Attempt, Stop, Why, ask_in_turn},
    params::{Params, first_of, read},
};
use super::{
    Call, Category, Contract, EffectClass, Outcome, OutcomeError, Skill,
    contract::{Identity, Limit},
    failure::{Failure, failures},
    params::{Stage, in_words},
    provider::{ProviderFailure, Stopped},
};
use crate::{
    integrations::model::{End, IDLE},
    problem::FieldError,
};

failures! {
    /// How a call can fail, beside what can happen with any provider.
    enum LlmFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
        Refused {
            code: "llm_refused", category: Category::Content, retryable: false,
            when: "the model refuses to answer, or the provider withholds the answer; it is billed",
        },
        Truncated {
            code: "llm_truncated", category: Category::Content, retryable: false,
            when: "the answer was cut off at max_tokens and allow_truncated is false; it is billed",
        },
        InvalidStructuredOutput {
            code: "invalid_structured_output", category: Category::Content, retryable: false,
            when: "response_schema was given and the answer is not a JSON object; it is billed",
        },
        ContextWindowExceeded {
            code: "context_window_exceeded", category: Category::Validation, retryable: false,
            when: "the messages, or they and the answer, do not fit the model's context window",
        },
    }
}

const IDENTITY: Identity = Identity {
    name: "llm_invoke",
    version: "1",
    integrations: &["anthropic", "openai"],
};

/// The skill `llm_invoke`.
pub struct LlmInvoke {
    idle: Duration,
}

impl LlmInvoke {
    /// The same with another limit on the silence within an answer.
    #[must_use]
    pub fn with_idle(self, idle: Duration) -> Self {
        Self { idle }
    }
}

impl Skill for LlmInvoke {
    fn identity(&self) -> Identity {
        IDENTITY
    }

    fn contract() -> Contract {
        contract()
    }

    fn check(&self, params: &Value) -> Result<(), Vec<FieldError>> {
        read(params, Stage::Planned).map(drop)
    }

    fn effect_class(&self, _: &Value) -> EffectClass {
        EffectClass::Read
    }

    fn host(&self, params: &Value) -> Option<String> {
        Some(first_of(params).as_str().to_owned())
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            let params = match read(call.params, Stage::Resolved) {
                Ok(Some(params)) => params,
                Ok(None) => return Outcome::failed(LlmFailure::InvalidParams.error("messages are required")),
                Err(errors) => return Outcome::failed(LlmFailure::InvalidParams.error(in_words(&errors))),
            };
            let Asked { result, attempts } = ask_in_turn(&call, &params, self.idle).await;
            let outcome = match result {
                Ok(answered) => match output(&params, answered, &attempts) {
                    Ok(output) => Outcome::succeeded(output),
                    Err(error) => Outcome::failed(error),
                },
                Err(stops) => nobody(&stops),
            };
            let calls: Vec<_> = attempts.into_iter().filter_map(Attempt::into_call).collect();
            let provider_request_id = calls.last().and_then(|call| call.provider_request_id.clone());
            Outcome {
                provider_request_id,
                ..outcome.with_calls(calls)
            }
        }
        .boxed_local()
    }
}

/// The output that an answer is, or why it is none.
fn output(params: &Params<'_>, answered: Answered, attempts: &[Attempt]) -> Result<Value, OutcomeError> {
    let Answered {
        provider,
        answer,
        ignored,
        model,
    } = answered;
    let failed =
        |failure: LlmFailure, message: String| Err(failure.error(message).from_provider(provider.as_str(), Some(200)));
    let (stop_reason, truncated) = match answer.end {
        End::Natural => ("end", false),
        End::StopSequence => ("stop_sequence", false),
        End::MaxTokens | End::ContextWindow if params.allow_truncated => ("max_tokens", true),
        End::MaxTokens => {
            let message = format!("the answer was cut off at {} tokens", params.max_tokens);
            return failed(LlmFailure::Truncated, message);
        }
        End::ContextWindow => {
            let message = "the context window was full before the answer was complete".to_owned();
            return failed(LlmFailure::ContextWindowExceeded, message);
        }
        End::Refused(why) if why.is_empty() => {
            return failed(LlmFailure::Refused, "the model refuses to answer".to_owned());
        }
        End::Refused(why) => return failed(LlmFailure::Refused, format!("the model refuses to answer: {why}")),
    };
    let json = match (params.schema, serde_json::from_str(&answer.text)) {
        (None, _) => None,
        (Some(_), Ok(json @ Value::Object(_))) => Some(json),
        // Half an object cannot be read, and the caller takes what there is.
        (Some(_), _) if truncated => Some(Value::Null),
        (Some(_), _) => {
            let message = "the answer is not a JSON object, which response_schema asks for".to_owned();
            return failed(LlmFailure::InvalidStructuredOutput, message);
        }
    };
    let mut output = Map::new();
    let mut set = |name: &str, value: Value| drop(output.insert(name.to_owned(), value));
    set("text", answer.text.into());
    if let Some(json) = json {
        set("json", json);
    }
    set("provider", provider.as_str().into());
    set("model", answer.model.unwrap_or(model).into());
    set("stop_reason", stop_reason.into());
    set("truncated", truncated.into());
    if !ignored.is_empty() {
        set("ignored", ignored.into());
    }
    set("attempts", attempts.iter().map(Attempt::shown).collect());
    Ok(Value::Object(output))
}

/// The outcome when nobody answered.
fn nobody(stops: &[Stop]) -> Outcome {
    let busy = stops
        .iter()
        .find_map(|stop| match &stop.why {
            Why::Stopped(busy @ Stopped::Busy) => Some(busy),
            _ => None,
        })
        .filter(|_| {
            let waits = |stop: &Stop| matches!(stop.why, Why::NoKey(_) | Why::Stopped(Stopped::Busy));
            stops.iter().all(waits)
        });
    if let Some(busy) = busy {
        return busy.outcome(EffectClass::Read);
    }
    let errors: Vec<OutcomeError> = stops.iter().map(error).collect();
    // One that may go away by itself is worth another try; else whoever was really asked says more than who was not.
    let chosen = errors
        .iter()
        .find(|error| error.retryable)
        .or_else(|| errors.iter().find(|error| error.category != Category::Configuration))
        .or_else(|| errors.iter().find(|error| error.provider.is_some()))
        .or(errors.first());
    let Some(chosen) = chosen else {
        return Outcome::failed(ProviderFailure::Timeout.error("there was no time to ask anybody"));
    };
    let said: Vec<String> = stops
        .iter()
        .zip(&errors)
        .map(|(stop, error)| format!("{}: {}", stop.provider, error.message))
        .collect();
    Outcome::failed(OutcomeError {
        message: OutcomeError::new(chosen.category, "", said.join("; ")).message,
        ..chosen.clone()
    })
}

fn error(stop: &Stop) -> OutcomeError {
    match &stop.why {
        Why::NoKey(message) => ProviderFailure::NotConfigured.error(message),
        Why::TooLong { message, status } => LlmFailure::ContextWindowExceeded
            .error(message)
            .from_provider(stop.provider.as_str(), *status),
        Why::Stopped(stopped) => stopped.error(EffectClass::Read),
    }
}

impl Default for LlmInvoke {
    fn default() -> Self {
        Self { idle: IDLE }
    }
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Asks a language model of Anthropic or OpenAI, for text or for a JSON object by a schema.",
        input_schema: params::schema(),
        output_schema: output_schema(),
        effects: &[EffectClass::Read],
        idempotency: "Changes nothing outside. Each try is answered anew, and billed.",
        cost_model: "By the price table, per token read and written, failed tries that were billed included. Unknown for a \
                     model without a price, and for a try whose answer broke off before the provider said what it used in all.",
        limits: vec![
            limit("messages", params::MAX_MESSAGES as u64, "items"),
            limit("messages and system", params::MAX_TEXT_BYTES as u64, "bytes"),
            limit("max_tokens", params::MAX_TOKENS.into(), "tokens"),
            limit("stop", params::MAX_STOPS as u64, "items"),
            limit("response_schema", params::MAX_SCHEMA_BYTES as u64, "bytes"),
        ],
        failure_modes: LlmFailure::modes()
            .into_iter()
            .chain(ProviderFailure::modes())
            .collect(),
        volatile: &["/attempts"],
        example: json!({
            "system": "You sort mail.",
            "messages": [{"role": "user", "content": "Is this an invoice? Please find attached our bill for May."}],
            "max_tokens": 200,
            "response_schema": {
                "type": "object",
                "additionalProperties": false,
                "required": ["is_invoice", "reason"],
                "properties": {"is_invoice": {"type": "boolean"}, "reason": {"type": "string"}}
            }
        }),
    }
}

fn limit(what: &'static str, max: u64, unit: &'static str) -> Limit {
    Limit { what, max, unit }
}

/// The JSON Schema of the output.
fn output_schema() -> Value {
    let tokens = json!({"type": ["integer", "null"], "description": "Null where the provider did not say."});
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["text", "provider", "model", "stop_reason", "truncated", "attempts"],
        "properties": {
            "text": {"type": "string", "description": "The answer; with response_schema its JSON as text."},
            "json": {
                "type": ["object", "null"],
                "description": "With response_schema: the answer; null if it was cut off within."
            },
            "provider": {"enum": ["anthropic", "openai"], "description": "Who answered."},
            "model": {"type": "string", "description": "The model that answered, as its provider names it."},
            "stop_reason": {
                "enum": ["end", "stop_sequence", "max_tokens"],
                "description": "Why it ended. OpenAI says end also for a stop sequence."
            },
            "truncated": {"type": "boolean", "description": "Whether it was cut off; only with allow_truncated."},
            "ignored": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Params that were not sent, because the default model that answered refuses them."
            },
            "attempts": {
                "type": "array",
                "description": "Every try, in order; the last one answered.",
                "items": {
                    "type": "object",
                    "properties": {
                        "provider": {"enum": ["anthropic", "openai"]},
                        "model": {"type": "string"},
                        "ok": {"type": "boolean"},
                        "code": {"type": ["string", "null"], "description": "Why it gave no answer."},
                        "input_tokens": tokens,
                        "output_tokens": tokens,
                        "cost_microusd": {"type": ["integer", "null"], "description": "Null is unknown, not free."}
                    }
                }
            }
        }
    })
}
