//! `/v1/skills`.

use std::sync::Arc;

use aos::{
    problem::Problem,
    skills::{Contract, Services, Skill},
};
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    answer::{self, Refused},
    incoming::InPath,
    state::App,
};

/// The skills there are.
#[derive(Serialize, ToSchema)]
pub(crate) struct Skills<'a> {
    /// Their contracts, ordered by name.
    items: Vec<Served<'a>>,
}

/// A skill: what it promises, and whether it can be used here.
#[derive(Serialize, ToSchema)]
#[schema(as = Skill)]
pub(crate) struct Served<'a> {
    #[serde(flatten)]
    contract: &'a Contract,
    /// Whether this installation has what it needs. A tenant may have brought its own along (`/v1/settings`).
    configured: bool,
}

impl<'a> Served<'a> {
    fn new(skill: &'a dyn Skill, services: &Services) -> Self {
        let contract = skill.contract();
        Self {
            configured: services.are_enough_for(contract),
            contract,
        }
    }
}

/// List skills
#[utoipa::path(
    get, path = "/v1/skills", operation_id = "listSkills", tag = "skills",
    responses((status = 200, body = Skills, description = "The contract of every skill")),
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &Skills {
            items: app
                .registry
                .iter()
                .map(|skill| Served::new(skill, app.services()))
                .collect(),
        },
    )
}

/// Read a skill
#[utoipa::path(
    get, path = "/v1/skills/{name}", operation_id = "readSkill", tag = "skills",
    params(("name" = String, Path, description = "The skill's name")),
    responses((status = 200, body = Served, description = "Its contract")),
)]
pub(crate) async fn read(State(app): State<Arc<App>>, InPath(name): InPath<String>) -> Result<Response, Refused> {
    let skill = app.registry.get(&name).ok_or_else(|| Problem::not_found("skill"))?;
    answer::json(StatusCode::OK, &Served::new(skill, app.services()))
}
