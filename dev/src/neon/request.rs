//! What a request asks for: its body (one query or a batch), the headers that change how it is run and answered,
//! and the text form of its parameters. Must never reject what Neon takes: unknown keys and content types pass.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;

const ISOLATION: HeaderName = HeaderName::from_static("neon-batch-isolation-level");
const READ_ONLY: HeaderName = HeaderName::from_static("neon-batch-read-only");
const DEFERRABLE: HeaderName = HeaderName::from_static("neon-batch-deferrable");

/// One query with its parameters.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Statement {
    pub(super) query: String,
    #[serde(default)]
    pub(super) params: Vec<Value>,
    #[serde(default, rename = "arrayMode")]
    pub(super) array_mode: Option<bool>,
}

/// A body. A batch is one transaction.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Payload {
    Single(Statement),
    Batch { queries: Vec<Statement> },
}

impl Payload {
    pub(super) fn read(body: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(body).map_err(|error| Failure::Payload(error.to_string()))
    }

    pub(super) fn statements(&self) -> &[Statement] {
        match self {
            Self::Single(statement) => std::slice::from_ref(statement),
            Self::Batch { queries } => queries,
        }
    }

    /// What the log calls this request: the first comment of the first query, as `-- name: claim` or `/* claim */`,
    /// else the query's first 60 characters.
    pub(super) fn label(&self) -> String {
        let query = self
            .statements()
            .first()
            .map_or("", |statement| statement.query.as_str());
        named(query).unwrap_or_else(|| query.trim_start().chars().take(60).collect())
    }
}

fn named(query: &str) -> Option<String> {
    let line = query.find("-- name:");
    let block = query.find("/*").filter(|block| line.is_none_or(|line| *block < line));
    let comment = match (block, line) {
        (Some(at), _) => query.get(at..)?.strip_prefix("/*")?.split("*/").next()?,
        (None, Some(at)) => query.get(at..)?.strip_prefix("--")?.lines().next()?,
        (None, None) => return None,
    };
    let name = comment.trim();
    let name = name.strip_prefix("name:").unwrap_or(name).trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// How a batch's transaction begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Transaction {
    isolation: Option<Isolation>,
    read_only: bool,
    deferrable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Isolation {
    header: &'static str,
    sql: &'static str,
}

const ISOLATIONS: [Isolation; 4] = [
    Isolation {
        header: "ReadUncommitted",
        sql: "READ UNCOMMITTED",
    },
    Isolation {
        header: "ReadCommitted",
        sql: "READ COMMITTED",
    },
    Isolation {
        header: "RepeatableRead",
        sql: "REPEATABLE READ",
    },
    Isolation {
        header: "Serializable",
        sql: "SERIALIZABLE",
    },
];

impl Transaction {
    pub(super) fn begin(&self) -> String {
        let mut modes = Vec::new();
        if let Some(isolation) = self.isolation {
            modes.push(format!("ISOLATION LEVEL {}", isolation.sql));
        }
        if self.read_only {
            modes.push("READ ONLY".to_owned());
        }
        if self.deferrable {
            modes.push("DEFERRABLE".to_owned());
        }
        format!("START TRANSACTION {}", modes.join(", "))
    }

    /// The headers that a successful batch gives back.
    pub(super) fn echo(&self, headers: &mut HeaderMap) {
        let yes = HeaderValue::from_static("true");
        if let Some(isolation) = self.isolation {
            headers.insert(ISOLATION, HeaderValue::from_static(isolation.header));
        }
        if self.read_only {
            headers.insert(READ_ONLY, yes.clone());
        }
        if self.deferrable {
            headers.insert(DEFERRABLE, yes);
        }
    }
}

/// What the headers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mode {
    /// Every value as text or null.
    pub(super) raw_text: bool,
    /// Rows as arrays, where the query itself does not say.
    pub(super) arrays: bool,
    pub(super) transaction: Transaction,
}

impl Mode {
    /// Only the literal `true` counts; an isolation level that does not exist is refused even for a single query.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let set = |name: &HeaderName| headers.get(name).is_some_and(|value| value == "true");
        let isolation = match headers.get(&ISOLATION) {
            None => None,
            Some(value) => {
                let known = ISOLATIONS.into_iter().find(|level| value == level.header);
                Some(known.ok_or(Failure::IsolationLevel)?)
            }
        };
        Ok(Self {
            raw_text: set(&HeaderName::from_static("neon-raw-text-output")),
            arrays: set(&HeaderName::from_static("neon-array-mode")),
            transaction: Transaction {
                isolation,
                read_only: set(&READ_ONLY),
                deferrable: set(&DEFERRABLE),
            },
        })
    }
}

/// A parameter in PostgreSQL's text form; `None` is NULL. An array becomes an array literal.
pub(super) fn parameter(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Some(value.to_string()),
        Value::Array(_) => Some(array_literal(value)),
    }
}

/// An element is quoted as JSON quotes it. PostgreSQL unquotes otherwise, which turns a newline into an `n`:
/// Neon does the same to lists, and who relies on lists of texts had better see it here first.
fn array_literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Object(_) => Value::String(value.to_string()).to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(array_literal).collect();
            format!("{{{}}}", items.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_take_their_text_form() {
        for (value, text) in [
            (json!(null), None),
            (json!("a\"b"), Some("a\"b")),
            (json!(4.5), Some("4.5")),
            (json!(true), Some("true")),
            (json!({"b": 1, "a": [2]}), Some(r#"{"a":[2],"b":1}"#)),
            (json!([]), Some("{}")),
            (
                json!([1, null, "NULL", "q\"\\", true]),
                Some(r#"{1,NULL,"NULL","q\"\\",true}"#),
            ),
            (json!([[1, 2], [3, 4]]), Some("{{1,2},{3,4}}")),
            (json!([{"a": 1}]), Some(r#"{"{\"a\":1}"}"#)),
        ] {
            assert_eq!(parameter(&value).as_deref(), text, "{value}");
        }
    }

    #[test]
    fn the_label_is_the_first_comment_else_the_start_of_the_query() {
        for (query, label) in [
            ("-- name: claim_steps\nselect 1", "claim_steps"),
            ("select 1 /* probe */ -- name: later", "probe"),
            ("/* name: readyz */ select 1", "readyz"),
            ("  select 2 -- a remark", "select 2 -- a remark"),
            ("", ""),
        ] {
            let payload = Payload::read(json!({ "query": query }).to_string().as_bytes()).unwrap();
            assert_eq!(payload.label(), label, "{query}");
        }
    }

    #[test]
    fn unknown_keys_pass_and_wrong_types_do_not() {
        assert!(Payload::read(br#"{"query":"x","extra":1}"#).is_ok());
        for body in [
            &b"{}"[..],
            b"[]",
            b"{",
            br#"{"query":1}"#,
            br#"{"query":"x","params":{}}"#,
            b"\xff",
        ] {
            assert!(matches!(Payload::read(body), Err(Failure::Payload(_))), "{body:?}");
        }
    }

    #[test]
    fn only_the_literal_true_counts() {
        let mut headers = HeaderMap::new();
        headers.insert("neon-array-mode", "True".parse().unwrap());
        headers.insert("neon-raw-text-output", "1".parse().unwrap());
        headers.insert("neon-batch-read-only", "true".parse().unwrap());
        headers.insert("neon-batch-isolation-level", "RepeatableRead".parse().unwrap());
        let mode = Mode::read(&headers).unwrap();
        assert!(!mode.arrays && !mode.raw_text);
        assert_eq!(
            mode.transaction.begin(),
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        );
        headers.insert("neon-batch-isolation-level", "serializable".parse().unwrap());
        assert_eq!(Mode::read(&headers), Err(Failure::IsolationLevel));
    }
}
