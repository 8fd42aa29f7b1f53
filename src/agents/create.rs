//! Creating an agent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Agent, rules};
use crate::{
    auth::Principal,
    body::Body,
    database::{Database, Failure, operation},
    idempotency::{Answer, IdempotencyKey, Reservation},
    ids::AgentId,
    integrations::neon::Statement,
    labels::Labels,
    problem::Problem,
    skills::Registry,
};

/// An agent to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "reporter", "allowed_skills": ["http_call", "json_transform"]}))]
pub struct NewAgent {
    /// Its name, unique among the tenant's agents.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// What it is told before every goal; at most 16 KiB.
    #[serde(default)]
    #[schema(default = "", max_length = 16384)]
    pub instructions: String,
    /// The model that plans for it; without one the settings choose.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    pub model: Option<String>,
    /// The skills that its plans may use, by their names at `/v1/skills`.
    #[schema(max_items = 50)]
    pub allowed_skills: Vec<String>,
    /// How many of its runs may be open at once.
    #[serde(default = "default_concurrent_runs")]
    #[schema(minimum = 1, maximum = 10_000, default = 100)]
    pub max_concurrent_runs: u32,
    /// How many runs may be created for it within 60 seconds.
    #[serde(default = "default_runs_per_minute")]
    #[schema(minimum = 1, maximum = 100_000, default = 600)]
    pub max_runs_per_minute: u32,
    /// At most 32 pairs; keys of 64, values of 256 characters.
    #[serde(default)]
    pub labels: Labels,
}

fn default_concurrent_runs() -> u32 {
    100
}

fn default_runs_per_minute() -> u32 {
    600
}

/// `POST /v1/agents`: creates an agent. The answer (201) holds an [`Agent`].
///
/// # Errors
/// 422 `invalid_request`, 409 `agent_name_taken`, 409 `idempotency_conflict`.
pub async fn create(
    database: &Database,
    skills: &Registry,
    principal: &Principal,
    key: Option<&IdempotencyKey>,
    body: Body<NewAgent>,
) -> Result<Answer, Problem> {
    let Body { value: new, json } = body;
    check(&new, skills)?;
    let now = database.now();
    let agent = Agent {
        id: AgentId::new(database.clock()),
        name: new.name,
        instructions: new.instructions,
        model: new.model,
        allowed_skills: new.allowed_skills,
        max_concurrent_runs: new.max_concurrent_runs,
        max_runs_per_minute: new.max_runs_per_minute,
        labels: new.labels,
        created_at: now,
        updated_at: now,
    };
    let reservation = Reservation::new("POST /v1/agents", key, &json, 201, &agent)?;

    let mut transaction = database.enter(principal, operation!("agents.create"));
    reservation.reserve(&mut transaction);
    transaction.push(
        reservation
            .bind(Statement::new(include_str!("sql/create.sql")))
            .bind(agent.id)
            .bind(&agent.name)
            .bind(&agent.instructions)
            .bind(agent.model.as_deref())
            .bind_json(&agent.allowed_skills)
            .bind(agent.max_concurrent_runs)
            .bind(agent.max_runs_per_minute)
            .bind_json(&agent.labels)
            .bind(agent.created_at),
    );
    let held = reservation.read(&mut transaction);
    let rows = match transaction.commit().await {
        Ok(rows) => rows,
        // The whole transaction is undone, the key's row included.
        Err(Failure::Taken(key)) if key == rules::NAME_KEY => return Err(rules::name_taken()),
        Err(failure) => return Err(failure.into()),
    };
    match reservation.replay(&rows, held)? {
        Some(first) => Ok(first),
        None => Ok(reservation.into_answer()),
    }
}

fn check(new: &NewAgent, skills: &Registry) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let fields = rules::Fields {
        name: Some(&new.name),
        instructions: Some(&new.instructions),
        model: new.model.as_deref(),
        allowed_skills: Some(&new.allowed_skills),
        max_concurrent_runs: Some(new.max_concurrent_runs),
        max_runs_per_minute: Some(new.max_runs_per_minute),
    };
    fields.check(skills, &mut errors);
    new.labels.check(&mut errors);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}
