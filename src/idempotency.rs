//! `Idempotency-Key`: the same request sent again gives the first answer again.
//!
//! The key is held by a unique key in the database, inside the transaction that does the work: a concurrent twin waits
//! for the first one's commit and then finds its answer. Answers are made before they are sent, so that the row can
//! hold them from the start; a refused request leaves no row.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    database::{Rows, Transaction},
    digest::sha256_hex,
    integrations::neon::Statement,
    problem::{FieldError, Problem},
};

/// Characters of a key.
pub const MAX_KEY_CHARS: usize = 255;

/// The value of the header `Idempotency-Key`: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the header's value.
    ///
    /// # Errors
    /// 422 `invalid_request` that points at `Idempotency-Key:`.
    pub fn parse(header: &[u8]) -> Result<Self, Problem> {
        match std::str::from_utf8(header) {
            Ok(text)
                if (1..=MAX_KEY_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Problem::invalid(vec![FieldError::new(
                "Idempotency-Key:",
                "invalid_format",
                format!("must be 1 to {MAX_KEY_CHARS} visible ASCII characters"),
            )])),
        }
    }
}

/// The answer to a request that creates something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The path of what was created, sent as `Location`.
    pub location: String,
    /// The body.
    pub body: Value,
    /// Whether this is the answer of an earlier request: sent as `Idempotency-Replayed: true`.
    pub replayed: bool,
}

/// The row that a creating request wants to hold for its key.
pub(crate) struct Reservation {
    route: &'static str,
    key: Option<String>,
    body_hash: String,
    status: u16,
    answer: Value,
}

/// The row that holds the key, ours or another's.
#[derive(Deserialize)]
struct Holder {
    body_hash: String,
    status: u16,
    answer: Value,
}

/// The number of the statement that reads who holds the key, if there is a key.
pub(crate) struct Held(Option<usize>);

impl Reservation {
    /// `answer` is the body that a success will have; its `id` is new and tells this request from every other.
    pub(crate) fn new(
        route: &'static str,
        key: Option<&IdempotencyKey>,
        body: &Value,
        status: u16,
        answer: &impl Serialize,
    ) -> Result<Self, Problem> {
        let key = key.map(|key| key.0.clone());
        let answer = serde_json::to_value(answer).map_err(|error| {
            tracing::error!(%error, "an answer cannot become JSON");
            Problem::internal()
        })?;
        let body_hash = if key.is_some() { hash(body)? } else { String::new() };
        Ok(Self {
            route,
            key,
            body_hash,
            status,
            answer,
        })
    }

    /// Takes the key, unless somebody has it. The transaction waits here for a twin that is still at work.
    pub(crate) fn reserve(&self, transaction: &mut Transaction<'_>) {
        if let Some(key) = &self.key {
            transaction.push(
                Statement::new(include_str!("idempotency/reserve.sql"))
                    .bind(self.route)
                    .bind(key)
                    .bind(&self.body_hash)
                    .bind(u32::from(self.status))
                    .bind_json(&self.answer),
            );
        }
    }

    /// Whether the key is ours to work under, as SQL sees it: bound as route, key (null without one) and the answer's id
    /// to a statement that asks `$1 is null or exists (select from idempotency_keys …)`.
    pub(crate) fn bind(&self, statement: Statement) -> Statement {
        statement.bind(self.route).bind(self.key.as_deref()).bind(self.id())
    }

    /// Reads who holds the key. Comes last.
    pub(crate) fn read(&self, transaction: &mut Transaction<'_>) -> Held {
        Held(self.key.as_ref().map(|key| {
            transaction.push(
                Statement::new(include_str!("idempotency/read.sql"))
                    .bind(self.route)
                    .bind(key),
            )
        }))
    }

    /// Gives the key back in the same transaction, as a refused request must.
    ///
    /// `statement` deletes the row unless the request succeeded; it ends with the parameters of [`Reservation::bind`].
    pub(crate) fn release(&self, statement: Statement, transaction: &mut Transaction<'_>) {
        if self.key.is_some() {
            transaction.push(self.bind(statement));
        }
    }

    /// The first answer, if the key was another request's.
    ///
    /// # Errors
    /// 409 `idempotency_conflict`, if that request had another body.
    pub(crate) fn replay(&self, rows: &Rows, held: Held) -> Result<Option<Answer>, Problem> {
        let Some(statement) = held.0 else { return Ok(None) };
        let Some(holder) = rows.one::<Holder>(statement)? else {
            return Ok(None);
        };
        if holder.body_hash != self.body_hash {
            return Err(Problem::conflict(
                "idempotency_conflict",
                "this Idempotency-Key was used for a request with another body",
            ));
        }
        let first = holder.answer.get("id") == self.answer.get("id");
        Ok((!first).then(|| answer(self.route, holder.status, holder.answer, true)))
    }

    /// The answer of this request, which succeeded.
    pub(crate) fn into_answer(self) -> Answer {
        answer(self.route, self.status, self.answer, false)
    }

    fn id(&self) -> &str {
        self.answer.get("id").and_then(Value::as_str).unwrap_or_default()
    }
}

/// What a creating route (`POST /v1/runs`) creates lies under its own path.
fn answer(route: &str, status: u16, body: Value, replayed: bool) -> Answer {
    let path = route.strip_prefix("POST ").unwrap_or(route);
    let id = body.get("id").and_then(Value::as_str).unwrap_or_default();
    Answer {
        status,
        location: format!("{path}/{id}"),
        body,
        replayed,
    }
}

/// SHA-256 of the canonical form (RFC 8785), so that neither spaces nor the order of keys make another body.
fn hash(body: &Value) -> Result<String, Problem> {
    let canonical = serde_json_canonicalizer::to_vec(body).map_err(|error| {
        tracing::error!(%error, "a body that was read as JSON has no canonical form");
        Problem::internal()
    })?;
    Ok(sha256_hex(canonical))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_visible_ascii() {
        for good in [&b"a"[..], b"~!\"{}", &[b'x'; 255]] {
            assert!(IdempotencyKey::parse(good).is_ok());
        }
        for bad in [&b""[..], b" ", b"a b", b"a\t", "ä".as_bytes(), b"\xff", &[b'x'; 256]] {
            assert_eq!(
                IdempotencyKey::parse(bad).unwrap_err().errors[0].pointer,
                "Idempotency-Key:"
            );
        }
    }

    #[test]
    fn bodies_that_say_the_same_have_the_same_hash() {
        let one: Value = serde_json::from_str(r#"{"a":1.0,"b":[true]}"#).unwrap();
        let same: Value = serde_json::from_str("{\"b\": [true],\n \"a\": 1}").unwrap();
        assert_eq!(hash(&one).unwrap(), hash(&same).unwrap());
        assert_ne!(hash(&one).unwrap(), hash(&json!({"a": 1, "b": [false]})).unwrap());
    }
}
