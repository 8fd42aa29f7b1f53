//! The params of `slack_send` and their schema: Slack's limits, so that what Slack would refuse is refused in the plan.

use serde_json::{Value, json};

use crate::{
    integrations::slack::Message,
    problem::FieldError,
    skills::{
        contract::Limit,
        params::{self, Field, Reader, Stage},
    },
};

/// Slack cuts longer texts off.
const MAX_TEXT_CHARS: usize = 40_000;
const MAX_BLOCKS: usize = 50;
const MAX_BLOCKS_BYTES: usize = 256 * 1024;
const MAX_SECTION_CHARS: usize = 3_000;
const MAX_FIELDS: usize = 10;
const MAX_FIELD_CHARS: usize = 2_000;
const MAX_HEADER_CHARS: usize = 150;
const MAX_THREAD_BYTES: usize = 32;
/// The most bytes of a character.
const CHAR_BYTES: usize = 4;

const EITHER: &[&str] = &["mrkdwn", "plain_text"];

/// Reads params. In a plan, what a reference will bring in is left out.
///
/// # Errors
/// Every bad field.
pub(super) fn read(params: &Value, stage: Stage) -> Result<Message<'_>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let text = reader.string("text", MAX_TEXT_CHARS.saturating_mul(CHAR_BYTES));
    if text.known().is_some_and(|text| text.chars().count() > MAX_TEXT_CHARS) {
        let detail = format!("text has at most {MAX_TEXT_CHARS} characters");
        reader.refuse("/text", params::TOO_LONG, detail);
    }
    let blocks = reader.json("blocks", MAX_BLOCKS_BYTES);
    let has_blocks = match blocks {
        Field::Absent => false,
        Field::Open => true,
        Field::Is(blocks) => check_blocks(&mut reader, blocks),
    };
    if matches!(text, Field::Absent | Field::Is("")) && !has_blocks {
        reader.refuse("/text", params::REQUIRED, "give text or blocks");
    }
    let thread = reader.string("thread", MAX_THREAD_BYTES);
    if thread.known().is_some_and(|thread| !is_timestamp(thread)) {
        reader.refuse(
            "/thread",
            params::INVALID_VALUE,
            "thread is the ts of a message, such as 1764331200.000100",
        );
    }
    reader.finish()?;
    Ok(Message {
        text: text.known().filter(|text| !text.is_empty()),
        blocks: blocks.known().filter(|_| has_blocks),
        thread_ts: thread.known(),
    })
}

/// Whether there are blocks; what is wrong with them is noted.
fn check_blocks(reader: &mut Reader<'_>, blocks: &Value) -> bool {
    let Some(blocks) = blocks.as_array() else {
        reader.refuse("/blocks", params::WRONG_TYPE, "blocks is an array");
        return true;
    };
    if blocks.len() > MAX_BLOCKS {
        let detail = format!("blocks has at most {MAX_BLOCKS} elements");
        reader.refuse("/blocks", params::TOO_MANY, detail);
        return true;
    }
    for (index, block) in blocks.iter().enumerate() {
        check_block(reader, &format!("/blocks/{index}"), block);
    }
    !blocks.is_empty()
}

/// What is known of sections and headers is checked; other blocks are Slack's to judge.
fn check_block(reader: &mut Reader<'_>, place: &str, block: &Value) {
    if reader.is_open(block) {
        return;
    }
    if !block.is_object() {
        reader.refuse(place, params::WRONG_TYPE, "a block is an object");
        return;
    }
    match block.get("type").and_then(Value::as_str) {
        Some("section") => {
            let (text, fields) = (block.get("text"), block.get("fields"));
            if text.is_none() && fields.is_none() {
                reader.refuse(
                    format!("{place}/text"),
                    params::REQUIRED,
                    "a section has text or fields",
                );
            }
            if let Some(text) = text {
                check_text(reader, &format!("{place}/text"), text, EITHER, MAX_SECTION_CHARS);
            }
            if let Some(fields) = fields {
                check_fields(reader, &format!("{place}/fields"), fields);
            }
        }
        Some("header") => {
            let text = block.get("text").unwrap_or(&Value::Null);
            check_text(
                reader,
                &format!("{place}/text"),
                text,
                &["plain_text"],
                MAX_HEADER_CHARS,
            );
        }
        Some(_) => {}
        None => reader.refuse(format!("{place}/type"), params::REQUIRED, "a block has a type"),
    }
}

fn check_fields(reader: &mut Reader<'_>, place: &str, fields: &Value) {
    if reader.is_open(fields) {
        return;
    }
    match fields.as_array() {
        Some(fields) if (1..=MAX_FIELDS).contains(&fields.len()) => {
            for (index, field) in fields.iter().enumerate() {
                check_text(reader, &format!("{place}/{index}"), field, EITHER, MAX_FIELD_CHARS);
            }
        }
        _ => reader.refuse(
            place,
            params::INVALID_VALUE,
            format!("a section has 1 to {MAX_FIELDS} fields"),
        ),
    }
}

/// A text object of one of these types.
fn check_text(reader: &mut Reader<'_>, place: &str, value: &Value, types: &[&str], max_chars: usize) {
    if reader.is_open(value) {
        return;
    }
    let kind = value.get("type").and_then(Value::as_str);
    if !kind.is_some_and(|kind| types.contains(&kind) || reader.is_template(kind)) {
        let detail = format!("a text object has the type {}", types.join(" or "));
        reader.refuse(place, params::INVALID_VALUE, detail);
        return;
    }
    let chars = match value.get("text").and_then(Value::as_str) {
        Some(text) if reader.is_template(text) => return,
        Some(text) => text.chars().count(),
        None => 0,
    };
    if !(1..=max_chars).contains(&chars) {
        let (code, detail) = (params::TOO_LONG, format!("the text has 1 to {max_chars} characters"));
        reader.refuse(format!("{place}/text"), code, detail);
    }
}

/// Seconds and a number, as Slack writes a message's `ts`.
fn is_timestamp(text: &str) -> bool {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(seconds, number)| is_number(seconds) && is_number(number))
}

/// The limits of the contract.
pub(super) fn limits() -> Vec<Limit> {
    Limit::list([
        ("text", MAX_TEXT_CHARS, "characters"),
        ("blocks", MAX_BLOCKS, "items"),
        ("blocks as JSON", MAX_BLOCKS_BYTES, "bytes"),
        ("text of a section", MAX_SECTION_CHARS, "characters"),
        ("fields of a section", MAX_FIELDS, "items"),
        ("text of a field", MAX_FIELD_CHARS, "characters"),
        ("text of a header", MAX_HEADER_CHARS, "characters"),
    ])
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": [],
        "anyOf": [{"required": ["text"]}, {"required": ["blocks"]}],
        "properties": {
            "text": {
                "type": "string", "maxLength": MAX_TEXT_CHARS,
                "description": "What is said, in Slack's mrkdwn; beside blocks, what notifications show."
            },
            "blocks": {
                "type": "array", "maxItems": MAX_BLOCKS,
                "items": {"type": "object", "required": ["type"]},
                "description": "Block Kit (docs.slack.dev/block-kit). A section's text has at most 3,000 characters, a \
                                header's 150."
            },
            "thread": {
                "type": "string", "pattern": "^[0-9]+\\.[0-9]+$", "maxLength": MAX_THREAD_BYTES,
                "description": "The ts of the message to answer in its thread."
            }
        }
    })
}
