//! What a mail must be for Resend to take it.
//! Must never take what the vendor refuses: a test that passes here is to pass there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::fault::Fault;

/// The most recipients in each of `to`, `cc` and `bcc`.
const RECIPIENTS: usize = 50;
/// The largest mail with its attachments, after base64, in bytes.
const MAIL_BYTES: usize = 40 * 1024 * 1024;
/// The longest name or value of a tag.
const TAG_CHARS: usize = 256;
/// The vendor's own domain: anybody may send from it, and only to it.
const TESTING_DOMAIN: &str = "resend.dev";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tag {
    pub name: String,
    pub value: String,
}

/// A file that goes with a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attachment {
    pub filename: Option<String>,
    /// How large it is, in bytes; `None` if it is to be fetched from `path`.
    pub bytes: Option<usize>,
    pub path: Option<String>,
    pub content_type: Option<String>,
}

/// A mail that the vendor would take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub bcc: Vec<String>,
    pub reply_to: Vec<String>,
    pub subject: String,
    pub html: Option<String>,
    pub text: Option<String>,
    pub headers: Map<String, Value>,
    pub attachments: Vec<Attachment>,
    pub tags: Vec<Tag>,
    pub scheduled_at: Option<String>,
}

impl Mail {
    /// Everybody who gets it, by address alone and in lower case.
    pub fn recipients(&self) -> impl Iterator<Item = String> {
        let all = self.to.iter().chain(&self.cc).chain(&self.bcc);
        all.filter_map(|recipient| address(recipient)).map(str::to_lowercase)
    }

    pub(super) fn read(value: &Value) -> Result<Self, Fault> {
        let Value::Object(fields) = value else {
            return Err(Fault::new(
                400,
                "validation_error",
                "The request body is no JSON object.",
            ));
        };
        let from = text(fields, "from")?.ok_or_else(|| Fault::missing_field("from"))?;
        let sender = address(&from).ok_or_else(|| Fault::new(422, "invalid_from_address", malformed("from")))?;
        let to = addresses(fields, "to")?;
        if to.is_empty() {
            return Err(Fault::missing_field("to"));
        }
        let subject = text(fields, "subject")?.ok_or_else(|| Fault::missing_field("subject"))?;
        if subject.contains(['\r', '\n']) {
            return Err(Fault::invalid("The `\\n` is not allowed in the `subject` field."));
        }
        let (html, plain) = (text(fields, "html")?, text(fields, "text")?);
        if html.is_none() && plain.is_none() {
            return Err(Fault::missing_field("html` or `text"));
        }
        let mail = Self {
            to,
            cc: addresses(fields, "cc")?,
            bcc: addresses(fields, "bcc")?,
            reply_to: addresses(fields, "reply_to")?,
            subject,
            html,
            text: plain,
            headers: headers(fields)?,
            attachments: attachments(fields)?,
            tags: tags(fields)?,
            scheduled_at: text(fields, "scheduled_at")?,
            from: from.clone(),
        };
        if is_at(sender, TESTING_DOMAIN) && !mail.recipients().all(|recipient| is_at(&recipient, TESTING_DOMAIN)) {
            let message = "You can only send testing emails to your own email address.";
            return Err(Fault::new(403, "validation_error", message));
        }
        Ok(mail)
    }
}

fn is_at(address: &str, domain: &str) -> bool {
    let own = address.rsplit_once('@').map(|(_, own)| own);
    own.is_some_and(|own| own.eq_ignore_ascii_case(domain))
}

fn malformed(field: &str) -> String {
    format!(
        "Invalid `{field}` field. The email address needs to follow the `email@example.com` or `Name \
         <email@example.com>` format."
    )
}

/// The address of `email@example.com` or `Name <email@example.com>`, if it is either.
fn address(text: &str) -> Option<&str> {
    let bare = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>')?,
        None => text.trim(),
    };
    let (local, domain) = bare.rsplit_once('@')?;
    let plain = |character: char| character.is_ascii_graphic() && !"<>()[],;:\\\"@".contains(character);
    let labels = || domain.split('.');
    let sound = (1..=64).contains(&local.len())
        && local.chars().all(plain)
        && domain.len() <= 253
        && labels().count() >= 2
        && labels().all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .chars()
                    .all(|character| character.is_ascii_alphanumeric() || character == '-')
        });
    (sound && !text.contains(['\r', '\n'])).then_some(bare)
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    match field(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Fault::invalid(format!("The `{name}` field must be a `string`."))),
    }
}

/// One address or a list of them.
fn addresses(fields: &Map<String, Value>, name: &str) -> Result<Vec<String>, Fault> {
    let wrong = || Fault::invalid(malformed(name));
    let all = match field(fields, name) {
        None => return Ok(Vec::new()),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong)?,
        Some(_) => return Err(wrong()),
    };
    if all.len() > RECIPIENTS {
        return Err(Fault::invalid(format!(
            "The `{name}` field must not have more than {RECIPIENTS} items."
        )));
    }
    if !all.iter().all(|one| address(one).is_some()) {
        return Err(wrong());
    }
    Ok(all.into_iter().map(str::to_owned).collect())
}

fn headers(fields: &Map<String, Value>) -> Result<Map<String, Value>, Fault> {
    let token = |name: &str| {
        let sound = |character: char| character.is_ascii_graphic() && character != ':';
        !name.is_empty() && name.chars().all(sound)
    };
    match field(fields, "headers") {
        None => Ok(Map::new()),
        Some(Value::Object(headers)) => {
            let sound = headers
                .iter()
                .all(|(name, value)| token(name) && value.as_str().is_some_and(|value| !value.contains(['\r', '\n'])));
            let wrong = || Fault::invalid("The `headers` field must hold names and one-line values.");
            sound.then(|| headers.clone()).ok_or_else(wrong)
        }
        Some(_) => Err(Fault::invalid("The `headers` field must be an `object`.")),
    }
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], Fault> {
    match field(fields, name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(Fault::invalid(format!("The `{name}` field must be an `array`."))),
    }
}

fn tags(fields: &Map<String, Value>) -> Result<Vec<Tag>, Fault> {
    let read = |tag: &Value, name: &str| {
        let text = tag[name].as_str().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| Fault::missing_field(&format!("tags.{name}")))?;
        let plain = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
        if !text.chars().all(plain) {
            let message = "Tags should only contain ASCII letters, numbers, underscores, or dashes.";
            return Err(Fault::invalid(message));
        }
        if text.len() > TAG_CHARS {
            let message = format!("A tag's {name} must not have more than {TAG_CHARS} characters.");
            return Err(Fault::invalid(message));
        }
        Ok(text.to_owned())
    };
    let all = list(fields, "tags")?.iter();
    all.map(|tag| {
        Ok(Tag {
            name: read(tag, "name")?,
            value: read(tag, "value")?,
        })
    })
    .collect()
}

fn attachments(fields: &Map<String, Value>) -> Result<Vec<Attachment>, Fault> {
    let mut encoded = 0;
    let mut attachments = Vec::new();
    for item in list(fields, "attachments")? {
        let Value::Object(item) = item else {
            return Err(Fault::attachment("An attachment must be an `object`."));
        };
        let (filename, path) = (text(item, "filename")?, text(item, "path")?);
        let bytes = match (field(item, "content"), &path) {
            (Some(Value::String(content)), None) => {
                encoded += content.len();
                let bytes = STANDARD.decode(content);
                let wrong = || Fault::attachment("The `content` of an attachment must be base64.");
                Some(bytes.map_err(|_| wrong())?.len())
            }
            // What a JavaScript buffer is as JSON.
            (Some(Value::Object(buffer)), None) => buffer.get("data").and_then(Value::as_array).map(Vec::len),
            (None, Some(path)) if path.starts_with("http://") || path.starts_with("https://") => None,
            (None, Some(_)) => return Err(Fault::parameter("The `path` of an attachment must be a URL.")),
            _ => {
                let message = "An attachment must have either a `content` or a `path`.";
                return Err(Fault::attachment(message));
            }
        };
        if filename.is_none() && path.is_none() {
            return Err(Fault::attachment(
                "An attachment with `content` must have a `filename`.",
            ));
        }
        attachments.push(Attachment {
            filename,
            bytes,
            path,
            content_type: text(item, "content_type")?,
        });
    }
    if encoded > MAIL_BYTES {
        return Err(Fault::attachment("The attachments are larger than 40 MB."));
    }
    Ok(attachments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(change: Value) -> Result<Mail, Fault> {
        let mut mail = json!({ "from": "A <a@example.com>", "to": "b@example.com", "subject": "s", "text": "t" });
        for (name, value) in change.as_object().unwrap() {
            mail[name] = value.clone();
        }
        Mail::read(&mail)
    }

    #[test]
    fn a_mail_is_read_with_all_that_it_may_have() {
        let mail = with(json!({
            "to": ["B@Example.com", "C <c@example.com>"], "cc": "d@example.com", "reply_to": ["e@example.com"],
            "html": "<p>", "headers": { "X-Entity-Ref-ID": "1" }, "tags": [{ "name": "a-b_1", "value": "c" }],
            "attachments": [{ "filename": "a.txt", "content": "aGk=" }, { "path": "https://example.com/b.pdf" }],
        }))
        .unwrap();
        let recipients: Vec<_> = mail.recipients().collect();
        assert_eq!(recipients, ["b@example.com", "c@example.com", "d@example.com"]);
        assert_eq!((mail.attachments.len(), mail.attachments[0].bytes), (2, Some(2)));
    }

    #[test]
    fn what_is_wrong_is_refused_by_its_documented_name() {
        let many: Vec<_> = (0..51).map(|number| format!("a{number}@example.com")).collect();
        for (change, status, name) in [
            (json!({ "from": null }), 422, "missing_required_field"),
            (json!({ "from": "somebody" }), 422, "invalid_from_address"),
            (json!({ "to": [] }), 422, "missing_required_field"),
            (json!({ "to": many }), 422, "validation_error"),
            (json!({ "to": "b@localhost" }), 422, "validation_error"),
            (
                json!({ "to": "b@example.com\r\nBcc: x@example.com" }),
                422,
                "validation_error",
            ),
            (json!({ "cc": ["nobody"] }), 422, "validation_error"),
            (json!({ "subject": "" }), 422, "missing_required_field"),
            (json!({ "subject": "a\nb" }), 422, "validation_error"),
            (json!({ "text": null }), 422, "missing_required_field"),
            (json!({ "html": 1 }), 422, "validation_error"),
            (
                json!({ "tags": [{ "name": "a b", "value": "c" }] }),
                422,
                "validation_error",
            ),
            (json!({ "tags": [{ "name": "a" }] }), 422, "missing_required_field"),
            (json!({ "headers": { "X": "a\nb" } }), 422, "validation_error"),
            (
                json!({ "attachments": [{ "filename": "a" }] }),
                422,
                "invalid_attachment",
            ),
            (
                json!({ "attachments": [{ "content": "aGk=" }] }),
                422,
                "invalid_attachment",
            ),
            (
                json!({ "attachments": [{ "filename": "a", "content": "?" }] }),
                422,
                "invalid_attachment",
            ),
            (
                json!({ "attachments": [{ "path": "/etc/passwd" }] }),
                422,
                "invalid_parameter",
            ),
            (json!({ "from": "onboarding@resend.dev" }), 403, "validation_error"),
        ] {
            let fault = with(change.clone()).unwrap_err();
            assert_eq!((fault.status, fault.name), (status, name), "{change}");
        }
        assert!(with(json!({ "from": "onboarding@resend.dev", "to": "delivered@resend.dev" })).is_ok());
    }
}
