//! The params of `email_send` and their schema.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::address::{self, Address, breaks_a_line};
use crate::{
    integrations::resend::{Attachment, Tag},
    problem::{FieldError, pointer_token},
    skills::{
        contract::Limit,
        params::{self, Field, Reader, Stage},
    },
};

/// Recipients in `to`, `cc` and `bcc` together.
const MAX_RECIPIENTS: usize = 50;
const MAX_REPLY_TO: usize = 10;
/// The longest line of a mail.
const MAX_SUBJECT_BYTES: usize = 998;
const MAX_BODY_BYTES: usize = 1024 * 1024;
const MAX_ATTACHMENTS: usize = 10;
/// All attachments together, in base64: what a step can carry.
const MAX_ATTACHED_BYTES: usize = 4 * 1024 * 1024;
const MAX_FILENAME_BYTES: usize = 255;
const MAX_TAGS: usize = 20;
const MAX_TAG_BYTES: usize = 256;

/// What a call asks for. In a plan, what a reference will bring in is left out.
#[derive(Debug, PartialEq)]
pub(super) struct Params<'a> {
    pub(super) from: Option<Address<'a>>,
    pub(super) to: Vec<Address<'a>>,
    pub(super) cc: Vec<Address<'a>>,
    pub(super) bcc: Vec<Address<'a>>,
    pub(super) reply_to: Vec<Address<'a>>,
    pub(super) subject: &'a str,
    pub(super) text: Option<&'a str>,
    pub(super) html: Option<&'a str>,
    pub(super) attachments: Vec<Attachment<'a>>,
    pub(super) tags: Vec<Tag<'a>>,
}

/// Reads params.
///
/// # Errors
/// Every bad field.
pub(super) fn read(params: &Value, stage: Stage) -> Result<Params<'_>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let to = addresses(&mut reader, "to", MAX_RECIPIENTS);
    reader.require("to", &to);
    if to == Field::Is(List::default()) {
        reader.refuse("/to", params::INVALID_VALUE, "to has at least one address");
    }
    let cc = addresses(&mut reader, "cc", MAX_RECIPIENTS);
    let bcc = addresses(&mut reader, "bcc", MAX_RECIPIENTS);
    let recipients = [&to, &cc, &bcc].into_iter().map(|field| match field {
        Field::Is(list) => list.len,
        Field::Absent | Field::Open => 0,
    });
    if recipients.sum::<usize>() > MAX_RECIPIENTS {
        let detail = format!("to, cc and bcc have at most {MAX_RECIPIENTS} addresses together");
        reader.refuse("/to", params::TOO_MANY, detail);
    }
    let from = match reader.string("from", address::MAX_BYTES) {
        Field::Is(text) => address(&mut reader, "/from", text),
        Field::Absent | Field::Open => None,
    };
    let reply_to = addresses(&mut reader, "reply_to", MAX_REPLY_TO);
    let subject = reader.string("subject", MAX_SUBJECT_BYTES);
    reader.require("subject", &subject);
    if subject
        .known()
        .is_some_and(|subject| subject.trim().is_empty() || subject.chars().any(breaks_a_line))
    {
        reader.refuse(
            "/subject",
            params::INVALID_VALUE,
            "a subject has at least one character and no control characters",
        );
    }
    let text = reader.string("text", MAX_BODY_BYTES);
    let html = reader.string("html", MAX_BODY_BYTES);
    let is_empty = |field: &Field<&str>| matches!(field, Field::Absent | Field::Is(""));
    if is_empty(&text) && is_empty(&html) {
        reader.refuse("/text", params::REQUIRED, "give text or html");
    }
    let attachments = attachments(&mut reader);
    let tags = tags(&mut reader);
    reader.finish()?;
    let some = |field: Field<_>| field.known().filter(|text: &&str| !text.is_empty());
    Ok(Params {
        from,
        to: to.known().unwrap_or_default().known,
        cc: cc.known().unwrap_or_default().known,
        bcc: bcc.known().unwrap_or_default().known,
        reply_to: reply_to.known().unwrap_or_default().known,
        subject: subject.known().unwrap_or_default(),
        text: some(text),
        html: some(html),
        attachments,
        tags,
    })
}

/// Addresses, and how many there will be.
#[derive(Debug, Default, PartialEq)]
struct List<'a> {
    known: Vec<Address<'a>>,
    len: usize,
}

fn address<'a>(reader: &mut Reader<'_>, pointer: &str, text: &'a str) -> Option<Address<'a>> {
    address::read(text)
        .map_err(|reason| reader.refuse(pointer, params::INVALID_VALUE, reason))
        .ok()
}

/// One address, or a list of them.
fn addresses<'a>(reader: &mut Reader<'a>, name: &'static str, max: usize) -> Field<List<'a>> {
    let pointer = format!("/{name}");
    let value = match reader.raw(name) {
        None => return Field::Absent,
        Some(value) if reader.is_open(value) => return Field::Open,
        Some(value) => value,
    };
    let items: Vec<(String, &Value)> = match value {
        Value::String(_) => vec![(pointer, value)],
        Value::Array(items) if items.len() > max => {
            reader.refuse(pointer, params::TOO_MANY, format!("{name} has at most {max} addresses"));
            return Field::Open;
        }
        Value::Array(items) => {
            let places = (0..).map(|index: usize| format!("{pointer}/{index}"));
            places.zip(items).collect()
        }
        _ => {
            let detail = format!("{name} is an address or a list of addresses");
            reader.refuse(pointer, params::WRONG_TYPE, detail);
            return Field::Open;
        }
    };
    let mut list = List {
        known: Vec::with_capacity(items.len()),
        len: items.len(),
    };
    for (place, item) in items {
        match item.as_str() {
            Some(text) if reader.is_template(text) => {}
            Some(text) => list.known.extend(address(reader, &place, text)),
            None => reader.refuse(place, params::WRONG_TYPE, "an address is a string"),
        }
    }
    Field::Is(list)
}

/// The items of a list of objects, with their places; what a reference stands for is left out.
fn objects<'a>(reader: &mut Reader<'a>, name: &'static str, max: usize) -> Vec<(String, &'a Map<String, Value>)> {
    let items = reader.array(name, max).known().unwrap_or_default();
    let mut objects = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = format!("/{name}/{index}");
        match item.as_object() {
            Some(object) => objects.push((place, object)),
            None if reader.is_open(item) => {}
            None => reader.refuse(place, params::WRONG_TYPE, "an object"),
        }
    }
    objects
}

/// A string of an item that passes a check; `None` if it is open or wrong, which is noted.
fn part<'a>(
    reader: &mut Reader<'_>,
    (place, object): (&str, &'a Map<String, Value>),
    name: &str,
    rule: (&str, fn(&str) -> bool),
) -> Option<&'a str> {
    let pointer = format!("{place}/{name}");
    match object.get(name) {
        None => reader.refuse(pointer, params::REQUIRED, format!("{name} is required")),
        Some(Value::String(text)) if reader.is_template(text) => {}
        Some(Value::String(text)) if (rule.1)(text) => return Some(text),
        Some(Value::String(_)) => reader.refuse(pointer, params::INVALID_VALUE, format!("{name} is {}", rule.0)),
        Some(_) => reader.refuse(pointer, params::WRONG_TYPE, format!("{name} is a string")),
    }
    None
}

fn refuse_others(reader: &mut Reader<'_>, place: &str, object: &Map<String, Value>, fields: &[&str]) {
    for name in object.keys().filter(|name| !fields.contains(&name.as_str())) {
        let detail = format!("there is no such field; there are {}", fields.join(", "));
        reader.refuse(
            format!("{place}/{}", pointer_token(name)),
            params::UNKNOWN_FIELD,
            detail,
        );
    }
}

fn attachments<'a>(reader: &mut Reader<'a>) -> Vec<Attachment<'a>> {
    let mut attachments = Vec::new();
    let mut bytes = 0_usize;
    for (place, object) in objects(reader, "attachments", MAX_ATTACHMENTS) {
        refuse_others(reader, &place, object, &["filename", "content", "content_type"]);
        let filename = part(
            reader,
            (&place, object),
            "filename",
            ("a name of at most 255 bytes without a path", is_filename),
        );
        let content = part(reader, (&place, object), "content", ("base64, with padding", |_| true));
        bytes = bytes.saturating_add(content.map_or(0, str::len));
        let content_type = object.get("content_type").and_then(|_| {
            let rule: (_, fn(&str) -> bool) = ("a media type such as text/plain", is_media_type);
            part(reader, (&place, object), "content_type", rule)
        });
        let (Some(filename), Some(content)) = (filename, content) else {
            continue;
        };
        // Not decoded while it may be longer than there is room for.
        if bytes <= MAX_ATTACHED_BYTES && STANDARD.decode(content).is_err() {
            reader.refuse(
                format!("{place}/content"),
                params::INVALID_VALUE,
                "content is base64, with padding",
            );
        }
        attachments.push(Attachment {
            filename,
            content,
            content_type,
        });
    }
    if bytes > MAX_ATTACHED_BYTES {
        let detail = format!("attachments have at most {MAX_ATTACHED_BYTES} bytes of base64 together");
        reader.refuse("/attachments", params::TOO_LONG, detail);
    }
    attachments
}

fn tags<'a>(reader: &mut Reader<'a>) -> Vec<Tag<'a>> {
    let rule: (_, fn(&str) -> bool) = ("1 to 256 ASCII letters, digits, underscores or dashes", is_tag);
    let mut tags = Vec::new();
    for (place, object) in objects(reader, "tags", MAX_TAGS) {
        refuse_others(reader, &place, object, &["name", "value"]);
        let name = part(reader, (&place, object), "name", rule);
        let value = part(reader, (&place, object), "value", rule);
        tags.extend(name.zip(value).map(|(name, value)| Tag { name, value }));
    }
    tags
}

fn is_filename(name: &str) -> bool {
    (1..=MAX_FILENAME_BYTES).contains(&name.len())
        && !name.contains(['/', '\\', '"'])
        && !name.chars().any(breaks_a_line)
        && !name.chars().all(|char| char == '.' || char == ' ')
}

fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        (1..=127).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

fn is_tag(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_TAG_BYTES).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The limits of the contract.
pub(super) fn limits() -> Vec<Limit> {
    Limit::list([
        ("to, cc, bcc", MAX_RECIPIENTS, "items"),
        ("reply_to", MAX_REPLY_TO, "items"),
        ("subject", MAX_SUBJECT_BYTES, "bytes"),
        ("text", MAX_BODY_BYTES, "bytes"),
        ("html", MAX_BODY_BYTES, "bytes"),
        ("attachments", MAX_ATTACHMENTS, "items"),
        ("attachments.content", MAX_ATTACHED_BYTES, "bytes"),
        ("tags", MAX_TAGS, "items"),
        ("tags.name, tags.value", MAX_TAG_BYTES, "bytes"),
    ])
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    let addresses = |max: usize, description: &str| {
        let address = json!({"type": "string", "maxLength": address::MAX_BYTES});
        json!({
            "oneOf": [address, {"type": "array", "maxItems": max, "items": address}],
            "description": description
        })
    };
    let tag = json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,256}$"});
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["to", "subject"],
        "anyOf": [{"required": ["text"]}, {"required": ["html"]}],
        "properties": {
            "to": addresses(MAX_RECIPIENTS, "`a@example.com` or `A <a@example.com>`, or a list; to, cc and bcc at most 50 together."),
            "cc": addresses(MAX_RECIPIENTS, "Likewise."),
            "bcc": addresses(MAX_RECIPIENTS, "Likewise; the others do not see them."),
            "from": {
                "type": "string", "maxLength": address::MAX_BYTES,
                "description": "The sender, of a domain that is verified with Resend; without it the setting \
                                resend_from_address. With the installation's key it is the installation's address, under \
                                any name."
            },
            "reply_to": addresses(MAX_REPLY_TO, "Where answers go; at most 10."),
            "subject": {
                "type": "string", "minLength": 1, "maxLength": MAX_SUBJECT_BYTES,
                "description": "At most 998 bytes on one line."
            },
            "text": {"type": "string", "maxLength": MAX_BODY_BYTES, "description": "The plain text."},
            "html": {"type": "string", "maxLength": MAX_BODY_BYTES, "description": "The HTML. Give text, html or both."},
            "attachments": {
                "type": "array", "maxItems": MAX_ATTACHMENTS,
                "description": "Files; at most 4 MiB of base64 together.",
                "items": {
                    "type": "object", "additionalProperties": false, "required": ["filename", "content"],
                    "properties": {
                        "filename": {"type": "string", "minLength": 1, "maxLength": MAX_FILENAME_BYTES, "description": "Without a path."},
                        "content": {"type": "string", "contentEncoding": "base64"},
                        "content_type": {"type": "string", "description": "A media type; by the file's name if it is left out."}
                    }
                }
            },
            "tags": {
                "type": "array", "maxItems": MAX_TAGS,
                "description": "For Resend's own statistics.",
                "items": {
                    "type": "object", "additionalProperties": false, "required": ["name", "value"],
                    "properties": {"name": tag, "value": tag}
                }
            }
        }
    })
}
