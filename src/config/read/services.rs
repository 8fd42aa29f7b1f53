//! The settings of what skills call on: the providers' addresses, the installation's own keys and who may use them, and
//! the secrets that guard what tenants hand over. Must never send a key to a host that nobody named.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::SecretString;
use url::Url;

use super::{Reader, guards};
use crate::{
    config::Environment,
    integrations::{
        SettingError,
        dns::{self, Resolver},
        provider::Provider,
    },
    links::Links,
    platform::Clock,
    sealing::Sealer,
    skills::{Endpoints, QueryDatabases},
    tenants::{Installation, OwnSetting, Tier},
};

impl Reader<'_> {
    /// The providers' addresses, each a host that no caller's URL may lead to. Nor may it lead to the provider's own, where a
    /// setting names another one: the key is good there too.
    pub(super) fn endpoints(
        &mut self,
        environment: Environment,
        http: &reqwest::Client,
        clock: &Arc<dyn Clock>,
    ) -> Option<Endpoints> {
        let mut base_urls = BTreeMap::new();
        for provider in Provider::ALL {
            self.own_host(provider.base_url());
            if let Some(base_url) = self.address(provider.base_url_setting(), environment) {
                base_urls.insert(provider, base_url);
            }
        }
        Endpoints::new(http, clock, |provider| base_urls.get(&provider).cloned())
            .map_err(|_| self.wrong("ANTHROPIC_BASE_URL", "is not a URL"))
            .ok()
    }

    /// What the installation has of its own, and the tiers that may use it.
    pub(super) fn installation(&mut self) -> Installation {
        let mut values = BTreeMap::new();
        for setting in OwnSetting::ALL {
            let Some(name) = setting.of_installation() else {
                continue;
            };
            if let Some(value) = self.optional(name, |value| setting.check(value).map(|()| SecretString::from(value))) {
                values.insert(*setting, value);
            }
        }
        Installation {
            values,
            open_to: self.optional("PLATFORM_KEYS_FOR", tiers).unwrap_or_else(paying),
            operator_tenant: self.value("OPERATOR_TENANT"),
        }
    }

    /// The way to tenants' databases. `endpoint`, in development alone, takes the place of Neon's own: what tenants entrust
    /// to AOS goes to Neon and to nobody else.
    pub(super) fn query_databases(
        &mut self,
        environment: Environment,
        endpoint: Option<Url>,
        installation: &Installation,
        http: &reqwest::Client,
        clock: &Arc<dyn Clock>,
    ) -> QueryDatabases {
        let own = ["DATABASE_URL", "ENGINE_DATABASE_URL"].map(|name| (self.value_of)(name).unwrap_or_default());
        let databases = QueryDatabases::new(
            http.clone(),
            Arc::clone(clock),
            endpoint.filter(|_| environment == Environment::Development),
            own.iter().map(String::as_str),
        );
        let installations = installation.values.get(&OwnSetting::QueryDatabaseUrl);
        if let Some(Err(SettingError(reason))) = installations.map(|url| databases.connect(url)) {
            self.wrong("QUERY_DATABASE_URL", reason);
        }
        databases
    }

    /// Who is asked what names lead to, unless nobody is to be.
    pub(super) fn resolver(
        &mut self,
        environment: Environment,
        http: &reqwest::Client,
        clock: &Arc<dyn Clock>,
    ) -> Option<Resolver> {
        const NAME: &str = "DNS_OVER_HTTPS_URL";
        if (self.value_of)(NAME).as_deref() == Some("off") {
            return None;
        }
        let known = self.problems.len();
        let url = self.address(NAME, environment);
        if self.problems.len() > known {
            return None;
        }
        let url = url.or_else(|| Url::parse(dns::DEFAULT_URL).ok())?;
        self.own_hosts.extend(url.host_str().map(str::to_owned));
        Some(Resolver::new(http.clone(), Arc::clone(clock), url))
    }

    /// What signs links: the key, and the one before it. The address of the installation is a host that no caller's URL may
    /// lead to, also without links.
    pub(super) fn links(&mut self, environment: Environment) -> Option<Links> {
        const BASE: &str = "PUBLIC_BASE_URL";
        let base = self.address(BASE, environment);
        if base
            .as_ref()
            .is_some_and(|url| url.query().is_some() || url.fragment().is_some())
        {
            self.wrong(
                BASE,
                "has a query or a fragment, which an address of an installation has not",
            );
        }
        let guarding = |value: &str| guards(value, environment).map(|()| SecretString::from(value));
        let current = self.optional("SIGNED_URL_SECRET", guarding);
        let previous = self.optional("SIGNED_URL_SECRET_PREVIOUS", guarding);
        if current.is_none() && previous.is_some() {
            self.wrong("SIGNED_URL_SECRET", "is missing beside SIGNED_URL_SECRET_PREVIOUS");
        }
        Some(Links::new(&current?, previous.as_ref(), base.as_ref()))
    }

    /// What seals tenants' values: the key, and the one before it.
    pub(super) fn sealer(&mut self, environment: Environment) -> Option<Sealer> {
        let guarding = |value: &str| guards(value, environment).map(|()| SecretString::from(value));
        let current = self.optional("SEALING_KEY", guarding);
        let previous = self.optional("SEALING_KEY_PREVIOUS", guarding);
        if current.is_none() && previous.is_some() {
            self.wrong("SEALING_KEY", "is missing beside SEALING_KEY_PREVIOUS");
        }
        Some(Sealer::new(&current?, previous.as_ref()))
    }
}

/// Tiers that nobody has for nothing: what they spend is not lost.
fn paying() -> Vec<Tier> {
    vec![Tier::Dev, Tier::Pro, Tier::Enterprise]
}

fn tiers(value: &str) -> Result<Vec<Tier>, SettingError> {
    value
        .split(',')
        .map(|word| word.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| SettingError("is not a list of tiers such as dev,pro,enterprise"))
}
