//! Runs a request's statements on a session: a single query in one round trip, a batch as one transaction in two.
//! Must never commit a batch whose answer cannot be given, and never leave settings, tables or locks behind.

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use super::answer::Answer;
use super::backend::Backend;
use super::failure::{DatabaseError, Failure};
use super::request::{Mode, Payload, Statement, parameter};

/// Empties a session: settings, temporary tables, locks, prepared statements, cursors.
const EMPTY: &str = "DISCARD ALL";

/// What came of a request.
#[derive(Debug)]
pub(super) struct Ran {
    /// The body of the answer.
    pub(super) result: Result<Vec<u8>, Failure>,
    /// Whether the session is whole and empty, so that another request may use it.
    pub(super) reusable: bool,
}

/// Runs the payload and empties the session.
pub(super) async fn run(backend: &mut Backend, payload: &Payload, mode: Mode) -> Ran {
    let answer = Answer::new(mode, payload.statements().iter().map(|statement| statement.array_mode));
    match payload {
        Payload::Single(statement) => single(backend, statement, answer).await,
        Payload::Batch { queries } => batch(backend, queries, mode, answer).await,
    }
}

/// Listens to a conversation: statements go into the answer, and the first error counts.
struct Listener {
    answer: Answer,
    failure: Option<Failure>,
}

impl Listener {
    fn hear(&mut self, message: Message) -> Result<(), Failure> {
        if self.failure.is_some() {
            return Ok(());
        }
        match self.answer.take(message) {
            // PostgreSQL skips what is left up to the next Sync, or sends the rest of a result that we cannot use;
            // then it is ready again.
            Err(failure @ (Failure::Database(_) | Failure::Result)) => {
                self.failure = Some(failure);
                Ok(())
            }
            other => other,
        }
    }

    /// The end of a request whose session cannot be used any more. An error that was heard tells more than the
    /// broken connection that followed it.
    fn broken(self, failure: Failure) -> Ran {
        Ran {
            result: Err(self.failure.unwrap_or(failure)),
            reusable: false,
        }
    }
}

async fn single(backend: &mut Backend, statement: &Statement, answer: Answer) -> Ran {
    let mut out = BytesMut::new();
    let written = write(statement, &mut out).and_then(|()| {
        frontend::sync(&mut out);
        Ok(frontend::query(EMPTY, &mut out)?)
    });
    if let Err(failure) = written {
        return Ran {
            result: Err(failure),
            reusable: true,
        };
    }
    let mut listener = Listener { answer, failure: None };
    let mut ending = Ending::default();
    let mut done = false;
    let heard = backend
        .converse(&out, 2, |message| {
            if done {
                ending.hear(message);
                return Ok(());
            }
            done = matches!(message, Message::ReadyForQuery(_));
            listener.hear(message)
        })
        .await;
    match heard {
        Err(failure) if !done => listener.broken(failure),
        heard => Ran {
            reusable: heard.is_ok() && ending.error.is_none(),
            result: listener.failure.map_or(Ok(listener.answer.into_json()), Err),
        },
    }
}

async fn batch(backend: &mut Backend, statements: &[Statement], mode: Mode, answer: Answer) -> Ran {
    let writes = match batch_writes(statements, mode) {
        Ok(writes) => writes,
        Err(failure) => {
            return Ran {
                result: Err(failure),
                reusable: true,
            };
        }
    };
    let mut listener = Listener { answer, failure: None };
    let mut begun = false;
    for Write { out, ready } in writes {
        let heard = backend
            .converse(&out, ready, |message| match message {
                // The first part is START TRANSACTION, which is no statement of the answer.
                Message::ReadyForQuery(_) if !begun => {
                    begun = true;
                    Ok(())
                }
                Message::ErrorResponse(_) => listener.hear(message),
                _ if !begun => Ok(()),
                message => listener.hear(message),
            })
            .await;
        if let Err(failure) = heard {
            return listener.broken(failure);
        }
        if listener.failure.is_some() {
            break;
        }
    }
    let mut ending = Ending::default();
    let end = if listener.failure.is_none() {
        "COMMIT"
    } else {
        "ROLLBACK"
    };
    let mut out = BytesMut::new();
    let written = frontend::query(end, &mut out).and_then(|()| frontend::query(EMPTY, &mut out));
    if let Err(error) = written {
        return listener.broken(error.into());
    }
    let mut committed = Ending::default();
    let mut done = false;
    let heard = backend
        .converse(&out, 2, |message| {
            let ready = matches!(message, Message::ReadyForQuery(_));
            if done {
                ending.hear(message)
            } else {
                committed.hear(message)
            }
            done |= ready;
            Ok(())
        })
        .await;
    if let Some(error) = committed.error {
        listener.failure.get_or_insert(Failure::Database(error));
    }
    match heard {
        Err(failure) if !done => listener.broken(failure),
        heard => Ran {
            reusable: heard.is_ok() && ending.error.is_none(),
            result: listener.failure.map_or_else(
                || Ok([br#"{"results":["#, listener.answer.into_json().as_slice(), b"]}"].concat()),
                Err,
            ),
        },
    }
}

/// Something to write at once, and how often the server will be ready before it has answered all of it.
struct Write {
    out: BytesMut,
    ready: usize,
}

/// The batch up to its last statement. All of it is one write with one Sync, so that an error skips the rest;
/// but a batch that ends its own transaction is written one by one, for what follows stands alone then.
fn batch_writes(statements: &[Statement], mode: Mode) -> Result<Vec<Write>, Failure> {
    let mut first = Write {
        out: BytesMut::new(),
        ready: 1,
    };
    frontend::query(&mode.transaction.begin(), &mut first.out)?;
    let mut writes = vec![first];
    let one_by_one = statements.iter().any(|statement| ends_transaction(&statement.query));
    for statement in statements {
        if one_by_one {
            writes.push(Write {
                out: BytesMut::new(),
                ready: 0,
            });
        }
        let Some(Write { out, ready }) = writes.last_mut() else {
            continue;
        };
        write(statement, out)?;
        if one_by_one {
            frontend::sync(out);
            *ready = 1;
        }
    }
    if let ([Write { out, ready }], false) = (writes.as_mut_slice(), statements.is_empty()) {
        frontend::sync(out);
        *ready = 2;
    }
    Ok(writes)
}

/// Whether the statement's first word may end the transaction.
fn ends_transaction(query: &str) -> bool {
    let mut rest = query.trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after).trim_start();
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after).trim_start();
        } else {
            break;
        }
    }
    let word = rest
        .split(|c: char| !c.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    ["commit", "end", "rollback", "abort", "prepare"]
        .iter()
        .any(|end| word.eq_ignore_ascii_case(end))
}

/// Parse, Bind, Describe and Execute, everything in text.
fn write(statement: &Statement, out: &mut BytesMut) -> Result<(), Failure> {
    frontend::parse("", &statement.query, [], out)?;
    frontend::bind(
        "",
        "",
        [],
        &statement.params,
        |value, out| {
            Ok(parameter(value).map_or(IsNull::Yes, |text| {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }))
        },
        [],
        out,
    )
    .map_err(|error| match error {
        frontend::BindError::Conversion(error) => Failure::Session(error.to_string()),
        frontend::BindError::Serialization(error) => Failure::from(error),
    })?;
    frontend::describe(b'P', "", out)?;
    frontend::execute("", 0, out)?;
    Ok(())
}

/// Listens to a command of our own, of which only an error matters.
#[derive(Default)]
struct Ending {
    error: Option<Box<DatabaseError>>,
}

impl Ending {
    fn hear(&mut self, message: Message) {
        if let Message::ErrorResponse(body) = message {
            self.error.get_or_insert_with(|| Box::new(DatabaseError::read(&body)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ends_transaction;

    #[test]
    fn only_the_first_word_ends_a_transaction() {
        for (query, ends) in [
            ("commit", true),
            (" -- done\n/* so */ COMMIT;", true),
            ("rollback to savepoint a", true),
            ("select 'commit'", false),
            ("update commits set x = 1", false),
            ("", false),
        ] {
            assert_eq!(ends_transaction(query), ends, "{query}");
        }
    }
}
