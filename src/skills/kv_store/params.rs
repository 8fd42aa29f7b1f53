//! The params of `kv_store` and their schema.

use serde_json::{Value, json};

use crate::{
    problem::FieldError,
    skills::params::{self, Field, Reader, Stage},
};

/// The longest key, in bytes.
pub(super) const MAX_KEY_BYTES: usize = 512;
/// The largest value, in bytes of compact JSON.
pub(super) const MAX_VALUE_BYTES: usize = 64 * 1024;
/// A year.
pub(super) const MAX_TTL_S: i64 = 365 * 24 * 60 * 60;
/// The largest step of a counter: every JSON reader knows all its digits.
const MAX_BY: i64 = 9_007_199_254_740_991;

const OPERATIONS: [&str; 9] = ["get", "set", "delete", "exists", "ttl", "incr", "decr", "expire", "cas"];

/// What to do with the entry.
#[derive(Debug, PartialEq)]
pub(super) enum Operation<'a> {
    Get,
    Exists,
    Ttl,
    Write(Write<'a>),
}

/// What to change.
#[derive(Debug, PartialEq)]
pub(super) enum Write<'a> {
    Set {
        value: &'a Value,
        ttl_s: Option<i64>,
    },
    /// Sets the value if the present one is the expected one; without one, if there is none.
    Cas {
        value: &'a Value,
        expected: Option<&'a Value>,
        ttl_s: Option<i64>,
    },
    /// Adds to a counter; the time to live is given to one that has none.
    Add {
        by: i64,
        ttl_s: Option<i64>,
    },
    Delete,
    Expire {
        ttl_s: i64,
    },
}

impl Write<'_> {
    /// The arguments that the script knows it by.
    pub(super) fn arguments(&self) -> Vec<String> {
        let ttl = |ttl_s: &Option<i64>| ttl_s.map(|seconds| seconds.to_string()).unwrap_or_default();
        match self {
            Self::Set { value, ttl_s } => vec!["set".into(), value.to_string(), ttl(ttl_s)],
            Self::Cas {
                value,
                expected: None,
                ttl_s,
            } => vec!["cas".into(), value.to_string(), ttl(ttl_s), "absent".into()],
            Self::Cas {
                value,
                expected: Some(expected),
                ttl_s,
            } => {
                vec![
                    "cas".into(),
                    value.to_string(),
                    ttl(ttl_s),
                    "present".into(),
                    expected.to_string(),
                ]
            }
            Self::Add { by, ttl_s } => vec!["add".into(), by.to_string(), ttl(ttl_s)],
            Self::Delete => vec!["delete".into()],
            Self::Expire { ttl_s } => vec!["expire".into(), String::new(), ttl_s.to_string()],
        }
    }
}

/// What a call asks for.
pub(super) struct Params<'a> {
    pub(super) key: Field<&'a str>,
    pub(super) operation: Field<Operation<'a>>,
}

/// Reads params.
///
/// # Errors
/// Every bad field, those that do not belong to the operation included.
pub(super) fn read(params: &Value, stage: Stage) -> Result<Params<'_>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let op = reader.string("op", 16);
    reader.require("op", &op);
    let key = reader.string("key", MAX_KEY_BYTES);
    reader.require("key", &key);
    if key
        .known()
        .is_some_and(|key| key.is_empty() || key.chars().any(char::is_control))
    {
        reader.refuse(
            "/key",
            params::INVALID_VALUE,
            "a key has at least one character and no control characters",
        );
    }
    let value = reader.json("value", MAX_VALUE_BYTES);
    let expected = reader.json("expected", MAX_VALUE_BYTES);
    let ttl_s = reader.integer("ttl_s", 1..=MAX_TTL_S);
    let by = reader.integer("by", 1..=MAX_BY);

    let Some(op) = op.known() else {
        reader.finish()?;
        return Ok(Params {
            key,
            operation: Field::Open,
        });
    };
    let takes: &[&str] = match op {
        "set" => &["value", "ttl_s"],
        "cas" => &["value", "expected", "ttl_s"],
        "incr" | "decr" => &["by", "ttl_s"],
        "expire" => &["ttl_s"],
        _ => &[],
    };
    if !OPERATIONS.contains(&op) {
        reader.refuse(
            "/op",
            params::INVALID_VALUE,
            format!("op is one of {}", OPERATIONS.join(", ")),
        );
    } else {
        for (name, is_present) in [
            ("value", value.is_present()),
            ("expected", expected.is_present()),
            ("ttl_s", ttl_s.is_present()),
            ("by", by.is_present()),
        ] {
            if is_present && !takes.contains(&name) {
                reader.refuse(
                    format!("/{name}"),
                    params::CONFLICTING_FIELDS,
                    format!("{op} takes no {name}"),
                );
            }
        }
    }
    if matches!(op, "set" | "cas") {
        reader.require("value", &value);
    }
    if op == "expire" {
        reader.require("ttl_s", &ttl_s);
    }
    reader.finish()?;
    Ok(Params {
        key,
        operation: operation(op, value, expected, ttl_s.known(), by.known()),
    })
}

fn operation<'a>(
    op: &str,
    value: Field<&'a Value>,
    expected: Field<&'a Value>,
    ttl_s: Option<i64>,
    by: Option<i64>,
) -> Field<Operation<'a>> {
    let write = match (op, value, ttl_s) {
        ("get", ..) => return Field::Is(Operation::Get),
        ("exists", ..) => return Field::Is(Operation::Exists),
        ("ttl", ..) => return Field::Is(Operation::Ttl),
        ("delete", ..) => Write::Delete,
        ("set", Field::Is(value), ttl_s) => Write::Set { value, ttl_s },
        ("cas", Field::Is(value), ttl_s) => Write::Cas {
            value,
            expected: expected.known(),
            ttl_s,
        },
        ("incr", _, ttl_s) => Write::Add {
            by: by.unwrap_or(1),
            ttl_s,
        },
        ("decr", _, ttl_s) => Write::Add {
            by: by.unwrap_or(1).saturating_neg(),
            ttl_s,
        },
        ("expire", _, Some(ttl_s)) => Write::Expire { ttl_s },
        _ => return Field::Open,
    };
    Field::Is(Operation::Write(write))
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["op", "key"],
        "properties": {
            "op": {"type": "string", "enum": OPERATIONS},
            "key": {
                "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES,
                "description": "At most 512 bytes of UTF-8, no control characters."
            },
            "value": {"description": "set and cas: any JSON, at most 64 KiB and 64 levels deep."},
            "expected": {
                "description": "cas: the value that must be there now. Without it there must be none. Numbers are equal if \
                                they are written alike."
            },
            "ttl_s": {
                "type": "integer", "minimum": 1, "maximum": MAX_TTL_S,
                "description": "set and cas: the entry expires after so many seconds; without it, it stays. incr and decr: \
                                given to a counter that has no expiry. expire: the new time to live, required."
            },
            "by": {
                "type": "integer", "minimum": 1, "maximum": MAX_BY, "default": 1,
                "description": "incr and decr: how much to add or take away. A counter that is not there begins at 0."
            }
        }
    })
}
