//! `kv_store`: values that a tenant keeps in Redis under keys of its own. A tenant must never reach another's keys, and
//! a step that is tried again must never write twice.
//!
//! Every write is one Lua script that first looks for the step's marker. Each call is one request to Upstash.

mod params;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, time::Duration};

use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::{Value, json};

use self::params::{Operation, Params, Write, read};
use super::{
    Call, Category, Contract, EffectClass, Outcome, Skill,
    contract::{Identity, Limit},
    failure::{Failure, failures},
    outcome::{Effect, OutcomeError, Usage},
    params::{Field, Stage, in_words},
};
use crate::{
    integrations::{
        Repeat,
        upstash::{self, Command, Key, Upstash},
    },
    problem::FieldError,
};

/// Writes once per step.
const WRITE: &str = include_str!("kv_store/write.lua");
/// How long a step's marker stays: longer than any step is tried again.
const MARKER_TTL: Duration = Duration::from_secs(24 * 60 * 60);

failures! {
    /// How a call can fail.
    enum KvFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
        NotConfigured {
            code: "integration_not_configured", category: Category::Configuration, retryable: false,
            when: "Upstash is not configured",
        },
        Unauthorized {
            code: "integration_unauthorized", category: Category::Configuration, retryable: false,
            when: "Upstash refuses the configured token",
        },
        NotAnInteger {
            code: "not_an_integer", category: Category::Validation, retryable: false,
            when: "incr or decr of a value that is not a whole number of 64 bits, or that would leave that range",
        },
        InvalidStoredValue {
            code: "invalid_stored_value", category: Category::Content, retryable: false,
            when: "the stored value is not JSON: something else than this skill wrote it",
        },
        RateLimited {
            code: "rate_limited", category: Category::RateLimit, retryable: true,
            when: "the Upstash account's limit of requests is reached",
        },
        Network {
            code: "network", category: Category::Network, retryable: true,
            when: "Upstash cannot be reached, or its answer was lost; a repeat writes nothing twice",
        },
        Timeout {
            code: "timeout", category: Category::Timeout, retryable: true,
            when: "Upstash does not answer in time; a repeat writes nothing twice",
        },
        ProviderFailed {
            code: "provider_failed", category: Category::Provider, retryable: false,
            when: "Upstash refuses the command, or its answer cannot be read",
        },
    }
}

const IDENTITY: Identity = Identity {
    name: "kv_store",
    version: "1",
    integrations: &["upstash"],
};

/// The skill `kv_store`.
pub struct KvStore;

impl Skill for KvStore {
    fn identity(&self) -> Identity {
        IDENTITY
    }

    fn contract() -> Contract {
        contract()
    }

    fn check(&self, params: &Value) -> Result<(), Vec<FieldError>> {
        read(params, Stage::Planned).map(drop)
    }

    fn effect_class(&self, params: &Value) -> EffectClass {
        match params.get("op").and_then(Value::as_str) {
            Some("get" | "exists" | "ttl") => EffectClass::Read,
            _ => EffectClass::Repeatable,
        }
    }

    fn host(&self, _: &Value) -> Option<String> {
        None
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            let (key, operation) = match read(call.params, Stage::Resolved) {
                Ok(Params {
                    key: Field::Is(key),
                    operation: Field::Is(operation),
                }) => (key, operation),
                Ok(_) => return failed(KvFailure::InvalidParams, "op and key are required"),
                Err(errors) => return failed(KvFailure::InvalidParams, in_words(&errors)),
            };
            let Some(upstash) = &call.services.upstash else {
                return failed(
                    KvFailure::NotConfigured,
                    "kv_store needs Upstash, which is not configured",
                );
            };
            let result = ask(upstash, &call, key, &operation).await;
            let mut outcome = match result {
                Ok(output) => Outcome::succeeded(output),
                Err(error) => Outcome::failed(error),
            };
            outcome.usage = Usage {
                requests: 1,
                ..Usage::default()
            };
            if matches!(operation, Operation::Write(_)) && outcome.error.is_none() {
                outcome.effects.push(Effect {
                    kind: Cow::Borrowed("kv_write"),
                    target: key.to_owned(),
                    idempotency_key: call.idempotency_key.to_owned(),
                });
            }
            outcome
        }
        .boxed_local()
    }
}

fn failed(failure: KvFailure, message: impl Into<String>) -> Outcome {
    Outcome::failed(failure.error(message))
}

/// Sends the one command and reads its result as the skill's output.
async fn ask(upstash: &Upstash, call: &Call<'_>, key: &str, operation: &Operation<'_>) -> Result<Value, OutcomeError> {
    let entry = Key::tenant_kv(call.tenant, &format!("k:{key}"));
    let command = match operation {
        Operation::Get => Command::get(&entry),
        Operation::Exists => Command::new("EXISTS").arg(&entry),
        Operation::Ttl => Command::new("TTL").arg(&entry),
        Operation::Write(write) => {
            let marker = Key::tenant_kv(call.tenant, &format!("step:{}", call.step));
            let mut arguments = vec![Value::from(MARKER_TTL.as_secs().to_string())];
            arguments.extend(write.arguments().into_iter().map(Value::from));
            Command::eval(WRITE, &[entry, marker], arguments)
        }
    };
    // Reads change nothing, and a write that is sent again finds its marker.
    let reply = upstash
        .command(command, Repeat::Harmless)
        .await
        .map_err(provider_error)?;
    output(operation, &reply)
}

/// The output that a reply means.
fn output(operation: &Operation<'_>, reply: &Value) -> Result<Value, OutcomeError> {
    let number = || {
        reply
            .as_i64()
            .or_else(|| reply.as_str()?.parse::<i64>().ok())
            .ok_or_else(|| {
                KvFailure::ProviderFailed
                    .error("Upstash answered something else than a number")
                    .from_provider("upstash", None)
            })
    };
    if reply.as_str() == Some("!not_an_integer") {
        let message = "the stored value is not a whole number of 64 bits, or would leave that range";
        return Err(KvFailure::NotAnInteger.error(message));
    }
    Ok(match operation {
        Operation::Get => match reply {
            Value::Null => json!({"found": false, "value": null}),
            stored => {
                let value = stored
                    .as_str()
                    .and_then(|text| serde_json::from_str::<Value>(text).ok());
                let value = value.ok_or_else(|| KvFailure::InvalidStoredValue.error("the stored value is not JSON"))?;
                json!({"found": true, "value": value})
            }
        },
        Operation::Exists => json!({"exists": number()? > 0}),
        // Redis answers -2 where there is no such key, and -1 where it never expires.
        Operation::Ttl => match number()? {
            ..-1 => json!({"exists": false, "ttl_s": null}),
            -1 => json!({"exists": true, "ttl_s": null}),
            seconds => json!({"exists": true, "ttl_s": seconds}),
        },
        Operation::Write(Write::Set { .. }) => json!({"stored": number()? > 0}),
        Operation::Write(Write::Cas { .. }) => json!({"swapped": number()? > 0}),
        Operation::Write(Write::Delete) => json!({"deleted": number()? > 0}),
        Operation::Write(Write::Expire { .. }) => json!({"updated": number()? > 0}),
        Operation::Write(Write::Add { .. }) => json!({"value": number()?}),
    })
}

fn provider_error(error: upstash::Error) -> OutcomeError {
    let failure = match &error {
        upstash::Error::Unreachable { .. } => KvFailure::Network,
        upstash::Error::Timeout(_) => KvFailure::Timeout,
        upstash::Error::Quota(_) => KvFailure::RateLimited,
        upstash::Error::Unauthorized(_) => KvFailure::Unauthorized,
        upstash::Error::Command(_) | upstash::Error::TooLarge(_) | upstash::Error::Protocol(_) => {
            KvFailure::ProviderFailed
        }
    };
    failure.error(error.to_string()).from_provider("upstash", None)
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Keeps JSON values under keys of the tenant's own, with expiry, counters and compare-and-set.",
        input_schema: params::schema(),
        output_schema: json!({
            "type": "object",
            "description": "One or two of these, by op.",
            "additionalProperties": false,
            "properties": {
                "found": {"type": "boolean", "description": "get: whether there is such a key."},
                "value": {"description": "get: the value, or null; incr and decr: the number after it."},
                "exists": {"type": "boolean", "description": "exists and ttl: whether there is such a key."},
                "ttl_s": {
                    "type": ["integer", "null"],
                    "description": "ttl: the seconds until it expires, or null if it never does or is not there."
                },
                "stored": {"type": "boolean", "description": "set: always true."},
                "swapped": {"type": "boolean", "description": "cas: whether the value was as expected and was replaced."},
                "deleted": {"type": "boolean", "description": "delete: whether there was such a key."},
                "updated": {"type": "boolean", "description": "expire: whether there was such a key."}
            }
        }),
        effects: &[EffectClass::Read, EffectClass::Repeatable],
        idempotency: "A write happens once per step: a step that is tried again within 24 hours gets the first \
                      result and changes nothing.",
        cost_model: "Free to the tenant; one request to Upstash per call.",
        limits: vec![
            Limit {
                what: "key",
                max: params::MAX_KEY_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "value",
                max: params::MAX_VALUE_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "expected",
                max: params::MAX_VALUE_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "ttl_s",
                max: params::MAX_TTL_S as u64,
                unit: "s",
            },
        ],
        failure_modes: KvFailure::modes(),
        volatile: &["/ttl_s"],
        example: json!({"op": "set", "key": "greeting/last", "value": {"text": "hello"}, "ttl_s": 3600}),
    }
}
