//! The database as the API sees it: the role `aos_api`, one tenant per transaction, one request per endpoint.
//!
//! Every transaction begins by entering the caller's tenant; row-level security hides all others after that. The
//! operator's own see tenants and no tenant's data. What went wrong inside is logged here and never told to the caller.

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    auth::{Principal, TenantName},
    ids::TenantId,
    integrations::{
        Repeat,
        neon::{Answers, Batch, Error, Neon, Statement},
    },
    platform::Clock,
    problem::Problem,
    tenants::{Known, Limits},
};

/// The statement that enters the tenant, named after the operation: it comes first and so names the whole request in
/// logs and counters.
macro_rules! operation {
    ($name:literal) => {
        concat!("-- name: ", $name, "\nselect enter_tenant($1, $2::uuid) as data")
    };
}
pub(crate) use operation;

/// The same for what the operator does to tenants: the statement that enters none.
macro_rules! operator_operation {
    ($name:literal) => {
        concat!("-- name: ", $name, "\nselect enter_operator()")
    };
}
pub(crate) use operator_operation;

/// The API's view of the database.
#[derive(Clone)]
pub struct Database {
    neon: Neon,
    clock: Arc<dyn Clock>,
    known: Arc<Known>,
}

impl Database {
    /// `neon` must be connected as the API's role, which row-level security binds to one tenant per transaction.
    pub fn new(neon: Neon, clock: Arc<dyn Clock>) -> Self {
        Self {
            neon,
            clock,
            known: Arc::default(),
        }
    }

    /// What this isolate's last transaction in a tenant was told about its limits; `None` before the first one. Asks
    /// nobody: the answer may be older than the operator's last change, by one request of this tenant in this isolate.
    pub fn limits_of(&self, tenant: &TenantName) -> Option<Limits> {
        self.known.get(tenant)
    }

    /// Keeps what another way of asking (an API key's look-up) told about a tenant.
    pub(crate) fn learn(&self, tenant: &TenantName, limits: Limits) {
        self.known.learn(tenant, limits);
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
            tenant: Some(principal.tenant.clone()),
        }
    }

    /// A transaction of the operator's, in no tenant. `operation` comes from [`operator_operation!`].
    ///
    /// # Errors
    /// 403 `forbidden` for everybody else, whatever a route may have let through.
    pub(crate) fn operate(&self, principal: &Principal, operation: &'static str) -> Result<Transaction<'_>, Problem> {
        if !principal.is_operator() {
            return Err(Problem::new(
                403,
                "forbidden",
                "Not allowed",
                "only the operator may do this",
            ));
        }
        Ok(Transaction {
            database: self,
            statements: vec![Statement::new(operation)],
            tenant: None,
        })
    }

    /// One statement before any tenant is known. Row-level security shows it nothing: it calls a function that finds
    /// what may be found then.
    pub(crate) async fn outside(&self, statement: Statement) -> Result<Rows, Problem> {
        let batch = Batch::write(Repeat::Harmless).push(statement);
        self.neon
            .batch(&batch)
            .await
            .map(Rows)
            .map_err(|error| problem_of(&error))
    }
}

/// Statements that will be sent together, in one tenant, as one transaction.
pub(crate) struct Transaction<'a> {
    database: &'a Database,
    statements: Vec<Statement>,
    /// The tenant that it enters; `None` for the operator's.
    tenant: Option<TenantName>,
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
        let rows = Rows(self.database.neon.batch(&batch).await?);
        if let Some(tenant) = &self.tenant {
            let limits = rows.only(0).map_err(Failure::Problem)?;
            self.database.known.learn(tenant, limits);
        }
        Ok(rows)
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
    // Raised by enter_tenant.
    if error.sqlstate() == Some("AOS02") {
        let detail = "the operator is erasing this tenant; nothing of it can be used any more";
        return Problem::new(410, "tenant_erased", "The tenant is gone", detail);
    }
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
