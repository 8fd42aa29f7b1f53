//! OpenAI's chat completions: <https://platform.openai.com/docs/api-reference/chat>. Must never ask for more than it was
//! asked for: no sampling parameter that the caller did not give.

mod chunks;
mod error;
#[cfg(test)]
mod tests;

use http::{HeaderMap, header};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use self::chunks::Completions;
use super::{
    model::{
        Answer, Billed, Failed, Patience, Request,
        known::Abilities,
        schema::{is_closed, is_of, is_of_object, keeps},
    },
    provider::{Endpoint, Provider, bearer},
    stream,
};

/// The name of the schema, or of the function that stands in for it.
const NAME: &str = "answer";
/// What a schema may have for the vendor to hold to it strictly.
const KEYWORDS: [&str; 21] = [
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
];
/// The formats of strings that it knows.
const FORMATS: [&str; 9] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
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
    let key = bearer(Provider::OpenAi, key).map_err(|error| Failed {
        error,
        billed: Billed::Nothing,
        is_too_long: false,
    })?;
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, key)]);
    let body = body(request).to_string().into_bytes();
    stream::ask::<Completions>(endpoint, headers, body, patience).await
}

fn body(request: &Request<'_>) -> Value {
    let system = request
        .system
        .map(|system| json!({"role": "system", "content": system}));
    let said = request
        .messages
        .iter()
        .map(|message| json!({"role": message.role.as_str(), "content": message.content}));
    let messages: Vec<Value> = system.into_iter().chain(said).collect();
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    set("model", request.model.into());
    set("max_completion_tokens", request.max_tokens.into());
    set("messages", messages.into());
    set("stream", true.into());
    // Without it a stream does not say what it used.
    set("stream_options", json!({"include_usage": true}));
    if let Some(temperature) = request.temperature {
        set("temperature", temperature.into());
    }
    if !request.stop.is_empty() {
        set("stop", request.stop.into());
    }
    match request.schema {
        None => {}
        Some(schema) if Abilities::of(request.model).schema => {
            let schema = json!({"name": NAME, "schema": schema, "strict": is_strict(schema)});
            set("response_format", json!({"type": "json_schema", "json_schema": schema}));
        }
        Some(schema) => {
            let description = "Gives the answer. Everything that is to be said goes into its arguments.";
            let function = json!({"name": NAME, "description": description, "parameters": schema});
            set("tools", json!([{"type": "function", "function": function}]));
            set("tool_choice", json!({"type": "function", "function": {"name": NAME}}));
        }
    }
    Value::Object(body)
}

/// Whether the vendor takes the schema as a strict one: closed objects that require all their fields, arrays that say of
/// what, and none of the keywords that it refuses.
fn is_strict(schema: &Value) -> bool {
    keeps(schema, &KEYWORDS, &|schema| {
        let format = schema.get("format").map(|format| format.as_str().unwrap_or_default());
        (!is_of_object(schema) || (is_closed(schema) && requires_all(schema)))
            && (!is_of(schema, "array") || schema.contains_key("items"))
            && format.is_none_or(|format| FORMATS.contains(&format))
    })
}

fn requires_all(schema: &Map<String, Value>) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    let mut names = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys);
    names.all(|name| required.is_some_and(|required| required.iter().any(|one| one == name)))
}
