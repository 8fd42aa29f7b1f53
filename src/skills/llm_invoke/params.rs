//! The params of `llm_invoke` and their schema.

use serde_json::{Map, Value, json};

use crate::{
    integrations::{
        model::{Message, Role, known::provider_of},
        provider::Provider,
    },
    problem::{FieldError, pointer_token},
    skills::params::{self, Field, Reader, Stage},
};

/// The most messages.
pub(super) const MAX_MESSAGES: usize = 200;
/// The messages and the system prompt together, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// The longest name of a model, in bytes.
const MAX_MODEL_BYTES: usize = 200;
/// The most tokens of an answer.
pub(super) const MAX_TOKENS: u32 = 32_000;
/// The tokens of an answer unless the call says how many.
const DEFAULT_TOKENS: u32 = 1024;
const MAX_TEMPERATURE: f64 = 2.0;
/// The most stop sequences.
pub(super) const MAX_STOPS: usize = 4;
/// The longest stop sequence, in bytes.
const MAX_STOP_BYTES: usize = 200;
/// The largest schema, in bytes of compact JSON.
pub(super) const MAX_SCHEMA_BYTES: usize = 64 * 1024;

/// Who is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The first that can, beginning with this one.
    First(Provider),
    /// This one and no other.
    Only(Provider),
}

impl Choice {
    /// Who is asked first.
    pub(super) fn first(self) -> Provider {
        match self {
            Self::First(provider) | Self::Only(provider) => provider,
        }
    }
}

/// What a call asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Params<'a> {
    pub(super) messages: Vec<Message<'a>>,
    pub(super) system: Option<&'a str>,
    pub(super) choice: Choice,
    pub(super) model: Option<&'a str>,
    pub(super) max_tokens: u32,
    pub(super) temperature: Option<f64>,
    pub(super) stop: Vec<&'a str>,
    pub(super) schema: Option<&'a Value>,
    pub(super) allow_truncated: bool,
}

/// Who is asked first, as far as the params tell.
pub(super) fn first_of(params: &Value) -> Provider {
    let text = |name| params.get(name).and_then(Value::as_str);
    choice(text("provider"), text("model")).first()
}

fn choice(provider: Option<&str>, model: Option<&str>) -> Choice {
    match provider {
        Some("anthropic") => Choice::Only(Provider::Anthropic),
        Some("openai") => Choice::Only(Provider::OpenAi),
        _ => Choice::First(model.and_then(provider_of).unwrap_or(Provider::Anthropic)),
    }
}

/// Reads params; `None` where a reference still stands for a field without which nothing can be said.
///
/// # Errors
/// Every bad field.
pub(super) fn read(params: &Value, stage: Stage) -> Result<Option<Params<'_>>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let messages = reader.array("messages", MAX_MESSAGES);
    reader.require("messages", &messages);
    let system = reader.string("system", MAX_TEXT_BYTES);
    let provider = reader.string("provider", 32);
    let model = reader.string("model", MAX_MODEL_BYTES);
    let max_tokens = reader.integer("max_tokens", 1..=MAX_TOKENS.into());
    let temperature = read_temperature(&mut reader);
    let stop = reader.array("stop", MAX_STOPS);
    let schema = reader.json("response_schema", MAX_SCHEMA_BYTES);
    let allow_truncated = reader.boolean("allow_truncated");

    if let Field::Is(provider) = provider
        && !["auto", "anthropic", "openai"].contains(&provider)
    {
        reader.refuse(
            "/provider",
            params::INVALID_VALUE,
            "provider is auto, anthropic or openai",
        );
    }
    if model
        .known()
        .is_some_and(|model| model.is_empty() || !model.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        reader.refuse("/model", params::INVALID_VALUE, "a model's name is visible ASCII");
    }
    let stop = match stop {
        Field::Is(items) => read_stop(&mut reader, items),
        Field::Absent => Some(Vec::new()),
        Field::Open => None,
    };
    if let Field::Is(schema) = schema {
        check_schema(&mut reader, schema);
    }
    let system_bytes = system.known().map_or(0, str::len);
    let messages = match messages {
        Field::Is(items) => read_messages(&mut reader, items, system_bytes),
        Field::Absent | Field::Open => None,
    };
    reader.finish()?;
    let (Some(messages), Some(stop)) = (messages, stop) else {
        return Ok(None);
    };
    Ok(Some(Params {
        messages,
        system: system.known().filter(|system| !system.is_empty()),
        choice: choice(provider.known(), model.known()),
        model: model.known(),
        max_tokens: max_tokens
            .known()
            .and_then(|tokens| u32::try_from(tokens).ok())
            .unwrap_or(DEFAULT_TOKENS),
        temperature,
        stop,
        schema: schema.known(),
        allow_truncated: allow_truncated.known().unwrap_or(false),
    }))
}

/// The messages, if all of them are known.
fn read_messages<'a>(reader: &mut Reader<'a>, items: &'a [Value], system_bytes: usize) -> Option<Vec<Message<'a>>> {
    let mut messages = Vec::with_capacity(items.len());
    let mut bytes = system_bytes;
    for (index, item) in items.iter().enumerate() {
        let at = format!("/messages/{index}");
        if reader.is_open(item) {
            continue;
        }
        let Some(fields) = item.as_object() else {
            reader.refuse(at, params::WRONG_TYPE, "a message is an object with role and content");
            continue;
        };
        let role = text_of(reader, &at, fields, "role").and_then(|word| {
            let role = Role::ALL.into_iter().find(|role| role.as_str() == word);
            if role.is_none() {
                reader.refuse(format!("{at}/role"), params::INVALID_VALUE, "role is user or assistant");
            } else if index == 0 && role == Some(Role::Assistant) {
                let detail = "the first message is the user's";
                reader.refuse(format!("{at}/role"), params::INVALID_VALUE, detail);
            }
            role
        });
        let content = text_of(reader, &at, fields, "content");
        if content.is_some_and(|content| content.trim().is_empty()) {
            let detail = "a message says something";
            reader.refuse(format!("{at}/content"), params::INVALID_VALUE, detail);
        }
        bytes = bytes.saturating_add(content.map_or(0, str::len));
        for name in fields
            .keys()
            .filter(|name| !["role", "content"].contains(&name.as_str()))
        {
            let detail = "a message has role and content and no other field";
            reader.refuse(format!("{at}/{}", pointer_token(name)), params::UNKNOWN_FIELD, detail);
        }
        if let (Some(role), Some(content)) = (role, content) {
            messages.push(Message { role, content });
        }
    }
    if items.is_empty() {
        reader.refuse("/messages", params::INVALID_VALUE, "there is at least one message");
    }
    if bytes > MAX_TEXT_BYTES {
        let detail = format!("the messages and the system prompt have at most {MAX_TEXT_BYTES} bytes together");
        reader.refuse("/messages", params::TOO_LONG, detail);
    }
    (messages.len() == items.len()).then_some(messages)
}

/// A string field of a message, if it is known.
fn text_of<'a>(reader: &mut Reader<'a>, at: &str, fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    match fields.get(name) {
        None => {
            reader.refuse(format!("{at}/{name}"), params::REQUIRED, format!("{name} is required"));
            None
        }
        Some(Value::String(text)) => Some(text.as_str()).filter(|text| !reader.is_template(text)),
        Some(_) => {
            let detail = format!("{name} is a string");
            reader.refuse(format!("{at}/{name}"), params::WRONG_TYPE, detail);
            None
        }
    }
}

fn read_temperature(reader: &mut Reader<'_>) -> Option<f64> {
    let value = reader.raw("temperature")?;
    if reader.is_open(value) {
        return None;
    }
    let Some(temperature) = value.as_f64() else {
        reader.refuse("/temperature", params::WRONG_TYPE, "temperature is a number");
        return None;
    };
    if !(0.0..=MAX_TEMPERATURE).contains(&temperature) {
        let detail = format!("temperature is from 0 to {MAX_TEMPERATURE}");
        reader.refuse("/temperature", params::OUT_OF_RANGE, detail);
        return None;
    }
    Some(temperature)
}

/// The stop sequences, if all of them are known.
fn read_stop<'a>(reader: &mut Reader<'a>, items: &'a [Value]) -> Option<Vec<&'a str>> {
    let mut stops = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let at = format!("/stop/{index}");
        match item.as_str() {
            None => reader.refuse(at, params::WRONG_TYPE, "a stop sequence is a string"),
            Some(text) if reader.is_template(text) => {}
            Some(text) if text.trim().is_empty() => {
                let detail = "a stop sequence is more than white space";
                reader.refuse(at, params::INVALID_VALUE, detail);
            }
            Some(text) if text.len() > MAX_STOP_BYTES => {
                let detail = format!("a stop sequence has at most {MAX_STOP_BYTES} bytes");
                reader.refuse(at, params::TOO_LONG, detail);
            }
            Some(text) => stops.push(text),
        }
    }
    (stops.len() == items.len()).then_some(stops)
}

fn check_schema(reader: &mut Reader<'_>, schema: &Value) {
    let Some(fields) = schema.as_object() else {
        let detail = "response_schema is an object";
        return reader.refuse("/response_schema", params::WRONG_TYPE, detail);
    };
    match fields.get("type") {
        Some(kind) if kind == "object" || reader.is_open(kind) => {}
        _ => {
            let detail = "response_schema is the schema of an object: its type is object";
            reader.refuse("/response_schema/type", params::INVALID_VALUE, detail);
        }
    }
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["messages"],
        "properties": {
            "messages": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_MESSAGES,
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["role", "content"],
                    "properties": {
                        "role": {"enum": Role::ALL.map(Role::as_str)},
                        "content": {"type": "string", "minLength": 1}
                    }
                },
                "description": "The conversation, the first message the user's; at most 1 MiB with the system prompt."
            },
            "system": {
                "type": "string",
                "maxLength": MAX_TEXT_BYTES,
                "description": "What the model is told before the conversation."
            },
            "provider": {
                "type": "string",
                "enum": ["auto", "anthropic", "openai"],
                "default": "auto",
                "description": "Who answers. auto: Anthropic, or whose model is named; the other one where that one cannot."
            },
            "model": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_MODEL_BYTES,
                "description": "Default: the one of the settings. The other provider of auto is always asked for its default."
            },
            "max_tokens": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_TOKENS,
                "default": DEFAULT_TOKENS,
                "description": "The most tokens of the answer."
            },
            "temperature": {
                "type": "number",
                "minimum": 0,
                "maximum": MAX_TEMPERATURE,
                "description": "Left out for a default model that is known to refuse it; a model that is named here gets it."
            },
            "stop": {
                "type": "array",
                "maxItems": MAX_STOPS,
                "items": {"type": "string", "minLength": 1, "maxLength": MAX_STOP_BYTES},
                "description": "Texts before which the answer ends."
            },
            "response_schema": {
                "type": "object",
                "description": "The JSON Schema, of type object, of the answer; at most 64 KiB."
            },
            "allow_truncated": {
                "type": "boolean",
                "default": false,
                "description": "Whether an answer that was cut off at max_tokens is a success."
            }
        }
    })
}
