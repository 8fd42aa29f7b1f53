//! What OpenAI takes as a tool, a choice of tools and a format of the answer:
//! <https://platform.openai.com/docs/guides/structured-outputs>.
//! Must never let a strict schema pass that leaves anything open.

use serde_json::{Map, Value};

use super::errors::{Refused, invalid};

/// The longest name of a function or a schema.
const NAME: usize = 64;
/// How deep a strict schema may go.
const DEPTH: usize = 10;
/// How many properties it may have in all.
const PROPERTIES: usize = 5_000;

/// Tools, the choice among them, and the format of the answer.
pub(super) fn check(body: &Map<String, Value>) -> Result<(), Refused> {
    let none = Vec::new();
    let tools = match body.get("tools") {
        None | Some(Value::Null) => &none,
        Some(Value::Array(tools)) => tools,
        Some(_) => {
            return Err(invalid(
                "tools",
                Some("invalid_type"),
                "Invalid type for 'tools': expected an array.",
            ));
        }
    };
    for (number, tool) in tools.iter().enumerate() {
        check_tool(&format!("tools[{number}]"), tool)?;
    }
    if let Some(choice) = body.get("tool_choice").filter(|choice| !choice.is_null()) {
        check_choice(choice, tools)?;
    }
    match body.get("response_format") {
        None | Some(Value::Null) => Ok(()),
        Some(format) => check_format(format, body.get("messages")),
    }
}

fn check_name(at: &str, name: Option<&str>) -> Result<(), Refused> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match name {
        None => {
            let message = format!("Missing required parameter: '{at}'.");
            Err(invalid(at, Some("missing_required_parameter"), message))
        }
        Some(name) if name.is_empty() || name.len() > NAME || !name.bytes().all(allowed) => {
            let message = format!(
                "Invalid '{at}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            );
            Err(invalid(at, Some("invalid_value"), message))
        }
        Some(_) => Ok(()),
    }
}

fn check_tool(at: &str, tool: &Value) -> Result<(), Refused> {
    if tool["type"] != "function" {
        let at = format!("{at}.type");
        let message = format!("Missing required parameter: '{at}'.");
        return Err(invalid(at, Some("missing_required_parameter"), message));
    }
    let function = &tool["function"];
    check_name(&format!("{at}.function.name"), function["name"].as_str())?;
    if function["strict"] != true {
        return Ok(());
    }
    let name = function["name"].as_str().unwrap_or_default();
    strict(&function["parameters"]).map_err(|wrong| {
        let message = format!("Invalid schema for function '{name}': {wrong}");
        invalid(
            format!("{at}.function.parameters"),
            Some("invalid_function_parameters"),
            message,
        )
    })
}

fn check_choice(choice: &Value, tools: &[Value]) -> Result<(), Refused> {
    if tools.is_empty() && choice != "none" {
        let message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.";
        return Err(invalid("tool_choice", None, message));
    }
    let name = &choice["function"]["name"];
    let known = match choice.as_str() {
        Some(choice) => matches!(choice, "none" | "auto" | "required"),
        None => choice["type"] == "function" && tools.iter().any(|tool| tool["function"]["name"] == *name),
    };
    if known {
        return Ok(());
    }
    let message =
        format!("Invalid value for 'tool_choice': no function named {name} was specified in the 'tools' parameter.");
    Err(invalid("tool_choice", None, message))
}

fn check_format(format: &Value, messages: Option<&Value>) -> Result<(), Refused> {
    match format["type"].as_str() {
        Some("text") => Ok(()),
        Some("json_object") => {
            if messages.is_some_and(|messages| messages.to_string().to_lowercase().contains("json")) {
                return Ok(());
            }
            let message =
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.";
            Err(invalid("messages", None, message))
        }
        Some("json_schema") => {
            let wanted = &format["json_schema"];
            if !wanted.is_object() {
                let at = "response_format.json_schema";
                let message = format!("Missing required parameter: '{at}'.");
                return Err(invalid(at, Some("missing_required_parameter"), message));
            }
            check_name("response_format.json_schema.name", wanted["name"].as_str())?;
            if wanted["strict"] != true {
                return Ok(());
            }
            let name = wanted["name"].as_str().unwrap_or_default();
            strict(&wanted["schema"]).map_err(|wrong| {
                let message = format!("Invalid schema for response_format '{name}': {wrong}");
                invalid("response_format", None, message)
            })
        }
        Some(other) => {
            let message =
                format!("Invalid value: '{other}'. Supported values are: 'json_object', 'json_schema', and 'text'.");
            Err(invalid("response_format.type", Some("invalid_value"), message))
        }
        None => {
            let at = "response_format.type";
            let message = format!("Missing required parameter: '{at}'.");
            Err(invalid(at, Some("missing_required_parameter"), message))
        }
    }
}

/// The rules for strict schemas, with what is wrong in the vendor's words.
fn strict(schema: &Value) -> Result<(), String> {
    if schema["type"] != "object" {
        let kind = schema["type"].as_str().unwrap_or("None");
        return Err(format!(
            "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
        ));
    }
    let mut properties = 0;
    strict_at(&mut Vec::new(), schema, 1, &mut properties)
}

fn strict_at(path: &mut Vec<String>, schema: &Value, depth: usize, count: &mut usize) -> Result<(), String> {
    let wrong = |path: &[String], what: &str| Err(format!("In context={}, {what}", context(path)));
    if depth > DEPTH {
        return wrong(path, &format!("schema exceeds the maximum nesting depth of {DEPTH}."));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut deeper = depth;
    if schema["type"] == "object" || properties.is_some() {
        deeper = depth.saturating_add(1);
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return wrong(
                path,
                "'additionalProperties' is required to be supplied and to be false.",
            );
        }
        let required = schema["required"].as_array();
        let missing = properties.into_iter().flatten().map(|(name, _)| name).find(|name| {
            let mut required = required.into_iter().flatten();
            !required.any(|required| required == name.as_str())
        });
        if let Some(missing) = missing {
            let rule = "'required' is required to be supplied and to be an array including every key in properties.";
            return wrong(path, &format!("{rule} Missing '{missing}'."));
        }
        *count = count.saturating_add(properties.map_or(0, Map::len));
        if *count > PROPERTIES {
            return wrong(path, &format!("schema exceeds the maximum of {PROPERTIES} properties."));
        }
    }
    for keyword in ["allOf", "oneOf", "not", "dependentRequired", "if", "patternProperties"] {
        if schema.get(keyword).is_some() {
            return wrong(path, &format!("'{keyword}' is not permitted."));
        }
    }
    for (keyword, step) in [("properties", deeper), ("$defs", depth)] {
        for (name, part) in schema.get(keyword).and_then(Value::as_object).into_iter().flatten() {
            within(path, &[keyword, name], |path| strict_at(path, part, step, count))?;
        }
    }
    for (number, part) in schema
        .get("anyOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        within(path, &["anyOf", &number.to_string()], |path| {
            strict_at(path, part, depth, count)
        })?;
    }
    match schema.get("items") {
        Some(items) => within(path, &["items"], |path| strict_at(path, items, deeper, count)),
        None if schema["type"] == "array" => wrong(path, "array schema missing items."),
        None => Ok(()),
    }
}

fn within(
    path: &mut Vec<String>,
    steps: &[&str],
    check: impl FnOnce(&mut Vec<String>) -> Result<(), String>,
) -> Result<(), String> {
    let length = path.len();
    path.extend(steps.iter().map(|step| (*step).to_owned()));
    let checked = check(path);
    path.truncate(length);
    checked
}

/// A path as Python writes a tuple: `()`, `('a',)`, `('a', 'b')`.
fn context(path: &[String]) -> String {
    let steps = Vec::from_iter(path.iter().map(|step| format!("'{step}'")));
    match steps.as_slice() {
        [one] => format!("({one},)"),
        steps => format!("({})", steps.join(", ")),
    }
}
