//! PostgreSQL's texts as JSON, by the types of their columns. Must never lose a digit: a number that JSON's readers would
//! round stays a text.

use serde_json::{Number, Value};

/// The largest whole number that every reader of JSON knows all the digits of.
const MAX_EXACT: u64 = 9_007_199_254_740_991;
/// PostgreSQL's own limit for the dimensions of an array.
const MAX_DIMENSIONS: usize = 6;

/// Built-in types: the object id, that of the arrays of it, the name (`src/include/catalog/pg_type.dat`).
const TYPES: [(u32, u32, &str); 35] = [
    (BOOL, 1000, "bool"),
    (17, 1001, "bytea"),
    (18, 1002, "char"),
    (19, 1003, "name"),
    (INT8, 1016, "int8"),
    (INT2, 1005, "int2"),
    (INT4, 1007, "int4"),
    (25, 1009, "text"),
    (OID, 1028, "oid"),
    (JSON, 199, "json"),
    (142, 143, "xml"),
    (600, 1017, "point"),
    (650, 651, "cidr"),
    (FLOAT4, 1021, "float4"),
    (FLOAT8, 1022, "float8"),
    (790, 791, "money"),
    (829, 1040, "macaddr"),
    (869, 1041, "inet"),
    (1042, 1014, "bpchar"),
    (1043, 1015, "varchar"),
    (1082, 1182, "date"),
    (1083, 1183, "time"),
    (TIMESTAMP, 1115, "timestamp"),
    (TIMESTAMPTZ, 1185, "timestamptz"),
    (1186, 1187, "interval"),
    (1266, 1270, "timetz"),
    (1560, 1561, "bit"),
    (1562, 1563, "varbit"),
    (1700, 1231, "numeric"),
    (2249, 2287, "record"),
    (2950, 2951, "uuid"),
    (3614, 3643, "tsvector"),
    (JSONB, 3807, "jsonb"),
    (3904, 3905, "int4range"),
    (3910, 3911, "tstzrange"),
];
const BOOL: u32 = 16;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const OID: u32 = 26;
const JSON: u32 = 114;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const JSONB: u32 = 3802;

/// What a type is called; `other` for those that are not in the table, a database's own among them.
pub(super) fn type_name(oid: u32) -> String {
    TYPES
        .iter()
        .find_map(|(of_one, of_many, name)| match oid {
            _ if oid == *of_one => Some((*name).to_owned()),
            _ if oid == *of_many => Some(format!("{name}[]")),
            _ => None,
        })
        .unwrap_or_else(|| "other".to_owned())
}

/// One value. What is not as its type promises stays a text.
pub(super) fn value(text: &str, oid: u32) -> Value {
    let element = TYPES
        .iter()
        .find_map(|(of_one, of_many, _)| (oid == *of_many).then_some(*of_one));
    let value = match element {
        Some(element) => array(text, element),
        None => scalar(text, oid),
    };
    value.unwrap_or_else(|| Value::from(text))
}

fn scalar(text: &str, oid: u32) -> Option<Value> {
    match oid {
        BOOL => Some(Value::from(text == "t")),
        INT2 | INT4 | INT8 | OID => {
            let number: i64 = text.parse().ok()?;
            (number.unsigned_abs() <= MAX_EXACT).then(|| Value::from(number))
        }
        // JSON knows no NaN and no infinity.
        FLOAT4 | FLOAT8 => Number::from_f64(text.parse().ok()?).map(Value::Number),
        JSON | JSONB => serde_json::from_str(text).ok(),
        TIMESTAMP => with_t(text).map(Value::from),
        TIMESTAMPTZ => Some(Value::from(format!("{}Z", with_t(text.strip_suffix("+00")?)?))),
        _ => None,
    }
}

/// `2026-11-28 10:00:00.5` as RFC 3339 has it. `infinity`, years of more than four digits and those before Christ are not
/// of that form.
fn with_t(text: &str) -> Option<String> {
    let (date, time) = text.split_once(' ')?;
    (date.len() == 10 && !time.contains(' ')).then(|| format!("{date}T{time}"))
}

/// An array literal (<https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>).
fn array(text: &str, element: u32) -> Option<Value> {
    // Bounds other than the usual ones come first (`[2:3]={…}`); JSON has no place for them.
    let literal = if text.starts_with('[') {
        text.split_once('=')?.1
    } else {
        text
    };
    let (value, rest) = list(literal, element, MAX_DIMENSIONS)?;
    rest.is_empty().then_some(value)
}

/// The list that a text begins with, and what follows it.
fn list(text: &str, element: u32, dimensions: usize) -> Option<(Value, &str)> {
    let dimensions = dimensions.checked_sub(1)?;
    let mut rest = text.strip_prefix('{')?;
    let mut items = Vec::new();
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((Value::Array(items), rest));
    }
    loop {
        let (item, after) = item(rest, element, dimensions)?;
        items.push(item);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Some((Value::Array(items), after.strip_prefix('}')?)),
        }
    }
}

fn item(text: &str, element: u32, dimensions: usize) -> Option<(Value, &str)> {
    if text.starts_with('{') {
        return list(text, element, dimensions);
    }
    if let Some(quoted) = text.strip_prefix('"') {
        let (unquoted, rest) = unquoted(quoted)?;
        return Some((value(&unquoted, element), rest));
    }
    let (bare, rest) = text.split_at_checked(text.find([',', '}'])?)?;
    let item = if bare == "NULL" {
        Value::Null
    } else {
        value(bare, element)
    };
    Some((item, rest))
}

/// The text up to the closing quote, its backslashes taken out, and what follows the quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_their_types_say_and_keep_every_digit() {
        for (text, oid, expected) in [
            ("t", BOOL, json!(true)),
            ("f", BOOL, json!(false)),
            ("-32768", INT2, json!(-32768)),
            ("9007199254740991", INT8, json!(9_007_199_254_740_991_i64)),
            ("9007199254740992", INT8, json!("9007199254740992")),
            ("-9223372036854775808", INT8, json!("-9223372036854775808")),
            ("0.1", FLOAT4, json!(0.1)),
            ("1.5e+300", FLOAT8, json!(1.5e300)),
            ("NaN", FLOAT8, json!("NaN")),
            ("-Infinity", FLOAT4, json!("-Infinity")),
            ("12345678901234567890.10", 1700, json!("12345678901234567890.10")),
            (r#"{"a": [1, null]}"#, JSONB, json!({"a": [1, null]})),
            ("null", JSON, json!(null)),
            ("1e999", JSONB, json!("1e999")),
            ("2026-11-28 10:00:00.5", TIMESTAMP, json!("2026-11-28T10:00:00.5")),
            ("2026-11-28 10:00:00+00", TIMESTAMPTZ, json!("2026-11-28T10:00:00Z")),
            ("2026-11-28 10:00:00+02", TIMESTAMPTZ, json!("2026-11-28 10:00:00+02")),
            ("infinity", TIMESTAMPTZ, json!("infinity")),
            (
                "0044-03-15 00:00:00+00 BC",
                TIMESTAMPTZ,
                json!("0044-03-15 00:00:00+00 BC"),
            ),
            ("12026-01-01 00:00:00", TIMESTAMP, json!("12026-01-01 00:00:00")),
            (r"\x00ff", 17, json!(r"\x00ff")),
            ("anything", 99_999, json!("anything")),
        ] {
            assert_eq!(value(text, oid), expected, "{text}");
        }
    }

    #[test]
    fn arrays_keep_their_shape_nulls_and_quotes_and_may_be_empty() {
        for (text, oid, expected) in [
            ("{}", 1007, json!([])),
            ("{}", 1009, json!([])),
            ("{1,NULL,3}", 1007, json!([1, null, 3])),
            ("{{1,2},{3,4}}", 1007, json!([[1, 2], [3, 4]])),
            ("[2:3]={5,6}", 1016, json!([5, 6])),
            ("{1.50,NaN}", 1231, json!(["1.50", "NaN"])),
            ("{t,f}", 1000, json!([true, false])),
            (
                r#"{a,"b,c","d\"e\\f","NULL","","{x}"}"#,
                1009,
                json!(["a", "b,c", "d\"e\\f", "NULL", "", "{x}"]),
            ),
            (r#"{"{\"k\": [1]}",NULL}"#, 3807, json!([{"k": [1]}, null])),
            (r#"{"2026-11-28 10:00:00+00"}"#, 1185, json!(["2026-11-28T10:00:00Z"])),
            // What is no array stays what it is.
            ("{1,2", 1007, json!("{1,2")),
            ("{1}x", 1007, json!("{1}x")),
            ("{{{{{{{1}}}}}}}", 1007, json!("{{{{{{{1}}}}}}}")),
        ] {
            assert_eq!(value(text, oid), expected, "{text}");
        }
    }

    #[test]
    fn types_have_names() {
        for (oid, name) in [(INT4, "int4"), (1007, "int4[]"), (JSONB, "jsonb"), (16_400, "other")] {
            assert_eq!(type_name(oid), name);
        }
    }
}
