//! Deleting an agent: it goes out of sight and its name is free again; its runs stay.

use serde::Deserialize;

use crate::{
    auth::Principal,
    database::{Database, operation},
    ids::AgentId,
    integrations::neon::Statement,
    problem::Problem,
};

/// What became of the agent.
#[derive(Deserialize)]
struct Verdict {
    deleted: bool,
    found: bool,
}

/// `DELETE /v1/agents/{id}`.
///
/// # Errors
/// 404 `not_found`; 409 `agent_has_open_runs`.
pub async fn delete(database: &Database, principal: &Principal, id: AgentId) -> Result<(), Problem> {
    let now = database.now();
    let mut transaction = database.enter(principal, operation!("agents.delete"));
    transaction.push(Statement::new(include_str!("sql/lock.sql")).bind(id));
    transaction.push(Statement::new(include_str!("sql/delete.sql")).bind(id).bind(now));
    let verdict = transaction.push(Statement::new(include_str!("sql/deleted.sql")).bind(id).bind(now));
    match transaction.commit().await?.only(verdict)? {
        Verdict { deleted: true, .. } => Ok(()),
        Verdict { found: true, .. } => Err(Problem::conflict(
            "agent_has_open_runs",
            "runs of this agent have not ended yet; wait for them or cancel them first",
        )),
        Verdict { .. } => Err(Problem::not_found("agent")),
    }
}
