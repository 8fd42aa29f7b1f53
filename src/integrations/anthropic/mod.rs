//! Anthropic's messages: <https://platform.claude.com/docs/en/api/messages>. Must never ask for more than it was asked
//! for: no sampling parameter that the caller did not give, no tool but the one that a schema needs.

mod error;
mod events;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use self::events::Messages;
use super::{
    model::{
        Answer, Billed, Failed, Patience, Request,
        known::Abilities,
        schema::{is_closed, is_of, is_of_object, keeps},
    },
    provider::{Endpoint, Provider, sensitive},
    stream,
};

/// The version whose answers are read here, and under which older models still take a temperature.
const VERSION: &str = "2023-06-01";
/// The tool that a model must call where it cannot be held to a schema otherwise.
const TOOL: &str = "answer";
/// What a schema may have for the vendor's grammar to hold it. Others it refuses, or does not hold to.
const KEYWORDS: [&str; 14] = [
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "properties",
    "required",
    "title",
    "type",
];
/// The formats of strings that it knows.
const FORMATS: [&str; 10] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
    "uri",
    "uuid",
];

/// Asks a model once and waits for the whole answer.
///
/// # Errors
/// There is no complete answer.
pub async fn ask(
    endpoint: &Endpoint,
    key: &SecretString,
    request: &Request<'_>,
    patience: Patience,
) -> Result<Answer, Failed> {
    let headers = headers(key)?;
    let body = body(request).to_string().into_bytes();
    stream::ask::<Messages>(endpoint, headers, body, patience).await
}

fn headers(key: &SecretString) -> Result<HeaderMap, Failed> {
    let key = sensitive(Provider::Anthropic, key.expose_secret()).map_err(|error| Failed {
        error,
        billed: Billed::Nothing,
        is_too_long: false,
    })?;
    Ok(HeaderMap::from_iter([
        (HeaderName::from_static("x-api-key"), key),
        (
            HeaderName::from_static("anthropic-version"),
            HeaderValue::from_static(VERSION),
        ),
    ]))
}

fn body(request: &Request<'_>) -> Value {
    let messages: Vec<Value> = request
        .messages
        .iter()
        .map(|message| json!({"role": message.role.as_str(), "content": message.content}))
        .collect();
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    set("model", request.model.into());
    set("max_tokens", request.max_tokens.into());
    set("messages", messages.into());
    set("stream", true.into());
    if let Some(system) = request.system {
        set("system", system.into());
    }
    if let Some(temperature) = request.temperature {
        set("temperature", temperature.into());
    }
    if !request.stop.is_empty() {
        set("stop_sequences", request.stop.into());
    }
    match request.schema {
        None => {}
        Some(schema) if Abilities::of(request.model).schema && is_held(schema) => {
            set(
                "output_config",
                json!({"format": {"type": "json_schema", "schema": schema}}),
            );
        }
        Some(schema) => {
            let description = "Gives the answer. Everything that is to be said goes into its input.";
            set(
                "tools",
                json!([{"name": TOOL, "description": description, "input_schema": schema}]),
            );
            set("tool_choice", json!({"type": "tool", "name": TOOL}));
        }
    }
    Value::Object(body)
}

/// Whether the vendor's grammar holds the schema: closed objects, and none of the keywords that it refuses.
fn is_held(schema: &Value) -> bool {
    keeps(schema, &KEYWORDS, &|schema| {
        let format = schema.get("format").map(|format| format.as_str().unwrap_or_default());
        (!is_of_object(schema) || is_closed(schema))
            && format.is_none_or(|format| is_of(schema, "string") && FORMATS.contains(&format))
    })
}
