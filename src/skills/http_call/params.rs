//! The params of `http_call`, their schema, and the request they describe.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    problem::{FieldError, pointer_token},
    skills::{
        SecretValues,
        address_guard::{AddressRules, MAX_URL_BYTES},
        params::{self, Field, Reader, Stage},
        web,
    },
};

pub(super) const MAX_QUERY: usize = 100;
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;
pub(super) const MAX_TIMEOUT_MS: i64 = 60_000;
const MAX_EXPECTED: usize = 20;

const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// A request as the params describe it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// The caller's own limit for the whole exchange.
    pub(super) timeout: Option<Duration>,
    pub(super) follow_redirects: bool,
    /// Statuses that are a success to this plan.
    pub(super) expected: Vec<u16>,
}

/// Reads params. `Ok(None)`: nothing is wrong and a reference leaves something open.
///
/// # Errors
/// Every bad field.
pub(super) fn read(
    params: &Value,
    stage: Stage,
    rules: &AddressRules,
    secrets: &SecretValues,
) -> Result<Option<Request>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let method = read_method(&mut reader);
    let url = web::read_url(&mut reader, rules);
    let query = reader.object("query", MAX_QUERY);
    let query = read_query(&mut reader, query);
    let headers = web::read_headers(&mut reader, secrets, None);
    let body = read_body(&mut reader, &method);
    let timeout = reader.integer("timeout_ms", 1..=MAX_TIMEOUT_MS);
    let follow_redirects = reader.boolean("follow_redirects");
    // Decides about the effect class, not about the request.
    reader.boolean("idempotent");
    let expected = reader.array("expect_status", MAX_EXPECTED);
    let expected = read_expected(&mut reader, expected);
    reader.finish()?;

    let (
        Field::Is(method),
        Field::Is(mut url),
        Field::Is(query),
        Field::Is(mut headers),
        Field::Is((body, content_type)),
        Field::Is(expected),
    ) = (method, url, query, headers, body, expected)
    else {
        return Ok(None);
    };
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(&query);
    }
    if let Some(content_type) = content_type {
        headers.entry(header::CONTENT_TYPE).or_insert(content_type);
    }
    let follow_redirects = follow_redirects
        .known()
        .unwrap_or(method == Method::GET || method == Method::HEAD);
    let timeout = timeout
        .known()
        .and_then(|ms| u64::try_from(ms).ok())
        .map(Duration::from_millis);
    Ok(Some(Request {
        method,
        url,
        headers,
        body,
        timeout,
        follow_redirects,
        expected,
    }))
}

fn read_method(reader: &mut Reader<'_>) -> Field<Method> {
    match reader.string("method", 16) {
        Field::Absent => Field::Is(Method::GET),
        Field::Open => Field::Open,
        Field::Is(name) => match METHODS.contains(&name).then(|| name.parse::<Method>().ok()).flatten() {
            Some(method) => Field::Is(method),
            None => {
                reader.refuse(
                    "/method",
                    params::INVALID_VALUE,
                    format!("method is one of {}", METHODS.join(", ")),
                );
                Field::Open
            }
        },
    }
}

/// The query as pairs; an array gives one pair per element.
fn read_query(reader: &mut Reader<'_>, query: Field<&Map<String, Value>>) -> Field<Vec<(String, String)>> {
    let map = match query {
        Field::Absent => return Field::Is(Vec::new()),
        Field::Open => return Field::Open,
        Field::Is(map) => map,
    };
    let mut pairs = Vec::new();
    let mut is_open = false;
    for (name, value) in map {
        let pointer = format!("/query/{}", pointer_token(name));
        let values = match value {
            Value::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        for value in values {
            match value {
                Value::String(text) if reader.is_template(text) => is_open = true,
                Value::String(text) => pairs.push((name.clone(), text.clone())),
                Value::Number(_) | Value::Bool(_) => pairs.push((name.clone(), value.to_string())),
                _ => reader.refuse(
                    pointer.clone(),
                    params::WRONG_TYPE,
                    "a string, a number, true, false, or an array of these",
                ),
            }
        }
    }
    let bytes = pairs.iter().fold(0_usize, |sum, (name, value)| {
        sum.saturating_add(name.len()).saturating_add(value.len())
    });
    if bytes > MAX_URL_BYTES || pairs.len() > MAX_QUERY {
        let detail = format!("query has at most {MAX_QUERY} values and {MAX_URL_BYTES} bytes");
        reader.refuse("/query", params::TOO_LONG, detail);
    }
    if is_open { Field::Open } else { Field::Is(pairs) }
}

type BodyAndType = (Option<Bytes>, Option<HeaderValue>);

fn read_body(reader: &mut Reader<'_>, method: &Field<Method>) -> Field<BodyAndType> {
    let text = reader.string("body", MAX_BODY_BYTES);
    let json = reader.json("json", MAX_BODY_BYTES);
    if text.is_present() && json.is_present() {
        reader.refuse("/json", params::CONFLICTING_FIELDS, "give body or json, not both");
    }
    if let Field::Is(method @ (Method::GET | Method::HEAD)) = method {
        for (pointer, is_present) in [("/body", text.is_present()), ("/json", json.is_present())] {
            if is_present {
                reader.refuse(
                    pointer,
                    params::CONFLICTING_FIELDS,
                    format!("a {method} request has no body"),
                );
            }
        }
    }
    match (text, json) {
        (Field::Is(text), _) => {
            let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
            Field::Is((Some(Bytes::copy_from_slice(text.as_bytes())), Some(content_type)))
        }
        (_, Field::Is(value)) => Field::Is((
            Some(Bytes::from(value.to_string())),
            Some(HeaderValue::from_static("application/json")),
        )),
        (Field::Absent, Field::Absent) => Field::Is((None, None)),
        _ => Field::Open,
    }
}

fn read_expected(reader: &mut Reader<'_>, expected: Field<&[Value]>) -> Field<Vec<u16>> {
    let items = match expected {
        Field::Absent => return Field::Is(Vec::new()),
        Field::Open => return Field::Open,
        Field::Is(items) => items,
    };
    let mut statuses = Vec::new();
    let mut is_open = false;
    for (place, item) in items.iter().enumerate() {
        let status = params::whole_number(item).and_then(|number| u16::try_from(number).ok());
        match status.filter(|status| (200..=599).contains(status)) {
            Some(status) => statuses.push(status),
            None if reader.is_open(item) => is_open = true,
            None => reader.refuse(
                format!("/expect_status/{place}"),
                params::OUT_OF_RANGE,
                "a status from 200 to 599",
            ),
        }
    }
    if is_open { Field::Open } else { Field::Is(statuses) }
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["url"],
        "properties": {
            "method": {"type": "string", "enum": METHODS, "default": "GET"},
            "url": {
                "type": "string", "format": "uri", "maxLength": MAX_URL_BYTES,
                "description": "http or https, a public name, no credentials."
            },
            "headers": web::headers_schema(
                "Request headers. Those of the connection (Host, Content-Length, …) are the platform's. A value may hold \
                 {{secrets.name}}, which is filled in when it is sent and goes to no other origin."
            ),
            "query": {
                "type": "object", "maxProperties": MAX_QUERY,
                "additionalProperties": {
                    "type": ["string", "number", "boolean", "array"],
                    "items": {"type": ["string", "number", "boolean"]}
                },
                "description": "Added to the URL's own query, percent-encoded; an array gives one pair per element."
            },
            "body": {"type": "string", "maxLength": MAX_BODY_BYTES, "description": "The body as text; not with json."},
            "json": {"description": "The body as JSON, at most 1 MiB and 64 levels deep; not with body."},
            "timeout_ms": {
                "type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_MS,
                "description": "For the whole exchange, redirects included; the step's own timeout bounds it as well."
            },
            "follow_redirects": {
                "type": "boolean",
                "description": "Up to 5, each checked like the first URL. True for GET and HEAD unless given, else false; a \
                                redirect that is not followed is a success with its status."
            },
            "idempotent": {
                "type": "boolean", "default": false,
                "description": "The caller's promise that the target does a POST or PATCH once per Idempotency-Key, so that \
                                it may be tried again."
            },
            "expect_status": {
                "type": "array", "maxItems": MAX_EXPECTED, "items": {"type": "integer", "minimum": 200, "maximum": 599},
                "description": "Statuses that are a success here, besides 2xx and redirects that are not followed."
            }
        }
    })
}
