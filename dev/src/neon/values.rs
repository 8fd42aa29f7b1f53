//! PostgreSQL's text values as JSON, by type: what Neon returns as numbers, booleans, JSON and arrays, and what as
//! strings. Must never change a text it does not understand: a type without a rule here is a string.
//!
//! Like Neon, an empty array is read as one empty element, so `{}` of numbers fails and of texts is `[""]`: lists
//! belong in `jsonb`. Only PostgreSQL's own array types are arrays; an array of a user's enum is its text.

use postgres_types::{Kind, Type};

use super::failure::Failure;

/// Appends one value. Raw mode does not come here: it is a string of the text.
pub(super) fn write(out: &mut Vec<u8>, text: &str, kind: &Type) -> Result<(), Failure> {
    match kind.kind() {
        // int2vector and oidvector count as arrays but are written without braces.
        Kind::Array(element) if text.starts_with(['{', '[']) => {
            // Bounds other than the usual ones come first (`[2:3]={…}`); JSON has no place for them.
            let body = if text.starts_with('[') {
                text.split_once('=').ok_or(Failure::Result)?.1
            } else {
                text
            };
            let rest = array(out, body.trim_start(), element)?;
            return if rest.is_empty() { Ok(()) } else { Err(Failure::Result) };
        }
        _ => {}
    }
    match *kind {
        Type::BOOL => out.extend_from_slice(if text == "t" { b"true" } else { b"false" }),
        Type::INT2 | Type::INT4 => {
            let number: i32 = text.parse().map_err(|_| Failure::Result)?;
            json(out, &number)?;
        }
        Type::FLOAT4 | Type::FLOAT8 => {
            let number: f64 = text.parse().map_err(|_| Failure::Result)?;
            // JSON knows no NaN and no infinity: they stay texts.
            if number.is_finite() {
                json(out, &number)?
            } else {
                string(out, text)?
            }
        }
        Type::JSON | Type::JSONB => out.extend_from_slice(text.as_bytes()),
        _ => string(out, text)?,
    }
    Ok(())
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    json(out, text)
}

fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), Failure> {
    serde_json::to_writer(out, value).map_err(|_| Failure::Result)
}

/// Appends the array literal that `text` begins with, and returns what follows it.
/// The syntax: <https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO>.
fn array<'a>(out: &mut Vec<u8>, text: &'a str, element: &Type) -> Result<&'a str, Failure> {
    let mut rest = text.strip_prefix('{').ok_or(Failure::Result)?;
    out.push(b'[');
    loop {
        rest = item(out, rest.trim_start(), element)?.trim_start();
        if let Some(next) = rest.strip_prefix(',') {
            out.push(b',');
            rest = next;
        } else {
            out.push(b']');
            return rest.strip_prefix('}').ok_or(Failure::Result);
        }
    }
}

fn item<'a>(out: &mut Vec<u8>, text: &'a str, element: &Type) -> Result<&'a str, Failure> {
    if text.starts_with('{') {
        return array(out, text, element);
    }
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = unquoted(quoted)?;
        write(out, &value, element)?;
        return Ok(rest);
    }
    let (value, rest) = text.split_at(text.find([',', '}']).ok_or(Failure::Result)?);
    match value.trim_end() {
        "NULL" => out.extend_from_slice(b"null"),
        value => write(out, value, element)?,
    }
    Ok(rest)
}

/// The text up to the closing quote, its backslashes taken out, and what follows the quote.
fn unquoted(text: &str) -> Result<(String, &str), Failure> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or(Failure::Result)? {
            '"' => return Ok((value, chars.as_str())),
            '\\' => value.push(chars.next().ok_or(Failure::Result)?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, kind: &Type) -> Option<String> {
        let mut out = Vec::new();
        write(&mut out, text, kind).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_are_typed_as_neon_types_them() {
        for (text, kind, json) in [
            ("t", Type::BOOL, "true"),
            ("-7", Type::INT4, "-7"),
            ("0.1", Type::FLOAT4, "0.1"),
            ("1.50", Type::FLOAT8, "1.5"),
            ("NaN", Type::FLOAT8, r#""NaN""#),
            ("-Infinity", Type::FLOAT4, r#""-Infinity""#),
            ("9007199254740993", Type::INT8, r#""9007199254740993""#),
            ("1.50", Type::NUMERIC, r#""1.50""#),
            (r"\x00ff", Type::BYTEA, r#""\\x00ff""#),
            (r#"{"a": 1}"#, Type::JSONB, r#"{"a": 1}"#),
            ("1 2", Type::INT2_VECTOR, r#""1 2""#),
        ] {
            assert_eq!(written(text, &kind).as_deref(), Some(json), "{text}");
        }
    }

    #[test]
    fn arrays_keep_their_shape_nulls_and_quotes() {
        for (text, kind, json) in [
            ("{1,NULL,3}", Type::INT4_ARRAY, "[1,null,3]"),
            ("{{1,2},{3,4}}", Type::INT4_ARRAY, "[[1,2],[3,4]]"),
            ("[2:3]={5,6}", Type::INT4_ARRAY, "[5,6]"),
            (
                r#"{a,"b,c","d\"e\\f","NULL",""}"#,
                Type::TEXT_ARRAY,
                r#"["a","b,c","d\"e\\f","NULL",""]"#,
            ),
            (r#"{"{\"k\": [1]}"}"#, Type::JSONB_ARRAY, r#"[{"k": [1]}]"#),
            ("{}", Type::TEXT_ARRAY, r#"[""]"#),
        ] {
            assert_eq!(written(text, &kind).as_deref(), Some(json), "{text}");
        }
        assert_eq!(written("{}", &Type::INT4_ARRAY), None);
        assert_eq!(written("{1,2", &Type::INT4_ARRAY), None);
    }
}
