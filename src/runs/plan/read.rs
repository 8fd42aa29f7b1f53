//! Reads a draft field by field, so that every error is found and points at its place, wrong types included.

use std::{collections::BTreeSet, ops::RangeInclusive};

use serde_json::{Map, Value};

use super::{
    draft::*,
    extent::{compact_len, is_deeper_than},
};
use crate::problem::{FieldError, pointer_token};

/// The most errors that are reported; a draft with more was not written as a plan.
const MAX_ERRORS: usize = 100;
/// The most bytes of pointers and details that are reported: keys and names in them are the caller's.
const MAX_ERROR_BYTES: usize = 128 * 1024;
/// The longest detail, in characters.
const MAX_DETAIL_CHARS: usize = 1_000;
/// What a step may say.
pub(super) const STEP_FIELDS: [&str; 9] = [
    "id",
    "needs",
    "on_error",
    "params",
    "requires_approval",
    "retry",
    "skill",
    "timeout_ms",
    "when",
];
/// What a retry policy may say.
pub(super) const RETRY_FIELDS: [&str; 2] = ["attempts", "backoff_ms"];

/// What is wrong with a draft, in the order in which it was found.
#[derive(Debug, Default)]
pub(super) struct Errors {
    found: Vec<FieldError>,
    bytes: usize,
    unreported: usize,
}

impl Errors {
    pub(super) fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.push(FieldError::new(pointer, code, detail));
    }

    pub(super) fn push(&mut self, mut error: FieldError) {
        if let Some((end, _)) = error.detail.char_indices().nth(MAX_DETAIL_CHARS) {
            error.detail.truncate(end);
            error.detail.push('…');
        }
        let bytes = self
            .bytes
            .saturating_add(error.pointer.len())
            .saturating_add(error.detail.len());
        if self.found.len() < MAX_ERRORS && bytes <= MAX_ERROR_BYTES {
            self.bytes = bytes;
            self.found.push(error);
        } else {
            self.unreported = self.unreported.saturating_add(1);
        }
    }

    /// All of them, the last one saying how many there is no room for; none at all is `Ok`.
    pub(super) fn into_result(mut self) -> Result<(), Vec<FieldError>> {
        if self.unreported > 0 {
            let detail = format!("{} more errors are not listed", self.unreported);
            self.found.push(FieldError::new("", "too_many_errors", detail));
        }
        if self.found.is_empty() { Ok(()) } else { Err(self.found) }
    }
}

/// A step as far as it could be read: what is `None` without being optional was reported.
#[derive(Debug, Default)]
pub(super) struct StepParts<'a> {
    /// JSON pointer to the step.
    pub(super) at: String,
    pub(super) id: Option<&'a str>,
    pub(super) skill: Option<&'a str>,
    pub(super) params: Option<Value>,
    /// Each with its place in the array.
    pub(super) needs: Vec<(usize, &'a str)>,
    pub(super) on_error: OnError,
    pub(super) retry: RetryPolicy,
    pub(super) timeout_ms: u32,
    pub(super) when: Option<&'a str>,
}

/// Reads the steps of a draft, at most [`MAX_STEPS`] of them.
pub(super) fn steps<'a>(draft: &'a Value, errors: &mut Errors) -> Vec<StepParts<'a>> {
    if compact_len(draft, MAX_PLAN_BYTES).is_none() {
        errors.add(
            "",
            "too_long",
            format!("a plan may have {MAX_PLAN_BYTES} bytes as compact JSON"),
        );
        return Vec::new();
    }
    let Some(mut fields) = Fields::open(draft, "", &["steps"], errors) else {
        return Vec::new();
    };
    let Some(value) = fields.required("steps") else {
        return Vec::new();
    };
    let Value::Array(items) = value else {
        errors.add("/steps", "wrong_type", "must be an array of steps");
        return Vec::new();
    };
    if items.is_empty() || items.len() > MAX_STEPS {
        let code = if items.is_empty() { "too_few" } else { "too_many" };
        errors.add(
            "/steps",
            code,
            format!("a plan has 1 to {MAX_STEPS} steps, this one has {}", items.len()),
        );
    }
    items
        .iter()
        .take(MAX_STEPS)
        .enumerate()
        .map(|(index, item)| step(item, format!("/steps/{index}"), errors))
        .collect()
}

/// Every item gives a step, so that a step's place is the same everywhere; of what is no object nothing is known.
fn step<'a>(value: &'a Value, at: String, errors: &mut Errors) -> StepParts<'a> {
    let Some(mut fields) = Fields::open(value, &at, &STEP_FIELDS, errors) else {
        return StepParts {
            at,
            ..StepParts::default()
        };
    };
    let id = fields.id();
    let skill = fields.required("skill").and_then(|value| fields.text("skill", value));
    let params = fields.params();
    let needs = fields.needs();
    let on_error = fields.on_error();
    let retry = fields.retry();
    let timeout_ms = fields.whole_number("timeout_ms", 1..=u64::from(MAX_TIMEOUT_MS));
    let timeout_ms = timeout_ms
        .and_then(|ms| u32::try_from(ms).ok())
        .unwrap_or(DEFAULT_TIMEOUT_MS);
    let when = fields.when();
    fields.requires_approval();
    StepParts {
        id,
        skill,
        params,
        needs,
        on_error,
        retry,
        timeout_ms,
        when,
        at,
    }
}

/// An object of the draft that is being read.
struct Fields<'a, 'e> {
    object: &'a Map<String, Value>,
    at: &'e str,
    errors: &'e mut Errors,
}

impl<'a, 'e> Fields<'a, 'e> {
    /// Reports what is no object, and fields that are not `known`.
    fn open(value: &'a Value, at: &'e str, known: &[&str], errors: &'e mut Errors) -> Option<Self> {
        let Value::Object(object) = value else {
            errors.add(
                at,
                "wrong_type",
                format!("must be an object with the fields {}", known.join(", ")),
            );
            return None;
        };
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            let detail = format!("there is no field {} here; there are {}", shown(name), known.join(", "));
            errors.add(format!("{at}/{}", pointer_token(name)), "unknown_field", detail);
        }
        Some(Self { object, at, errors })
    }

    fn refuse(&mut self, place: &str, code: &'static str, detail: impl Into<String>) {
        self.errors.add(format!("{}/{place}", self.at), code, detail);
    }

    fn required(&mut self, name: &str) -> Option<&'a Value> {
        let value = self.object.get(name);
        if value.is_none() {
            self.refuse(name, "required", format!("`{name}` is missing"));
        }
        value
    }

    fn text(&mut self, place: &str, value: &'a Value) -> Option<&'a str> {
        let text = value.as_str();
        if text.is_none() {
            self.refuse(place, "wrong_type", "must be a string");
        }
        text
    }

    /// A whole number of this range, if the field is there and right.
    fn whole_number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.object.get(name)?;
        let (code, detail) = match value.as_u64() {
            Some(number) if range.contains(&number) => return Some(number),
            Some(_) => ("out_of_range", "must be"),
            None if value.is_i64() => ("out_of_range", "must be"),
            None => ("wrong_type", "must be a whole number"),
        };
        self.refuse(
            name,
            code,
            format!("{detail} from {} to {}", range.start(), range.end()),
        );
        None
    }

    fn id(&mut self) -> Option<&'a str> {
        let value = self.required("id")?;
        let id = self.text("id", value)?;
        let begins_right = id.starts_with(|first: char| first.is_ascii_alphabetic());
        let goes_on_right = id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if begins_right && goes_on_right && id.len() <= MAX_ID_CHARS {
            return Some(id);
        }
        let detail = format!("must begin with a letter and have at most {MAX_ID_CHARS} letters, digits, `_` and `-`");
        self.refuse("id", "invalid_value", detail);
        None
    }

    fn params(&mut self) -> Option<Value> {
        let Some(value) = self.object.get("params") else {
            return Some(Value::Object(Map::new()));
        };
        if !value.is_object() {
            self.refuse("params", "wrong_type", "must be an object");
        } else if compact_len(value, MAX_PARAMS_BYTES).is_none() {
            self.refuse(
                "params",
                "too_long",
                format!("params may have {MAX_PARAMS_BYTES} bytes as compact JSON"),
            );
        } else if is_deeper_than(value, MAX_PARAMS_DEPTH) {
            self.refuse(
                "params",
                "too_deep",
                format!("params may nest {MAX_PARAMS_DEPTH} levels deep"),
            );
        } else {
            self.refuse_nul(value, &mut "params".to_owned());
            return Some(value.clone());
        }
        None
    }

    /// U+0000 is the one character that JSON can say and PostgreSQL cannot store.
    fn refuse_nul(&mut self, value: &Value, place: &mut String) {
        let mut inside = |token: &str, item: &Value, fields: &mut Self| {
            let length = place.len();
            place.push('/');
            place.push_str(&pointer_token(token));
            if token.contains('\0') {
                fields.refuse(place, "invalid_value", "a key cannot hold the character U+0000");
            }
            fields.refuse_nul(item, place);
            place.truncate(length);
        };
        match value {
            Value::String(text) if text.contains('\0') => {
                self.refuse(place, "invalid_value", "text cannot hold the character U+0000");
            }
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(index, item)| inside(&index.to_string(), item, self)),
            Value::Object(fields) => fields.iter().for_each(|(name, item)| inside(name, item, self)),
            _ => {}
        }
    }

    fn needs(&mut self) -> Vec<(usize, &'a str)> {
        let items = match self.object.get("needs") {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.refuse("needs", "wrong_type", "must be an array of ids of steps");
                return Vec::new();
            }
        };
        if items.len() > MAX_NEEDS {
            self.refuse("needs", "too_many", format!("a step may need {MAX_NEEDS} others"));
        }
        let mut seen = BTreeSet::new();
        let mut needs = Vec::new();
        for (index, item) in items.iter().take(MAX_NEEDS).enumerate() {
            let place = format!("needs/{index}");
            let Some(id) = self.text(&place, item) else { continue };
            if seen.insert(id) {
                needs.push((index, id));
            } else {
                self.refuse(&place, "duplicate", format!("{} is needed already", shown(id)));
            }
        }
        needs
    }

    fn on_error(&mut self) -> OnError {
        match self.object.get("on_error").map(|value| self.text("on_error", value)) {
            None | Some(None) => OnError::default(),
            Some(Some("abort")) => OnError::Abort,
            Some(Some("continue")) => OnError::Continue,
            Some(Some(_)) => {
                self.refuse("on_error", "invalid_value", "must be `abort` or `continue`");
                OnError::default()
            }
        }
    }

    fn retry(&mut self) -> RetryPolicy {
        let Some(value) = self.object.get("retry") else {
            return RetryPolicy::default();
        };
        let at = format!("{}/retry", self.at);
        let Some(mut fields) = Fields::open(value, &at, &RETRY_FIELDS, self.errors) else {
            return RetryPolicy::default();
        };
        let usual = RetryPolicy::default();
        let attempts = fields.whole_number("attempts", 1..=u64::from(MAX_ATTEMPTS));
        let backoff_ms = fields.whole_number("backoff_ms", MIN_BACKOFF_MS..=MAX_BACKOFF_MS);
        RetryPolicy {
            attempts: attempts
                .and_then(|attempts| u32::try_from(attempts).ok())
                .unwrap_or(usual.attempts),
            backoff_ms: backoff_ms.unwrap_or(usual.backoff_ms),
        }
    }

    /// `null` is the same as no condition: so a plan's own draft says it.
    fn when(&mut self) -> Option<&'a str> {
        let value = self.object.get("when").filter(|value| !value.is_null())?;
        let condition = self.text("when", value)?;
        if condition.len() > MAX_WHEN_BYTES {
            self.refuse(
                "when",
                "too_long",
                format!("a condition may have {MAX_WHEN_BYTES} bytes"),
            );
            return None;
        }
        if condition.contains('\0') {
            self.refuse("when", "invalid_value", "text cannot hold the character U+0000");
            return None;
        }
        Some(condition)
    }

    /// Approval is refused, not ignored: a step that should have waited for a person must not run by itself.
    fn requires_approval(&mut self) {
        match self.object.get("requires_approval") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => {
                self.refuse(
                    "requires_approval",
                    "not_supported",
                    "approval of steps is not supported yet; leave it out",
                );
            }
            Some(_) => self.refuse("requires_approval", "wrong_type", "must be true or false"),
        }
    }
}

/// A caller's text inside a message: quoted, and no longer than is needed to recognise it.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MAX_ID_CHARS)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if short.len() < text.len() && text.chars().count() > MAX_ID_CHARS {
        short.push('…');
    }
    format!("`{short}`")
}
