//! Skills: what an agent can do. One file per skill, one line each in [`registry::Registry`].
//!
//! Every skill has a [`Contract`] and returns an [`Outcome`], whatever happens: nothing throws past it.

pub mod address_guard;
pub mod calendar_write;
pub mod contract;
pub mod email_send;
mod failure;
pub mod http_call;
pub mod jmespath;
pub mod json_transform;
pub mod kv_store;
pub mod llm_invoke;
pub mod outcome;
mod params;
pub mod postgres_query;
mod provider;
pub mod registry;
pub mod slack_send;
#[cfg(test)]
mod testing;
pub mod voyage_embed;
mod web;
pub mod webhook_send;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::LocalBoxFuture;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

pub use self::{
    contract::{Contract, EffectClass, Identity},
    outcome::{Category, Outcome, OutcomeError, OutcomeStatus},
    postgres_query::QueryDatabases,
    registry::Registry,
};
use crate::{
    archive::Archive,
    breakers::Breakers,
    ids::{RunId, StepId, TenantId},
    integrations::{
        calendar::CalendarProvider,
        dns::Resolver,
        provider::{Endpoint, Provider},
        upstash::Upstash,
    },
    platform::{Clock, Fetch},
    problem::FieldError,
    sealing::Sealer,
    tenants::{Held, Installation, OwnSetting, Owner},
};

/// What skills call on; a `None` is an integration that is not configured.
#[derive(Clone)]
pub struct Services {
    /// The addresses of providers. They hold no keys: those come with each call.
    pub endpoints: Endpoints,
    /// The installation's own keys and defaults, and who may use them.
    pub installation: Arc<Installation>,
    /// Which provider is sick, and how many calls it may have at once.
    pub breakers: Option<Breakers>,
    /// Where large outputs go.
    pub archive: Option<Archive>,
    /// Where events are written to.
    pub calendar: Option<Arc<dyn CalendarProvider>>,
    /// Opens what tenants handed over in confidence.
    pub sealer: Option<Sealer>,
    /// Time, and waiting.
    pub clock: Arc<dyn Clock>,
    /// Requests to URLs that a caller chose, for skills behind the address guard.
    pub fetch: Arc<dyn Fetch>,
    /// Which addresses such URLs may name.
    pub address_rules: Arc<address_guard::AddressRules>,
    /// Who is asked what the names in such URLs lead to. Without one, names are judged as names alone.
    pub resolver: Option<Resolver>,
    /// Upstash Redis.
    pub upstash: Option<Upstash>,
    /// The way to the databases that tenants query.
    pub query_databases: Option<QueryDatabases>,
}

/// Where the providers are: at their own addresses, unless `<NAME>_BASE_URL` says otherwise.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Anthropic's messages.
    pub anthropic: Endpoint,
    /// OpenAI's chat completions.
    pub openai: Endpoint,
    /// Voyage's embeddings.
    pub voyage: Endpoint,
    /// Resend's mail.
    pub resend: Endpoint,
    /// Slack's incoming webhooks: only the host that they may have.
    pub slack: Endpoint,
}

impl Endpoints {
    /// The providers at these base URLs; at their own where there is none.
    ///
    /// # Errors
    /// Never in practice: the providers' own addresses are URLs.
    pub fn new(
        http: &reqwest::Client,
        clock: &Arc<dyn Clock>,
        base_url: impl Fn(Provider) -> Option<Url>,
    ) -> Result<Self, url::ParseError> {
        let endpoint = |provider: Provider| -> Result<Endpoint, url::ParseError> {
            let base_url = base_url(provider).map_or_else(|| Url::parse(provider.base_url()), Ok)?;
            Ok(Endpoint::new(provider, http.clone(), Arc::clone(clock), base_url))
        };
        Ok(Self {
            anthropic: endpoint(Provider::Anthropic)?,
            openai: endpoint(Provider::OpenAi)?,
            voyage: endpoint(Provider::Voyage)?,
            resend: endpoint(Provider::Resend)?,
            slack: endpoint(Provider::Slack)?,
        })
    }
}

impl Services {
    /// Services with no integration configured, and the strictest rules.
    pub fn new(clock: Arc<dyn Clock>, fetch: Arc<dyn Fetch>, endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            installation: Arc::default(),
            breakers: None,
            archive: None,
            calendar: None,
            sealer: None,
            clock,
            fetch,
            address_rules: Arc::default(),
            resolver: None,
            upstash: None,
            query_databases: None,
        }
    }
}

impl Services {
    /// Whether the installation has what a skill needs. A tenant may have brought its own along.
    pub fn are_enough_for(&self, skill: Identity) -> bool {
        skill.integrations.is_empty() || skill.integrations.iter().any(|name| self.is_configured(name))
    }

    fn is_configured(&self, integration: &str) -> bool {
        let has = |setting: OwnSetting| self.installation.values.contains_key(&setting);
        match integration {
            "anthropic" => has(OwnSetting::AnthropicApiKey),
            "openai" => has(OwnSetting::OpenaiApiKey),
            "voyage" => has(OwnSetting::VoyageApiKey),
            "resend" => has(OwnSetting::ResendApiKey),
            "slack" => has(OwnSetting::SlackWebhookUrl),
            "neon" => has(OwnSetting::QueryDatabaseUrl),
            "upstash" => self.upstash.is_some(),
            "r2" => self.calendar.is_some(),
            // The secret is always a tenant's own, and has to be sealed.
            "webhooks" => self.sealer.is_some(),
            _ => false,
        }
    }
}

/// Values of secrets that params refer to, by the JSON pointer (`/headers/Authorization`) at which the params show the
/// reference. Kept apart from the params, which may be traced.
pub type SecretValues = BTreeMap<String, SecretString>;

/// One execution of one step.
pub struct Call<'a> {
    /// The params, references resolved; those to secrets stand as they are, their values are in `secrets`.
    pub params: &'a Value,
    /// The values at places of the params that refer to secrets.
    pub secrets: &'a SecretValues,
    /// The tenant, with what it brought along.
    pub owner: &'a Owner,
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

impl<'a> Call<'a> {
    /// The tenant's own value of a setting, or the installation's where the tenant may use it.
    pub fn value(&self, setting: OwnSetting) -> Option<Held<'a>> {
        self.owner.value(setting, &self.services.installation)
    }
}

/// Something an agent can do.
pub trait Skill: Send + Sync {
    /// What it is known by.
    fn identity(&self) -> Identity;

    /// What it promises; the same for every call. Not for a running system to ask: no `dyn Skill` has it.
    fn contract() -> Contract
    where
        Self: Sized;

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

    /// Whether a reference to a secret may stand at this place of the params (a JSON pointer). Only where it is sent and
    /// kept nowhere.
    fn may_hold_secret(&self, _pointer: &str) -> bool {
        false
    }

    /// Executes the call. Checks the resolved params again.
    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome>;
}
