//! JSON values that fit a JSON schema, for a model that has nothing to say of its own: strings are the text, numbers 1,
//! booleans true, enums their first, arrays one item. Must never run without end on a schema that holds itself.

use serde_json::{Map, Value, json};

/// How deep a value may go: a schema that holds itself is cut there.
const DEPTH: usize = 16;

/// A value that fits `schema`, in which every string is `text`.
pub(super) fn fitting(schema: &Value, text: &str) -> Value {
    Fitting { root: schema, text }.value(schema, 0)
}

struct Fitting<'a> {
    /// Where references lead.
    root: &'a Value,
    text: &'a str,
}

impl Fitting<'_> {
    fn value(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEPTH {
            return Value::Null;
        }
        let deeper = depth.saturating_add(1);
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(value) = schema.get("enum").and_then(|values| values.get(0)) {
            return value.clone();
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            if depth > DEPTH / 2 {
                return Value::Null;
            }
            let target = target.strip_prefix('#').and_then(|path| self.root.pointer(path));
            return target.map_or(Value::Null, |target| self.value(target, deeper));
        }
        if let Some(choices) = ["anyOf", "oneOf", "allOf"].iter().find_map(|name| schema.get(name)) {
            // Where something may be left out, it is, once it is too deep to have been meant.
            let null = json!({ "type": "null" });
            let choices = choices.as_array().map(Vec::as_slice).unwrap_or_default();
            if depth > DEPTH / 2 && choices.contains(&null) {
                return Value::Null;
            }
            return choices.first().map_or(Value::Null, |first| self.value(first, deeper));
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            kind => kind.and_then(Value::as_str),
        };
        match kind {
            Some("object") => self.object(schema, deeper),
            Some("array") => self.array(schema, deeper),
            Some("integer" | "number") => number(schema),
            Some("boolean") => Value::Bool(true),
            Some("null") => Value::Null,
            Some(_) => Value::from(self.text),
            None if schema.get("properties").is_some() => self.object(schema, deeper),
            None => Value::from(self.text),
        }
    }

    /// With every property that the schema names, required or not.
    fn object(&self, schema: &Value, depth: usize) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let fields = properties.into_iter().flatten();
        Value::Object(Map::from_iter(
            fields.map(|(name, field)| (name.clone(), self.value(field, depth))),
        ))
    }

    /// With one item, or as many as there must be.
    fn array(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEPTH / 2 {
            return json!([]);
        }
        let least = schema
            .get("minItems")
            .and_then(Value::as_u64)
            .unwrap_or(1)
            .clamp(1, 100);
        let item = schema
            .get("items")
            .map_or_else(|| Value::from(self.text), |items| self.value(items, depth));
        (0..least).map(|_| item.clone()).collect()
    }
}

/// 1, or what is nearest to it within the bounds.
fn number(schema: &Value) -> Value {
    let bound = |name| schema.get(name).filter(|bound| bound.is_number());
    let one = |bound: &Value| bound.as_f64().unwrap_or(1.0);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), _) if one(least) > 1.0 => least.clone(),
        (_, Some(most)) if one(most) < 1.0 => most.clone(),
        _ => json!(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_every_property_in_its_type() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "kind": { "enum": ["b", "a"] },
                "count": { "type": "integer", "minimum": 3 },
                "share": { "type": "number", "maximum": 0.5 },
                "sure": { "type": "boolean" },
                "maybe": { "type": ["string", "null"] },
                "either": { "anyOf": [{ "type": "integer" }, { "type": "string" }] },
                "list": { "type": "array", "items": { "$ref": "#/$defs/item" } },
            },
            "$defs": { "item": { "type": "object", "properties": { "v": { "const": 7 } } } },
        });
        assert_eq!(
            fitting(&schema, "hi"),
            json!({
                "name": "hi", "kind": "b", "count": 3, "share": 0.5, "sure": true, "maybe": "hi", "either": 1,
                "list": [{ "v": 7 }],
            })
        );
    }

    #[test]
    fn a_schema_that_holds_itself_comes_to_an_end() {
        let tree = json!({
            "type": "object",
            "properties": { "children": { "type": "array", "items": { "$ref": "#" } } },
        });
        assert!(fitting(&tree, "").to_string().contains(r#"{"children":[]}"#));
        let chain = json!({
            "type": "object",
            "properties": { "next": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] } },
        });
        assert!(fitting(&chain, "").to_string().contains(r#"{"next":null}"#));
        assert_eq!(fitting(&json!({ "$ref": "#" }), ""), Value::Null);
    }
}
