//! The contract of a skill, as `GET /v1/skills` serves it. Contracts are large, and all that a running system asks of one is
//! its [`Identity`]: the Worker serves the committed `contracts.json`, and what makes contracts never becomes part of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::outcome::Category;

/// What the outside world sees of a call, and therefore what a crash in the middle of it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    /// Computes only: no lane, no ledger, repeated at will.
    Pure,
    /// Reads the outside world: takes a lane, repeated at will.
    Read,
    /// Changes the outside world, and a repeat under the same idempotency key changes nothing more.
    Repeatable,
    /// Changes the outside world, and a repeat might change it again: begun but not finalised is `unknown_effect`.
    Once,
}

/// One way a skill can fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FailureMode {
    /// Stable, snake_case; a code of the failure catalogue.
    pub code: &'static str,
    /// Its category.
    pub category: Category,
    /// Whether the engine tries again by itself.
    pub retryable: bool,
    /// When it happens.
    pub when: &'static str,
}

/// A limit on an input or an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Limit {
    /// What is limited, as `params` names it.
    pub what: &'static str,
    /// The largest value allowed.
    pub max: u64,
    /// `bytes`, `ms`, `items`, …
    pub unit: &'static str,
}

impl Limit {
    /// The limits of a table: what is limited, the largest value allowed and its unit.
    pub(super) fn list<const N: usize>(table: [(&'static str, usize, &'static str); N]) -> Vec<Self> {
        table
            .map(|(what, max, unit)| Self {
                what,
                max: max as u64,
                unit,
            })
            .into()
    }
}

/// What is known of a skill wherever it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillIdentity)]
pub struct Identity {
    /// The name that plans use.
    pub name: &'static str,
    /// Version of the contract; a change that a plan could notice raises it.
    pub version: &'static str,
    /// The integrations it needs: any one of these is enough.
    pub integrations: &'static [&'static str],
}

/// What a skill promises.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Contract {
    /// Which skill promises it.
    #[serde(flatten)]
    pub identity: Identity,
    /// One sentence.
    pub summary: &'static str,
    /// JSON Schema of `params`.
    #[schema(value_type = Object)]
    pub input_schema: Value,
    /// JSON Schema of the output.
    #[schema(value_type = Object)]
    pub output_schema: Value,
    /// The classes of effect that a call can have, by its params.
    pub effects: &'static [EffectClass],
    /// How the effect is kept from happening twice, in words.
    pub idempotency: &'static str,
    /// What a call costs, in words; prices are in the price table.
    pub cost_model: &'static str,
    /// Limits on input and output.
    pub limits: Vec<Limit>,
    /// Every code it can end with.
    pub failure_modes: Vec<FailureMode>,
    /// Parts of the output that differ between two equal calls (JSON pointers, `*` for any key), left out of hashes.
    pub volatile: &'static [&'static str],
    /// Params that work.
    #[schema(value_type = Object)]
    pub example: Value,
}
