//! What a request to `/v1/chat/completions` must look like, refused in the vendor's words where it does not.
//! Must never be more lenient than the vendor where AOS could err.

use serde_json::{Map, Value};

use super::errors::{Refused, invalid, refused};
use super::formats;
use crate::standins::model::{last_user_text, messages_bytes};

/// One model, by its alias.
pub(super) struct Model {
    alias: &'static str,
    /// What comes after the alias in the full name.
    date: &'static str,
    /// Whether it thinks: no `max_tokens`, no sampling parameters but the default ones.
    reasons: bool,
}

const fn model(alias: &'static str, date: &'static str, reasons: bool) -> Model {
    Model { alias, date, reasons }
}

/// The models that are served; others are not found.
pub(super) const MODELS: [Model; 14] = [
    model("gpt-4o", "-2024-08-06", false),
    model("gpt-4o-mini", "-2024-07-18", false),
    model("gpt-4.1", "-2025-04-14", false),
    model("gpt-4.1-mini", "-2025-04-14", false),
    model("gpt-4.1-nano", "-2025-04-14", false),
    model("gpt-5", "-2025-08-07", true),
    model("gpt-5-mini", "-2025-08-07", true),
    model("gpt-5-nano", "-2025-08-07", true),
    model("gpt-5.1", "-2025-11-13", true),
    model("gpt-5.2", "-2025-12-11", true),
    model("gpt-5.4", "", true),
    model("gpt-5.4-mini", "-2026-03-17", true),
    model("o3", "-2025-04-16", true),
    model("o4-mini", "-2025-04-16", true),
];

impl Model {
    /// The name that answers carry.
    pub(super) fn name(&self) -> String {
        format!("{}{}", self.alias, self.date)
    }

    /// The model of that alias or full name.
    pub(super) fn find(name: &str) -> Result<&'static Self, Refused> {
        MODELS
            .iter()
            .find(|model| model.alias == name || model.name() == name)
            .ok_or_else(|| {
                let message = format!("The model `{name}` does not exist or you do not have access to it.");
                refused(404, Some("model_not_found"), message)
            })
    }
}

const FIELDS: [&str; 35] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];
const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];
/// Sampling parameters, with the most and the default of each.
const SAMPLING: [(&str, f64, f64); 2] = [("temperature", 2.0, 1.0), ("top_p", 1.0, 1.0)];
/// The most stop sequences.
const STOPS: usize = 4;

/// A request that the vendor would take.
#[derive(Debug)]
pub(super) struct Completion {
    body: Map<String, Value>,
    pub(super) model: String,
    pub(super) limit: Option<u64>,
    pub(super) stream: bool,
    /// Whether the stream ends with the usage.
    pub(super) stream_usage: bool,
    pub(super) stops: Vec<String>,
}

/// The JSON that the answer must be.
pub(super) struct Wanted<'a> {
    pub(super) schema: &'a Value,
    /// The function that it is the arguments of; none for the content of the answer.
    pub(super) function: Option<Forced<'a>>,
}

/// A function that must be called.
pub(super) struct Forced<'a> {
    pub(super) name: &'a str,
    /// Whether it was asked for by its name, not because some call is required.
    pub(super) named: bool,
}

impl Completion {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refused> {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
            return Err(refused(
                400,
                None,
                "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload.",
            ));
        };
        if let Some(name) = body.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(refused(
                400,
                None,
                format!("Unrecognized request argument supplied: {name}"),
            ));
        }
        let name = match body.get("model") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            Some(Value::String(_)) | None => return Err(refused(400, None, "you must provide a model parameter")),
            Some(_) => return Err(wrong_type("model", "a string")),
        };
        check_messages(&body)?;
        let model = Model::find(&name)?;
        check_sampling(&body, model, &name)?;
        formats::check(&body)?;
        let flag = |fields: &Map<String, Value>, name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(flag) => flag.as_bool().ok_or_else(|| wrong_type(name, "a boolean")),
        };
        let stream = flag(&body, "stream")?;
        let stream_usage = match body.get("stream_options") {
            None | Some(Value::Null) => false,
            Some(_) if !stream => {
                let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
                return Err(invalid("stream_options", None, message));
            }
            Some(Value::Object(options)) => flag(options, "include_usage")?,
            Some(_) => return Err(wrong_type("stream_options", "an object")),
        };
        Ok(Self {
            limit: limit(&body, model)?,
            stops: stops(&body)?,
            model: model.name(),
            stream,
            stream_usage,
            body,
        })
    }

    /// The last text of the user.
    pub(super) fn last_text(&self) -> String {
        last_user_text(self.body.get("messages"))
    }

    /// The bytes of all texts that go in.
    pub(super) fn input_bytes(&self) -> usize {
        messages_bytes(self.body.get("messages"))
    }

    /// What JSON must be answered: a forced function's arguments, else what `response_format` says.
    pub(super) fn wanted(&self) -> Option<Wanted<'_>> {
        let choice = self.body.get("tool_choice");
        let forced = |tool: &&Value| match choice {
            Some(Value::String(choice)) => choice == "required",
            Some(choice) => choice["function"]["name"] == tool["function"]["name"],
            None => false,
        };
        let mut tools = self.body.get("tools").and_then(Value::as_array).into_iter().flatten();
        if let Some(tool) = tools.find(forced) {
            return Some(Wanted {
                schema: &tool["function"]["parameters"],
                function: tool["function"]["name"].as_str().map(|name| Forced {
                    name,
                    named: choice.is_some_and(Value::is_object),
                }),
            });
        }
        let format = self.body.get("response_format")?;
        let schema = match format["type"].as_str()? {
            "json_schema" => &format["json_schema"]["schema"],
            // A format of its own is a schema as good as any: it asks for some object.
            "json_object" => format,
            _ => return None,
        };
        Some(Wanted { schema, function: None })
    }
}

fn wrong_type(param: &str, wanted: &str) -> Refused {
    let message = format!("Invalid type for '{param}': expected {wanted}.");
    invalid(param, Some("invalid_type"), message)
}

fn missing(param: &str) -> Refused {
    let message = format!("Missing required parameter: '{param}'.");
    invalid(param, Some("missing_required_parameter"), message)
}

fn check_messages(body: &Map<String, Value>) -> Result<(), Refused> {
    let messages = match body.get("messages") {
        Some(Value::Array(messages)) => messages,
        Some(_) => return Err(wrong_type("messages", "an array of objects")),
        None => return Err(missing("messages")),
    };
    if messages.is_empty() {
        let message =
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(invalid("messages", Some("empty_array"), message));
    }
    let mut called = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        let at = format!("messages[{number}]");
        let Some(role) = message["role"].as_str() else {
            return Err(missing(&format!("{at}.role")));
        };
        if !ROLES.contains(&role) {
            let roles = ROLES.map(|role| format!("'{role}'")).join(", ");
            let message = format!("Invalid value: '{role}'. Supported values are: {roles}.");
            return Err(invalid(at, Some("invalid_value"), message));
        }
        let calls = message["tool_calls"].as_array();
        if role == "tool" {
            if !called.contains(&&message["tool_call_id"]) {
                let text = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.";
                return Err(invalid(
                    format!("{at}.role"),
                    None,
                    format!("Invalid parameter: {text}"),
                ));
            }
        } else {
            called = calls.into_iter().flatten().map(|call| &call["id"]).collect();
        }
        match message.get("content") {
            Some(Value::String(_) | Value::Array(_)) => {}
            None | Some(Value::Null) if role == "assistant" && calls.is_some() => {}
            None => return Err(missing(&format!("{at}.content"))),
            Some(_) => return Err(wrong_type(&format!("{at}.content"), "a string or an array of objects")),
        }
    }
    Ok(())
}

fn check_sampling(body: &Map<String, Value>, model: &Model, name: &str) -> Result<(), Refused> {
    for (param, most, default) in SAMPLING {
        let Some(value) = body.get(param).filter(|value| !value.is_null()) else {
            continue;
        };
        let number = value.as_f64().ok_or_else(|| wrong_type(param, "a decimal"))?;
        if number < 0.0 {
            let message = format!("Invalid '{param}': decimal below minimum value. Expected a value >= 0.");
            return Err(invalid(param, Some("decimal_below_min_value"), message));
        }
        if number > most {
            let message = format!("Invalid '{param}': decimal above maximum value. Expected a value <= {most}.");
            return Err(invalid(param, Some("decimal_above_max_value"), message));
        }
        #[allow(clippy::float_cmp)]
        if model.reasons && number != default {
            let message = format!(
                "Unsupported value: '{param}' does not support {value} with {name}. Only the default ({default}) value is supported."
            );
            return Err(invalid(param, Some("unsupported_value"), message));
        }
    }
    Ok(())
}

/// The most output tokens, by either of its names.
fn limit(body: &Map<String, Value>, model: &Model) -> Result<Option<u64>, Refused> {
    let given = |name: &str| body.get(name).filter(|value| !value.is_null());
    if model.reasons && given("max_tokens").is_some() {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return Err(invalid("max_tokens", Some("unsupported_parameter"), message));
    }
    let (name, value) = match (given("max_completion_tokens"), given("max_tokens")) {
        (None, None) => return Ok(None),
        (Some(value), None) => ("max_completion_tokens", value),
        (None, Some(value)) => ("max_tokens", value),
        (Some(_), Some(_)) => {
            let message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
            return Err(invalid("max_tokens", Some("invalid_parameter_combination"), message));
        }
    };
    let number = value.as_i64().ok_or_else(|| wrong_type(name, "an integer"))?;
    match u64::try_from(number) {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => {
            let message = format!("Invalid '{name}': integer below minimum value. Expected a value >= 1.");
            Err(invalid(name, Some("integer_below_min_value"), message))
        }
    }
}

/// `stop`: one, or up to four.
fn stops(body: &Map<String, Value>) -> Result<Vec<String>, Refused> {
    let stops: Vec<String> = match body.get("stop") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(stops) => serde_json::from_value(stops.clone()).map_err(|_| wrong_type("stop", "an array of strings"))?,
    };
    if stops.len() > STOPS {
        let message = format!("Invalid 'stop': array too long. Expected an array with maximum length {STOPS}.");
        return Err(invalid("stop", Some("array_above_max_length"), message));
    }
    Ok(stops)
}
