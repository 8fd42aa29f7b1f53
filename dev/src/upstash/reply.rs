//! Redis replies as Upstash's JSON: `{"result": …}` or `{"error": …}`.
//! Must never invent a shape: replies keep RESP2's, so a hash is a flat array of fields and values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use redis::{ServerError, Value};
use serde_json::json;

use super::LIMIT_BYTES;

/// How strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are; bytes that are no UTF-8 become U+FFFD.
    Text,
    /// `Upstash-Encoding: base64`: every string but the reply `OK`. An `OK` inside an array is encoded, for the
    /// vendor's client (@upstash/redis 1.39) decodes it there.
    Base64,
}

/// The outcome of one command, as it stands in an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Result(serde_json::Value),
    Error(String),
}

impl Outcome {
    pub(super) fn from_reply(reply: &Value, encoding: Encoding) -> Self {
        if let Value::ServerError(error) = reply {
            return Self::Error(error_text(error));
        }
        let size = size(reply);
        if size > LIMIT_BYTES {
            return Self::Error(too_large(size));
        }
        Self::Result(match reply {
            Value::Okay => json!("OK"),
            other => to_json(other, encoding),
        })
    }

    pub(super) fn into_json(self) -> serde_json::Value {
        match self {
            Self::Result(result) => json!({ "result": result }),
            Self::Error(error) => json!({ "error": error }),
        }
    }
}

/// Upstash uses these words for a reply, too.
pub(super) fn too_large(actual: usize) -> String {
    format!("ERR max request size exceeded. Limit: {LIMIT_BYTES} bytes, Actual: {actual} bytes")
}

/// The error line as Redis sent it.
pub(super) fn error_text(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

fn to_json(value: &Value, encoding: Encoding) -> serde_json::Value {
    let many = |values: &[Value]| values.iter().map(|value| to_json(value, encoding)).collect::<Vec<_>>();
    match value {
        Value::Int(number) => json!(number),
        Value::BulkString(bytes) => string(bytes, encoding),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => string(text.as_bytes(), encoding),
        Value::Okay => string(b"OK", encoding),
        Value::Array(values) | Value::Set(values) => json!(many(values)),
        Value::ServerError(error) => string(error_text(error).as_bytes(), encoding),
        // The connections speak RESP2, in which none of the other kinds exists.
        _ => serde_json::Value::Null,
    }
}

fn string(bytes: &[u8], encoding: Encoding) -> serde_json::Value {
    match encoding {
        Encoding::Text => json!(String::from_utf8_lossy(bytes)),
        Encoding::Base64 => json!(STANDARD.encode(bytes)),
    }
}

/// The bytes of the strings in a reply, and eight for each number.
fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::SimpleString(text) => text.len(),
        Value::Array(values) | Value::Set(values) => values.iter().map(size).sum(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    #[test]
    fn base64_encodes_all_strings_but_the_reply_ok() {
        let reply = |value: &Value| Outcome::from_reply(value, Encoding::Base64);
        assert_eq!(reply(&Value::Okay), Outcome::Result(json!("OK")));
        assert_eq!(
            reply(&Value::SimpleString("PONG".into())),
            Outcome::Result(json!("UE9ORw=="))
        );
        let nested = Value::Array(vec![
            bulk(b"a"),
            Value::Array(vec![bulk(b"b"), Value::Nil, Value::Int(7)]),
        ]);
        assert_eq!(reply(&nested), Outcome::Result(json!(["YQ==", ["Yg==", null, 7]])));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_unless_encoded() {
        assert_eq!(
            Outcome::from_reply(&bulk(b"\xff"), Encoding::Text),
            Outcome::Result(json!("\u{fffd}"))
        );
        assert_eq!(
            Outcome::from_reply(&bulk(b"\xff"), Encoding::Base64),
            Outcome::Result(json!("/w=="))
        );
    }

    #[test]
    fn a_reply_over_the_limit_is_an_error() {
        let fits = Outcome::from_reply(&bulk(&vec![b'x'; LIMIT_BYTES]), Encoding::Text);
        assert!(matches!(fits, Outcome::Result(_)));
        let over = Outcome::from_reply(&bulk(&vec![b'x'; LIMIT_BYTES + 1]), Encoding::Text);
        assert_eq!(over, Outcome::Error(too_large(LIMIT_BYTES + 1)));
    }
}
