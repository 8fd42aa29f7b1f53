//! `voyage_embed`: vectors of texts by Voyage. A large input is asked for in parts and put together in its order. Must never
//! forget what a part cost, whatever becomes of the others.

mod params;
mod parts;
#[cfg(test)]
mod tests;

use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::{Value, json};

use self::{
    params::{Params, read},
    parts::{Parts, Vectors},
};
use super::{
    Call, Category, Contract, EffectClass, Outcome, Skill,
    contract::Identity,
    failure::{Failure, failures},
    params::{Stage, in_words},
    provider::{self, ProviderFailure, Stopped},
};
use crate::{archive::MAX_OUTPUT_BYTES, integrations::provider::Provider, problem::FieldError, tenants::OwnSetting};

/// Vectors change nothing.
const CLASS: EffectClass = EffectClass::Read;
/// The largest output that fits a row, where there is no archive.
const MAX_ROW_BYTES: usize = 1024 * 1024;
/// Bytes of a number of 32 bits as JSON, with its comma; rarely more.
const NUMBER_BYTES: usize = 14;

failures! {
    /// How a call can fail by itself.
    enum EmbedFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
        OutputTooLarge {
            code: "output_too_large", category: Category::Content, retryable: false,
            when: "the vectors would have more than 1 MiB as JSON and there is no archive; nothing was asked",
        },
        ArchiveUnreachable {
            code: "archive_unreachable", category: Category::Network, retryable: true,
            when: "the vectors have more than 4 MiB as JSON and the archive cannot be reached",
        },
    }
}

const IDENTITY: Identity = Identity {
    name: "voyage_embed",
    version: "1",
    integrations: &["voyage"],
};

/// The skill `voyage_embed`.
pub struct VoyageEmbed;

impl Skill for VoyageEmbed {
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
        CLASS
    }

    fn host(&self, _: &Value) -> Option<String> {
        Some(Provider::Voyage.as_str().to_owned())
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            match read(call.params, Stage::Resolved) {
                Ok(params) => embed(&call, &params).await,
                Err(errors) => failed(EmbedFailure::InvalidParams, in_words(&errors)),
            }
        }
        .boxed_local()
    }
}

fn failed(failure: EmbedFailure, message: impl Into<String>) -> Outcome {
    Outcome::failed(failure.error(message))
}

async fn embed(call: &Call<'_>, params: &Params<'_>) -> Outcome {
    let Some(key) = call.value(OwnSetting::VoyageApiKey) else {
        return provider::not_configured(call, OwnSetting::VoyageApiKey);
    };
    let numbers = params.texts.len().saturating_mul(params.model.dimensions);
    if call.services.archive.is_none() && numbers.saturating_mul(NUMBER_BYTES) > MAX_ROW_BYTES {
        let reason = format!(
            "{} vectors of {} need an archive, which is not configured; give fewer texts to a step",
            params.texts.len(),
            params.model.name
        );
        return failed(EmbedFailure::OutputTooLarge, reason);
    }
    let mut parts = Parts::begin(call, key, params);
    let result = parts.ask_all().await;
    let calls = parts.into_calls();
    let request_id = calls.last().and_then(|call| call.provider_request_id.clone());
    let outcome = match result {
        Ok(vectors) => kept(call, params, vectors).await,
        // Nothing was asked yet: the step may wait for a lane without an attempt being counted.
        Err(stopped @ Stopped::Busy) if calls.is_empty() => return stopped.outcome(CLASS),
        Err(stopped) => Outcome::failed(stopped.error(CLASS)),
    };
    Outcome {
        provider_request_id: request_id,
        ..outcome.with_calls(calls)
    }
}

/// The output, or where it is: more than the engine carries goes straight to the archive, never held as a value.
async fn kept(call: &Call<'_>, params: &Params<'_>, vectors: Vectors) -> Outcome {
    let json = match vectors.into_json(params.model) {
        Ok(json) => json,
        Err(error) => return unwritable(&error),
    };
    if json.len() <= MAX_OUTPUT_BYTES {
        return match serde_json::from_slice(&json) {
            Ok(output) => Outcome::succeeded(output),
            Err(error) => unwritable(&error),
        };
    }
    let Some(archive) = &call.services.archive else {
        return failed(
            EmbedFailure::OutputTooLarge,
            "the vectors need an archive, which is not configured",
        );
    };
    let now = call.services.clock.now();
    match archive.put_output(call.tenant, now, json.into()).await {
        Ok(reference) => Outcome {
            output: None,
            output_ref: Some(reference),
            ..Outcome::succeeded(Value::Null)
        },
        Err(error) => failed(EmbedFailure::ArchiveUnreachable, error.to_string()),
    }
}

/// Finite numbers can be written as JSON, and others are not taken from an answer.
fn unwritable(error: &serde_json::Error) -> Outcome {
    Outcome::failed(ProviderFailure::InvalidAnswer.error(format!("the vectors cannot be written as JSON: {error}")))
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Gives the vectors of texts, to search and compare them by meaning.",
        input_schema: params::schema(),
        output_schema: json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["model", "dimensions", "embeddings", "total_tokens"],
            "properties": {
                "model": {"type": "string", "description": "The model that was asked for."},
                "dimensions": {"type": "integer", "description": "Numbers of each vector."},
                "embeddings": {
                    "type": "array",
                    "items": {"type": "array", "items": {"type": "number"}},
                    "description": "One vector for each text, in the order of the texts. Over 64 KiB they are in the \
                                    archive; over 4 MiB together they are there alone: the API does not show them and \
                                    no later step can refer to them."
                },
                "total_tokens": {"type": "integer", "description": "What Voyage counted, and bills."}
            }
        }),
        effects: &[CLASS],
        idempotency: "Reads: a repeat changes nothing, and is billed again.",
        cost_model: "Per token, by the price table; also the parts that were answered before another one failed.",
        limits: params::limits(),
        failure_modes: [EmbedFailure::modes(), ProviderFailure::modes()].concat(),
        // The provider computes in floats, on whatever machine is free.
        volatile: &["/embeddings"],
        example: json!({
            "input": ["A pear is a fruit.", "A wrench is a tool."],
            "model": "voyage-3",
            "input_type": "document"
        }),
    }
}
