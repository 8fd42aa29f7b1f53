//! What is sent to the database: statements with their parameters, in batches that are one transaction each.
//! Lists are always one `jsonb` parameter: the gateway mangles control characters in array parameters.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    ids::{AgentId, ApiKeyId, AuditId, ClaimId, OutboxId, RunId, StepId, TenantId},
    integrations::Repeat,
};

/// How long one try of a batch may take, unless the batch says otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a statement is called that does not say.
const UNNAMED: &str = "unnamed";

/// One parameter, as the database reads it: NULL, or a text that it converts to the type it infers.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Param(Value);

macro_rules! param {
    ($($from:ty => |$value:ident| $json:expr),+ $(,)?) => {
        $(impl From<$from> for Param {
            fn from($value: $from) -> Self {
                Self(Value::from($json))
            }
        })+
    };
}

param! {
    &str => |value| value,
    &String => |value| value.as_str(),
    String => |value| value,
    bool => |value| value,
    i32 => |value| value,
    i64 => |value| value,
    u32 => |value| value,
    Uuid => |value| value.to_string(),
    TenantId => |value| value.uuid().to_string(),
    AgentId => |value| value.uuid().to_string(),
    RunId => |value| value.uuid().to_string(),
    StepId => |value| value.uuid().to_string(),
    ClaimId => |value| value.uuid().to_string(),
    OutboxId => |value| value.uuid().to_string(),
    ApiKeyId => |value| value.uuid().to_string(),
    AuditId => |value| value.uuid().to_string(),
    Timestamp => |value| value.to_string(),
}

impl<T: Into<Self>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self(Value::Null), Into::into)
    }
}

/// One SQL statement and its parameters, `$1` first.
///
/// A statement whose answer is read returns one column `data` of type `jsonb`, one row per item. Its text begins with
/// a comment `-- name: …` that says in logs and counters what it is for.
#[derive(Clone, Serialize)]
pub struct Statement {
    #[serde(rename = "query")]
    sql: &'static str,
    params: Vec<Param>,
    /// Why the first parameter that is no JSON is none.
    #[serde(skip)]
    pub(super) unsendable: Option<String>,
}

impl Statement {
    /// A statement without parameters so far. SQL is never put together from parts at run time.
    pub fn new(sql: &'static str) -> Self {
        Self {
            sql,
            params: Vec::new(),
            unsendable: None,
        }
    }

    /// The next parameter. Ids go as bare UUIDs, times as RFC 3339.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Param>) -> Self {
        self.params.push(value.into());
        self
    }

    /// The next parameter, as `jsonb`: a text that holds JSON. What cannot become JSON (a map with keys that are no
    /// strings) makes [`super::Neon::batch`] refuse the whole batch.
    #[must_use]
    pub fn bind_json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_string(value) {
            Ok(json) => self.params.push(Param(Value::String(json))),
            Err(error) => {
                self.params.push(Param(Value::Null));
                let reason = format!("parameter ${} of {}: {error}", self.params.len(), self.name());
                self.unsendable.get_or_insert(reason);
            }
        }
        self
    }

    /// The name in the comment that the text begins with.
    pub(super) fn name(&self) -> &'static str {
        self.sql
            .trim_start()
            .strip_prefix("-- name:")
            .and_then(|rest| rest.lines().next())
            .map_or(UNNAMED, str::trim)
    }
}

/// The transaction's isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it began.
    ReadCommitted,
    /// All statements see one snapshot; writes may fail with 40001.
    RepeatableRead,
    /// As if alone; anything may fail with 40001.
    Serializable,
}

impl Isolation {
    /// The value of the header `Neon-Batch-Isolation-Level`.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::ReadCommitted => "ReadCommitted",
            Self::RepeatableRead => "RepeatableRead",
            Self::Serializable => "Serializable",
        }
    }
}

/// Statements that are sent together and are one transaction: all of them take effect, or none.
///
/// ```
/// use aos::integrations::{Repeat, neon::{Batch, Statement}};
///
/// let batch = Batch::write(Repeat::Never)
///     .push(Statement::new("select set_config('aos.tenant', $1, true)").bind("018f0000-0000-7000-8000-000000000001"))
///     .push(Statement::new("insert into notes (body) values ($1)").bind_json(&["a", "b"]));
/// ```
#[derive(Clone)]
pub struct Batch {
    pub(super) statements: Vec<Statement>,
    pub(super) isolation: Isolation,
    pub(super) read_only: bool,
    pub(super) repeat: Repeat,
    pub(super) deadline: Duration,
}

impl Batch {
    /// A read-only transaction; harmless to repeat.
    pub fn read() -> Self {
        Self {
            read_only: true,
            ..Self::write(Repeat::Harmless)
        }
    }

    /// A transaction that writes.
    pub fn write(repeat: Repeat) -> Self {
        let isolation = Isolation::ReadCommitted;
        Self {
            statements: Vec::new(),
            isolation,
            read_only: false,
            repeat,
            deadline: DEADLINE,
        }
    }

    /// How many statements it has: the number that the next one's answer will have.
    #[must_use]
    pub fn statements(&self) -> usize {
        self.statements.len()
    }

    /// Adds a statement; its answer has the number of statements before it.
    #[must_use]
    pub fn push(mut self, statement: Statement) -> Self {
        self.statements.push(statement);
        self
    }

    /// How many statements there are: the number that the next one's answer will have.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether there is no statement yet.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Another isolation than READ COMMITTED.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Another time for each try than 10 s. All tries together end after twice that time.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What the batch is for: the name of its first statement that has one.
    pub(super) fn name(&self) -> &'static str {
        self.statements
            .iter()
            .map(Statement::name)
            .find(|name| *name != UNNAMED)
            .unwrap_or(UNNAMED)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_what_the_database_reads() {
        let run: RunId = "run_018f0000000070008000000000000001".parse().unwrap();
        let statement = Statement::new("-- name: everything\nselect 1")
            .bind("text")
            .bind(run)
            .bind(i64::MIN)
            .bind(true)
            .bind(None::<&str>)
            .bind(Some(7_i32))
            .bind(Timestamp::UNIX_EPOCH)
            .bind_json(&["a", "b\n"]);
        assert_eq!(statement.name(), "everything");
        assert_eq!(
            serde_json::to_value(&statement).unwrap(),
            json!({
                "query": "-- name: everything\nselect 1",
                "params": ["text", "018f0000-0000-7000-8000-000000000001", i64::MIN, true, null, 7, "1970-01-01T00:00:00Z",
                           "[\"a\",\"b\\n\"]"],
            })
        );
    }

    #[test]
    fn a_parameter_that_is_no_json_is_remembered() {
        let map = std::collections::BTreeMap::from([((1, 2), 3)]);
        let statement = Statement::new("-- name: bad\nselect $1").bind("fine").bind_json(&map);
        assert!(statement.unsendable.unwrap().starts_with("parameter $2 of bad: "));
    }
}
