//! References: `{{steps.fetch.output.items[0].id}}`, `{{input.x}}` and `{{secrets.name}}` inside the strings of a step's
//! params.
//!
//! A string that is only a reference becomes the value with its type; elsewhere a string stands as it is, `null` as
//! nothing, everything else as compact JSON. Data is never read as a template: what a reference brings in is not
//! resolved again, whatever it holds. Keys of objects hold no references.

use std::{borrow::Cow, collections::BTreeMap};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::plan::{compact_len, is_deeper_than};
use crate::{
    problem::pointer_token,
    skills::{OutcomeStatus, SecretValues},
};

mod template;
#[cfg(test)]
mod tests;

pub use self::template::{Part, Reference, Segment, Template, TemplateError, escape};

/// Params and all that references bring in, as compact JSON in bytes.
pub const MAX_RESOLVED_BYTES: usize = 1024 * 1024;
/// Levels of objects and arrays in resolved params; JSON parsers, ours among them, stop at 128.
pub const MAX_RESOLVED_DEPTH: usize = 100;

/// What a run's references can name.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// The run's input; `null` where it has none.
    pub input: &'a Value,
    /// The steps that have ended, by id: at least those of [`Step::refs`](super::plan::Step::refs).
    pub steps: BTreeMap<String, StepResult>,
    /// The tenant's secrets, by name: at least those of [`Step::secrets`](super::plan::Step::secrets).
    pub secrets: &'a BTreeMap<String, SecretString>,
}

/// Params whose references are filled in.
#[derive(Debug)]
pub struct Resolved {
    /// The params. A reference to a secret stands in them as it was written.
    pub params: Value,
    /// The strings that hold references to secrets, with these filled in as well, by JSON pointer.
    pub secrets: SecretValues,
}

/// How a step ended, as later steps see it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// Its output; `null` where it was skipped or failed.
    pub output: Value,
    /// `succeeded`, `failed` (with `on_error: continue`) or `skipped`.
    pub status: OutcomeStatus,
}

impl Scope<'_> {
    /// What a condition (`when`) is evaluated on: `{"steps": {<id>: {"output", "status"}}, "input"}`.
    pub fn document(&self) -> Value {
        let steps: Map<String, Value> = self
            .steps
            .iter()
            .map(|(id, step)| (id.clone(), json!({"output": step.output, "status": step.status})))
            .collect();
        json!({"steps": steps, "input": self.input})
    }
}

/// What a well-formed reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A place in the run's input.
    Input(&'a [Segment]),
    /// A place in a step's output.
    Output(&'a str, &'a [Segment]),
    /// How a step ended.
    Status(&'a str),
    /// One of the tenant's secrets.
    Secret(&'a str),
}

impl Reference {
    /// What it names.
    ///
    /// # Errors
    /// Code and detail: nothing that a plan can name, or nothing that is supported.
    pub fn target(&self) -> Result<Target<'_>, (&'static str, String)> {
        match (self.root.as_str(), self.path.as_slice()) {
            ("input", path) => Ok(Target::Input(path)),
            ("steps", [Segment::Field(id), Segment::Field(part), path @ ..]) if part == "output" => {
                Ok(Target::Output(id, path))
            }
            ("steps", [Segment::Field(id), Segment::Field(part)]) if part == "status" => Ok(Target::Status(id)),
            ("steps", _) => Err((
                "unknown_reference",
                format!("`{self}` names no value of a step; write steps.<id>.output… or steps.<id>.status"),
            )),
            ("secrets", [Segment::Field(name)]) => Ok(Target::Secret(name)),
            ("secrets", _) => Err((
                "unknown_reference",
                format!("`{self}` names no secret; write secrets.<name>"),
            )),
            ("memory", _) => Err((
                "not_supported",
                format!("references to `{}` are not supported yet", self.root),
            )),
            (root, _) => Err((
                "unknown_reference",
                format!("there is no `{root}`; references begin with `steps`, `input` or `secrets`"),
            )),
        }
    }

    /// The value at the end of `path`, which is the tail of this reference's own path, seen from `value`.
    ///
    /// # Errors
    /// What was found where the path ends too early, for a person.
    pub(super) fn walk<'v>(&self, value: &'v Value, path: &[Segment]) -> Result<&'v Value, String> {
        let mut reached = value;
        for (done, segment) in path.iter().enumerate() {
            let next = match segment {
                Segment::Field(name) => reached.as_object().and_then(|fields| fields.get(name)),
                Segment::Index(index) => reached.as_array().and_then(|items| items.get(*index)),
            };
            reached = next.ok_or_else(|| self.missing(reached, path.len().saturating_sub(done), segment))?;
        }
        Ok(reached)
    }

    /// Says what was found in place of `segment`, `left` segments before the end.
    fn missing(&self, found: &Value, left: usize, segment: &Segment) -> String {
        let path = self
            .path
            .iter()
            .take(self.path.len().saturating_sub(left))
            .cloned()
            .collect();
        let before = Self {
            root: self.root.clone(),
            path,
        };
        match (found, segment) {
            (Value::Object(_), Segment::Field(name)) => format!("`{before}` has no field `{name}`"),
            (Value::Array(items), Segment::Index(index)) => {
                format!("`{before}` has no item [{index}], only {}", items.len())
            }
            (other, _) => format!("`{before}` is {}, it has no `{segment}`", kind(other)),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Calls `found` with every reference in `params` and with what is wrong with each that is not well formed.
///
/// With it comes the JSON pointer, relative to the params, to the string or key that holds it. Nothing is collected
/// here: thousands of references under one long key would be worth a hundred megabytes of pointers.
pub fn each_reference(params: &Value, found: &mut dyn FnMut(&str, Result<&Reference, String>)) {
    search(params, &mut String::new(), found);
}

fn search(value: &Value, pointer: &mut String, found: &mut dyn FnMut(&str, Result<&Reference, String>)) {
    match value {
        Value::String(text) => match Template::parse(text) {
            Ok(template) => template
                .references()
                .for_each(|reference| found(pointer, Ok(reference))),
            Err(error) => found(pointer, Err(error.to_string())),
        },
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let length = pointer.len();
                pointer.push_str(&format!("/{index}"));
                search(item, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                let length = pointer.len();
                pointer.push('/');
                pointer.push_str(&pointer_token(name));
                if name.contains("{{") {
                    found(
                        pointer,
                        Err("a key cannot hold a reference, only a string can".to_owned()),
                    );
                }
                search(item, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A reference that could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("params{pointer}: {reason}")]
pub struct ReferenceError {
    /// JSON pointer, relative to the params, to the string that holds it.
    pub pointer: String,
    /// The reference; where it is not well formed, the beginning of the string.
    pub reference: String,
    /// Stable, snake_case: `unresolved_reference`, `invalid_reference`, `params_too_large`, `params_too_deep`.
    pub code: &'static str,
    /// What is wrong, for a person.
    pub reason: String,
}

/// The params with every reference replaced by what it names.
///
/// # Errors
/// The first reference that names nothing (a missing path is never `null`), or whose value makes the params larger
/// than [`MAX_RESOLVED_BYTES`] or deeper than [`MAX_RESOLVED_DEPTH`].
pub fn resolve(params: &Value, scope: &Scope<'_>) -> Result<Resolved, ReferenceError> {
    let left = compact_len(params, MAX_RESOLVED_BYTES).and_then(|length| MAX_RESOLVED_BYTES.checked_sub(length));
    let mut resolver = Resolver {
        scope,
        left: left.unwrap_or(0),
        pointer: String::new(),
        secrets: SecretValues::new(),
    };
    let params = resolver.value(params, MAX_RESOLVED_DEPTH)?;
    Ok(Resolved {
        params,
        secrets: resolver.secrets,
    })
}

struct Resolver<'a> {
    scope: &'a Scope<'a>,
    /// Bytes that references may still bring in: checked before anything is copied.
    left: usize,
    /// Where the resolver is, as a JSON pointer.
    pointer: String,
    secrets: SecretValues,
}

impl<'a> Resolver<'a> {
    /// `depth`: the levels that may still follow.
    fn value(&mut self, value: &Value, depth: usize) -> Result<Value, ReferenceError> {
        let deeper = || depth.checked_sub(1).ok_or_else(|| too_deep("", String::new()));
        match value {
            Value::String(text) => self.string(text, depth),
            Value::Array(items) => {
                let depth = deeper()?;
                let resolve = |(index, item)| self.below(&usize::to_string(&index), item, depth);
                items.iter().enumerate().map(resolve).collect()
            }
            Value::Object(fields) => {
                let depth = deeper()?;
                let resolve = |(name, item): (&String, &Value)| {
                    let item = self.below(&pointer_token(name), item, depth)?;
                    Ok((name.clone(), item))
                };
                fields
                    .iter()
                    .map(resolve)
                    .collect::<Result<Map<_, _>, _>>()
                    .map(Value::Object)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
        }
    }

    /// A value one level further in.
    fn below(&mut self, token: &str, value: &Value, depth: usize) -> Result<Value, ReferenceError> {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(token);
        let resolved = self.value(value, depth).map_err(|error| error.under(token));
        self.pointer.truncate(length);
        resolved
    }

    fn string(&mut self, text: &str, depth: usize) -> Result<Value, ReferenceError> {
        let template = Template::parse(text).map_err(|error| {
            ReferenceError::new("invalid_reference", text.chars().take(100).collect(), error.to_string())
        })?;
        let names_secret = template
            .references()
            .any(|reference| matches!(reference.target(), Ok(Target::Secret(_))));
        if names_secret {
            return self.secret_string(&template);
        }
        if let [Part::Reference(reference)] = template.parts.as_slice() {
            let value = self.look_up(reference)?;
            if is_deeper_than(&value, depth) {
                return Err(too_deep(&format!("`{reference}`: "), reference.to_string()));
            }
            return Ok(value.into_owned());
        }
        let mut resolved = String::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => resolved.push_str(text),
                Part::Reference(reference) => push_as_text(&mut resolved, self.look_up(reference)?.as_ref()),
            }
        }
        Ok(Value::String(resolved))
    }

    /// A string that names secrets, twice: as it may be shown, and as it is sent. Data that a reference brings in is never
    /// read as a template, also not in what is shown.
    fn secret_string(&mut self, template: &Template) -> Result<Value, ReferenceError> {
        let (mut shown, mut sent) = (String::new(), String::new());
        for part in &template.parts {
            match part {
                Part::Text(text) => {
                    shown.push_str(text);
                    sent.push_str(text);
                }
                Part::Reference(reference) => {
                    if let Ok(Target::Secret(name)) = reference.target() {
                        let scope = self.scope;
                        let secret = scope.secrets.get(name).ok_or_else(|| {
                            let reason = format!("there is no secret `{name}`");
                            ReferenceError::new("unresolved_reference", reference.to_string(), reason)
                        })?;
                        shown.push_str(&format!("{{{{{reference}}}}}"));
                        sent.push_str(secret.expose_secret());
                    } else {
                        let value = self.look_up(reference)?;
                        push_as_text(&mut shown, &value);
                        push_as_text(&mut sent, &value);
                    }
                }
            }
        }
        self.secrets.insert(self.pointer.clone(), SecretString::from(sent));
        Ok(Value::String(shown))
    }

    /// The value a reference names, paid for.
    fn look_up(&mut self, reference: &Reference) -> Result<Cow<'a, Value>, ReferenceError> {
        let unresolved = |reason| ReferenceError::new("unresolved_reference", reference.to_string(), reason);
        let scope = self.scope;
        let step = |id: &str| {
            scope
                .steps
                .get(id)
                .ok_or_else(|| unresolved(format!("step `{id}` has not ended")))
        };
        let value = match reference.target().map_err(|(_, reason)| unresolved(reason))? {
            Target::Input(path) => Cow::Borrowed(reference.walk(scope.input, path).map_err(unresolved)?),
            Target::Output(id, path) => Cow::Borrowed(reference.walk(&step(id)?.output, path).map_err(unresolved)?),
            Target::Status(id) => Cow::Owned(json!(step(id)?.status)),
            // Strings that name secrets take another way.
            Target::Secret(name) => return Err(unresolved(format!("the secret `{name}` cannot stand here"))),
        };
        let left = compact_len(&value, self.left).and_then(|length| self.left.checked_sub(length));
        self.left = left.ok_or_else(|| {
            let reason =
                format!("with the value of `{reference}` the params would be larger than {MAX_RESOLVED_BYTES} bytes");
            ReferenceError::new("params_too_large", reference.to_string(), reason)
        })?;
        Ok(value)
    }
}

/// How a value stands inside a longer string.
fn push_as_text(text: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::String(value) => text.push_str(value),
        other => text.push_str(&other.to_string()),
    }
}

fn too_deep(place: &str, reference: String) -> ReferenceError {
    let reason = format!("{place}the params would nest deeper than {MAX_RESOLVED_DEPTH} levels");
    ReferenceError::new("params_too_deep", reference, reason)
}

impl ReferenceError {
    fn new(code: &'static str, reference: String, reason: String) -> Self {
        Self {
            pointer: String::new(),
            reference,
            code,
            reason,
        }
    }

    /// The same error seen from one level further out.
    fn under(mut self, token: &str) -> Self {
        self.pointer = format!("/{token}{}", self.pointer);
        self
    }
}
