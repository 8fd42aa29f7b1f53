//! The one envelope that every execution of a skill returns.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{archive::OutputRef, costs::sum_microusd};

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStatus {
    /// There is an output.
    Succeeded,
    /// There is an error.
    Failed,
    /// The step's condition did not hold, or everything it needs was skipped.
    Skipped,
}

/// The kind of an error; decides who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the specification's own")]
pub enum Category {
    Configuration,
    Validation,
    Permission,
    NotFound,
    Conflict,
    RateLimit,
    Timeout,
    Network,
    Provider,
    Content,
    Budget,
    Cancelled,
    UnknownEffect,
    Internal,
}

/// Why an execution failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeError {
    /// The kind.
    pub category: Category,
    /// Stable, snake_case; a code of the failure catalogue.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// For a person; no secrets, bounded to 2,000 characters.
    pub message: String,
    /// Whether another attempt could end otherwise.
    pub retryable: bool,
    /// What the provider asked us to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// With which status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_status: Option<u16>,
}

impl OutcomeError {
    /// An error that a repeat would not cure.
    pub fn new(category: Category, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            category,
            code: Cow::Borrowed(code),
            message: bounded(message.into()),
            retryable: false,
            retry_after_ms: None,
            provider: None,
            provider_status: None,
        }
    }

    /// The same, worth another attempt.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self {
            retryable: true,
            ..self
        }
    }

    /// The same, with who said it and how.
    #[must_use]
    pub fn from_provider(self, provider: impl Into<String>, status: Option<u16>) -> Self {
        Self {
            provider: Some(provider.into()),
            provider_status: status,
            ..self
        }
    }
}

/// A message is for a person: past 2,000 characters nobody reads it, and the row must stay small.
fn bounded(message: String) -> String {
    const MAX_CHARS: usize = 2_000;
    match message.char_indices().nth(MAX_CHARS) {
        None => message,
        Some((end, _)) => message.get(..end).unwrap_or_default().to_owned(),
    }
}

/// Something the execution changed outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effect {
    /// `http_request`, `kv_write`, …
    #[schema(value_type = String)]
    pub kind: Cow<'static, str>,
    /// What it changed, without secrets (a host and path, a key).
    pub target: String,
    /// The key it was made under.
    pub idempotency_key: String,
}

/// What the execution used, for costs and limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Bytes sent.
    #[serde(default)]
    pub bytes_out: u64,
    /// Bytes received.
    #[serde(default)]
    pub bytes_in: u64,
    /// Requests made to providers.
    #[serde(default)]
    pub requests: u32,
    /// Tokens that models read, those from a cache included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens that models wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

/// One call of an integration, as the usage rows keep it: also one that failed and was billed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntegrationCall {
    /// Who was called.
    #[schema(value_type = String)]
    pub integration: Cow<'static, str>,
    /// With which model, if it has any.
    pub model: Option<String>,
    /// Whether the tenant's own key was used: then the provider bills the tenant, not the installation.
    pub own_key: bool,
    /// Requests made; more than one where redirects were followed or a large input was split.
    pub requests: u32,
    /// Tokens read, those from a cache included.
    pub input_tokens: Option<u64>,
    /// Those of them that came from the provider's cache.
    pub cached_input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Bytes of the requests' bodies.
    pub bytes_out: u64,
    /// Bytes of the answers' bodies.
    pub bytes_in: u64,
    /// Wall time, in milliseconds.
    pub duration_ms: u64,
    /// Micro-dollars; `null` is unknown, not free.
    pub cost_microusd: Option<i64>,
    /// The version of the price table that the cost is by.
    pub price_version: Option<String>,
    /// The status of the answer.
    pub provider_status: Option<u16>,
    /// Why it failed, if it did.
    #[schema(value_type = Option<String>)]
    pub code: Option<Cow<'static, str>>,
    /// The provider's id of the request.
    pub provider_request_id: Option<String>,
}

/// What a skill returns, always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// How it ended.
    pub status: OutcomeStatus,
    /// The output, if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
    /// Where the output is, if it is too large to be kept with the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_ref: Option<OutputRef>,
    /// What the output takes in memory, in bytes, as far as the executor has weighed it. Never leaves the engine.
    #[serde(skip)]
    pub output_weight: u64,
    /// The error, if it failed; why, if it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<OutcomeError>,
    /// What it changed outside.
    #[serde(default)]
    pub effects: Vec<Effect>,
    /// What it used.
    #[serde(default)]
    pub usage: Usage,
    /// Micro-dollars; `null` is unknown, not free.
    pub cost_microusd: Option<i64>,
    /// Wall time of the execution, in milliseconds; filled in by the executor.
    #[serde(default)]
    pub duration_ms: u64,
    /// The version of the contract it ran under; filled in by the executor.
    #[schema(value_type = String)]
    #[serde(default)]
    pub skill_version: Cow<'static, str>,
    /// The provider's id of the request, to ask it about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<String>,
    /// The calls of integrations that it made; the executor adds one where a skill lists none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<IntegrationCall>,
    /// Nothing began, for want of a lane to the provider: the step goes back to the queue for so long, and no attempt
    /// is counted. Never leaves the engine.
    #[serde(skip)]
    pub deferred: Option<Duration>,
}

impl Outcome {
    /// A free success.
    pub fn succeeded(output: Value) -> Self {
        Self {
            status: OutcomeStatus::Succeeded,
            output: Some(output),
            output_ref: None,
            output_weight: 0,
            error: None,
            effects: Vec::new(),
            usage: Usage::default(),
            cost_microusd: Some(0),
            duration_ms: 0,
            skill_version: Cow::Borrowed(""),
            provider_request_id: None,
            calls: Vec::new(),
            deferred: None,
        }
    }

    /// A failure that cost nothing.
    pub fn failed(error: OutcomeError) -> Self {
        Self {
            status: OutcomeStatus::Failed,
            output: None,
            error: Some(error),
            ..Self::succeeded(Value::Null)
        }
    }

    /// Nothing began: all lanes to the provider are taken.
    pub fn deferred(again_in: Duration) -> Self {
        let error = OutcomeError::new(
            Category::RateLimit,
            "provider_busy",
            "all lanes to the provider are taken",
        );
        Self {
            deferred: Some(again_in),
            ..Self::failed(error.retryable())
        }
    }

    /// The same with the calls that were made: their sum is its usage and its cost.
    #[must_use]
    pub fn with_calls(self, calls: Vec<IntegrationCall>) -> Self {
        let sum = |of: fn(&IntegrationCall) -> u64| calls.iter().fold(0_u64, |sum, call| sum.saturating_add(of(call)));
        let tokens = |of: fn(&IntegrationCall) -> Option<u64>| {
            calls
                .iter()
                .filter_map(of)
                .reduce(|sum, tokens| sum.saturating_add(tokens))
        };
        Self {
            usage: Usage {
                bytes_out: sum(|call| call.bytes_out),
                bytes_in: sum(|call| call.bytes_in),
                requests: calls.iter().fold(0_u32, |sum, call| sum.saturating_add(call.requests)),
                input_tokens: tokens(|call| call.input_tokens),
                output_tokens: tokens(|call| call.output_tokens),
            },
            cost_microusd: sum_microusd(calls.iter().map(|call| call.cost_microusd)),
            calls,
            ..self
        }
    }
}
