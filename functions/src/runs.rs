//! `/v1/runs`.

use std::sync::Arc;

use aos::{
    ids::RunId,
    paging::Page,
    platform::Job,
    problem::Problem,
    runs::{
        cancel,
        create::{self, NewRun},
        list::{self, RunFilters},
        read::{self, GetHistory, GetRun},
        view::{History, Run, RunSummary, Step, Steps},
        wait,
    },
};
use axum::{
    Extension,
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};
use futures::FutureExt;

use crate::{
    answer::{self, Refused},
    caller::Caller,
    incoming::{Idempotency, InPath, Json, id},
    openapi::{IdempotencyHeader, PageParams},
    router::Scope,
    state::App,
};

/// How long after a step became due the cron rings for it, in seconds, where the queue has been rung already.
const RING_GRACE_S: u32 = 60;

/// Create a run
///
/// The plan is checked as a whole, and every error points at its place in it. The answer does not wait for the run.
#[utoipa::path(
    post, path = "/v1/runs", operation_id = "createRun", tag = "runs",
    params(IdempotencyHeader), request_body = NewRun,
    responses(
        (status = 202, body = RunSummary, description = "The run, accepted", headers(
            ("Location" = String, description = "The run's path"),
            ("Idempotency-Replayed" = String, description = "`true` if this is an earlier request's answer"),
        )),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`idempotency_conflict`"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "`agent_concurrency_limit`; `agent_rate_limit`", headers(
            ("Retry-After" = u32, description = "Seconds until a repeat may succeed"),
        )),
    ),
)]
#[worker::send]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(scope): Extension<Scope>,
    Caller(principal): Caller,
    Idempotency(key): Idempotency,
    Json(body): Json<NewRun>,
) -> Result<Response, Refused> {
    let ring = app.settings.ring;
    let grace = if ring { RING_GRACE_S } else { 0 };
    let created = create::create(&app.database, &app.registry, &principal, key.as_ref(), body, grace).await?;
    if ring && !created.to_ring.is_empty() {
        let jobs = created.to_ring.iter().map(|step_id| Job {
            step_id: *step_id,
            delay_s: 0,
        });
        let (queue, jobs) = (scope.jobs, jobs.collect());
        (scope.after)(
            async move {
                if let Err(error) = queue.ring(jobs).await {
                    tracing::warn!(%error, "the queue could not be rung; the cron will");
                }
            }
            .boxed_local(),
        );
    }
    answer::created(&created.answer)
}

/// List runs
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/runs", operation_id = "listRuns", tag = "runs",
    params(RunFilters, PageParams),
    responses((status = 200, body = Page<RunSummary>, description = "One page")),
)]
#[worker::send]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &list::list(&app.database, &principal, query.as_deref()).await?,
    )
}

/// Read a run
///
/// With `wait` the answer is held until the run has ended or the time is up; it is the run as it stands then.
#[utoipa::path(
    get, path = "/v1/runs/{id}", operation_id = "readRun", tag = "runs",
    params(("id" = RunId, Path, description = "The run"), GetRun),
    responses((status = 200, body = Run, description = "The run")),
)]
#[worker::send]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(run): InPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = GetRun::parse(query.as_deref())?;
    let run: RunId = id(&run, "run")?;
    let run = wait::get(&app.database, &app.settings.upstash, &principal, run, query).await?;
    answer::json(StatusCode::OK, &run.with_outputs(app.archive()).await)
}

/// List a run's steps
///
/// In the order of the plan.
#[utoipa::path(
    get, path = "/v1/runs/{id}/steps", operation_id = "listSteps", tag = "runs",
    params(("id" = RunId, Path, description = "The run")),
    responses((status = 200, body = Steps, description = "All steps")),
)]
#[worker::send]
pub(crate) async fn steps(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(run): InPath<String>,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &read::steps(&app.database, &principal, id(&run, "run")?).await?,
    )
}

/// Read a step
///
/// With its whole output, unless that has more than 4 MiB: it is then `output_omitted`, and in the archive alone.
#[utoipa::path(
    get, path = "/v1/runs/{id}/steps/{key}", operation_id = "readStep", tag = "runs",
    params(("id" = RunId, Path, description = "The run"), ("key" = String, Path, description = "The step's name in the plan")),
    responses((status = 200, body = Step, description = "The step")),
)]
#[worker::send]
pub(crate) async fn step(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath((run, key)): InPath<(String, String)>,
) -> Result<Response, Refused> {
    let step = read::step(&app.database, &principal, id(&run, "run")?, &key).await?;
    answer::json(StatusCode::OK, &step.with_output(app.archive()).await)
}

/// Read a run's history
///
/// What became of the run and of its steps, in order.
#[utoipa::path(
    get, path = "/v1/runs/{id}/history", operation_id = "readHistory", tag = "runs",
    params(("id" = RunId, Path, description = "The run"), GetHistory),
    responses((status = 200, body = History, description = "A part of the history, oldest first")),
)]
#[worker::send]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(run): InPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let query = GetHistory::parse(query.as_deref())?;
    answer::json(
        StatusCode::OK,
        &read::history(&app.database, &principal, id(&run, "run")?, query).await?,
    )
}

/// Cancel a run
///
/// What has not ended is cancelled at once; a result that still comes in changes nothing. Cancelling again answers the
/// same.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", operation_id = "cancelRun", tag = "runs",
    params(("id" = RunId, Path, description = "The run")),
    responses(
        (status = 200, body = Run, description = "The run as it is then"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`run_ended`"),
    ),
)]
#[worker::send]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(run): InPath<String>,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &cancel::cancel(&app.database, &principal, id(&run, "run")?).await?,
    )
}
