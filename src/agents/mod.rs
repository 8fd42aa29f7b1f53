//! Agents: named workers of a tenant, with what they may do and how much of it at once.
//!
//! What an agent does not name it may not do. A deleted agent starts nothing more; its runs stay readable.

mod create;
mod delete;
mod patch;
mod read;
mod rules;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    create::{NewAgent, create},
    delete::delete,
    patch::{AgentPatch, patch},
    read::{get, list},
    rules::*,
};
use crate::{ids::AgentId, labels::Labels};

/// A named worker of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "agt_018f0000000070008000000000000001", "name": "reporter", "instructions": "Collect and report.",
    "model": null, "allowed_skills": ["http_call", "json_transform"], "max_concurrent_runs": 100,
    "max_runs_per_minute": 600, "labels": {"team": "data"},
    "created_at": "2026-11-23T10:00:00Z", "updated_at": "2026-11-23T10:00:00Z"
}))]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its name, unique among the tenant's agents.
    pub name: String,
    /// What it is told before every goal.
    pub instructions: String,
    /// The model that plans for it; `null` leaves the choice to the settings.
    #[schema(required)]
    pub model: Option<String>,
    /// The skills that its plans may use.
    pub allowed_skills: Vec<String>,
    /// How many of its runs may be open at once.
    pub max_concurrent_runs: u32,
    /// How many runs may be created for it within 60 seconds.
    pub max_runs_per_minute: u32,
    /// The caller's own words.
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}
