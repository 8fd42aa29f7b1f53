//! Whether a vendor's grammar can hold a JSON Schema. Must never say yes where it is not sure: a schema that is not held
//! is still asked for, in a looser way.

use serde_json::{Map, Value};

/// How deep the grammars go.
const MAX_DEPTH: usize = 8;

/// Whether every schema within `schema`, itself included, has only these keywords and keeps the rule.
pub(in crate::integrations) fn keeps(
    schema: &Value,
    keywords: &[&str],
    rule: &dyn Fn(&Map<String, Value>) -> bool,
) -> bool {
    keeps_at(schema, keywords, rule, MAX_DEPTH)
}

fn keeps_at(schema: &Value, keywords: &[&str], rule: &dyn Fn(&Map<String, Value>) -> bool, levels: usize) -> bool {
    let (Some(schema), Some(inner)) = (schema.as_object(), levels.checked_sub(1)) else {
        return false;
    };
    let is_kept = |part: &Value| keeps_at(part, keywords, rule, inner);
    schema.keys().all(|keyword| keywords.contains(&keyword.as_str()))
        && rule(schema)
        && schema.iter().all(|(keyword, value)| match keyword.as_str() {
            "properties" | "$defs" => value.as_object().is_some_and(|parts| parts.values().all(is_kept)),
            "anyOf" | "allOf" => value.as_array().is_some_and(|parts| parts.iter().all(is_kept)),
            "items" => is_kept(value),
            _ => true,
        })
}

/// Whether a schema is of an object: by its `type`, alone or among others, or because it names properties.
pub(in crate::integrations) fn is_of_object(schema: &Map<String, Value>) -> bool {
    schema.contains_key("properties") || is_of(schema, "object")
}

/// Whether a schema allows this type.
pub(in crate::integrations) fn is_of(schema: &Map<String, Value>, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// Whether an object with this schema can have no other fields than those that it names.
pub(in crate::integrations) fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_looked_through_to_its_end() {
        let closed = |schema: &Map<String, Value>| !is_of_object(schema) || is_closed(schema);
        let keywords = ["type", "properties", "additionalProperties", "items", "anyOf"];
        let object = |part: Value| json!({"type": "object", "additionalProperties": false, "properties": {"a": part}});
        for (schema, expected) in [
            (object(json!({"type": "string"})), true),
            (object(object(json!({"type": ["string", "null"]}))), true),
            (object(json!({"type": "string", "maxLength": 5})), false),
            (object(json!({"type": "array", "items": {"type": "object"}})), false),
            (object(json!({"type": ["object", "null"]})), false),
            (object(json!({"anyOf": [{"type": "null"}, {"properties": {}}]})), false),
            (object(json!(true)), false),
            (json!({"type": "object"}), false),
            ((0..9).fold(json!({"type": "string"}), |inner, _| object(inner)), false),
        ] {
            assert_eq!(keeps(&schema, &keywords, &closed), expected, "{schema}");
        }
    }
}
