//! `/v1/skills`. What it serves of contracts is the committed `contracts.json`: what makes them is never part of the wasm.

use std::sync::Arc;

use aos::{
    problem::Problem,
    skills::{Contract, Skill},
};
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    answer::{self, Refused},
    incoming::InPath,
    state::App,
};

/// Every contract, ordered by name.
const CONTRACTS: &str = include_str!(concat!(env!("OUT_DIR"), "/contracts.json"));

/// The skills there are.
#[derive(Serialize, ToSchema)]
pub(crate) struct Skills {
    /// Their contracts, ordered by name.
    items: Vec<Served>,
}

/// A skill: what it promises, and whether it can be used here.
#[derive(Serialize, ToSchema)]
#[schema(as = Skill)]
pub(crate) struct Served {
    #[serde(flatten)]
    #[schema(value_type = Contract)]
    contract: Map<String, Value>,
    /// Whether this installation has what it needs. A tenant may have brought its own along (`/v1/settings`).
    configured: bool,
}

/// These of the skills.
fn served(app: &App, is_asked_for: impl Fn(&dyn Skill) -> bool) -> Result<Vec<Served>, Refused> {
    let contracts: Vec<Map<String, Value>> = serde_json::from_str(CONTRACTS).map_err(|error| {
        tracing::error!(%error, "the contracts cannot be read");
        Problem::internal()
    })?;
    let with_skills = app.registry.iter().zip(contracts);
    Ok(with_skills
        .filter(|(skill, _)| is_asked_for(*skill))
        .map(|(skill, contract)| Served {
            contract,
            configured: app.services().are_enough_for(skill.identity()),
        })
        .collect())
}

/// List skills
#[utoipa::path(
    get, path = "/v1/skills", operation_id = "listSkills", tag = "skills",
    responses((status = 200, body = Skills, description = "The contract of every skill")),
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let items = served(&app, |_| true)?;
    answer::json(StatusCode::OK, &Skills { items })
}

/// Read a skill
#[utoipa::path(
    get, path = "/v1/skills/{name}", operation_id = "readSkill", tag = "skills",
    params(("name" = String, Path, description = "The skill's name")),
    responses((status = 200, body = Served, description = "Its contract")),
)]
pub(crate) async fn read(State(app): State<Arc<App>>, InPath(name): InPath<String>) -> Result<Response, Refused> {
    let mut found = served(&app, |skill| skill.identity().name == name)?;
    let skill = found.pop().ok_or_else(|| Problem::not_found("skill"))?;
    answer::json(StatusCode::OK, &skill)
}
