//! Changing an agent. Its open runs go on as they were planned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Agent, rules};
use crate::{
    auth::Principal,
    body::{Body, present},
    database::{Database, Failure, operation},
    ids::AgentId,
    integrations::neon::Statement,
    labels,
    problem::Problem,
    skills::Registry,
};

/// What to change of an agent (JSON merge patch, RFC 7396): what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"model": null, "max_concurrent_runs": 10, "labels": {"team": "ops", "old": null}}))]
pub struct AgentPatch {
    /// Another name.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128, nullable = false)]
    pub name: Option<String>,
    /// Other instructions.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 16384, nullable = false)]
    pub instructions: Option<String>,
    /// Another model; `null` leaves the choice to the settings again.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub model: Option<Option<String>>,
    /// Other skills, in place of all present ones.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 50, nullable = false)]
    pub allowed_skills: Option<Vec<String>>,
    /// Another limit of open runs.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000, nullable = false)]
    pub max_concurrent_runs: Option<u32>,
    /// Another limit of new runs within 60 seconds.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000, nullable = false)]
    pub max_runs_per_minute: Option<u32>,
    /// Labels to set, or with `null` to remove; the others stay.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub labels: Option<BTreeMap<String, Option<String>>>,
}

/// `PATCH /v1/agents/{id}`: changes an agent and answers what it is now.
///
/// # Errors
/// 404 `not_found`, 422 `invalid_request`, 409 `agent_name_taken`.
pub async fn patch(
    database: &Database,
    skills: &Registry,
    principal: &Principal,
    id: AgentId,
    body: Body<AgentPatch>,
) -> Result<Agent, Problem> {
    let patch = body.value;
    check(&patch, skills)?;
    let mut transaction = database.enter(principal, operation!("agents.patch"));
    let changed = transaction.push(
        Statement::new(include_str!("sql/patch.sql"))
            .bind(id)
            .bind_json(&patch)
            .bind(database.now())
            .bind(u32::try_from(labels::MAX_LABELS).unwrap_or(u32::MAX)),
    );
    let read = transaction.push(Statement::new(include_str!("sql/read.sql")).bind(id));
    let rows = match transaction.commit().await {
        Ok(rows) => rows,
        Err(Failure::Taken(key)) if key == rules::NAME_KEY => return Err(rules::name_taken()),
        Err(failure) => return Err(failure.into()),
    };
    let agent = rows.one(read)?.ok_or_else(|| Problem::not_found("agent"))?;
    if rows.affected(changed) == 0 {
        // The agent is there: then it is the one thing that only the database could tell.
        return Err(Problem::invalid(vec![labels::too_many()]));
    }
    Ok(agent)
}

fn check(patch: &AgentPatch, skills: &Registry) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let fields = rules::Fields {
        name: patch.name.as_deref(),
        instructions: patch.instructions.as_deref(),
        model: patch.model.as_ref().and_then(Option::as_deref),
        allowed_skills: patch.allowed_skills.as_deref(),
        max_concurrent_runs: patch.max_concurrent_runs,
        max_runs_per_minute: patch.max_runs_per_minute,
    };
    fields.check(skills, &mut errors);
    let changes = patch.labels.iter().flatten();
    labels::check(
        changes.map(|(key, value)| (key.as_str(), value.as_deref())),
        &mut errors,
    );
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body;

    fn read(body: serde_json::Value) -> Result<AgentPatch, Problem> {
        body::parse(body.to_string().as_bytes()).map(|body| body.value)
    }

    #[test]
    fn null_resets_the_model_and_nothing_else() {
        assert_eq!(read(json!({"model": null})).unwrap().model, Some(None));
        assert_eq!(read(json!({})).unwrap(), AgentPatch::default());
        for field in [
            "name",
            "instructions",
            "allowed_skills",
            "max_concurrent_runs",
            "max_runs_per_minute",
            "labels",
        ] {
            let errors = read(json!({ field: null })).unwrap_err().errors;
            assert_eq!(errors[0].pointer, format!("/{field}"));
        }
    }

    #[test]
    fn what_is_absent_is_not_sent_to_the_database() {
        let patch = json!({"model": null, "labels": {"a": null}});
        assert_eq!(serde_json::to_value(read(patch.clone()).unwrap()).unwrap(), patch);
    }
}
