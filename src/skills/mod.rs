//! Skills: what an agent can do. One file per skill, one line each in [`registry::Registry`].
//!
//! Every skill has a [`Contract`] and returns an [`Outcome`], whatever happens: nothing throws past it.

pub mod address_guard;
pub mod contract;
mod failure;
pub mod http_call;
pub mod jmespath;
pub mod json_transform;
pub mod kv_store;
pub mod outcome;
mod params;
pub mod registry;
#[cfg(test)]
mod testing;

use std::{sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use serde_json::Value;

pub use self::{
    contract::{Contract, EffectClass},
    outcome::{Category, Outcome, OutcomeError, OutcomeStatus},
    registry::Registry,
};
use crate::{
    ids::{RunId, StepId, TenantId},
    integrations::upstash::Upstash,
    platform::{Clock, Fetch},
    problem::FieldError,
};

/// What skills call on; a `None` is an integration that is not configured.
#[derive(Clone)]
pub struct Services {
    /// Time, and waiting.
    pub clock: Arc<dyn Clock>,
    /// Requests to URLs that a caller chose, for skills behind the address guard.
    pub fetch: Arc<dyn Fetch>,
    /// Which addresses such URLs may name.
    pub address_rules: Arc<address_guard::AddressRules>,
    /// Upstash Redis.
    pub upstash: Option<Upstash>,
}

/// One execution of one step.
pub struct Call<'a> {
    /// The params, references resolved.
    pub params: &'a Value,
    /// Whose step it is.
    pub tenant: TenantId,
    /// The run it belongs to.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// The same for every attempt of the step: a provider that knows it does the effect once.
    pub idempotency_key: &'a str,
    /// The time left; the executor gives the call up after it.
    pub timeout: Duration,
    /// What the skill may call on.
    pub services: &'a Services,
}

/// Something an agent can do.
pub trait Skill: Send + Sync {
    /// What it promises; the same for every call.
    fn contract(&self) -> &Contract;

    /// Checks params as they stand in a plan: a string that holds a reference (`{{…}}`) passes every check that its
    /// value could pass once resolved. Pointers in the errors are relative to the params (`/url`).
    ///
    /// # Errors
    /// Every bad field.
    fn check(&self, params: &Value) -> Result<(), Vec<FieldError>>;

    /// What the outside world sees of a call with these params, in the plan's form; the worst case where a reference
    /// leaves it open.
    fn effect_class(&self, params: &Value) -> EffectClass;

    /// The host that a call with these resolved params goes to, for the limit of two lanes per host.
    fn host(&self, params: &Value) -> Option<String>;

    /// Executes the call. Checks the resolved params again.
    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome>;
}
