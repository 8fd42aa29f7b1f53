//! The database as the API sees it: the role `aos_api`, one tenant per transaction, one request per endpoint.
//!
//! Every transaction begins by entering the caller's tenant; row-level security hides all others after that. What went
//! wrong inside is logged here and never told to the caller.

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    auth::Principal,
    ids::TenantId,
    integrations::{
        Repeat,
        neon::{Answers, Batch, Error, Neon, Statement},
    },
    platform::Clock,
    problem::Problem,
};

/// The statement that enters the tenant, named after the operation: it comes first and so names the whole request in
/// logs and counters.
macro_rules! operation {
    ($name:literal) => {
        concat!("-- name: ", $name, "\nselect enter_tenant($1, $2::uuid)")
    };
}
pub(crate) use operation;

/// The API's view of the database.
#[derive(Clone)]
pub struct Database {
    neon: Neon,
    clock: Arc<dyn Clock>,
}

impl Database {
    /// `neon` must be connected as the API's role, which row-level security binds to one tenant per transaction.
    pub fn new(neon: Neon, clock: Arc<dyn Clock>) -> Self {
        Self { neon, clock }
    }

    /// The clock that gives new ids and rows their time.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The time now, as exactly as the database can store it (microseconds), so that what is answered at once is what
    /// is read later.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.now().as_microsecond()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// A transaction in the principal's tenant, which is created on first sight. `operation` comes from [`operation!`].
    pub(crate) fn enter(&self, principal: &Principal, operation: &'static str) -> Transaction<'_> {
        let entrance = Statement::new(operation)
            .bind(principal.tenant.as_str())
            .bind(TenantId::new(&*self.clock));
        Transaction {
            database: self,
            statements: vec![entrance],
        }
    }
}

/// Statements that will be sent together, in one tenant, as one transaction.
pub(crate) struct Transaction<'a> {
    database: &'a Database,
    statements: Vec<Statement>,
}

impl Transaction<'_> {
    /// Adds a statement and gives the number that its rows have in [`Rows`].
    pub(crate) fn push(&mut self, statement: Statement) -> usize {
        self.statements.push(statement);
        self.statements.len().saturating_sub(1)
    }

    /// Sends everything: one request, one transaction.
    pub(crate) async fn commit(self) -> Result<Rows, Failure> {
        // Every operation of the API may be repeated after a lost answer: its ids and times were made before it was
        // sent, so that the second time it finds its own rows.
        let batch = self
            .statements
            .into_iter()
            .fold(Batch::write(Repeat::Harmless), Batch::push);
        self.database.neon.batch(&batch).await.map(Rows).map_err(Failure::from)
    }
}

/// What the statements of a transaction returned.
pub(crate) struct Rows(Answers);

impl Rows {
    /// The rows of a statement.
    pub(crate) fn all<T: DeserializeOwned>(&self, statement: usize) -> Result<Vec<T>, Problem> {
        self.0.decode(statement).map_err(|error| problem_of(&error))
    }

    /// The only row of a statement, if there is one.
    pub(crate) fn one<T: DeserializeOwned>(&self, statement: usize) -> Result<Option<T>, Problem> {
        self.0.one(statement).map_err(|error| problem_of(&error))
    }

    /// The row of a statement that always returns one.
    pub(crate) fn only<T: DeserializeOwned>(&self, statement: usize) -> Result<T, Problem> {
        self.one(statement)?.ok_or_else(|| {
            tracing::error!(statement, "a statement that always returns a row returned none");
            Problem::internal()
        })
    }

    /// How many rows a statement wrote.
    pub(crate) fn affected(&self, statement: usize) -> u64 {
        self.0.affected(statement)
    }
}

/// Why a transaction was rolled back or has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A unique key of this name is taken; nothing took effect.
    Taken(String),
    /// Anything else, as the caller may know it.
    Problem(Problem),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match (error.sqlstate(), error.constraint()) {
            // unique_violation
            (Some("23505"), Some(constraint)) => Self::Taken(constraint.to_owned()),
            _ => Self::Problem(problem_of(&error)),
        }
    }
}

impl From<Failure> for Problem {
    /// For operations in which no unique key is expected to be taken.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Problem(problem) => problem,
            Failure::Taken(constraint) => {
                tracing::error!(constraint, "a unique key was taken where none could be");
                Self::internal()
            }
        }
    }
}

/// Logs what happened and says as much of it as a caller may know.
fn problem_of(error: &Error) -> Problem {
    tracing::error!(%error, "the database did not carry a request out");
    let away = match error {
        Error::Unreachable { .. } | Error::Timeout(_) => true,
        // Serialisation failures and deadlocks that outlasted the tries; exhausted resources; cancelled statements.
        Error::Database(error) => ["40", "53", "57"].iter().any(|class| error.sqlstate.starts_with(class)),
        _ => false,
    };
    if !away {
        return Problem::internal();
    }
    Problem::unavailable(if error.may_have_taken_effect() {
        "the database did not answer in time; the request may have been carried out, and is safe to send again under the \
         same Idempotency-Key"
    } else {
        "the database cannot be reached at the moment; nothing was carried out"
    })
}
