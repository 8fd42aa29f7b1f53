//! The limits of an agent's fields, held by creating and patching alike.

use std::collections::BTreeSet;

use crate::{
    problem::{FieldError, Problem},
    skills::Registry,
};

/// Characters of a name.
pub const MAX_NAME_CHARS: usize = 128;
/// Bytes of the instructions.
pub const MAX_INSTRUCTIONS_BYTES: usize = 16 * 1024;
/// Characters of a model's name.
pub const MAX_MODEL_CHARS: usize = 128;
/// Skills of an agent.
pub const MAX_SKILLS: usize = 50;
/// The largest `max_concurrent_runs`.
pub const MAX_CONCURRENT_RUNS: u32 = 10_000;
/// The largest `max_runs_per_minute`.
pub const MAX_RUNS_PER_MINUTE: u32 = 100_000;

/// The fields that are there, as they will be stored.
pub(super) struct Fields<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) instructions: Option<&'a str>,
    pub(super) model: Option<&'a str>,
    pub(super) allowed_skills: Option<&'a [String]>,
    pub(super) max_concurrent_runs: Option<u32>,
    pub(super) max_runs_per_minute: Option<u32>,
}

impl Fields<'_> {
    /// Everything that is wrong with them.
    pub(super) fn check(&self, skills: &Registry, errors: &mut Vec<FieldError>) {
        let mut refuse = |pointer: &str, code, detail: String| errors.push(FieldError::new(pointer, code, detail));
        if let Some(name) = self.name
            && (name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS)
        {
            refuse(
                "/name",
                "invalid_format",
                format!("must have 1 to {MAX_NAME_CHARS} characters, not only spaces"),
            );
        }
        if self
            .instructions
            .is_some_and(|text| text.len() > MAX_INSTRUCTIONS_BYTES)
        {
            refuse(
                "/instructions",
                "too_large",
                format!("may have {MAX_INSTRUCTIONS_BYTES} bytes"),
            );
        }
        if let Some(model) = self.model
            && (model.trim().is_empty() || model.chars().count() > MAX_MODEL_CHARS)
        {
            refuse(
                "/model",
                "invalid_format",
                format!("must have 1 to {MAX_MODEL_CHARS} characters, or be null"),
            );
        }
        for (pointer, number, most) in [
            ("/max_concurrent_runs", self.max_concurrent_runs, MAX_CONCURRENT_RUNS),
            ("/max_runs_per_minute", self.max_runs_per_minute, MAX_RUNS_PER_MINUTE),
        ] {
            if number.is_some_and(|number| number == 0 || number > most) {
                refuse(pointer, "out_of_range", format!("must be from 1 to {most}"));
            }
        }
        if let Some(allowed) = self.allowed_skills {
            check_skills(allowed, skills, errors);
        }
    }
}

fn check_skills(allowed: &[String], skills: &Registry, errors: &mut Vec<FieldError>) {
    if allowed.len() > MAX_SKILLS {
        errors.push(FieldError::new(
            "/allowed_skills",
            "too_many",
            format!("an agent may have {MAX_SKILLS} skills"),
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, name) in allowed.iter().enumerate().take(MAX_SKILLS) {
        let at = format!("/allowed_skills/{index}");
        if skills.get(name).is_none() {
            let known: Vec<&str> = skills.iter().map(|skill| skill.identity().name).collect();
            errors.push(FieldError::new(
                at,
                "unknown_skill",
                format!("there is no such skill; there are {}", known.join(", ")),
            ));
        } else if !seen.insert(name) {
            errors.push(FieldError::new(at, "duplicate", "is named already"));
        }
    }
}

/// 409: another agent of the tenant has the name.
pub(super) fn name_taken() -> Problem {
    Problem::conflict("agent_name_taken", "another agent of this tenant has this name")
}

/// The unique key on names of agents that are not deleted.
pub(super) const NAME_KEY: &str = "agents_name";
