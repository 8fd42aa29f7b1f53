//! Request bodies: from bytes to a typed value, every error naming its place.
//!
//! Nothing gets past here that the database could not store or that two JSON parsers would read differently. No body
//! may make it panic, and an error never quotes more of a body than the name of a field.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use crate::problem::{FieldError, Problem, pointer_token};

/// Bytes of a request's body.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Errors about U+0000 that are listed; a body with more is not text.
const MAX_NUL_ERRORS: usize = 20;

/// A body that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Body<T> {
    /// What it says.
    pub value: T,
    /// The same as it was sent, for what must tell two bodies apart ([`crate::idempotency`]).
    pub json: Value,
}

/// Reads a body.
///
/// # Errors
/// 413 `body_too_large` over [`MAX_BODY_BYTES`]; 400 `invalid_json` with line and column for what is no JSON or not
/// UTF-8, nested deeper than 127 levels, or names a key twice; 422 `invalid_request` with JSON pointers for U+0000, for
/// unknown and missing fields and for wrong types. A body is always an object.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<Body<T>, Problem> {
    let json = read(bytes)?;
    // serde would fill a struct from an array as well, field by field.
    if !json.is_object() {
        return Err(Problem::invalid(vec![FieldError::new(
            "",
            "wrong_type",
            "the body must be an object",
        )]));
    }
    let mut nuls = Vec::new();
    find_nuls(&json, &mut String::new(), &mut nuls);
    if !nuls.is_empty() {
        return Err(Problem::invalid(nuls));
    }
    let value = serde_path_to_error::deserialize(&json).map_err(|error| Problem::invalid(vec![field_error(&error)]))?;
    Ok(Body { value, json })
}

fn read(bytes: &[u8]) -> Result<Value, Problem> {
    let invalid = |detail: String| Problem::new(400, "invalid_json", "The body is not valid JSON", detail);
    if bytes.len() > MAX_BODY_BYTES {
        let detail = format!("a body may have {MAX_BODY_BYTES} bytes");
        return Err(Problem::new(413, "body_too_large", "The body is too large", detail));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| invalid(format!("the body is not UTF-8 from byte {} on", error.valid_up_to())))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Strict::deserialize(&mut deserializer).and_then(|Strict(json)| deserializer.end().map(|()| json));
    read.map_err(|error| invalid(error.to_string()))
}

/// A JSON value in which no object names a key twice: which of the two counts differs from parser to parser.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

#[derive(Clone, Copy)]
struct StrictVisitor;

impl<'de> DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(de::Error::custom(format_args!("the key {shown:?} is there twice")));
            }
            let value = fields.next_value_seed(self)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// U+0000 is the one character that JSON can say and PostgreSQL cannot store.
fn find_nuls(value: &Value, pointer: &mut String, found: &mut Vec<FieldError>) {
    if found.len() >= MAX_NUL_ERRORS {
        return;
    }
    match value {
        Value::String(text) if text.contains('\0') => {
            found.push(FieldError::new(
                pointer.as_str(),
                "invalid_text",
                "text cannot hold the character U+0000",
            ));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                inside(&index.to_string(), item, pointer, found);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                if key.contains('\0') {
                    found.push(FieldError::new(
                        pointer.as_str(),
                        "invalid_text",
                        "a key cannot hold the character U+0000",
                    ));
                }
                inside(key, item, pointer, found);
            }
        }
        _ => {}
    }
}

fn inside(token: &str, item: &Value, pointer: &mut String, found: &mut Vec<FieldError>) {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&pointer_token(token));
    find_nuls(item, pointer, found);
    pointer.truncate(length);
}

/// What serde says about a value, with its place.
fn field_error(error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    let message = error.inner().to_string();
    let mut pointer = pointer_to(error.path());
    // serde knows an error by its text alone; the texts are those of `serde::de::Error`.
    let code = if message.starts_with("unknown field") {
        "unknown_field"
    } else if let Some(name) = message.strip_prefix("missing field `") {
        pointer.push('/');
        pointer.push_str(&pointer_token(name.trim_end_matches('`')));
        "required"
    } else if message.starts_with("invalid type") {
        "wrong_type"
    } else if message.starts_with("unknown variant") {
        "unknown_value"
    } else if message.starts_with("invalid value") {
        "out_of_range"
    } else {
        "invalid_format"
    };
    FieldError::new(pointer, code, message)
}

fn pointer_to(path: &Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", pointer_token(key)),
        Segment::Enum { variant } => format!("{pointer}/{}", pointer_token(variant)),
        Segment::Unknown => pointer,
    })
}

/// For a field of a patch that may be absent but not `null`, which serde would take for absent.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        count: u8,
    }

    fn refused(body: &[u8]) -> (u16, String, String) {
        let problem = parse::<Outer>(body).unwrap_err();
        let first = problem.errors.first();
        let place = first.map_or_else(
            || problem.code.to_string(),
            |error| format!("{} {}", error.pointer, error.code),
        );
        (problem.status, place, problem.detail)
    }

    #[test]
    fn a_body_comes_typed_and_as_it_was_sent() {
        let body = parse::<Outer>(br#"{"name":"a","inner":[{"count":1}]}"#).unwrap();
        assert_eq!(
            body.value,
            Outer {
                name: "a".into(),
                inner: vec![Inner { count: 1 }]
            }
        );
        assert_eq!(body.json, json!({"name": "a", "inner": [{"count": 1}]}));
        for number in ["0", "-1", "18446744073709551615", "1.5", "true", "null", "\"\\u00e4\""] {
            assert_eq!(
                read(number.as_bytes()).unwrap(),
                serde_json::from_str::<Value>(number).unwrap()
            );
        }
    }

    #[test]
    fn what_is_no_json_is_a_400_that_says_where() {
        for (body, place) in [
            (&b""[..], "line 1 column 0"),
            (b"{\n\"name\":}", "line 2 column 8"),
            (b"{} x", "line 1 column 4"),
            (b"{\"name\":\"\xff\"}", "from byte 9 on"),
            (b"{\"name\":\"\\ud800\"}", "line 1"),
            (b"{\"name\":1e999}", "line 1"),
            (b"{\"name\":\"a\",\"name\":\"b\"}", "\"name\" is there twice"),
            (b"{\"x\":[{\"a\":{\"b\":1,\"b\":1}}]}", "\"b\" is there twice"),
        ] {
            let (status, code, detail) = refused(body);
            assert_eq!((status, code.as_str()), (400, "invalid_json"), "{detail}");
            assert!(detail.contains(place), "{detail}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(refused(deep.as_bytes()).0, 400);
    }

    #[test]
    fn a_body_over_the_limit_is_a_413() {
        let at_limit = format!("\"{}\"", "x".repeat(MAX_BODY_BYTES - 2));
        assert_eq!(refused(at_limit.as_bytes()).0, 422);
        assert_eq!(refused(format!("{at_limit} ").as_bytes()).0, 413);
    }

    #[test]
    fn a_wrong_field_is_named_by_its_pointer() {
        for (body, place) in [
            (json!(["a", []]), " wrong_type"),
            (json!("a"), " wrong_type"),
            (json!({}), "/name required"),
            (json!({"name": 1}), "/name wrong_type"),
            (
                json!({"name": "a", "inner": [{"count": 1}, {}]}),
                "/inner/1/count required",
            ),
            (
                json!({"name": "a", "inner": [{"count": "1"}]}),
                "/inner/0/count wrong_type",
            ),
            (
                json!({"name": "a", "inner": [{"count": 256}]}),
                "/inner/0/count out_of_range",
            ),
            (
                json!({"name": "a", "inner": [{"count": 1, "x/y": 1}]}),
                "/inner/0/x~1y unknown_field",
            ),
            (json!({"name": "a\u{0}"}), "/name invalid_text"),
            (json!({"name": "a", "inner": [{"\u{0}": 1}]}), "/inner/0 invalid_text"),
            (
                json!({"name": "a", "inner": [["x", "\u{0}"]]}),
                "/inner/0/1 invalid_text",
            ),
        ] {
            assert_eq!(refused(body.to_string().as_bytes()).1, place, "{body}");
        }
    }
}
