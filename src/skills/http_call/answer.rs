//! What an answer means, and how it looks as the skill's output.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{HttpFailure, redirects::Answer};
use crate::skills::{
    EffectClass, Outcome,
    failure::Failure,
    params::{MAX_DEPTH, nests_deeper_than},
    web,
};

/// How much of the headers an output holds.
const MAX_HEADERS: usize = 64;
const MAX_VALUE_BYTES: usize = 4 * 1024;

/// Values of a JSON body; one with more is kept as text.
const MAX_VALUES: usize = 100_000;

/// Cookies and challenges are for a client that comes back; in a stored output they would only be secrets.
const LEFT_OUT: [&str; 4] = ["set-cookie", "set-cookie2", "proxy-authenticate", "www-authenticate"];

/// What the call meant by its request.
pub(super) struct Meant<'a> {
    pub(super) class: EffectClass,
    /// Statuses that are a success.
    pub(super) expected: &'a [u16],
    pub(super) host: &'a str,
    /// How much of a body it reads.
    pub(super) max_bytes: usize,
}

/// The outcome of a call that was answered.
pub(super) fn outcome(answer: Answer, meant: &Meant<'_>, now: Timestamp) -> Outcome {
    let status = answer.response.status;
    let request_id = web::request_id(&answer.response.headers);
    let is_success = status.is_success() || status.is_redirection() || meant.expected.contains(&status.as_u16());
    let mut outcome = if !is_success {
        Outcome::failed(web::refusal(&answer.response, meant.class, meant.host, now))
    } else if answer.response.truncated {
        let message = format!("the answer has more than {} bytes", meant.max_bytes);
        Outcome::failed(
            HttpFailure::OutputTooLarge
                .error(message)
                .from_provider(meant.host, Some(status.as_u16())),
        )
    } else {
        Outcome::succeeded(output(&answer))
    };
    outcome.provider_request_id = request_id;
    outcome
}

fn output(answer: &Answer) -> Value {
    let (body, encoding) = body(&answer.response.headers, &answer.response.body);
    json!({
        "status": answer.response.status.as_u16(),
        "url": answer.url.as_str(),
        "headers": headers(&answer.response.headers),
        "body": body,
        "body_encoding": encoding,
    })
}

/// The headers under their names in lower case; values of the same name are joined by a comma (RFC 9110 section 5.3).
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys().filter(|name| !LEFT_OUT.contains(&name.as_str())) {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let value = values.join(", ");
        if map.len() < MAX_HEADERS && value.len() <= MAX_VALUE_BYTES {
            map.insert(name.as_str().to_owned(), Value::String(value));
        }
    }
    map
}

/// The body as JSON where it says that it is and is, as text where it is UTF-8, in base64 otherwise.
fn body(headers: &HeaderMap, bytes: &[u8]) -> (Value, &'static str) {
    if bytes.is_empty() {
        return (Value::Null, "none");
    }
    if is_json(headers)
        && values_at_most(bytes, MAX_VALUES)
        && let Ok(value) = serde_json::from_slice::<Value>(bytes)
        && !nests_deeper_than(&value, MAX_DEPTH)
    {
        return (value, "json");
    }
    match std::str::from_utf8(bytes) {
        // A NUL is a sign of binary data, and no database text holds one.
        Ok(text) if !text.contains('\0') => (Value::from(text), "text"),
        _ => (Value::String(STANDARD.encode(bytes)), "base64"),
    }
}

/// Whether a text that is JSON holds no more values than this, as far as its punctuation tells. Read into memory each takes
/// 24 bytes, however short it is: a megabyte of zeros would be twelve.
fn values_at_most(json: &[u8], most: usize) -> bool {
    let (mut values, mut in_string, mut escaped) = (1_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' | b':' if !in_string => values = values.saturating_add(1),
            _ => {}
        }
    }
    values <= most
}

/// `application/json` and every `…+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

/// The JSON Schema of the output.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["status", "url", "headers", "body", "body_encoding"],
        "properties": {
            "status": {"type": "integer", "minimum": 200, "maximum": 599},
            "url": {"type": "string", "description": "The URL that answered, after redirects."},
            "headers": {
                "type": "object", "maxProperties": MAX_HEADERS, "additionalProperties": {"type": "string"},
                "description": "Names in lower case. Cookies and challenges are left out, as are values over 4 KiB."
            },
            "body": {
                "description": "JSON, text, base64 or null, as body_encoding says; at most 2 MiB on the wire where there is an \
                                archive (an output over 64 KiB is kept there, at most 4 MiB of it as JSON), else 1 MiB."
            },
            "body_encoding": {
                "type": "string", "enum": ["json", "text", "base64", "none"],
                "description": "json: the answer said it was JSON and it was, at most 64 levels deep and 100,000 values. text: UTF-8. none: empty."
            }
        }
    })
}
