//! Reading one agent, and the list of them.

use super::Agent;
use crate::{
    auth::Principal,
    database::{Database, operation},
    ids::AgentId,
    integrations::neon::Statement,
    paging::{Page, PageRequest, Query},
    problem::Problem,
};

/// `GET /v1/agents/{id}`.
///
/// # Errors
/// 404 `not_found`.
pub async fn get(database: &Database, principal: &Principal, id: AgentId) -> Result<Agent, Problem> {
    let mut transaction = database.enter(principal, operation!("agents.get"));
    let read = transaction.push(Statement::new(include_str!("sql/read.sql")).bind(id));
    transaction
        .commit()
        .await?
        .one(read)?
        .ok_or_else(|| Problem::not_found("agent"))
}

/// `GET /v1/agents`: the tenant's agents, newest first. `query` is what follows the question mark.
///
/// # Errors
/// 422 `invalid_request` that points at `?limit`, `?cursor` or an unknown parameter.
pub async fn list(database: &Database, principal: &Principal, query: Option<&str>) -> Result<Page<Agent>, Problem> {
    let mut query = Query::read(query);
    let page = PageRequest::take(&mut query, "agents", &[]);
    query.finish()?;
    let mut transaction = database.enter(principal, operation!("agents.list"));
    let listed = transaction.push(
        Statement::new(include_str!("sql/list.sql"))
            .bind(page.after())
            .bind(page.rows()),
    );
    let agents = transaction.commit().await?.all::<Agent>(listed)?;
    Ok(page.page(agents, |agent| agent.id.uuid()))
}
