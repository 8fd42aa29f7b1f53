//! The grammar of references inside a string.
//!
//! ```text
//! reference = "{{" root segment* "}}"            white space may stand inside the braces, at both ends
//! segment   = "." name | "[" index "]" | "[" JSON string "]"
//! root, name = a letter or "_", then letters, digits, "_" and "-"     (ASCII)
//! ```
//!
//! Everything else is text. `{{{{` is the text `{{`; a single `{`, and `}}` outside a reference, need no escape, and
//! `{{{x}}}` is a reference between braces.

use std::fmt;

use serde_json::Deserializer;

/// One step down into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// The field of an object.
    Field(String),
    /// The item of an array, from 0.
    Index(usize),
}

/// What stands between `{{` and `}}`; displays in its shortest form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `steps`, `input`, …
    pub root: String,
    /// The way from the root to the value.
    pub path: Vec<Segment>,
}

/// A string of a step's params, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// Texts and references in their order; no text is empty, and no two stand side by side.
    pub parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Itself, escapes undone.
    Text(String),
    /// What the reference resolves to.
    Reference(Reference),
}

/// A `{{` that does not begin a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at} of the string: {reason}; write {{{{{{{{ for a literal {{{{")]
pub struct TemplateError {
    /// The place, in characters from 1.
    pub at: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Text that reads back as itself: every `{{` in it is escaped.
pub fn escape(text: &str) -> String {
    text.replace("{{", "{{{{")
}

impl Template {
    /// Reads a string.
    ///
    /// # Errors
    /// The first malformed reference.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut template = Self::default();
        let mut cursor = Cursor { source, rest: source };
        while let Some((text, from_brace)) = cursor.rest.find('{').and_then(|at| cursor.rest.split_at_checked(at)) {
            template.push_text(text);
            cursor.rest = from_brace;
            if cursor.eat("{{{{") {
                template.push_text("{{");
            } else if cursor.rest.starts_with("{{") && !cursor.rest.starts_with("{{{") {
                cursor.eat("{{");
                template.parts.push(Part::Reference(cursor.reference()?));
            } else {
                cursor.eat("{");
                template.push_text("{");
            }
        }
        template.push_text(cursor.rest);
        Ok(template)
    }

    /// The references in it.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Reference(reference) => Some(reference),
        })
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(before)) => before.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&escape(text)),
            Part::Reference(reference) => write!(f, "{{{{{reference}}}}}"),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        self.path.iter().try_for_each(|segment| write!(f, "{segment}"))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Field(name) if is_name(name) => write!(f, ".{name}"),
            Self::Field(name) => write!(f, "[{}]", serde_json::Value::from(name.as_str())),
        }
    }
}

fn begins_name(char: char) -> bool {
    char.is_ascii_alphabetic() || char == '_'
}

fn continues_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '-'
}

fn is_name(text: &str) -> bool {
    text.starts_with(begins_name) && text.chars().all(continues_name)
}

/// What is left of the string to read.
struct Cursor<'a> {
    source: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn eat(&mut self, expected: &str) -> bool {
        let after = self.rest.strip_prefix(expected);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// The error at the present place.
    fn refuse(&self, reason: &'static str) -> TemplateError {
        let left = self.rest.chars().count();
        TemplateError {
            at: self.source.chars().count().saturating_sub(left).saturating_add(1),
            reason,
        }
    }

    /// What comes after `{{`, up to and with `}}`.
    fn reference(&mut self) -> Result<Reference, TemplateError> {
        self.rest = self.rest.trim_start();
        let root = self
            .name("a reference begins with a word such as `steps` or `input`")?
            .to_owned();
        let mut path = Vec::new();
        loop {
            if self.eat(".") {
                path.push(Segment::Field(
                    self.name("a field name begins with a letter or `_`; quote others: [\"0 %\"]")?
                        .to_owned(),
                ));
            } else if self.eat("[") {
                path.push(self.bracketed()?);
            } else {
                break;
            }
        }
        self.rest = self.rest.trim_start();
        if self.eat("}}") {
            Ok(Reference { root, path })
        } else {
            Err(self.refuse("expected `.`, `[` or `}}`"))
        }
    }

    fn name(&mut self, or: &'static str) -> Result<&'a str, TemplateError> {
        if !self.rest.starts_with(begins_name) {
            return Err(self.refuse(or));
        }
        Ok(self.take_while(continues_name))
    }

    fn bracketed(&mut self) -> Result<Segment, TemplateError> {
        let segment = if self.rest.starts_with('"') {
            let mut strings = Deserializer::from_str(self.rest).into_iter::<String>();
            let Some(Ok(name)) = strings.next() else {
                return Err(self.refuse("a quoted field name is a JSON string"));
            };
            self.rest = self.rest.get(strings.byte_offset()..).unwrap_or_default();
            Segment::Field(name)
        } else {
            let here = self.refuse("an index is a whole number from 0, a field name is quoted");
            Segment::Index(
                self.take_while(|char| char.is_ascii_digit())
                    .parse()
                    .map_err(|_| here)?,
            )
        };
        if self.eat("]") {
            Ok(segment)
        } else {
            Err(self.refuse("expected `]`"))
        }
    }

    fn take_while(&mut self, belongs: fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|char| !belongs(char)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(source: &str) -> Reference {
        match Template::parse(source).unwrap().parts.as_slice() {
            [Part::Reference(reference)] => reference.clone(),
            parts => panic!("{source} is {parts:?}"),
        }
    }

    fn field(name: &str) -> Segment {
        Segment::Field(name.to_owned())
    }

    #[test]
    fn a_reference_has_a_root_and_a_path_of_fields_and_indices() {
        let path = vec![
            field("fetch"),
            field("output"),
            field("items"),
            Segment::Index(0),
            field("id"),
        ];
        assert_eq!(
            only("{{steps.fetch.output.items[0].id}}"),
            Reference {
                root: "steps".to_owned(),
                path
            }
        );
        assert_eq!(
            only("{{input}}"),
            Reference {
                root: "input".to_owned(),
                path: vec![]
            }
        );
        assert_eq!(only("{{ \t\ninput.x }}"), only("{{input.x}}"));
        assert_eq!(only("{{steps.my-step.output}}").path[0], field("my-step"));
    }

    #[test]
    fn odd_field_names_are_quoted_as_json_strings() {
        assert_eq!(only(r#"{{input["odd key"]}}"#).path, [field("odd key")]);
        assert_eq!(
            only(r#"{{input["}}\"\u00e9]"].x}}"#).path,
            [field("}}\"\u{e9}]"), field("x")]
        );
        assert_eq!(only(r#"{{input["x"]}}"#), only("{{input.x}}"));
        assert_eq!(only(r#"{{input[""]}}"#).path, [field("")]);
    }

    #[test]
    fn text_stands_around_references_and_braces_that_open_none() {
        let template = Template::parse("a {b} {{input.x}}{{input.y}} }} {").unwrap();
        let x = Part::Reference(only("{{input.x}}"));
        let y = Part::Reference(only("{{input.y}}"));
        assert_eq!(
            template.parts,
            [Part::Text("a {b} ".into()), x, y, Part::Text(" }} {".into())]
        );
        assert_eq!(Template::parse("").unwrap().parts, []);
    }

    #[test]
    fn four_braces_are_two_and_three_are_a_brace_before_a_reference() {
        let text = |text: &str| Part::Text(text.to_owned());
        let x = || Part::Reference(only("{{input.x}}"));
        assert_eq!(Template::parse("{{{{ no }}").unwrap().parts, [text("{{ no }}")]);
        assert_eq!(
            Template::parse("{{{input.x}}}").unwrap().parts,
            [text("{"), x(), text("}")]
        );
        assert_eq!(
            Template::parse("{{{{{{input.x}}}}}}").unwrap().parts,
            [text("{{"), x(), text("}}}}")]
        );
        assert_eq!(Template::parse("{{{{{").unwrap().parts, [text("{{{")]);
    }

    #[test]
    fn a_malformed_reference_is_refused_at_its_place() {
        for (source, at) in [
            ("{{", 3),
            ("{{}}", 3),
            ("{{ }}", 4),
            ("é {{input.}}", 11),
            ("{{input", 8),
            ("{{input}", 8),
            ("{{input.x y}}", 11),
            ("{{input.0}}", 9),
            ("{{input[-1]}}", 9),
            ("{{input[]}}", 9),
            ("{{input[99999999999999999999]}}", 9),
            ("{{input[0}}", 10),
            ("{{input[\"a]}}", 9),
            ("{{input['a']}}", 9),
            ("{{input.x | upper}}", 11),
            ("{{#if input}}", 3),
            ("{{input.a}} and {{{", 20),
        ] {
            let error = Template::parse(source).expect_err(source);
            assert_eq!(error.at, at, "{source}: {error}");
        }
    }

    fn any_reference() -> impl Strategy<Value = Reference> {
        let segment = prop_oneof![
            "[A-Za-z_][A-Za-z0-9_-]{0,8}".prop_map(Segment::Field),
            any::<String>().prop_map(Segment::Field),
            any::<usize>().prop_map(Segment::Index),
        ];
        ("[a-z_][a-z-]{0,8}", prop::collection::vec(segment, 0..6)).prop_map(|(root, path)| Reference { root, path })
    }

    proptest! {
        #[test]
        fn any_string_is_read_or_refused_without_panicking(source in "[{}\\[\\]\". a-z0-9\\\\]{0,40}|\\PC*") {
            if let Err(error) = Template::parse(&source) {
                prop_assert!(error.at <= source.chars().count() + 1);
            }
        }

        #[test]
        fn an_escaped_text_reads_back_as_itself(text in "[{}x]{0,12}|\\PC*") {
            let template = Template::parse(&escape(&text)).unwrap();
            let expected = if text.is_empty() { vec![] } else { vec![Part::Text(text)] };
            prop_assert_eq!(template.parts, expected);
        }

        #[test]
        fn a_template_reads_back_as_it_was_written(
            pieces in prop::collection::vec(("[{}x]{0,9}", any_reference()), 0..5), end in "[{}x]{0,9}",
        ) {
            let mut template = Template::default();
            for (text, reference) in pieces {
                template.push_text(&text);
                template.parts.push(Part::Reference(reference));
            }
            template.push_text(&end);
            prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
        }
    }
}
