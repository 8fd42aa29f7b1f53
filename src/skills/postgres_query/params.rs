//! The params of `postgres_query` and their schema.

use serde_json::{Value, json};

use crate::{
    problem::FieldError,
    skills::params::{self, Field, Reader, Stage, json_bytes, nests_deeper_than, whole_number},
};

/// The longest query, in bytes.
pub(super) const MAX_SQL_BYTES: usize = 64 * 1024;
/// The most parameters.
pub(super) const MAX_PARAMS: usize = 100;
/// The most bytes of all parameters, as compact JSON.
pub(super) const MAX_PARAMS_BYTES: usize = 1024 * 1024;
/// The most rows.
pub(super) const MAX_ROWS: i64 = 1000;
/// The rows of a call that does not say.
const DEFAULT_ROWS: i64 = 100;

/// What to ask.
#[derive(Debug, PartialEq)]
pub(super) struct Params<'a> {
    pub(super) sql: Field<&'a str>,
    /// `$1` first, as the database reads them.
    pub(super) params: Vec<Option<String>>,
    pub(super) max_rows: u32,
}

/// Reads and checks the params.
pub(super) fn read(params: &Value, stage: Stage) -> Result<Params<'_>, Vec<FieldError>> {
    let mut reader = Reader::new(params, stage);
    let sql = reader.string("sql", MAX_SQL_BYTES);
    reader.require("sql", &sql);
    if let Some(value) = params.get("sql")
        && let Some(text) = value.as_str()
        && let Some(reason) = bad_sql(&reader, value, text)
    {
        reader.refuse("/sql", params::INVALID_VALUE, reason);
    }
    let given = reader.array("params", MAX_PARAMS).known().unwrap_or_default();
    if given.iter().map(json_bytes).fold(0, usize::saturating_add) > MAX_PARAMS_BYTES {
        let detail = format!("params have at most {MAX_PARAMS_BYTES} bytes as JSON");
        reader.refuse("/params", params::TOO_LONG, detail);
    }
    for (index, value) in given.iter().enumerate() {
        let pointer = format!("/params/{index}");
        if nests_deeper_than(value, params::MAX_DEPTH) {
            let detail = format!("a parameter nests at most {} levels", params::MAX_DEPTH);
            reader.refuse(pointer, params::TOO_DEEP, detail);
        } else if value.as_str().is_some_and(|text| text.contains('\0')) {
            reader.refuse(pointer, params::INVALID_VALUE, "a text of PostgreSQL holds no NUL");
        }
    }
    let max_rows = reader.integer("max_rows", 1..=MAX_ROWS).known().unwrap_or(DEFAULT_ROWS);
    reader.finish()?;
    Ok(Params {
        sql,
        params: given.iter().map(parameter).collect(),
        max_rows: u32::try_from(max_rows).unwrap_or(1),
    })
}

/// Why a text cannot be a query. A reference may be all of it, so that a query can come from another step; inside it, what
/// it brings in would become SQL.
fn bad_sql(reader: &Reader<'_>, value: &Value, text: &str) -> Option<&'static str> {
    if reader.is_open(value) {
        None
    } else if reader.is_template(text) {
        Some("a reference inside sql would become SQL itself: put it into params, and $1 here")
    } else if text.contains('\0') {
        Some("SQL holds no NUL")
    } else if text.trim().is_empty() {
        Some("sql is empty")
    } else {
        None
    }
}

/// A parameter in PostgreSQL's text form. Everything goes as a text: the gateway would make an array literal of an array.
fn parameter(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        // `1.0` is as whole a number as `1` is, and a column of whole numbers takes only that.
        Value::Number(_) => Some(whole_number(value).map_or_else(|| value.to_string(), |whole| whole.to_string())),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

/// The JSON Schema of the params.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["sql"],
        "properties": {
            "sql": {
                "type": "string", "minLength": 1, "maxLength": MAX_SQL_BYTES,
                "description": "One SELECT, VALUES, TABLE or WITH … SELECT of PostgreSQL, with $1, $2, … for values. A reference \
                                stands here only as the whole text, never inside it: values go into params."
            },
            "params": {
                "type": "array", "maxItems": MAX_PARAMS,
                "items": {"type": ["null", "boolean", "number", "string", "object", "array"]},
                "description": "The values of $1, $2, …: null, a boolean, a number or a text, of the type that PostgreSQL \
                                infers ($1::date says it); an object or an array is jsonb. At most 1 MiB."
            },
            "max_rows": {
                "type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": DEFAULT_ROWS,
                "description": "Rows returned at most; truncated says whether there were more."
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(params: &Value, stage: Stage) -> Vec<(String, String)> {
        match read(params, stage) {
            Ok(_) => Vec::new(),
            Err(errors) => errors
                .into_iter()
                .map(|error| (error.pointer, error.code.into_owned()))
                .collect(),
        }
    }

    #[test]
    fn parameters_become_what_the_database_reads() {
        let given = json!({"sql": "select 1", "params": [
            null, true, 1, -1.5, 2.0, 1e300, u64::MAX, "it's", [1, "a"], {"b": null},
        ]});
        let read = read(&given, Stage::Resolved).unwrap();
        let expected = [
            None,
            Some("true"),
            Some("1"),
            Some("-1.5"),
            Some("2"),
            Some("1e+300"),
            Some("18446744073709551615"),
            Some("it's"),
            Some(r#"[1,"a"]"#),
            Some(r#"{"b":null}"#),
        ];
        assert_eq!(read.params, expected.map(|text| text.map(str::to_owned)));
        assert_eq!((read.sql, read.max_rows), (Field::Is("select 1"), 100));
    }

    #[test]
    fn limits_are_kept() {
        let long = "x".repeat(MAX_SQL_BYTES + 1);
        let large = "x".repeat(MAX_PARAMS_BYTES);
        let many = vec![json!(1); MAX_PARAMS + 1];
        for (given, pointer, code) in [
            (json!({"sql": long}), "/sql", params::TOO_LONG),
            (json!({"sql": " \n"}), "/sql", params::INVALID_VALUE),
            (json!({"sql": "select '\0'"}), "/sql", params::INVALID_VALUE),
            (json!({"sql": "s", "params": many}), "/params", params::TOO_MANY),
            (json!({"sql": "s", "params": [large]}), "/params", params::TOO_LONG),
            (
                json!({"sql": "s", "params": [1, "a\0"]}),
                "/params/1",
                params::INVALID_VALUE,
            ),
            (
                json!({"sql": "s", "params": [crate::skills::testing::nested(65)]}),
                "/params/0",
                params::TOO_DEEP,
            ),
            (json!({"sql": "s", "max_rows": 0}), "/max_rows", params::OUT_OF_RANGE),
            (json!({"sql": "s", "max_rows": 1001}), "/max_rows", params::OUT_OF_RANGE),
        ] {
            assert_eq!(codes(&given, Stage::Resolved), [(pointer.to_owned(), code.to_owned())]);
        }
    }

    #[test]
    fn a_reference_is_all_of_the_query_or_a_parameter_and_never_a_part_of_the_query() {
        for sql in ["{{input.sql}}", "select 1"] {
            let given = json!({"sql": sql, "params": ["{{input.x}}", "a {{input.y}}"], "max_rows": "{{input.n}}"});
            assert_eq!(codes(&given, Stage::Planned), []);
        }
        let inside = json!({"sql": "select * from items where name = '{{input.name}}'"});
        assert_eq!(
            codes(&inside, Stage::Planned),
            [("/sql".to_owned(), params::INVALID_VALUE.to_owned())]
        );
        // Once references are filled in, braces are only text.
        assert_eq!(codes(&inside, Stage::Resolved), []);
    }
}
