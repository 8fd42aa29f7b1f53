//! What Anthropic takes as a tool, a choice of tools and a schema of the answer:
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>.
//! Must never let a schema pass that the vendor's grammar cannot hold.

use serde_json::{Map, Value};

use super::errors::{Refused, invalid};

/// The longest name of a tool.
const NAME: usize = 128;
const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// Keywords that the grammar does not hold, by the type that they are refused with.
const UNSUPPORTED: [(&str, &[&str]); 4] = [
    ("array", &["maxItems", "uniqueItems"]),
    ("integer", NUMERIC),
    ("number", NUMERIC),
    ("string", &["maxLength", "minLength"]),
];
const NUMERIC: &[&str] = &[
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maximum",
    "minimum",
    "multipleOf",
];

/// Tools, the choice among them, and the format of the answer.
pub(super) fn check(body: &Map<String, Value>) -> Result<(), Refused> {
    let none = Vec::new();
    let tools = match body.get("tools") {
        None => &none,
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(invalid("tools: Input should be a valid array")),
    };
    for (number, tool) in tools.iter().enumerate() {
        check_tool(number, tool)?;
    }
    if let Some(choice) = body.get("tool_choice") {
        check_choice(choice, tools)?;
    }
    let Some(output) = body.get("output_config") else {
        return Ok(());
    };
    if let Some(effort) = output.get("effort").filter(|effort| !effort.is_null())
        && !effort.as_str().is_some_and(|effort| EFFORTS.contains(&effort))
    {
        let efforts = EFFORTS.map(|effort| format!("'{effort}'")).join(", ");
        return Err(invalid(format!(
            "output_config.effort: Input should be one of {efforts}"
        )));
    }
    match output.get("format") {
        None | Some(Value::Null) => Ok(()),
        Some(format) if format["type"] != "json_schema" => {
            Err(invalid("output_config.format.type: Input should be 'json_schema'"))
        }
        Some(format) => match format.get("schema") {
            Some(schema) if schema.is_object() => check_schema("output_config.format.schema", schema),
            Some(_) => Err(invalid(
                "output_config.format.schema: Input should be a valid dictionary",
            )),
            None => Err(invalid("output_config.format.schema: Field required")),
        },
    }
}

fn check_tool(number: usize, tool: &Value) -> Result<(), Refused> {
    let Some(name) = tool["name"].as_str() else {
        return Err(invalid(format!("tools.{number}.name: Field required")));
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > NAME || !name.bytes().all(allowed) {
        return Err(invalid(format!(
            "tools.{number}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,{NAME}}}$'"
        )));
    }
    let kind = tool["type"].as_str().unwrap_or("custom");
    if kind != "custom" {
        // The vendor's own tools have no schema.
        return Ok(());
    }
    match tool.get("input_schema") {
        None => Err(invalid(format!("tools.{number}.custom.input_schema: Field required"))),
        Some(schema) if schema.get("type").is_none() => Err(invalid(format!(
            "tools.{number}.custom.input_schema.type: Field required"
        ))),
        Some(schema) if schema["type"] != "object" => Err(invalid(format!(
            "tools.{number}.custom.input_schema.type: Input should be 'object'"
        ))),
        Some(schema) if tool["strict"] == true => check_schema(&format!("tools.{number}.custom.input_schema"), schema),
        Some(_) => Ok(()),
    }
}

fn check_choice(choice: &Value, tools: &[Value]) -> Result<(), Refused> {
    let kind = choice["type"].as_str().unwrap_or_default();
    match kind {
        "none" | "auto" => Ok(()),
        "any" | "tool" if tools.is_empty() => Err(invalid("tool_choice: may only be specified while providing tools")),
        "any" => Ok(()),
        "tool" => match choice["name"].as_str() {
            None => Err(invalid("tool_choice.tool.name: Field required")),
            Some(name) if tools.iter().any(|tool| tool["name"] == name) => Ok(()),
            Some(name) => Err(invalid(format!(
                "tool_choice: Tool '{name}' not found in provided tools"
            ))),
        },
        _ => Err(invalid(format!(
            "tool_choice: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'"
        ))),
    }
}

/// Every object closed, and no keyword that the grammar does not hold.
fn check_schema(at: &str, schema: &Value) -> Result<(), Refused> {
    let kind = schema["type"].as_str().unwrap_or_default();
    if kind == "object" && schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(invalid(format!(
            "{at}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )));
    }
    let unsupported = UNSUPPORTED.iter().find(|(name, _)| *name == kind);
    let found: Vec<&str> = unsupported
        .map(|(_, keywords)| *keywords)
        .unwrap_or_default()
        .iter()
        .copied()
        .filter(|keyword| schema.get(keyword).is_some())
        .collect();
    match found.as_slice() {
        [] => {}
        [one] => {
            return Err(invalid(format!(
                "{at}: For '{kind}' type, property '{one}' is not supported"
            )));
        }
        many => {
            let many = many.join(", ");
            return Err(invalid(format!(
                "{at}: For '{kind}' type, properties {many} are not supported"
            )));
        }
    }
    if schema
        .get("minItems")
        .is_some_and(|least| !matches!(least.as_u64(), Some(0 | 1)))
    {
        return Err(invalid(format!(
            "{at}: For 'array' type, 'minItems' values other than 0 or 1 are not supported"
        )));
    }
    inner(schema).try_for_each(|part| check_schema(at, part))
}

/// The schemas within a schema.
fn inner(schema: &Value) -> impl Iterator<Item = &Value> {
    let named = ["properties", "$defs", "definitions"]
        .into_iter()
        .filter_map(|name| schema.get(name)?.as_object())
        .flat_map(Map::values);
    let listed = ["anyOf", "allOf", "oneOf"]
        .into_iter()
        .filter_map(|name| schema.get(name)?.as_array())
        .flatten();
    named.chain(listed).chain(schema.get("items"))
}
