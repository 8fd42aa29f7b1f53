//! What a REST request says: its token, its commands, how strings are to come back.
//! Must never read a body without a bound.

use axum::body::Body;
use axum::http::HeaderMap;
use futures::StreamExt;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use url::form_urlencoded;

use super::LIMIT_BYTES;
use super::commands::Command;
use super::reply::{Encoding, too_large};

/// How much of a body that is too large is still read, so that its sender sees the answer and not a reset connection.
const DRAIN_BYTES: usize = 8 * LIMIT_BYTES;

/// `?_token=` before `Authorization: Bearer`.
pub(super) fn token(headers: &HeaderMap, query: &str) -> Option<String> {
    let in_query = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "_token");
    if let Some((_, token)) = in_query {
        return Some(token.into_owned());
    }
    let header = headers.get("authorization")?.to_str().ok()?.trim();
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim().to_owned()),
        _ => None,
    }
}

/// `Upstash-Encoding` and `Upstash-Response-Format`.
///
/// # Errors
/// The header asks for something that is not served; `resp2`, which Upstash offers, is not.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, String> {
    let said = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    match said("upstash-response-format") {
        "" | "json" => {}
        other => return Err(format!("ERR unsupported response format: {other}")),
    }
    match said("upstash-encoding") {
        "" => Ok(Encoding::Text),
        "base64" => Ok(Encoding::Base64),
        other => Err(format!("ERR unsupported encoding: {other}")),
    }
}

/// The whole body.
///
/// # Errors
/// It is larger than the limit, or the client broke off.
pub(super) async fn body(body: Body) -> Result<Vec<u8>, String> {
    let mut kept = Vec::new();
    let mut size = 0_usize;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| "ERR failed to read the request".to_owned())?;
        size = size.saturating_add(piece.len());
        if size <= LIMIT_BYTES {
            kept.extend_from_slice(&piece);
        } else if size > DRAIN_BYTES {
            break;
        }
    }
    if size > LIMIT_BYTES {
        Err(too_large(size))
    } else {
        Ok(kept)
    }
}

/// `["SET", "k", "v"]`.
///
/// # Errors
/// What Upstash answers to a body that is no command.
pub(super) fn one_command(body: &[u8]) -> Result<Command, String> {
    Command::from_json(std::str::from_utf8(body).map_err(|_| "ERR failed to parse command".to_owned())?)
}

/// `[["SET", "k", "v"], ["GET", "k"]]`.
///
/// # Errors
/// What Upstash answers to a body that is no list of commands.
pub(super) fn many_commands(body: &[u8]) -> Result<Vec<Command>, String> {
    let rows: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|_| "ERR failed to parse pipeline request".to_owned())?;
    if rows.is_empty() {
        return Err("ERR empty pipeline request".to_owned());
    }
    rows.into_iter().map(|row| Command::from_json(row.get())).collect()
}

/// `/set/foo/bar`: the path's segments, then the body, then the query's names and values (`?EX=100`, `?NX`).
///
/// # Errors
/// The path is empty.
pub(super) fn command_of_path(path: &str, query: &str, body: Vec<u8>) -> Result<Command, String> {
    let mut parts = segments(path);
    if !body.is_empty() {
        parts.push(body);
    }
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "_token") {
        parts.push(name.into_owned().into_bytes());
        if !value.is_empty() {
            parts.push(value.into_owned().into_bytes());
        }
    }
    Command::from_parts(parts).ok_or_else(|| "ERR empty command".to_owned())
}

/// The decoded segments of a path; one slash at its end does not count.
pub(super) fn segments(path: &str) -> Vec<Vec<u8>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Vec::new();
    }
    path.split('/')
        .map(|segment| percent_decode_str(segment).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_and_followed_by_the_body_and_the_query() {
        let command = command_of_path("/set/a%2Fb", "EX=100&_token=t&NX", b"v".to_vec()).unwrap();
        let parts: Vec<_> = command
            .parts()
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        assert_eq!(parts, ["set", "a/b", "v", "EX", "100", "NX"]);
        assert!(command_of_path("/", "", Vec::new()).is_err());
    }

    #[test]
    fn a_pipeline_is_a_list_of_lists() {
        assert_eq!(many_commands(br#"[["PING"],["GET","k"]]"#).unwrap().len(), 2);
        assert_eq!(many_commands(b"[]").unwrap_err(), "ERR empty pipeline request");
        assert_eq!(
            many_commands(b"{}").unwrap_err(),
            "ERR failed to parse pipeline request"
        );
        assert_eq!(many_commands(b"[[]]").unwrap_err(), "ERR empty command");
    }
}
