//! What a message must be for Slack to post it.
//! Must never take what Slack refuses: a test that passes here is to pass there.

use axum::http::{HeaderMap, header};
use serde_json::Value;
use url::form_urlencoded;

const MOST_BLOCKS: usize = 50;
const MOST_ATTACHMENTS: usize = 100;
const MOST_FIELDS: usize = 10;
/// The longest text of a section, of one of its fields, and of a header, in characters.
const SECTION_CHARS: usize = 3_000;
const FIELD_CHARS: usize = 2_000;
const HEADER_CHARS: usize = 150;

/// The JSON of the body, or of `payload` in a form; only an object will do.
pub(super) fn payload(headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    let form = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let value: Value = if form {
        let (_, json) = form_urlencoded::parse(body).find(|(name, _)| name == "payload")?;
        serde_json::from_str(&json).ok()?
    } else {
        serde_json::from_slice(body).ok()?
    };
    value.is_object().then_some(value)
}

fn list<'a>(payload: &'a Value, name: &str, wrong: &'static str) -> Result<&'a [Value], &'static str> {
    match payload.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(wrong),
    }
}

/// Whether Slack would post it.
pub(super) fn check(payload: &Value) -> Result<(), &'static str> {
    let text = match payload.get("text") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return Err("invalid_payload"),
    };
    let blocks = list(payload, "blocks", "invalid_blocks")?;
    let attachments = list(payload, "attachments", "invalid_payload")?;
    if text.is_empty() && blocks.is_empty() && attachments.is_empty() {
        return Err("no_text");
    }
    if attachments.len() > MOST_ATTACHMENTS {
        return Err("too_many_attachments");
    }
    if blocks.len() > MOST_BLOCKS || !blocks.iter().all(block_is_sound) {
        return Err("invalid_blocks");
    }
    Ok(())
}

/// A text object of one of these types, of 1 to `longest` characters.
fn text_is_sound(text: &Value, types: &[&str], longest: usize) -> bool {
    let kind = text["type"].as_str().is_some_and(|kind| types.contains(&kind));
    let length = text["text"].as_str().map_or(0, |text| text.chars().count());
    kind && (1..=longest).contains(&length)
}

fn block_is_sound(block: &Value) -> bool {
    const EITHER: &[&str] = &["mrkdwn", "plain_text"];
    match block["type"].as_str() {
        Some("section") => {
            let text = block.get("text");
            let fields = block.get("fields").and_then(Value::as_array);
            let text_fits = text.is_none_or(|text| text_is_sound(text, EITHER, SECTION_CHARS));
            let fields_fit = fields.is_none_or(|fields| {
                (1..=MOST_FIELDS).contains(&fields.len())
                    && fields.iter().all(|field| text_is_sound(field, EITHER, FIELD_CHARS))
            });
            (text.is_some() || fields.is_some()) && text_fits && fields_fit
        }
        Some("header") => text_is_sound(&block["text"], &["plain_text"], HEADER_CHARS),
        Some("context" | "actions") => block["elements"]
            .as_array()
            .is_some_and(|elements| !elements.is_empty()),
        Some("image") => {
            let whole = |name: &str| block[name].as_str().is_some_and(|text| !text.is_empty());
            (whole("image_url") || block["slack_file"].is_object()) && whole("alt_text")
        }
        Some("rich_text") => block["elements"].is_array(),
        Some("markdown") => block["text"].as_str().is_some_and(|text| !text.is_empty()),
        Some("divider" | "video" | "file" | "input" | "table") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn slacks_limits_hold_to_the_character() {
        let section =
            |chars: usize| json!({ "type": "section", "text": { "type": "mrkdwn", "text": "ü".repeat(chars) } });
        let head =
            |chars: usize| json!({ "type": "header", "text": { "type": "plain_text", "text": "x".repeat(chars) } });
        let with = |blocks: Value| check(&json!({ "text": "", "blocks": blocks }));
        assert_eq!(with(json!([section(3_000), head(150), { "type": "divider" }])), Ok(()));
        assert_eq!(with(json!(vec![section(1); 50])), Ok(()));
        for wrong in [
            json!([section(3_001)]),
            json!([head(151)]),
            json!(vec![section(1); 51]),
            json!([{ "type": "section" }]),
            json!([{ "type": "header", "text": { "type": "mrkdwn", "text": "x" } }]),
            json!([{ "type": "purple" }]),
            json!({ "type": "divider" }),
        ] {
            assert_eq!(with(wrong.clone()), Err("invalid_blocks"), "{wrong}");
        }
    }

    #[test]
    fn a_message_says_something() {
        assert_eq!(check(&json!({})), Err("no_text"));
        assert_eq!(check(&json!({ "text": "", "blocks": [] })), Err("no_text"));
        assert_eq!(check(&json!({ "text": 1 })), Err("invalid_payload"));
        assert_eq!(check(&json!({ "attachments": [{ "text": "x" }] })), Ok(()));
        assert_eq!(
            check(&json!({ "attachments": vec![json!({}); 101] })),
            Err("too_many_attachments")
        );
    }
}
