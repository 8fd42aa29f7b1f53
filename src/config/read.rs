//! Reading the settings one by one. Must never stop at the first problem, and never put a value into one.

mod credentials;
mod services;

use std::{
    collections::{BTreeSet, HashSet},
    str::FromStr,
    sync::Arc,
};

use secrecy::SecretString;
use tracing::level_filters::LevelFilter;
use url::Url;

use super::{Environment, Misconfigured, SettingProblem, Settings};
use crate::{
    integrations::{
        SettingError,
        neon::{self, Neon},
        upstash::Upstash,
    },
    platform::Clock,
    skills::address_guard::AddressRules,
};

/// The least length of a secret that guards something, in bytes.
const MIN_SECRET_BYTES: usize = 32;
/// What a value contains that was copied from an example and never replaced.
const DEFAULTS: [&str; 6] = [
    "changeme",
    "change-me",
    "change_me",
    "replace",
    "example",
    "at-least-32",
];
/// A secret of fewer different bytes than this was not made by a random source.
const MIN_DIFFERENT_BYTES: usize = 8;

/// Reads and checks all of them.
pub(super) fn settings(
    value_of: &dyn Fn(&str) -> Option<String>,
    http: &reqwest::Client,
    clock: &Arc<dyn Clock>,
) -> Result<Settings, Misconfigured> {
    let mut reader = Reader {
        value_of,
        problems: Vec::new(),
        own_hosts: Vec::new(),
    };
    let environment = reader.environment();
    let operator_key = reader.operator_key(environment);
    let machine_token = reader.machine_token(environment);
    let clerk = reader.clerk(environment, http, clock);
    let service_tokens = reader.service_tokens(environment, clerk.as_ref());
    let endpoint = reader.address("NEON_HTTP_ENDPOINT", environment);
    let neon = |value: &str| {
        Neon::new(
            http.clone(),
            Arc::clone(clock),
            SecretString::from(value),
            endpoint.clone(),
        )
    };
    let database = reader.required("DATABASE_URL", neon);
    let engine_database = reader.required("ENGINE_DATABASE_URL", neon);
    let upstash = reader.upstash(environment, http, clock);
    let endpoints = reader.endpoints(environment, http, clock);
    let installation = reader.installation();
    let query_databases = reader.query_databases(environment, endpoint, &installation, http, clock);
    let sealer = reader.sealer(environment);
    let resolver = reader.resolver(environment, http, clock);
    let links = reader.links(environment);
    let ports = reader.optional("HTTP_ALLOWED_LOOPBACK_PORTS", |value| {
        loopback_ports(value, environment)
    });
    let ring = reader.optional("AOS_RING", on_or_off).unwrap_or(true);
    let log = reader.optional("AOS_LOG", level).unwrap_or(LevelFilter::INFO);

    let Reader {
        problems, own_hosts, ..
    } = reader;
    match (operator_key, database, engine_database, upstash, endpoints) {
        (Some(operator_key), Some(database), Some(engine_database), Some(upstash), Some(endpoints))
            if problems.is_empty() =>
        {
            let address_rules = AddressRules {
                production: environment == Environment::Production,
                allowed_loopback_ports: ports.unwrap_or_default(),
                own_hosts,
            };
            Ok(Settings {
                environment,
                operator_key,
                machine_token,
                service_tokens,
                clerk,
                database,
                engine_database,
                upstash,
                endpoints,
                installation,
                query_databases,
                sealer,
                address_rules,
                resolver,
                links,
                ring,
                log,
            })
        }
        (operator_key, ..) => Err(Misconfigured { problems, operator_key }),
    }
}

struct Reader<'a> {
    value_of: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<SettingProblem>,
    /// The hosts that the settings name or lead to: no caller's URL may lead to them.
    own_hosts: Vec<String>,
}

impl Reader<'_> {
    /// The value, if there is one. White space around it is a slip that would show up much later as a refused key.
    fn value(&mut self, name: &'static str) -> Option<String> {
        let value = (self.value_of)(name).filter(|value| !value.is_empty())?;
        if value.trim().len() != value.len() {
            self.wrong(name, "has white space around it");
            return None;
        }
        if let Ok(url) = Url::parse(&value) {
            self.own_hosts.extend(url.host_str().map(str::to_owned));
            // What a connection string opens is asked at another host than it names.
            self.own_hosts.extend(neon::api_host(&url));
        }
        Some(value)
    }

    /// Takes note of a host that is ours though no setting names it.
    fn own_host(&mut self, url: &str) {
        let url = Url::parse(url).ok();
        self.own_hosts
            .extend(url.as_ref().and_then(Url::host_str).map(str::to_owned));
    }

    fn wrong(&mut self, name: &'static str, reason: &'static str) {
        self.problems.push(SettingProblem { name, reason });
    }

    fn optional<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, SettingError>) -> Option<T> {
        let value = self.value(name)?;
        parse(&value)
            .map_err(|SettingError(reason)| self.wrong(name, reason))
            .ok()
    }

    fn required<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, SettingError>) -> Option<T> {
        let known = self.problems.len();
        let parsed = self.optional(name, parse);
        if parsed.is_none() && self.problems.len() == known {
            self.wrong(name, "is missing");
        }
        parsed
    }

    /// What cannot be read counts as production, so that a slip never opens a convenience.
    fn environment(&mut self) -> Environment {
        self.optional("ENVIRONMENT", |value| match value {
            "production" => Ok(Environment::Production),
            "development" => Ok(Environment::Development),
            _ => Err(SettingError("is neither `production` nor `development`")),
        })
        .unwrap_or(Environment::Production)
    }

    /// The address of a service, to which a key will be sent: encrypted, but for a development machine.
    fn address(&mut self, name: &'static str, environment: Environment) -> Option<Url> {
        self.optional(name, |value| {
            let url = Url::parse(value).map_err(|_| SettingError("is not a URL"))?;
            match (url.scheme(), environment) {
                ("https", _) | ("http", Environment::Development) => {}
                _ => return Err(SettingError("does not begin with https://")),
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err(SettingError(
                    "holds a user or a password, which have settings of their own",
                ));
            }
            Ok(url)
        })
    }

    /// The REST address and its token; `REDIS_URL` only where neither is set.
    fn upstash(&mut self, environment: Environment, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> Option<Upstash> {
        const URL: &str = "UPSTASH_REDIS_REST_URL";
        const TOKEN: &str = "UPSTASH_REDIS_REST_TOKEN";

        let known = self.problems.len();
        let address = self.address(URL, environment);
        let token = self.value(TOKEN).map(SecretString::from);
        if self.problems.len() > known {
            return None;
        }
        match (address, token) {
            (Some(address), Some(token)) => Upstash::new(http.clone(), Arc::clone(clock), address, token)
                .map_err(|SettingError(reason)| self.wrong(TOKEN, reason))
                .ok(),
            (Some(_), None) => {
                self.wrong(TOKEN, "is missing beside UPSTASH_REDIS_REST_URL");
                None
            }
            (None, Some(_)) => {
                self.wrong(URL, "is missing beside UPSTASH_REDIS_REST_TOKEN");
                None
            }
            (None, None) => {
                let known = self.problems.len();
                let upstash = self.optional("REDIS_URL", |value| {
                    Upstash::from_redis_url(http.clone(), Arc::clone(clock), SecretString::from(value))
                });
                if upstash.is_none() && self.problems.len() == known {
                    self.wrong(URL, "is missing, and so is REDIS_URL");
                }
                upstash
            }
        }
    }
}

/// Whether a secret can guard anything. On a development machine every one can.
fn guards(value: &str, environment: Environment) -> Result<(), SettingError> {
    if environment == Environment::Development {
        return Ok(());
    }
    if value.len() < MIN_SECRET_BYTES {
        return Err(SettingError("is shorter than 32 bytes"));
    }
    let lower = value.to_ascii_lowercase();
    if DEFAULTS.iter().any(|default| lower.contains(default)) {
        return Err(SettingError("is a default"));
    }
    if value.bytes().collect::<HashSet<_>>().len() < MIN_DIFFERENT_BYTES {
        return Err(SettingError("is not random"));
    }
    Ok(())
}

fn loopback_ports(value: &str, environment: Environment) -> Result<BTreeSet<u16>, SettingError> {
    if environment == Environment::Production {
        return Err(SettingError("is allowed in development only"));
    }
    let port = |text: &str| u16::from_str(text.trim()).ok().filter(|port| *port != 0);
    value
        .split(',')
        .map(|text| port(text).ok_or(SettingError("is not a list of ports such as 8080,8081")))
        .collect()
}

fn on_or_off(value: &str) -> Result<bool, SettingError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(SettingError("is neither `on` nor `off`")),
    }
}

fn level(value: &str) -> Result<LevelFilter, SettingError> {
    LevelFilter::from_str(value)
        .map_err(|_| SettingError("is none of `off`, `error`, `warn`, `info`, `debug`, `trace`"))
}
