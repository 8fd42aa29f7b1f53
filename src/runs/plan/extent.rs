//! How large and how deep a JSON value is, found without building anything.

use std::io::{self, Write};

use serde_json::Value;

/// The length of `value` as compact JSON in bytes, or `None` past `limit`: counting stops there.
pub(in crate::runs) fn compact_len(value: &Value, limit: usize) -> Option<usize> {
    let mut left = Left(limit);
    serde_json::to_writer(&mut left, value).ok()?;
    limit.checked_sub(left.0)
}

/// Takes bytes and keeps only how many more may come.
struct Left(usize);

impl Write for Left {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether objects and arrays are nested in more than `limit` levels; a scalar has none.
pub(in crate::runs) fn is_deeper_than(value: &Value, limit: usize) -> bool {
    let inside = match value {
        Value::Array(items) => items
            .iter()
            .any(|item| limit > 0 && is_deeper_than(item, limit.saturating_sub(1))),
        Value::Object(fields) => fields
            .values()
            .any(|item| limit > 0 && is_deeper_than(item, limit.saturating_sub(1))),
        _ => return false,
    };
    limit == 0 || inside
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_length_is_that_of_the_compact_form_and_is_not_counted_past_the_limit() {
        let value = json!({"a": [1, "\u{e9}\n", null], "b": {}});
        let length = value.to_string().len();
        assert_eq!(compact_len(&value, 1_000), Some(length));
        assert_eq!(compact_len(&value, length), Some(length));
        assert_eq!(compact_len(&value, length - 1), None);
    }

    #[test]
    fn depth_counts_objects_and_arrays() {
        assert!(!is_deeper_than(&json!(1), 0));
        assert!(is_deeper_than(&json!([]), 0));
        assert!(!is_deeper_than(&json!({"a": 1}), 1));
        assert!(is_deeper_than(&json!({"a": [1]}), 1));
        assert!(!is_deeper_than(&json!([1, [2, {"a": 3}]]), 3));
        assert!(is_deeper_than(&json!([1, [2, {"a": 3}]]), 2));
    }
}
