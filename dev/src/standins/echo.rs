//! `ANY /echo`: answers what it was sent, for tests of what really goes out.
//! Must never leave anything out of what it saw.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use axum::routing::any;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;
use url::form_urlencoded;

pub(super) fn routes() -> Router {
    Router::new().route("/echo", any(echo))
}

#[derive(Debug, Serialize)]
struct Seen {
    method: String,
    path: String,
    /// A name that comes more than once has a list.
    query: BTreeMap<String, Value>,
    /// Names in lower case; a header that comes more than once has a list.
    headers: BTreeMap<String, Value>,
    /// Bytes that are no UTF-8 are U+FFFD.
    body: String,
    /// The body, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
}

async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Json<Seen> {
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())));
    Json(Seen {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: gathered(query),
        headers: gathered(headers),
        body: String::from_utf8_lossy(&body).into_owned(),
        json: serde_json::from_slice(&body).ok(),
    })
}

fn gathered<N: Into<String>, V: Into<String>>(pairs: impl Iterator<Item = (N, V)>) -> BTreeMap<String, Value> {
    let mut gathered = BTreeMap::new();
    for (name, value) in pairs {
        let value = Value::String(value.into());
        match gathered.entry(name.into()).or_insert(Value::Null) {
            slot @ Value::Null => *slot = value,
            Value::Array(values) => values.push(value),
            slot => *slot = Value::Array(vec![slot.take(), value]),
        }
    }
    gathered
}
