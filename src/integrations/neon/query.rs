//! A query that somebody else wrote, on a database of their own: read through a cursor, in a transaction that is always
//! undone. Must never let the text do more than select, nor share its session with another request.
//!
//! The text stands alone at the end of a statement of ours, so that there is nothing after it to swallow; by the extended
//! protocol that is one statement, and the grammar of `DECLARE … CURSOR FOR` takes one SELECT, VALUES, TABLE or WITH that
//! changes nothing.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{BATCH_ISOLATION, BATCH_READ_ONLY, CONNECTION_STRING, Error, Isolation, MAX_ANSWER_BYTES, Neon};
use crate::integrations::{exchange, provider::Traffic};

const RAW_TEXT: HeaderName = HeaderName::from_static("neon-raw-text-output");
const ARRAY_MODE: HeaderName = HeaderName::from_static("neon-array-mode");
const REQUEST_ID: &str = "neon-request-id";

/// What holds for this transaction alone. Values come as texts, which these settings give one form.
const SETTINGS: &str = "\
-- name: postgres_query
select pg_catalog.set_config('statement_timeout', $1, true),
       pg_catalog.set_config('lock_timeout', '5s', true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '30s', true),
       pg_catalog.set_config('TimeZone', 'UTC', true),
       pg_catalog.set_config('DateStyle', 'ISO, MDY', true),
       pg_catalog.set_config('IntervalStyle', 'iso_8601', true),
       pg_catalog.set_config('bytea_output', 'hex', true),
       pg_catalog.set_config('extra_float_digits', '1', true)";
/// What the caller's text is put behind.
const DECLARE: &str = "declare aos_query no scroll cursor for ";
/// Which of the statements returns the rows.
const FETCHED: usize = 3;
/// How many there are.
const STATEMENTS: usize = 5;

/// A query and how much it may take.
#[derive(Debug)]
pub struct Query<'a> {
    /// One SELECT, VALUES, TABLE or WITH … SELECT.
    pub sql: &'a str,
    /// `$1` first: NULL, or a text that the database converts to the type it infers.
    pub params: &'a [Option<String>],
    /// Rows that are fetched at most.
    pub rows: u32,
    /// How long the database works on it.
    pub statement_timeout: Duration,
    /// How long the answer is waited for.
    pub deadline: Duration,
}

/// Rows as the database wrote them.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Table {
    /// The columns, in the order of the values.
    #[serde(rename = "fields")]
    pub columns: Vec<Column>,
    /// The values as texts; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A column.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Its name, which another one may have too.
    pub name: String,
    /// The object id of its type.
    #[serde(rename = "dataTypeID")]
    pub type_oid: u32,
}

#[derive(Serialize)]
struct Sent<'a> {
    queries: [Part<'a>; STATEMENTS],
}

#[derive(Serialize)]
struct Part<'a> {
    query: Cow<'a, str>,
    params: &'a [Option<String>],
}

impl<'a> Part<'a> {
    fn new(query: impl Into<Cow<'a, str>>, params: &'a [Option<String>]) -> Self {
        Self {
            query: query.into(),
            params,
        }
    }
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Table>,
}

impl Neon {
    /// Runs a query and undoes whatever it did: one HTTP request, tried once.
    ///
    /// What came of it is beside what went over the wire.
    pub async fn query(&self, query: &Query<'_>) -> (Traffic, Result<Table, Error>) {
        let mut traffic = Traffic::default();
        let body = match body(query) {
            Ok(body) => body,
            Err(error) => return (traffic, Err(Error::Unsendable(error.to_string()))),
        };
        traffic.bytes_out = bytes(body.len());
        let headers = self.headers_of_query();
        let request = self.http.post(self.endpoint.clone()).headers(headers).body(body);
        let answer = match exchange::exchange(&*self.clock, request, query.deadline, MAX_ANSWER_BYTES).await {
            Ok(answer) => answer,
            Err(failure) => return (traffic, Err(Error::from_failure(failure, query.deadline))),
        };
        traffic.bytes_in = bytes(answer.body.len());
        let request_id = answer.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        traffic.request_id = request_id.map(|id| id.chars().take(200).collect());
        let result = if answer.status == StatusCode::OK {
            read(&answer.body).map_err(Error::Protocol)
        } else {
            Err(Error::from_answer(answer.status, &answer.body))
        };
        (traffic, result)
    }

    /// Texts in arrays, since the gateway fails on an empty list of numbers and drops one of two columns of a name; and a
    /// session of its own, since nothing says what a stranger's query leaves in one.
    fn headers_of_query(&self) -> HeaderMap {
        let yes = HeaderValue::from_static("true");
        HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CONNECTION_STRING, self.connection_string.clone()),
            (
                BATCH_ISOLATION,
                HeaderValue::from_static(Isolation::RepeatableRead.header()),
            ),
            (BATCH_READ_ONLY, yes.clone()),
            (RAW_TEXT, yes.clone()),
            (ARRAY_MODE, yes),
        ])
    }
}

fn body(query: &Query<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let timeout = [Some(query.statement_timeout.as_millis().max(1).to_string())];
    serde_json::to_vec(&Sent {
        queries: [
            Part::new(SETTINGS, &timeout),
            Part::new(format!("{DECLARE}{}", query.sql), query.params),
            // Planning runs functions that call themselves immutable: what they set does not count.
            Part::new(SETTINGS, &timeout),
            Part::new(format!("fetch forward {} from aos_query", query.rows), &[]),
            // A read-only transaction lets large objects be made, in PostgreSQL 15, and notices be sent.
            Part::new("rollback", &[]),
        ],
    })
}

fn read(body: &[u8]) -> Result<Table, String> {
    let Results { mut results } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if results.len() != STATEMENTS {
        return Err(format!("{} answers to {STATEMENTS} statements", results.len()));
    }
    let table = results.swap_remove(FETCHED);
    let columns = table.columns.len();
    if table.rows.iter().all(|row| row.len() == columns) {
        Ok(table)
    } else {
        Err("a row has more or fewer values than there are columns".to_owned())
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_callers_text_ends_its_statement_and_stands_nowhere_else() {
        let sql = "select $1; drop table items --";
        let body = body(&Query {
            sql,
            params: &[Some("'; drop table items --".to_owned()), None],
            rows: 11,
            statement_timeout: Duration::from_secs(9),
            deadline: Duration::from_secs(10),
        });
        let sent: Value = serde_json::from_slice(&body.unwrap()).unwrap();
        let queries = sent["queries"].as_array().unwrap();
        assert_eq!(queries.len(), STATEMENTS);
        let held: Vec<_> = (0..STATEMENTS)
            .filter(|index| queries[*index]["query"].as_str().unwrap().contains("drop"))
            .collect();
        assert_eq!(held, [1]);
        assert!(queries[1]["query"].as_str().unwrap().ends_with(sql));
        assert_eq!(queries[1]["params"], json!(["'; drop table items --", null]));
        assert_eq!(queries[0]["params"], json!(["9000"]));
        assert_eq!(queries[0], queries[2]);
        assert_eq!(queries[FETCHED]["query"], "fetch forward 11 from aos_query");
        assert_eq!(queries[4]["query"], "rollback");
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        let nothing = json!({"fields": [], "rows": []});
        let table = |rows: Value| json!({"fields": [{"name": "a", "dataTypeID": 23}], "rows": rows});
        let answer = |table: Value| {
            let results = [&nothing, &nothing, &nothing, &table, &nothing];
            read(json!({"results": results}).to_string().as_bytes())
        };
        let read_table = answer(table(json!([["1"], [null]]))).unwrap();
        assert_eq!(read_table.rows, [vec![Some("1".to_owned())], vec![None]]);
        assert_eq!(read_table.columns[0].type_oid, 23);
        assert!(answer(table(json!([[]]))).is_err());
        assert!(answer(table(json!([["1", "2"]]))).is_err());
        assert!(answer(table(json!([[1]]))).is_err());
        assert!(read(b"{\"results\":[]}").is_err());
        assert!(read(b"{\"results\":[").is_err());
    }
}
