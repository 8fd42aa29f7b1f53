//! What a request to `/v1/messages` must look like, refused in the vendor's words where it does not.
//! Must never be more lenient than the vendor where AOS could err.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use super::errors::{Refused, invalid, refused};
use super::formats;
use crate::standins::model::{last_user_text, messages_bytes, text_bytes};

/// One model, by its alias.
pub(super) struct Model {
    alias: &'static str,
    /// What comes after the alias in the full name, if the alias is not all of it.
    date: &'static str,
    /// The most output tokens.
    most: u64,
    /// Whether it is as new as Opus 4.7: no sampling parameters but the default ones.
    new: bool,
    /// Whether the last message may be the assistant's, to be gone on with.
    prefill: bool,
}

const fn model(alias: &'static str, date: &'static str, most: u64, new: bool, prefill: bool) -> Model {
    Model {
        alias,
        date,
        most,
        new,
        prefill,
    }
}

/// The models that are served; others, such as the retired `claude-sonnet-4-20250514`, are not found.
pub(super) const MODELS: [Model; 12] = [
    model("claude-sonnet-5-5", "", 128_000, true, false),
    model("claude-opus-5-5", "", 128_000, true, false),
    model("claude-haiku-5-5", "", 64_000, true, false),
    model("claude-sonnet-5", "", 128_000, true, false),
    model("claude-opus-5", "", 128_000, true, false),
    model("claude-opus-4-8", "", 128_000, true, false),
    model("claude-opus-4-7", "", 128_000, true, false),
    model("claude-opus-4-6", "", 128_000, false, false),
    model("claude-sonnet-4-6", "", 64_000, false, false),
    model("claude-haiku-4-5", "-20251001", 64_000, false, true),
    model("claude-sonnet-4-5", "-20250929", 64_000, false, true),
    model("claude-opus-4-5", "-20251101", 64_000, false, true),
];

impl Model {
    /// The name that answers carry.
    pub(super) fn name(&self) -> String {
        format!("{}{}", self.alias, self.date)
    }

    /// The model of that alias or full name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.alias == name || model.name() == name)
    }
}

const FIELDS: [&str; 17] = [
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "thinking",
    "tool_choice",
    "tools",
];
const SAMPLING: [&str; 3] = ["temperature", "top_k", "top_p"];

/// Header `anthropic-version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2023,
    V2026,
}

impl Version {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refused> {
        let header = headers.get("anthropic-version").map(|value| value.as_bytes());
        match header {
            Some(b"2023-06-01") => Ok(Self::V2023),
            Some(b"2026-10-21") => Ok(Self::V2026),
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                Err(invalid(format!(
                    "anthropic-version: \"{other}\" is not a valid version"
                )))
            }
            None => Err(invalid("anthropic-version: header is required")),
        }
    }
}

/// A request that the vendor would take.
#[derive(Debug)]
pub(super) struct Messages {
    body: Map<String, Value>,
    pub(super) model: String,
    pub(super) max_tokens: u64,
    pub(super) stream: bool,
    pub(super) stops: Vec<String>,
}

/// The JSON that the answer must be.
pub(super) struct Wanted<'a> {
    pub(super) schema: &'a Value,
    /// The tool that it is the input of; none for the text of the answer.
    pub(super) tool: Option<&'a str>,
}

impl Messages {
    pub(super) fn read(body: &[u8], version: Version) -> Result<Self, Refused> {
        let body = match serde_json::from_slice(body) {
            Ok(Value::Object(body)) => body,
            Ok(_) => {
                return Err(invalid(
                    "Input should be a valid dictionary or object to extract fields from",
                ));
            }
            Err(error) => return Err(invalid(format!("The request body is not valid JSON: {error}"))),
        };
        let text = |name: &str| match body.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(_) => Err(invalid(format!("{name}: Input should be a valid string"))),
            None => Err(invalid(format!("{name}: Field required"))),
        };
        let name = text("model")?;
        let max_tokens = match body.get("max_tokens") {
            Some(number) => match number.as_i64() {
                Some(number) => u64::try_from(number)
                    .ok()
                    .filter(|number| *number > 0)
                    .ok_or_else(|| invalid("max_tokens: must be greater than or equal to 1"))?,
                None => return Err(invalid("max_tokens: Input should be a valid integer")),
            },
            None => return Err(invalid("max_tokens: Field required")),
        };
        let known = |name: &&String| {
            FIELDS.contains(&name.as_str()) || (version == Version::V2023 && SAMPLING.contains(&name.as_str()))
        };
        if let Some(name) = body.keys().find(|name| !known(name)) {
            return Err(invalid(format!("{name}: Extra inputs are not permitted")));
        }
        let model = Model::find(&name).ok_or_else(|| refused("not_found_error", format!("model: {name}")))?;
        if max_tokens > model.most {
            let most = model.most;
            return Err(invalid(format!(
                "max_tokens: {max_tokens} > {most}, which is the maximum allowed number of output tokens for {name}"
            )));
        }
        check_messages(&body, version, model)?;
        check_sampling(&body, model)?;
        formats::check(&body)?;
        let stream = match body.get("stream") {
            None => false,
            Some(stream) => stream
                .as_bool()
                .ok_or_else(|| invalid("stream: Input should be a valid boolean"))?,
        };
        Ok(Self {
            stops: stop_sequences(&body)?,
            model: model.name(),
            max_tokens,
            stream,
            body,
        })
    }

    /// The last text of the user.
    pub(super) fn last_text(&self) -> String {
        last_user_text(self.body.get("messages"))
    }

    /// The bytes of all texts that go in, the system prompt's included.
    pub(super) fn input_bytes(&self) -> usize {
        let system = self.body.get("system").map_or(0, text_bytes);
        system.saturating_add(messages_bytes(self.body.get("messages")))
    }

    /// What JSON must be answered: a forced tool's input, else what `output_config.format` says.
    pub(super) fn wanted(&self) -> Option<Wanted<'_>> {
        let choice = self.body.get("tool_choice");
        let forced = |tool: &&Value| match choice.and_then(|choice| choice["type"].as_str()) {
            Some("tool") => choice.is_some_and(|choice| choice["name"] == tool["name"]),
            Some("any") => true,
            _ => false,
        };
        let mut tools = self.body.get("tools").and_then(Value::as_array).into_iter().flatten();
        if let Some(tool) = tools.find(forced) {
            return Some(Wanted {
                schema: &tool["input_schema"],
                tool: tool["name"].as_str(),
            });
        }
        let format = self.body.get("output_config")?.get("format")?;
        Some(Wanted {
            schema: format.get("schema")?,
            tool: None,
        })
    }
}

fn check_messages(body: &Map<String, Value>, version: Version, model: &Model) -> Result<(), Refused> {
    let messages = match body.get("messages") {
        Some(Value::Array(messages)) => messages,
        Some(_) => return Err(invalid("messages: Input should be a valid array")),
        None => return Err(invalid("messages: Field required")),
    };
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
        return Err(invalid("messages: at least one message is required"));
    };
    for (number, message) in messages.iter().enumerate() {
        match (message["role"].as_str(), version) {
            (Some("user" | "assistant"), _) | (Some("system"), Version::V2026) => {}
            (Some(role), _) => {
                let roles = "user\" or \"assistant";
                return Err(invalid(format!(
                    "messages: Unexpected role \"{role}\". Allowed roles are \"{roles}\""
                )));
            }
            (None, _) => return Err(invalid(format!("messages.{number}.role: Field required"))),
        }
        check_content(number, message)?;
    }
    if first["role"] == "assistant" {
        return Err(invalid("messages: first message must use the \"user\" role"));
    }
    if last["role"] == "assistant" && !model.prefill {
        return Err(invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ));
    }
    Ok(())
}

fn check_content(number: usize, message: &Value) -> Result<(), Refused> {
    match message.get("content") {
        Some(Value::String(text)) if text.is_empty() && message["role"] == "user" => Err(invalid(format!(
            "messages.{number}: user messages must have non-empty content"
        ))),
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) => {
            for (at, block) in blocks.iter().enumerate() {
                if block["type"].as_str().is_none() {
                    return Err(invalid(format!("messages.{number}.content.{at}.type: Field required")));
                }
                if block["type"] == "text" && block["text"].as_str().is_none_or(str::is_empty) {
                    return Err(invalid("messages: text content blocks must be non-empty"));
                }
            }
            Ok(())
        }
        Some(_) => Err(invalid(format!(
            "messages.{number}.content: Input should be a valid array"
        ))),
        None => Err(invalid(format!("messages.{number}.content: Field required"))),
    }
}

/// Under the older version, where they are still fields.
fn check_sampling(body: &Map<String, Value>, model: &Model) -> Result<(), Refused> {
    for name in SAMPLING {
        let Some(value) = body.get(name) else {
            continue;
        };
        let number = value
            .as_f64()
            .ok_or_else(|| invalid(format!("{name}: Input should be a valid number")))?;
        if name != "top_k" && !(0.0..=1.0).contains(&number) {
            return Err(invalid(format!("{name}: range: 0..1")));
        }
        // The default of `top_k` is to be left out.
        #[allow(clippy::float_cmp)]
        let default = name != "top_k" && number == 1.0;
        if model.new && !default {
            return Err(invalid(format!(
                "`{name}` may only be set to its default with this model."
            )));
        }
    }
    Ok(())
}

fn stop_sequences(body: &Map<String, Value>) -> Result<Vec<String>, Refused> {
    let Some(stops) = body.get("stop_sequences") else {
        return Ok(Vec::new());
    };
    let stops: Vec<String> =
        serde_json::from_value(stops.clone()).map_err(|_| invalid("stop_sequences: Input should be a valid array"))?;
    if stops.iter().any(|stop| stop.trim().is_empty()) {
        return Err(invalid(
            "stop_sequences: each stop sequence must contain non-whitespace",
        ));
    }
    Ok(stops)
}
