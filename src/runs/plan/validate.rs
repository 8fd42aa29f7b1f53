//! From a draft to a plan: every rule that can be held without the database.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Plan, Step,
    graph::Graph,
    read::{self, Errors, StepParts, shown},
    when::named_steps,
};
use crate::{
    digest::sha256_hex,
    problem::FieldError,
    runs::references::{Reference, Target, each_reference},
    skills::{EffectClass, Registry, Skill},
};

/// What a draft is checked against.
pub struct PlanContext<'a> {
    /// The skills there are. Which of them an agent may use is checked with the agent's row, by the database.
    pub skills: &'a Registry,
    /// The run's input, `null` where it has none: it will not change, so a reference that finds nothing in it never will.
    pub input: &'a Value,
}

/// The plan that a draft describes.
///
/// # Errors
/// Everything that is wrong with it (past 100 errors or 128 KiB of them, how many more), with JSON pointers relative to the plan. Codes:
/// `required`, `unknown_field`, `wrong_type`, `invalid_value`, `out_of_range`, `too_few`, `too_many`, `too_long`,
/// `too_deep`, `duplicate`, `unknown_step`, `cycle`, `unknown_skill`, `invalid_reference`, `unknown_reference`,
/// `missing_need`, `secret_not_allowed`, `not_supported`, `too_many_errors`, and those of the skills' own checks.
pub fn validate(draft: &Value, ctx: &PlanContext<'_>) -> Result<Plan, Vec<FieldError>> {
    let mut errors = Errors::default();
    let parts = read::steps(draft, &mut errors);
    let graph = Graph::join(&parts, &mut errors);
    let mut steps = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        let skill = find_skill(&part, ctx, &mut errors);
        let Named { steps: refs, secrets } = find_named(&part, skill, index, &graph, ctx, &mut errors);
        if let (Some(id), Some(skill), Some(params)) = (part.id, skill, part.params) {
            let effect_class = skill.effect_class(&params);
            steps.push(Step {
                index: small(index),
                id: id.to_owned(),
                skill: skill.identity().name.to_owned(),
                params,
                needs: graph.needs_of(index).into_iter().map(small).collect(),
                refs: refs.into_iter().map(small).collect(),
                on_error: part.on_error,
                retry: part.retry,
                timeout_ms: part.timeout_ms,
                when: part.when.map(str::to_owned),
                effect_class,
                outside: effect_class != EffectClass::Pure,
                is_sink: graph.is_sink(index),
                secrets,
            });
        }
    }
    errors.into_result()?;
    let mut plan = Plan {
        hash: String::new(),
        steps,
    };
    plan.hash = hash(&plan).map_err(|error| vec![FieldError::new("", "invalid_value", error.to_string())])?;
    Ok(plan)
}

/// The index of a step, of which there are at most 100.
fn small(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// The step's skill, if it exists and has nothing against the params.
fn find_skill<'a>(step: &StepParts<'_>, ctx: &PlanContext<'a>, errors: &mut Errors) -> Option<&'a dyn Skill> {
    let name = step.skill?;
    let Some(skill) = ctx.skills.get(name) else {
        let names: Vec<&str> = ctx.skills.iter().map(|skill| skill.identity().name).collect();
        let detail = format!("there is no skill {}; there are {}", shown(name), names.join(", "));
        errors.add(format!("{}/skill", step.at), "unknown_skill", detail);
        return None;
    };
    if let Err(refused) = skill.check(step.params.as_ref()?) {
        let under = format!("{}/params", step.at);
        refused.into_iter().for_each(|error| errors.push(error.under(&under)));
    }
    Some(skill)
}

/// What a step's params and condition name.
struct Named {
    steps: BTreeSet<usize>,
    secrets: BTreeSet<String>,
}

/// What a step's params and condition name, and whether they may.
fn find_named(
    step: &StepParts<'_>,
    skill: Option<&dyn Skill>,
    index: usize,
    graph: &Graph<'_>,
    ctx: &PlanContext<'_>,
    errors: &mut Errors,
) -> Named {
    let (mut refs, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    let mut name = |id: &str, at: &dyn Fn() -> String, errors: &mut Errors| match check_named(id, index, graph) {
        Ok(named) => drop(refs.insert(named)),
        Err((code, detail)) => errors.add(at(), code, detail),
    };
    if let Some(params) = &step.params {
        each_reference(params, &mut |pointer, found| {
            let at = || format!("{}/params{pointer}", step.at);
            match found.map(|reference| check_target(reference, ctx.input)) {
                Err(malformed) => errors.add(at(), "invalid_reference", malformed),
                Ok(Err((code, detail))) => errors.add(at(), code, detail),
                Ok(Ok(Names::Nothing)) => {}
                Ok(Ok(Names::Step(id))) => name(id, &at, errors),
                Ok(Ok(Names::Secret(secret))) if skill.is_none_or(|skill| skill.may_hold_secret(pointer)) => {
                    secrets.insert(secret.to_owned());
                }
                Ok(Ok(Names::Secret(_))) => {
                    let detail =
                        "secrets are filled in only where they are sent and kept nowhere: in headers of http_call";
                    errors.add(at(), "secret_not_allowed", detail);
                }
            }
        });
    }
    let at = || format!("{}/when", step.at);
    match step.when.map(named_steps) {
        None => {}
        Some(Ok(ids)) => ids.iter().for_each(|id| name(id, &at, errors)),
        Some(Err((code, detail))) => errors.add(at(), code, detail),
    }
    Named { steps: refs, secrets }
}

/// What a reference names, if it is more than a place in the input.
enum Names<'r> {
    Nothing,
    Step(&'r str),
    Secret(&'r str),
}

/// What a reference names; a place in the input must be there.
fn check_target<'r>(reference: &'r Reference, input: &Value) -> Result<Names<'r>, (&'static str, String)> {
    match reference.target()? {
        Target::Output(id, _) | Target::Status(id) => Ok(Names::Step(id)),
        Target::Secret(name) => Ok(Names::Secret(name)),
        Target::Input(path) => match reference.walk(input, path) {
            Ok(_) => Ok(Names::Nothing),
            Err(missing) => Err(("unknown_reference", missing)),
        },
    }
}

/// Whether the step `index` may name the step `id`: only what is sure to have ended when it starts.
fn check_named(id: &str, index: usize, graph: &Graph<'_>) -> Result<usize, (&'static str, String)> {
    match graph.find(id) {
        None => Err((
            "unknown_reference",
            format!("there is no step with the id {}", shown(id)),
        )),
        Some(named) if named == index => Err(("unknown_reference", "a step cannot name itself".to_owned())),
        Some(named) if graph.is_before(named, index) => Ok(named),
        Some(_) => {
            let detail = format!("`{id}` may not have ended when this step starts; add `{id}` to its `needs`");
            Err(("missing_need", detail))
        }
    }
}

/// See [`Plan::plan_hash`].
fn hash(plan: &Plan) -> Result<String, serde_json::Error> {
    let canonical = serde_json_canonicalizer::to_vec(&plan.draft())?;
    Ok(sha256_hex(canonical))
}
