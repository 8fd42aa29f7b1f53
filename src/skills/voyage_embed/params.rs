//! The params of `voyage_embed` and their schema.

use serde_json::{Value, json};

use crate::{
    integrations::voyage::{MAX_TEXTS, MODELS, Model},
    problem::FieldError,
    skills::{
        contract::Limit,
        params::{self, Field, Reader, Stage},
    },
};

/// The longest text, in bytes: more than any model looks at.
const MAX_TEXT_BYTES: usize = 256 * 1024;
/// All texts together: what a step can carry.
const MAX_INPUT_BYTES: usize = 4 * 1024 * 1024;

/// What a call asks for. In a plan, what a reference will bring in is left out.
#[derive(Debug, PartialEq)]
pub(super) struct Params<'a> {
    pub(super) texts: Vec<&'a str>,
    pub(super) model: Model,
    pub(super) input_type: Option<&'a str>,
}

/// Reads params.
///
/// # Errors
/// Every bad field.
pub(super) fn read(params: &Value, stage: Stage) -> Result<Params<'_>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let texts = texts(&mut reader);
    let model = match reader.string("model", 64) {
        Field::Absent | Field::Open => None,
        Field::Is(name) => {
            let model = MODELS.iter().find(|model| model.name == name);
            if model.is_none() {
                let detail = format!("model is one of {}", MODELS.map(|model| model.name).join(", "));
                reader.refuse("/model", params::INVALID_VALUE, detail);
            }
            model
        }
    };
    let input_type = reader.string("input_type", 16);
    if input_type
        .known()
        .is_some_and(|kind| !["query", "document"].contains(&kind))
    {
        reader.refuse("/input_type", params::INVALID_VALUE, "input_type is query or document");
    }
    reader.finish()?;
    let [first, ..] = MODELS;
    Ok(Params {
        texts,
        model: model.copied().unwrap_or(first),
        input_type: input_type.known(),
    })
}

/// One text, or a list of them.
fn texts<'a>(reader: &mut Reader<'a>) -> Vec<&'a str> {
    let items: Vec<(String, &Value)> = match reader.raw("input") {
        None => {
            reader.refuse("/input", params::REQUIRED, "input is required");
            return Vec::new();
        }
        Some(value) if reader.is_open(value) => return Vec::new(),
        Some(value @ Value::String(_)) => vec![("/input".to_owned(), value)],
        Some(Value::Array(items)) if (1..=MAX_TEXTS).contains(&items.len()) => {
            let places = (0..).map(|index: usize| format!("/input/{index}"));
            places.zip(items).collect()
        }
        Some(Value::Array(items)) => {
            let code = if items.is_empty() {
                params::INVALID_VALUE
            } else {
                params::TOO_MANY
            };
            reader.refuse("/input", code, format!("input has 1 to {MAX_TEXTS} texts"));
            return Vec::new();
        }
        Some(_) => {
            reader.refuse("/input", params::WRONG_TYPE, "input is a text or a list of texts");
            return Vec::new();
        }
    };
    let mut texts = Vec::with_capacity(items.len());
    for (place, item) in items {
        match item.as_str() {
            None => reader.refuse(place, params::WRONG_TYPE, "a text is a string"),
            Some(text) if reader.is_template(text) => {}
            Some("") => reader.refuse(place, params::INVALID_VALUE, "a text has at least one character"),
            Some(text) if text.len() > MAX_TEXT_BYTES => {
                let detail = format!("a text has at most {MAX_TEXT_BYTES} bytes");
                reader.refuse(place, params::TOO_LONG, detail);
            }
            Some(text) => texts.push(text),
        }
    }
    let bytes = texts.iter().fold(0_usize, |sum, text| sum.saturating_add(text.len()));
    if bytes > MAX_INPUT_BYTES {
        let detail = format!("input has at most {MAX_INPUT_BYTES} bytes together");
        reader.refuse("/input", params::TOO_LONG, detail);
    }
    texts
}

/// The limits of the contract.
pub(super) fn limits() -> Vec<Limit> {
    Limit::list([
        ("input", MAX_TEXTS, "items"),
        ("input together", MAX_INPUT_BYTES, "bytes"),
        ("a text of input", MAX_TEXT_BYTES, "bytes"),
    ])
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    let text = json!({"type": "string", "minLength": 1, "maxLength": MAX_TEXT_BYTES});
    let [default, ..] = MODELS;
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["input"],
        "properties": {
            "input": {
                "oneOf": [text, {"type": "array", "minItems": 1, "maxItems": MAX_TEXTS, "items": text}],
                "description": "A text, or up to 1,000. What a text has over 32,000 tokens is cut off by Voyage. Large inputs \
                                are sent in parts, by an estimate of one token for two bytes."
            },
            "model": {"type": "string", "enum": MODELS.map(|model| model.name), "default": default.name},
            "input_type": {
                "type": "string", "enum": ["query", "document"],
                "description": "Whether the texts are looked for or are looked through; without it, neither."
            }
        }
    })
}
