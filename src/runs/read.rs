//! Reading one run: the whole, its steps, one step, its history. One request each, whatever the run's size; what would
//! be too large for one answer is left out and says so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use utoipa::IntoParams;

use super::{
    plan::Plan,
    status::RunStatus,
    view::{History, HistoryEntry, Run, RunError, Step, StepCounts, Steps},
};
use crate::{
    archive::OutputRef,
    auth::Principal,
    database::{Database, Rows, Transaction, operation},
    ids::{AgentId, RunId},
    integrations::neon::Statement,
    labels::Labels,
    paging::{MAX_LIMIT, Query},
    problem::Problem,
};

/// The longest that [`get`](super::wait::get) waits for a run to end, in seconds.
pub const MAX_WAIT_S: u32 = 30;
/// Bytes of all outputs in one answer: the smallest ones come first, and what goes beyond is left out. Far below the
/// gateway's limit of 10 MiB, because an answer is in memory more than once.
const MAX_OUTPUT_BYTES: u32 = 4 * 1024 * 1024;

/// The query of `GET /v1/runs/{id}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GetRun {
    /// Holds the answer until the run ends, for at most this many seconds.
    #[param(required = false, minimum = 0, maximum = 30, default = 0)]
    pub wait: u32,
}

impl GetRun {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// 422 `invalid_request` that points at `?wait` or an unknown parameter.
    pub fn parse(raw: Option<&str>) -> Result<Self, Problem> {
        let mut query = Query::read(raw);
        let wait = query.take_number("wait", 0, MAX_WAIT_S).unwrap_or_default();
        query.finish().map(|()| Self { wait })
    }
}

/// The query of `GET /v1/runs/{id}/history`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GetHistory {
    /// The number after which to begin.
    #[param(required = false, minimum = 0, default = 0)]
    pub after: u32,
    /// Entries to answer.
    #[param(required = false, minimum = 1, maximum = 100, default = 100)]
    pub limit: u32,
}

impl GetHistory {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// 422 `invalid_request` that points at `?after`, `?limit` or an unknown parameter.
    pub fn parse(raw: Option<&str>) -> Result<Self, Problem> {
        let mut query = Query::read(raw);
        // The database counts in i32.
        let after = query
            .take_number("after", 0, i32::MAX.unsigned_abs())
            .unwrap_or_default();
        let limit = query.take_number("limit", 1, MAX_LIMIT).unwrap_or(MAX_LIMIT);
        query.finish().map(|()| Self { after, limit })
    }
}

/// A run as the database gives it.
#[derive(Deserialize)]
struct Row {
    id: RunId,
    agent_id: AgentId,
    status: RunStatus,
    input: Box<RawValue>,
    labels: Labels,
    plan: Value,
    plan_hash: String,
    output: Option<BTreeMap<String, Box<RawValue>>>,
    output_archived: Option<BTreeMap<String, OutputRef>>,
    output_omitted: Option<Vec<String>>,
    error: Option<RunError>,
    steps: StepCounts,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl Row {
    fn into_run(self) -> Result<Run, Problem> {
        let plan = Plan::from_stored(self.plan).map_err(|error| {
            tracing::error!(run = %self.id, %error, "a stored plan cannot be read");
            Problem::internal()
        })?;
        Ok(Run {
            id: self.id,
            agent_id: self.agent_id,
            status: self.status,
            input: self.input,
            labels: self.labels,
            plan: plan.draft(),
            plan_hash: self.plan_hash,
            output: self.output,
            archived: self.output_archived.unwrap_or_default(),
            output_omitted: self.output_omitted.unwrap_or_default(),
            error: self.error,
            steps: self.steps,
            created_at: self.created_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
        })
    }
}

/// `GET /v1/runs/{id}`: one request to the database.
///
/// # Errors
/// 404 `not_found`.
pub async fn get(database: &Database, principal: &Principal, id: RunId) -> Result<Run, Problem> {
    look(database, principal, id, true)
        .await?
        .ok_or_else(|| Problem::not_found("run"))
}

/// The run, if it has ended; one that has not, only if `open_too`. One request to the database.
pub(super) async fn look(
    database: &Database,
    principal: &Principal,
    id: RunId,
    open_too: bool,
) -> Result<Option<Run>, Problem> {
    let mut transaction = database.enter(principal, operation!("runs.get"));
    let found = transaction.push(Statement::new(include_str!("sql/found.sql")).bind(id));
    let read = push_read(&mut transaction, id, open_too);
    let rows = transaction.commit().await?;
    match read_run(&rows, read)? {
        Some(run) => Ok(Some(run)),
        None if rows.affected(found) == 0 => Err(Problem::not_found("run")),
        None => Ok(None),
    }
}

/// Reads a run; one that has not ended only if `open_too`.
pub(super) fn push_read(transaction: &mut Transaction<'_>, id: RunId, open_too: bool) -> usize {
    transaction.push(
        Statement::new(include_str!("sql/read.sql"))
            .bind(id)
            .bind(MAX_OUTPUT_BYTES)
            .bind(open_too),
    )
}

/// The run that [`push_read`] found.
pub(super) fn read_run(rows: &Rows, statement: usize) -> Result<Option<Run>, Problem> {
    rows.one::<Row>(statement)?.map(Row::into_run).transpose()
}

/// `GET /v1/runs/{id}/steps`: all steps, in the order of the plan.
///
/// # Errors
/// 404 `not_found`.
pub async fn steps(database: &Database, principal: &Principal, id: RunId) -> Result<Steps, Problem> {
    let mut transaction = database.enter(principal, operation!("runs.steps"));
    let read = push_steps(&mut transaction, id, None, MAX_OUTPUT_BYTES);
    let items = transaction.commit().await?.all::<Step>(read)?;
    // A plan has at least one step.
    if items.is_empty() {
        Err(Problem::not_found("run"))
    } else {
        Ok(Steps { items })
    }
}

/// `GET /v1/runs/{id}/steps/{key}`: one step with its whole output.
///
/// # Errors
/// 404 `not_found`.
pub async fn step(database: &Database, principal: &Principal, id: RunId, key: &str) -> Result<Step, Problem> {
    // The one text that the database could not even look for.
    if key.contains('\0') {
        return Err(Problem::not_found("step"));
    }
    let mut transaction = database.enter(principal, operation!("runs.step"));
    let read = push_steps(&mut transaction, id, Some(key), i32::MAX.unsigned_abs());
    transaction
        .commit()
        .await?
        .one(read)?
        .ok_or_else(|| Problem::not_found("step"))
}

fn push_steps(transaction: &mut Transaction<'_>, id: RunId, key: Option<&str>, max_output_bytes: u32) -> usize {
    transaction.push(
        Statement::new(include_str!("sql/steps.sql"))
            .bind(id)
            .bind(key)
            .bind(max_output_bytes),
    )
}

/// `GET /v1/runs/{id}/history`: what became of the run and its steps, in order.
///
/// # Errors
/// 404 `not_found`.
pub async fn history(
    database: &Database,
    principal: &Principal,
    id: RunId,
    query: GetHistory,
) -> Result<History, Problem> {
    let mut transaction = database.enter(principal, operation!("runs.history"));
    let found = transaction.push(Statement::new(include_str!("sql/found.sql")).bind(id));
    let read = transaction.push(
        Statement::new(include_str!("sql/history.sql"))
            .bind(id)
            .bind(query.after)
            .bind(query.limit.saturating_add(1)),
    );
    let rows = transaction.commit().await?;
    if rows.affected(found) == 0 {
        return Err(Problem::not_found("run"));
    }
    let mut items = rows.all::<HistoryEntry>(read)?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next_after = items.last().filter(|_| more).map(|last| last.seq);
    Ok(History { items, next_after })
}
