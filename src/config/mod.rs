//! The settings: read once per isolate into one typed value, every problem reported together.
//!
//! A secret is never printed, not by `Debug` and not in a problem: a problem names its setting and says what is wrong
//! with it, never what it holds.

mod read;

use std::{fmt, sync::Arc};

use tracing::level_filters::LevelFilter;

use crate::{
    auth::{
        Jwks, ServiceTokens, SharedSecret, Tokens,
        jwks::{ClerkKeys, Seal},
    },
    integrations::{clerk::Clerk, dns::Resolver, neon::Neon, upstash::Upstash},
    links::Links,
    platform::Clock,
    sealing::Sealer,
    skills::{Endpoints, QueryDatabases, address_guard::AddressRules},
    tenants::Installation,
};

/// One row of `.dev.vars.example`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The name of the Worker's variable or secret.
    pub name: &'static str,
    /// Whether every deployment needs it.
    pub required: bool,
}

const fn required(name: &'static str) -> Setting {
    Setting { name, required: true }
}

const fn optional(name: &'static str) -> Setting {
    Setting { name, required: false }
}

/// Every setting that the Worker reads, in the order of `.dev.vars.example`.
///
/// Redis is required too, under either of its two sets of names.
pub const SETTINGS: &[Setting] = &[
    required("DATABASE_URL"),
    required("ENGINE_DATABASE_URL"),
    optional("NEON_HTTP_ENDPOINT"),
    optional("UPSTASH_REDIS_REST_URL"),
    optional("UPSTASH_REDIS_REST_TOKEN"),
    optional("REDIS_URL"),
    required("AOS_API_KEY"),
    optional("MACHINE_SECRET_TOKEN"),
    optional("JWT_SECRET"),
    optional("JWT_ISSUER"),
    required("CLERK_ISSUER_URL"),
    required("CLERK_SECRET_KEY"),
    required("CLERK_PUBLISHABLE_KEY"),
    optional("CLERK_AUTHORIZED_PARTIES"),
    optional("CLERK_JWKS_URL"),
    optional("CLERK_BASE_URL"),
    optional("SEALING_KEY"),
    optional("SEALING_KEY_PREVIOUS"),
    optional("PLATFORM_KEYS_FOR"),
    optional("ANTHROPIC_API_KEY"),
    optional("ANTHROPIC_MODEL"),
    optional("ANTHROPIC_BASE_URL"),
    optional("OPENAI_API_KEY"),
    optional("OPENAI_MODEL"),
    optional("OPENAI_BASE_URL"),
    optional("VOYAGE_API_KEY"),
    optional("VOYAGE_BASE_URL"),
    optional("RESEND_API_KEY"),
    optional("RESEND_FROM_ADDRESS"),
    optional("RESEND_BASE_URL"),
    optional("SLACK_WEBHOOK_URL"),
    optional("SLACK_BASE_URL"),
    optional("QUERY_DATABASE_URL"),
    optional("OPERATOR_TENANT"),
    optional("DNS_OVER_HTTPS_URL"),
    optional("PUBLIC_BASE_URL"),
    optional("SIGNED_URL_SECRET"),
    optional("SIGNED_URL_SECRET_PREVIOUS"),
    optional("ENVIRONMENT"),
    optional("HTTP_ALLOWED_LOOPBACK_PORTS"),
    optional("AOS_RING"),
    optional("AOS_LOG"),
];

/// Where the Worker runs; decides which conveniences are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// The default: what is not known to be a development machine is production.
    Production,
    /// One machine, with stand-ins on loopback addresses.
    Development,
}

/// The settings, valid. Where a setting is a service's address, it has become that service's client.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ENVIRONMENT`.
    pub environment: Environment,
    /// `AOS_API_KEY`: who shows it is the operator.
    pub operator_key: OperatorKey,
    /// `MACHINE_SECRET_TOKEN`: who shows it is a machine.
    pub machine_token: Option<SharedSecret>,
    /// `JWT_SECRET` and `JWT_ISSUER`: service users of a self-hosted set-up.
    pub service_tokens: Option<ServiceTokens>,
    /// Clerk, whose sessions are accepted. Missing only in development.
    pub clerk: Option<ClerkSettings>,
    /// `DATABASE_URL`, reached at `NEON_HTTP_ENDPOINT` if that is set: the API's role, bound to one tenant per
    /// transaction.
    pub database: Neon,
    /// `ENGINE_DATABASE_URL`, reached likewise: the role of the consumer and the cron, across tenants.
    pub engine_database: Neon,
    /// `UPSTASH_REDIS_REST_URL` and `UPSTASH_REDIS_REST_TOKEN`, or what `REDIS_URL` says about them.
    pub upstash: Upstash,
    /// `<NAME>_BASE_URL` of each provider that skills call.
    pub endpoints: Endpoints,
    /// What the installation has of its own for tenants (`ANTHROPIC_API_KEY`, …), by `PLATFORM_KEYS_FOR` and
    /// `OPERATOR_TENANT`.
    pub installation: Installation,
    /// Which databases tenants may query: `NEON_HTTP_ENDPOINT` in development alone, and never AOS's own.
    pub query_databases: QueryDatabases,
    /// `SEALING_KEY` and `SEALING_KEY_PREVIOUS`. Without it tenants can hand over no secrets.
    pub sealer: Option<Sealer>,
    /// Which addresses callers' URLs may name, by `HTTP_ALLOWED_LOOPBACK_PORTS` and the hosts of the services above.
    pub address_rules: AddressRules,
    /// `DNS_OVER_HTTPS_URL`: who is asked what the names in callers' URLs lead to; nobody if it is `off`.
    pub resolver: Option<Resolver>,
    /// `SIGNED_URL_SECRET` and `SIGNED_URL_SECRET_PREVIOUS`, at `PUBLIC_BASE_URL`. Without the secret no link is given out.
    pub links: Option<Links>,
    /// `AOS_RING`: whether the queue is rung for what becomes due. Without it only the minute cron rings; for tests.
    pub ring: bool,
    /// `AOS_LOG`: the least important events that are logged.
    pub log: LevelFilter,
}

impl Settings {
    /// Reads every setting through `value_of`, where an empty value is the same as none. The services' clients send
    /// through `http` and take their time from `clock`.
    ///
    /// # Errors
    /// [`Misconfigured`] with everything that is wrong, not only the first.
    pub fn read(
        value_of: impl Fn(&str) -> Option<String>,
        http: &reqwest::Client,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Misconfigured> {
        read::settings(&value_of, http, clock)
    }
}

/// The key that opens everything.
pub type OperatorKey = SharedSecret;

/// What the settings say about Clerk.
#[derive(Debug, Clone)]
pub struct ClerkSettings {
    /// `CLERK_ISSUER_URL`, without a slash at its end: the `iss` of its tokens, to the letter.
    pub issuer: String,
    /// `CLERK_PUBLISHABLE_KEY`: what a browser needs in order to sign in; no secret.
    pub publishable_key: String,
    /// `CLERK_AUTHORIZED_PARTIES`: the origins of the applications whose tokens are accepted. Empty: of any.
    pub authorized_parties: Vec<String>,
    /// `CLERK_JWKS_URL`, `CLERK_BASE_URL` and `CLERK_SECRET_KEY`.
    pub client: Clerk,
    /// Made from `CLERK_SECRET_KEY`: marks the copy of the public keys that isolates share.
    pub keys_seal: Seal,
}

impl Settings {
    /// What bearer tokens are checked with, for one isolate; their time is the clock's.
    pub fn tokens(&self, clock: &Arc<dyn Clock>) -> Tokens {
        let mut tokens = Tokens::new(Arc::clone(clock));
        if let Some(services) = &self.service_tokens {
            tokens = tokens.with_services(services.clone());
        }
        if let Some(clerk) = &self.clerk {
            let source = ClerkKeys::new(&clerk.issuer, clerk.client.clone(), self.upstash.clone());
            let jwks = Jwks::new(clerk.issuer.clone(), Box::new(source), clerk.keys_seal.clone());
            tokens = tokens.with_sessions(jwks, clerk.authorized_parties.clone());
        }
        tokens
    }
}

/// One setting that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {reason}")]
pub struct SettingProblem {
    /// The setting.
    pub name: &'static str,
    /// Reads on from the name: "is missing". Never holds the value.
    pub reason: &'static str,
}

/// The settings cannot be used: with any of them wrong the Worker serves nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Misconfigured {
    /// Everything that is wrong; never empty.
    pub problems: Vec<SettingProblem>,
    /// The operator's key, where that one is good: who shows it may see the problems.
    pub operator_key: Option<OperatorKey>,
}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
