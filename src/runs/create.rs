//! Creating a run: the plan is validated here, what depends on the agent is decided by the database in the transaction
//! that stores run and steps. A refused run leaves nothing behind.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    plan::{Plan, PlanContext, PlanDraft, compact_len, validate},
    status::RunStatus,
    view::{RunSummary, StepCounts},
};
use crate::{
    auth::Principal,
    body::Body,
    database::{Database, operation},
    idempotency::{Answer, IdempotencyKey, Reservation},
    ids::{AgentId, RunId, StepId},
    integrations::neon::Statement,
    labels::Labels,
    problem::{FieldError, Problem},
    skills::{EffectClass, Registry},
};

/// Bytes of a run's input as compact JSON.
pub const MAX_INPUT_BYTES: usize = 256 * 1024;
/// Nobody knows when a run ends: a guess that neither hammers nor sleeps.
const CONCURRENCY_RETRY_S: u32 = 5;

/// A run to create.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "agent_id": "agt_018f0000000070008000000000000001",
    "plan": {"steps": [
        {"id": "fetch", "skill": "http_call", "params": {"method": "GET", "url": "{{input.url}}"}},
        {"id": "title", "skill": "json_transform", "needs": ["fetch"],
         "params": {"input": "{{steps.fetch.output}}", "expression": "json.title"}}
    ]},
    "input": {"url": "https://example.com/item.json"},
    "labels": {"team": "data"}
}))]
pub struct NewRun {
    /// Who carries it out.
    pub agent_id: AgentId,
    /// What is to be done, step by step.
    #[serde(default)]
    #[schema(value_type = PlanDraft)]
    pub plan: Option<Value>,
    /// What is to be reached. Not supported yet: plans are given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub goal: Option<Value>,
    /// What references to `{{input.…}}` find; at most 256 KiB as compact JSON.
    #[serde(default)]
    #[schema(value_type = Object, default = json!({}))]
    pub input: Map<String, Value>,
    /// At most 32 pairs; keys of 64, values of 256 characters.
    #[serde(default)]
    pub labels: Labels,
}

/// A run that was created, now or by an earlier request under the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The answer (202) holds a [`RunSummary`].
    pub answer: Answer,
    /// The steps that are due: the caller rings for them after the answer. None if the answer is an earlier one.
    pub to_ring: Vec<StepId>,
}

/// One step as the database unpacks it.
#[derive(Serialize)]
struct StepRow<'a> {
    id: uuid::Uuid,
    idx: u16,
    key: &'a str,
    skill: &'a str,
    params: &'a Value,
    needs: &'a [u16],
    refs: &'a [u16],
    is_sink: bool,
    condition: Option<&'a str>,
    on_error: super::plan::OnError,
    max_attempts: u32,
    backoff_ms: u64,
    timeout_ms: u32,
    effect_class: EffectClass,
    outside: bool,
    secret_names: &'a BTreeSet<String>,
}

/// What the database found while it held the agent's lock.
#[derive(Deserialize)]
struct Verdict {
    created: bool,
    agent_found: bool,
    missing_skills: Vec<String>,
    missing_secrets: Vec<String>,
    too_many_open: bool,
    /// Creation of the oldest run that keeps the agent's minute full.
    minute_full_since: Option<Timestamp>,
}

/// `POST /v1/runs`: creates a run. `ring_grace_s` is how long after a step became due cron rings for it: 60 normally, 0
/// where the caller will not ring.
///
/// # Errors
/// 422 `invalid_request` with a pointer to each place (an agent that is not there at `/agent_id`, skills it may not use
/// at `/plan/steps/N/skill` with the code `skill_not_allowed`); 429 `agent_concurrency_limit` and `agent_rate_limit`;
/// 409 `idempotency_conflict`.
pub async fn create(
    database: &Database,
    skills: &Registry,
    principal: &Principal,
    key: Option<&IdempotencyKey>,
    body: Body<NewRun>,
    ring_grace_s: u32,
) -> Result<Created, Problem> {
    let Body { value: new, json } = body;
    let (agent_id, labels) = (new.agent_id, new.labels.clone());
    let (plan, input) = check(new, skills)?;
    let steps: Vec<(StepId, &super::plan::Step)> = plan
        .steps()
        .iter()
        .map(|step| (StepId::new(database.clock()), step))
        .collect();
    let to_ring: Vec<StepId> = steps
        .iter()
        .filter(|(_, step)| step.needs().is_empty())
        .map(|(id, _)| *id)
        .collect();
    let now = database.now();
    let run = RunSummary {
        id: RunId::new(database.clock()),
        agent_id,
        status: RunStatus::Queued,
        labels,
        plan_hash: plan.plan_hash().to_owned(),
        error: None,
        steps: counts(steps.len(), to_ring.len()),
        created_at: now,
        started_at: None,
        ended_at: None,
    };
    let reservation = Reservation::new("POST /v1/runs", key, &json, 202, &run)?;

    let mut transaction = database.enter(principal, operation!("runs.create"));
    reservation.reserve(&mut transaction);
    transaction.push(Statement::new(include_str!("../agents/sql/lock.sql")).bind(agent_id));
    let verdict = transaction.push(
        reservation
            .bind(Statement::new(include_str!("sql/create.sql")))
            .bind(run.id)
            .bind(agent_id)
            .bind_json(&plan)
            .bind(&run.plan_hash)
            .bind_json(&input)
            .bind_json(&run.labels)
            .bind(now)
            .bind_json(&plan.skills())
            .bind_json(&plan.secrets()),
    );
    let rows: Vec<StepRow<'_>> = steps.iter().map(|(id, step)| step_row(*id, step)).collect();
    transaction.push(
        Statement::new(include_str!("sql/create_steps.sql"))
            .bind(run.id)
            .bind_json(&rows)
            .bind(ring_grace_s),
    );
    reservation.release(
        Statement::new(include_str!("sql/release_key.sql")).bind(run.id),
        &mut transaction,
    );
    let held = reservation.read(&mut transaction);
    let rows = transaction.commit().await?;

    if let Some(answer) = reservation.replay(&rows, held)? {
        return Ok(Created {
            answer,
            to_ring: Vec::new(),
        });
    }
    refusal(&rows.only(verdict)?, &plan, now)?;
    Ok(Created {
        answer: reservation.into_answer(),
        to_ring,
    })
}

/// Everything that can be known without the database.
fn check(new: NewRun, skills: &Registry) -> Result<(Plan, Value), Problem> {
    let mut errors = Vec::new();
    new.labels.check(&mut errors);
    let input = Value::Object(new.input);
    if compact_len(&input, MAX_INPUT_BYTES).is_none() {
        errors.push(FieldError::new(
            "/input",
            "too_large",
            format!("may have {MAX_INPUT_BYTES} bytes as compact JSON"),
        ));
    }
    if new.goal.is_some() {
        errors.push(FieldError::new(
            "/goal",
            "not_supported",
            "goals are not planned yet; send a `plan`",
        ));
    }
    let plan = match new.plan {
        Some(draft) => validate(&draft, &PlanContext { skills, input: &input })
            .map_err(|found| errors.extend(found.into_iter().map(|error| error.under("/plan"))))
            .ok(),
        None => {
            errors.push(FieldError::new("/plan", "required", "`plan` is missing"));
            None
        }
    };
    match plan {
        Some(plan) if errors.is_empty() => Ok((plan, input)),
        _ => Err(Problem::invalid(errors)),
    }
}

fn counts(total: usize, queued: usize) -> StepCounts {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    StepCounts {
        total: count(total),
        queued: count(queued),
        pending: count(total.saturating_sub(queued)),
        ..StepCounts::default()
    }
}

fn step_row<'a>(id: StepId, step: &'a super::plan::Step) -> StepRow<'a> {
    StepRow {
        id: id.uuid(),
        idx: step.index(),
        key: step.id(),
        skill: step.skill(),
        params: step.params(),
        needs: step.needs(),
        refs: step.refs(),
        is_sink: step.is_sink(),
        condition: step.when(),
        on_error: step.on_error(),
        max_attempts: step.retry().attempts,
        backoff_ms: step.retry().backoff_ms,
        timeout_ms: step.timeout_ms(),
        effect_class: step.effect_class(),
        outside: step.outside(),
        secret_names: step.secrets(),
    }
}

/// Why the database did not create the run, if it did not.
fn refusal(verdict: &Verdict, plan: &Plan, now: Timestamp) -> Result<(), Problem> {
    if verdict.created {
        return Ok(());
    }
    if !verdict.agent_found {
        let error = FieldError::new("/agent_id", "not_found", "there is no such agent");
        return Err(Problem::invalid(vec![error]));
    }
    let forbidden: Vec<FieldError> = plan
        .steps()
        .iter()
        .filter(|step| verdict.missing_skills.iter().any(|skill| skill == step.skill()))
        .map(|step| {
            let at = format!("/plan/steps/{}/skill", step.index());
            FieldError::new(
                at,
                "skill_not_allowed",
                format!("the agent may not use `{}`", step.skill()),
            )
        })
        .collect();
    if !forbidden.is_empty() {
        return Err(Problem::invalid(forbidden));
    }
    if let Some(missing) = verdict.missing_secrets.first() {
        let errors = plan
            .steps()
            .iter()
            .filter(|step| step.secrets().contains(missing))
            .map(|step| {
                let at = format!("/plan/steps/{}/params", step.index());
                FieldError::new(at, "unknown_reference", format!("there is no secret `{missing}`"))
            })
            .collect();
        return Err(Problem::invalid(errors));
    }
    let limited = |code, detail, retry_after_s| Problem {
        retry_after_s: Some(retry_after_s),
        ..Problem::new(429, code, "The agent's limit is reached", detail)
    };
    if let Some(since) = verdict.minute_full_since {
        let left = SignedDuration::from_secs(60).saturating_sub(now.duration_since(since));
        let seconds = left
            .as_secs()
            .saturating_add(i64::from(left.subsec_nanos() > 0))
            .clamp(1, 60);
        let detail = "as many runs as `max_runs_per_minute` allows were created within the last minute";
        return Err(limited(
            "agent_rate_limit",
            detail,
            u32::try_from(seconds).unwrap_or(60),
        ));
    }
    if !verdict.too_many_open {
        tracing::error!("a run was refused without a reason");
        return Err(Problem::internal());
    }
    let detail = "as many runs as `max_concurrent_runs` allows have not ended yet";
    Err(limited("agent_concurrency_limit", detail, CONCURRENCY_RETRY_S))
}
