//! Reads a skill's params field by field and collects everything that is wrong with them. Where a plan still holds a
//! reference (`{{…}}`) in place of a value, whatever that value may yet satisfy is left open.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::{
    problem::{FieldError, pointer_token},
    runs::references::{Part, Template},
};

/// A field that must be there is not.
pub(super) const REQUIRED: &str = "required";
/// There is no such field.
pub(super) const UNKNOWN_FIELD: &str = "unknown_field";
/// The value has another JSON type.
pub(super) const WRONG_TYPE: &str = "wrong_type";
/// The value has too many bytes.
pub(super) const TOO_LONG: &str = "too_long";
/// The value has too many elements.
pub(super) const TOO_MANY: &str = "too_many";
/// The value nests too deep.
pub(super) const TOO_DEEP: &str = "too_deep";
/// The number is too small or too large.
pub(super) const OUT_OF_RANGE: &str = "out_of_range";
/// The type is right and the value is not.
pub(super) const INVALID_VALUE: &str = "invalid_value";
/// Two fields exclude each other.
pub(super) const CONFLICTING_FIELDS: &str = "conflicting_fields";
/// The address guard refuses the URL.
pub(super) const FORBIDDEN_ADDRESS: &str = "forbidden_address";

/// How deep a value may nest that a skill takes in or gives out. What is stored is read back by a parser that stops at
/// 128 levels, our own envelopes included.
pub(super) const MAX_DEPTH: usize = 64;

/// Whether the params come from a plan or are about to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// As they stand in a plan: a reference leaves open what it will bring in.
    Planned,
    /// References are filled in; `{{` in a string is now only text.
    Resolved,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// It is not there.
    Absent,
    /// It is there and wrong, which has been noted, or a reference stands in its place.
    Open,
    /// Its value.
    Is(T),
}

impl<T> Field<T> {
    /// The value, if it is known.
    pub(super) fn known(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Open => None,
        }
    }

    /// Whether the field is there.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

/// Reads the fields of a params object.
pub(super) struct Reader<'a> {
    stage: Stage,
    object: Option<&'a Map<String, Value>>,
    fields: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<'a> Reader<'a> {
    /// A reader of `params`.
    pub(super) fn new(params: &'a Value, stage: Stage) -> Self {
        let mut reader = Self {
            stage,
            object: params.as_object(),
            fields: Vec::new(),
            errors: Vec::new(),
        };
        if reader.object.is_none() {
            reader.refuse("", WRONG_TYPE, "params are an object");
        }
        reader
    }

    /// Notes an error.
    pub(super) fn refuse(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, code, detail));
    }

    /// The field as it stands; asking for a field makes it known.
    pub(super) fn raw(&mut self, name: &'static str) -> Option<&'a Value> {
        self.fields.push(name);
        self.object.and_then(|object| object.get(name))
    }

    /// A field read by `read`; a reference that stands in for the whole value leaves it open.
    fn typed<T>(&mut self, name: &'static str, wanted: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Field<T> {
        let Some(value) = self.raw(name) else {
            return Field::Absent;
        };
        if self.is_open(value) {
            return Field::Open;
        }
        match read(value) {
            Some(value) => Field::Is(value),
            None => {
                self.refuse(format!("/{name}"), WRONG_TYPE, format!("{name} is {wanted}"));
                Field::Open
            }
        }
    }

    /// Whether this value is a reference that may bring in a value of any type.
    pub(super) fn is_open(&self, value: &Value) -> bool {
        self.stage == Stage::Planned && value.as_str().is_some_and(is_only_a_reference)
    }

    /// Whether a reference inside this text leaves open what it will be.
    pub(super) fn is_template(&self, text: &str) -> bool {
        self.stage == Stage::Planned && has_reference(text)
    }

    /// A string of at most `max_bytes` bytes.
    pub(super) fn string(&mut self, name: &'static str, max_bytes: usize) -> Field<&'a str> {
        match self.typed(name, "a string", Value::as_str) {
            Field::Is(text) if self.is_template(text) => Field::Open,
            Field::Is(text) if text.len() > max_bytes => {
                self.refuse(
                    format!("/{name}"),
                    TOO_LONG,
                    format!("{name} has at most {max_bytes} bytes"),
                );
                Field::Open
            }
            field => field,
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Field<i64> {
        // `1.0` is as whole a number as `1` is, and a reference may bring it in that way.
        let field = self.typed(name, "a whole number", |value| {
            value.is_number().then(|| whole_number(value))
        });
        match field {
            Field::Is(Some(number)) if range.contains(&number) => Field::Is(number),
            Field::Is(_) => {
                let detail = format!("{name} is a whole number from {} to {}", range.start(), range.end());
                self.refuse(format!("/{name}"), OUT_OF_RANGE, detail);
                Field::Open
            }
            Field::Absent => Field::Absent,
            Field::Open => Field::Open,
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str) -> Field<bool> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// An object with at most `max_fields` fields.
    pub(super) fn object(&mut self, name: &'static str, max_fields: usize) -> Field<&'a Map<String, Value>> {
        match self.typed(name, "an object", Value::as_object) {
            Field::Is(map) if map.len() > max_fields => {
                self.refuse(
                    format!("/{name}"),
                    TOO_MANY,
                    format!("{name} has at most {max_fields} fields"),
                );
                Field::Open
            }
            field => field,
        }
    }

    /// An array with at most `max_items` elements.
    pub(super) fn array(&mut self, name: &'static str, max_items: usize) -> Field<&'a [Value]> {
        match self.typed(name, "an array", |value| value.as_array().map(Vec::as_slice)) {
            Field::Is(items) if items.len() > max_items => {
                self.refuse(
                    format!("/{name}"),
                    TOO_MANY,
                    format!("{name} has at most {max_items} elements"),
                );
                Field::Open
            }
            field => field,
        }
    }

    /// Any JSON of at most `max_bytes` bytes as compact text, and of a bounded depth.
    pub(super) fn json(&mut self, name: &'static str, max_bytes: usize) -> Field<&'a Value> {
        let Some(value) = self.raw(name) else {
            return Field::Absent;
        };
        if self.is_open(value) {
            return Field::Open;
        }
        if nests_deeper_than(value, MAX_DEPTH) {
            self.refuse(
                format!("/{name}"),
                TOO_DEEP,
                format!("{name} nests at most {MAX_DEPTH} levels"),
            );
            return Field::Open;
        }
        if json_bytes(value) > max_bytes && !(self.stage == Stage::Planned && holds_a_reference(value)) {
            self.refuse(
                format!("/{name}"),
                TOO_LONG,
                format!("{name} has at most {max_bytes} bytes as JSON"),
            );
            return Field::Open;
        }
        Field::Is(value)
    }

    /// Notes that a field is missing, if it is.
    pub(super) fn require<T>(&mut self, name: &'static str, field: &Field<T>) {
        if !field.is_present() {
            self.refuse(format!("/{name}"), REQUIRED, format!("{name} is required"));
        }
    }

    /// All errors, those of fields nobody asked for included.
    pub(super) fn finish(mut self) -> Result<(), Vec<FieldError>> {
        let object = self.object;
        for name in object.into_iter().flat_map(Map::keys) {
            if !self.fields.contains(&name.as_str()) {
                let detail = format!("there is no such field; there are {}", self.fields.join(", "));
                self.refuse(format!("/{}", pointer_token(name)), UNKNOWN_FIELD, detail);
            }
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(self.errors)
        }
    }
}

/// Whether the text is one reference and nothing else, so that the value it brings in keeps its type.
fn is_only_a_reference(text: &str) -> bool {
    Template::parse(text).map_or(true, |template| {
        matches!(template.parts.as_slice(), [Part::Reference(_)])
    })
}

/// Whether a reference stands in the text. One that is malformed counts: whoever checks references reports it.
fn has_reference(text: &str) -> bool {
    Template::parse(text).map_or(true, |template| template.references().next().is_some())
}

/// Whether a reference stands in any string of a value.
fn holds_a_reference(value: &Value) -> bool {
    match value {
        Value::String(text) => has_reference(text),
        Value::Array(items) => items.iter().any(holds_a_reference),
        Value::Object(map) => map.values().any(holds_a_reference),
        _ => false,
    }
}

/// A number as a whole one, if it is.
pub(super) fn whole_number(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    value.as_i64().or_else(|| {
        value
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)
            .map(|float| float as i64)
    })
}

/// Whether a value has more than `levels` arrays and objects around one another.
pub(super) fn nests_deeper_than(value: &Value, levels: usize) -> bool {
    let Some(inner) = levels.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|item| nests_deeper_than(item, inner)),
        Value::Object(map) => map.values().any(|item| nests_deeper_than(item, inner)),
        _ => false,
    }
}

/// How many bytes a value has as compact JSON, without writing it.
pub(super) fn json_bytes(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Neither the counter nor a JSON value can fail.
    if serde_json::to_writer(&mut counter, value).is_err() {
        return usize::MAX;
    }
    counter.0
}

/// Bad params as one line for a person: every field and what is wrong with it.
pub(super) fn in_words(errors: &[FieldError]) -> String {
    errors
        .iter()
        .map(|error| format!("{}: {}", error.pointer, error.detail))
        .collect::<Vec<_>>()
        .join("; ")
}
