//! The params that all calls of URLs have: the URL and the headers. Must never put a secret's value into an error.

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use url::Url;

use super::WebFailure;
use crate::{
    problem::{FieldError, pointer_token},
    skills::{
        OutcomeError, SecretValues,
        address_guard::{self, AddressRules, MAX_URL_BYTES},
        failure::Failure,
        params::{self, Field, Reader},
    },
};

/// Headers of one request.
pub(in crate::skills) const MAX_HEADERS: usize = 50;
/// The longest value of one.
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// Headers that belong to the connection or are written by the platform (RFC 9110 sections 7.6.1 and 7.2, and what
/// would let a caller shape the message on the wire).
const FORBIDDEN_HEADERS: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Reads `url`, which must be there and pass the guard.
pub(in crate::skills) fn read_url(reader: &mut Reader<'_>, rules: &AddressRules) -> Field<Url> {
    let text = reader.string("url", MAX_URL_BYTES);
    reader.require("url", &text);
    let Field::Is(text) = text else { return Field::Open };
    match address_guard::check(text, rules) {
        Ok(url) => Field::Is(url),
        Err(error) => {
            let code = if error.is_malformed() {
                params::INVALID_VALUE
            } else {
                params::FORBIDDEN_ADDRESS
            };
            reader.refuse("/url", code, error.to_string());
            Field::Open
        }
    }
}

/// The host of `url` in resolved params.
pub(in crate::skills) fn host(params: &Value) -> Option<String> {
    let url = Url::parse(params.get("url")?.as_str()?).ok()?;
    url.host_str().map(|host| host.trim_end_matches('.').to_owned())
}

/// Reads `headers`. A value that `secrets` has stands for what the params show at its place, and does not print.
/// `reserved`: the beginning of names that the skill writes itself.
pub(in crate::skills) fn read_headers(
    reader: &mut Reader<'_>,
    secrets: &SecretValues,
    reserved: Option<&str>,
) -> Field<HeaderMap> {
    match reader.object("headers", MAX_HEADERS) {
        Field::Absent => Field::Is(HeaderMap::new()),
        Field::Open => Field::Open,
        Field::Is(map) => read_header_map(reader, map, secrets, reserved),
    }
}

fn read_header_map(
    reader: &mut Reader<'_>,
    map: &Map<String, Value>,
    secrets: &SecretValues,
    reserved: Option<&str>,
) -> Field<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut is_open = false;
    for (name, value) in map {
        let pointer = format!("/headers/{}", pointer_token(name));
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            reader.refuse(pointer, params::INVALID_VALUE, "this cannot be the name of a header");
            continue;
        };
        let begins = |prefix: &str| header.as_str().starts_with(prefix);
        if FORBIDDEN_HEADERS.contains(&header.as_str()) || begins("cf-") {
            let detail = format!("{header} is set by the platform");
            reader.refuse(pointer, params::INVALID_VALUE, detail);
            continue;
        }
        if reserved.is_some_and(begins) {
            let detail = format!("{header} is written by the skill");
            reader.refuse(pointer, params::INVALID_VALUE, detail);
            continue;
        }
        if headers.contains_key(&header) {
            let detail = format!("{header} stands here twice, in another case");
            reader.refuse(pointer, params::INVALID_VALUE, detail);
            continue;
        }
        let Some(shown) = value.as_str() else {
            reader.refuse(pointer, params::WRONG_TYPE, "the value of a header is a string");
            continue;
        };
        if reader.is_template(shown) {
            is_open = true;
            headers.insert(header, HeaderValue::from_static(""));
            continue;
        }
        let secret = secrets.get(&pointer).map(ExposeSecret::expose_secret);
        match header_value(secret.unwrap_or(shown)) {
            Ok(mut value) => {
                value.set_sensitive(secret.is_some());
                headers.insert(header, value);
            }
            Err((code, detail)) => reader.refuse(pointer, code, detail),
        }
    }
    if is_open { Field::Open } else { Field::Is(headers) }
}

/// Visible ASCII, space and tab: a line end would begin a header of its own, and what other bytes mean is not agreed on.
fn header_value(text: &str) -> Result<HeaderValue, (&'static str, String)> {
    if text.len() > MAX_HEADER_BYTES {
        let detail = format!("the value of a header has at most {MAX_HEADER_BYTES} bytes");
        return Err((params::TOO_LONG, detail));
    }
    match HeaderValue::from_str(text) {
        Ok(value) if text.is_ascii() => Ok(value),
        _ => {
            let detail = "the value of a header is visible ASCII, without line ends".to_owned();
            Err((params::INVALID_VALUE, detail))
        }
    }
}

/// The JSON Schema of `headers`.
pub(in crate::skills) fn headers_schema(description: &str) -> Value {
    json!({
        "type": "object", "maxProperties": MAX_HEADERS,
        "additionalProperties": {"type": "string", "maxLength": MAX_HEADER_BYTES},
        "description": description
    })
}

/// Bad params as the error of a call: forbidden is what the guard refuses, whatever else is wrong.
pub(in crate::skills) fn refused_params(errors: &[FieldError]) -> OutcomeError {
    let is_forbidden = errors.iter().any(|error| error.code == params::FORBIDDEN_ADDRESS);
    let failure = if is_forbidden {
        WebFailure::ForbiddenAddress
    } else {
        WebFailure::InvalidParams
    };
    failure.error(params::in_words(errors))
}
