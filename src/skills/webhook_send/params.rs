//! The params of `webhook_send`, their schema, and the message they describe.

use http::HeaderMap;
use serde_json::{Value, json};
use url::Url;

use crate::{
    integrations::standard_webhooks::HEADER_PREFIX,
    problem::FieldError,
    skills::{
        SecretValues,
        address_guard::{AddressRules, MAX_URL_BYTES},
        params::{Field, Reader, Stage},
        web,
    },
};

/// The largest payload, in bytes of compact JSON.
pub(super) const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// A message as the params describe it.
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// Compact JSON: the bytes that are signed and sent.
    pub(super) payload: String,
}

/// Reads params. `Ok(None)`: nothing is wrong and a reference leaves something open.
///
/// # Errors
/// Every bad field.
pub(super) fn read(params: &Value, stage: Stage, rules: &AddressRules) -> Result<Option<Request>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let url = web::read_url(&mut reader, rules);
    let payload = reader.json("payload", MAX_PAYLOAD_BYTES);
    reader.require("payload", &payload);
    // No secrets: plans may refer to them in headers of `http_call` alone.
    let headers = web::read_headers(&mut reader, &SecretValues::new(), Some(HEADER_PREFIX));
    reader.finish()?;
    let (Field::Is(url), Field::Is(payload), Field::Is(headers)) = (url, payload, headers) else {
        return Ok(None);
    };
    Ok(Some(Request {
        url,
        headers,
        payload: payload.to_string(),
    }))
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["url", "payload"],
        "properties": {
            "url": {
                "type": "string", "format": "uri", "maxLength": MAX_URL_BYTES,
                "description": "The receiver: http or https, a public name, no credentials. Redirects are not followed."
            },
            "payload": {"description": "Any JSON, at most 256 KiB and 64 levels deep; sent as compact JSON."},
            "headers": web::headers_schema(
                "Headers beside the signature's. Those that begin with webhook- and those of the connection cannot be set."
            )
        }
    })
}
