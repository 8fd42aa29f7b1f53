//! What a language model is asked and what it answers, in words that the vendors share. Must never know a vendor's wire:
//! that is in the vendor's own folder.

pub mod known;
pub(super) mod schema;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use super::{
    anthropic, openai,
    provider::{Endpoint, ErrorKind, Provider, ProviderError, Traffic},
};
use crate::costs::Tokens;

/// The longest silence between two pieces of a stream.
pub const IDLE: Duration = Duration::from_secs(60);

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::User, Self::Assistant];

    /// Its word, which all vendors share.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: &'a str,
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// The model, by the vendor's name.
    pub model: &'a str,
    /// What it is told before the conversation.
    pub system: Option<&'a str>,
    /// The conversation.
    pub messages: &'a [Message<'a>],
    /// The most tokens it may write.
    pub max_tokens: u32,
    /// Sent only if there is one: some models refuse any.
    pub temperature: Option<f64>,
    /// Texts before which the answer ends.
    pub stop: &'a [&'a str],
    /// The JSON Schema of an object that the answer is to be.
    pub schema: Option<&'a Value>,
}

/// How long a model may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the whole answer.
    pub total: Duration,
    /// For the first event of it.
    pub first_event: Duration,
    /// Between two pieces of it.
    pub idle: Duration,
}

/// Why a model ended its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It had said everything, or called the tool that it had to call.
    Natural,
    /// A stop sequence was about to come. Not every vendor tells it apart from [`End::Natural`].
    StopSequence,
    /// It had written as many tokens as it may.
    MaxTokens,
    /// The model's context window was full.
    ContextWindow,
    /// It refuses; why, if it says so.
    Refused(String),
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text; JSON where a schema was given, if the model kept to it.
    pub text: String,
    /// Why it ended.
    pub end: End,
    /// The model that answered, as the vendor names it.
    pub model: Option<String>,
    /// What the vendor bills, if it said so.
    pub tokens: Option<Tokens>,
    /// What went over the wire.
    pub traffic: Traffic,
}

/// What a call without an answer is billed all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billed {
    /// Nothing: it never arrived, or it was refused.
    Nothing,
    /// This much.
    Tokens(Tokens),
    /// The input as it is counted here, and an output that nobody counted: the answer broke off before its end.
    Input(Tokens),
    /// Nobody knows.
    Unknown,
}

/// Why there is no answer, and what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub error: ProviderError,
    /// What is billed.
    pub billed: Billed,
    /// Whether what was asked does not fit the model's context window.
    pub is_too_long: bool,
}

/// Why there is no answer, in a vendor's words, and what kind of thing it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) is_too_long: bool,
}

impl Reason {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            is_too_long: false,
        }
    }
}

/// Asks a model of this provider and waits for the whole answer. Never asks twice.
///
/// # Errors
/// There is no complete answer.
pub async fn ask(
    endpoint: &Endpoint,
    key: &SecretString,
    request: &Request<'_>,
    patience: Patience,
) -> Result<Answer, Failed> {
    match endpoint.provider {
        Provider::Anthropic => anthropic::ask(endpoint, key, request, patience).await,
        Provider::OpenAi => openai::ask(endpoint, key, request, patience).await,
        other => Err(Failed {
            error: ProviderError::new(other, ErrorKind::Rejected, "it has no language models"),
            billed: Billed::Nothing,
            is_too_long: false,
        }),
    }
}
