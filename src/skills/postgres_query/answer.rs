//! The rows of a query as the skill's output: objects by the columns' names, bounded in number, bytes and depth.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    failures::QueryFailure,
    values::{type_name, value},
};
use crate::{
    integrations::neon::{Column, Table},
    skills::{
        OutcomeError,
        failure::Failure,
        params::{MAX_DEPTH, json_bytes, nests_deeper_than},
    },
};

/// The most bytes of rows, as compact JSON.
pub(super) const MAX_ROW_BYTES: usize = 1024 * 1024;
/// What lies around a value: the output, its rows, a row.
const LEVELS_AROUND: usize = 3;

/// The output of a query that fetched one row more than it may return, if there is one.
pub(super) fn output(table: Table, max_rows: usize) -> Result<Value, OutcomeError> {
    let names = unique_names(&table.columns);
    let mut rows = Vec::with_capacity(table.rows.len().min(max_rows));
    let mut truncated = table.rows.len() > max_rows;
    let mut bytes = 0_usize;
    for texts in table.rows.into_iter().take(max_rows) {
        let mut row = Map::new();
        for ((text, column), name) in texts.into_iter().zip(&table.columns).zip(&names) {
            let value = text.map_or(Value::Null, |text| value(&text, column.type_oid));
            if nests_deeper_than(&value, MAX_DEPTH.saturating_sub(LEVELS_AROUND)) {
                let reason = format!("a value of the column {name} nests deeper than {MAX_DEPTH} levels");
                return Err(QueryFailure::OutputTooLarge.error(reason));
            }
            row.insert(name.clone(), value);
        }
        let row = Value::Object(row);
        // The comma after it.
        bytes = bytes.saturating_add(json_bytes(&row)).saturating_add(1);
        if bytes > MAX_ROW_BYTES {
            if rows.is_empty() {
                let reason = format!("the first row alone has more than {MAX_ROW_BYTES} bytes as JSON");
                return Err(QueryFailure::OutputTooLarge.error(reason));
            }
            truncated = true;
            break;
        }
        rows.push(row);
    }
    let columns: Vec<_> = table
        .columns
        .iter()
        .zip(&names)
        .map(|(column, name)| json!({"name": name, "type": type_name(column.type_oid)}))
        .collect();
    Ok(json!({
        "columns": columns,
        "row_count": rows.len(),
        "rows": rows,
        "truncated": truncated,
    }))
}

/// The names of the columns; one that came before gets a number (`id`, `id_2`), which no other column has for a name.
fn unique_names(columns: &[Column]) -> Vec<String> {
    let given: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut taken = BTreeSet::new();
    let mut names = Vec::with_capacity(columns.len());
    for column in columns {
        let numbered = (2_u32..).map(|number| format!("{}_{number}", column.name));
        let mut candidates = numbered.filter(|name| !given.contains(name.as_str()) && !taken.contains(name));
        let name = if taken.contains(&column.name) {
            candidates.next().unwrap_or_default()
        } else {
            column.name.clone()
        };
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str], rows: &[&[Option<&str>]]) -> Table {
        Table {
            columns: names
                .iter()
                .map(|name| Column {
                    name: (*name).to_owned(),
                    type_oid: 3802,
                })
                .collect(),
            rows: rows
                .iter()
                .map(|row| row.iter().map(|text| text.map(str::to_owned)).collect())
                .collect(),
        }
    }

    #[test]
    fn rows_are_objects_and_the_one_too_many_is_told() {
        let rows = |count| table(&["a"], &vec![[Some("1")].as_slice(); count]);
        let two = json!({
            "columns": [{"name": "a", "type": "jsonb"}], "rows": [{"a": 1}, {"a": 1}], "row_count": 2, "truncated": false,
        });
        assert_eq!(output(rows(2), 2).unwrap(), two);
        let cut = output(rows(3), 2).unwrap();
        assert_eq!((&cut["rows"], &cut["truncated"]), (&two["rows"], &json!(true)));
        assert_eq!(output(table(&[], &[&[]]), 2).unwrap()["rows"], json!([{}]));
    }

    #[test]
    fn no_column_hides_another_of_its_name() {
        let output = output(
            table(&["id", "id", "id_2", "id"], &[&[Some("1"), Some("2"), None, Some("4")]]),
            1,
        );
        let output = output.unwrap();
        assert_eq!(output["rows"][0], json!({"id": 1, "id_3": 2, "id_2": null, "id_4": 4}));
        assert_eq!(output["columns"][1]["name"], "id_3");
    }

    #[test]
    fn bytes_are_cut_at_a_row_and_one_row_too_large_is_an_error() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        let (half, whole) = (text(600 * 1024), text(MAX_ROW_BYTES));
        let cut = output(table(&["a"], &[&[Some(&half)], &[Some(&half)]]), 10).unwrap();
        assert_eq!((&cut["row_count"], &cut["truncated"]), (&json!(1), &json!(true)));
        let error = output(table(&["a"], &[&[Some(&whole)]]), 10).unwrap_err();
        assert_eq!(error.code, "output_too_large");
    }

    #[test]
    fn what_nests_too_deep_to_be_read_again_is_refused() {
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let run = |levels| output(table(&["a"], &[&[Some(&nested(levels))]]), 1);
        assert!(run(61).is_ok());
        assert_eq!(run(62).unwrap_err().code, "output_too_large");
    }
}
