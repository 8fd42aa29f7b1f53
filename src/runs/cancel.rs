//! Cancelling a run: what has not ended is cancelled with it, at once. An executor that is still at work finds its step
//! ended and changes nothing but the ledger of effects.

use super::{
    read::{push_read, read_run},
    status::RunStatus,
    view::Run,
};
use crate::{
    auth::Principal,
    database::{Database, operation},
    ids::{OutboxId, RunId},
    integrations::neon::Statement,
    problem::Problem,
};

/// `POST /v1/runs/{id}/cancel`: answers the run as it is then. Cancelling it again answers the same.
///
/// # Errors
/// 404 `not_found`; 409 `run_ended`, if it had succeeded or failed before.
pub async fn cancel(database: &Database, principal: &Principal, id: RunId) -> Result<Run, Problem> {
    let event = OutboxId::new(database.clock());
    let mut transaction = database.enter(principal, operation!("runs.cancel"));
    transaction.push(Statement::new(include_str!("sql/lock.sql")).bind(id));
    transaction.push(Statement::new(include_str!("sql/cancel_steps.sql")).bind(id));
    transaction.push(Statement::new(include_str!("sql/cancel.sql")).bind(id).bind(event));
    let read = push_read(&mut transaction, id, true);
    let run = read_run(&transaction.commit().await?, read)?.ok_or_else(|| Problem::not_found("run"))?;
    if run.status == RunStatus::Cancelled {
        return Ok(run);
    }
    let detail = format!("the run has ended already: it has {}", run.status.as_str());
    Err(Problem::conflict("run_ended", detail))
}
