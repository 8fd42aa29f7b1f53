//! `/v1/agents`.

use std::sync::Arc;

use aos::{
    agents::{self, Agent, AgentPatch, NewAgent},
    ids::AgentId,
    paging::Page,
    problem::Problem,
};
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    answer::{self, Refused},
    caller::Caller,
    incoming::{Idempotency, InPath, Json, id},
    openapi::{IdempotencyHeader, PageParams},
    state::App,
};

/// Create an agent
///
/// An agent is a named worker: what it is told, which skills it may use, its limits.
#[utoipa::path(
    post, path = "/v1/agents", operation_id = "createAgent", tag = "agents",
    params(IdempotencyHeader), request_body = NewAgent,
    responses(
        (status = 201, body = Agent, description = "The agent", headers(
            ("Location" = String, description = "The agent's path"),
            ("Idempotency-Replayed" = String, description = "`true` if this is an earlier request's answer"),
        )),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`agent_name_taken`; `idempotency_conflict`"),
    ),
)]
#[worker::send]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    Idempotency(key): Idempotency,
    Json(body): Json<NewAgent>,
) -> Result<Response, Refused> {
    let answer = agents::create(&app.database, &app.registry, &principal, key.as_ref(), body).await?;
    answer::created(&answer)
}

/// List agents
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/agents", operation_id = "listAgents", tag = "agents",
    params(PageParams),
    responses((status = 200, body = Page<Agent>, description = "One page")),
)]
#[worker::send]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &agents::list(&app.database, &principal, query.as_deref()).await?,
    )
}

/// Read an agent
#[utoipa::path(
    get, path = "/v1/agents/{id}", operation_id = "readAgent", tag = "agents",
    params(("id" = AgentId, Path, description = "The agent")),
    responses((status = 200, body = Agent, description = "The agent")),
)]
#[worker::send]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(agent): InPath<String>,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &agents::get(&app.database, &principal, id(&agent, "agent")?).await?,
    )
}

/// Change an agent
///
/// What is absent from the body stays as it is (JSON merge patch, RFC 7396).
#[utoipa::path(
    patch, path = "/v1/agents/{id}", operation_id = "changeAgent", tag = "agents",
    params(("id" = AgentId, Path, description = "The agent")), request_body = AgentPatch,
    responses(
        (status = 200, body = Agent, description = "The agent as it is now"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`agent_name_taken`"),
    ),
)]
#[worker::send]
pub(crate) async fn patch(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(agent): InPath<String>,
    Json(body): Json<AgentPatch>,
) -> Result<Response, Refused> {
    let agent: AgentId = id(&agent, "agent")?;
    answer::json(
        StatusCode::OK,
        &agents::patch(&app.database, &app.registry, &principal, agent, body).await?,
    )
}

/// Delete an agent
///
/// Only one without open runs; the runs that have ended stay.
#[utoipa::path(
    delete, path = "/v1/agents/{id}", operation_id = "deleteAgent", tag = "agents",
    params(("id" = AgentId, Path, description = "The agent")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`agent_has_open_runs`"),
    ),
)]
#[worker::send]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(agent): InPath<String>,
) -> Result<Response, Refused> {
    agents::delete(&app.database, &principal, id(&agent, "agent")?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
