//! The list of a tenant's runs, newest first, without what may be large.

use utoipa::IntoParams;

use super::{status::RunStatus, view::RunSummary};
use crate::{
    auth::Principal,
    database::{Database, operation},
    ids::AgentId,
    integrations::neon::Statement,
    paging::{Page, PageRequest, Query},
    problem::Problem,
};

/// The query of `GET /v1/runs`, besides `limit` and `cursor`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunFilters {
    /// Only runs that stand here.
    #[param(inline)]
    pub status: Option<RunStatus>,
    /// Only runs of this agent.
    pub agent_id: Option<AgentId>,
}

impl RunFilters {
    fn take(query: &mut Query) -> Self {
        let statuses = RunStatus::ALL.map(RunStatus::as_str).join(", ");
        Self {
            status: query.take_value("status", &format!("one of {statuses}")),
            agent_id: query.take_value("agent_id", "the id of an agent (agt_…)"),
        }
    }
}

/// `GET /v1/runs`. `query` is what follows the question mark.
///
/// # Errors
/// 422 `invalid_request` that points at `?limit`, `?cursor`, `?status`, `?agent_id` or an unknown parameter.
pub async fn list(
    database: &Database,
    principal: &Principal,
    query: Option<&str>,
) -> Result<Page<RunSummary>, Problem> {
    let mut query = Query::read(query);
    let RunFilters { status, agent_id } = RunFilters::take(&mut query);
    let filters = [
        status.map(|status| status.as_str().to_owned()),
        agent_id.map(|id| id.to_string()),
    ];
    let page = PageRequest::take(&mut query, "runs", &filters);
    query.finish()?;
    let mut transaction = database.enter(principal, operation!("runs.list"));
    let listed = transaction.push(
        Statement::new(include_str!("sql/list.sql"))
            .bind(page.after())
            .bind(status.map(RunStatus::as_str))
            .bind(agent_id)
            .bind(page.rows()),
    );
    let runs = transaction.commit().await?.all::<RunSummary>(listed)?;
    Ok(page.page(runs, |run| run.id.uuid()))
}
