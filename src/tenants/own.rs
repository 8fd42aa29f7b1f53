//! What a tenant may bring along in place of what the installation has: keys of its own, a webhook, a database, models.
//! Must never give a tenant what is another's, nor the installation's where the tenant's tier does not allow it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use secrecy::SecretString;
use url::Url;

use super::Tier;
use crate::integrations::{SettingError, standard_webhooks::SigningKey};

/// The longest value, in bytes.
const MAX_VALUE_BYTES: usize = 4096;

/// Declares the settings once: their variants, their words, and the Worker's setting that holds the installation's own.
macro_rules! own_settings {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, installation: $platform:expr, secret: $secret:literal,)*) => {
        /// A setting that a tenant can have of its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OwnSetting {
            $($(#[$doc])* $variant,)*
        }

        impl OwnSetting {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its word at `/v1/settings` and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The Worker's setting that holds the installation's own, if it can have one.
            pub const fn of_installation(self) -> Option<&'static str> {
                match self { $(Self::$variant => $platform,)* }
            }

            /// Whether it is shown to nobody.
            pub const fn is_secret(self) -> bool {
                match self { $(Self::$variant => $secret,)* }
            }
        }
    };
}

own_settings! {
    /// The key for Anthropic.
    AnthropicApiKey = "anthropic_api_key", installation: Some("ANTHROPIC_API_KEY"), secret: true,
    /// The model that Anthropic is asked for unless a call names one.
    AnthropicModel = "anthropic_model", installation: Some("ANTHROPIC_MODEL"), secret: false,
    /// The key for OpenAI.
    OpenaiApiKey = "openai_api_key", installation: Some("OPENAI_API_KEY"), secret: true,
    /// The model that OpenAI is asked for unless a call names one.
    OpenaiModel = "openai_model", installation: Some("OPENAI_MODEL"), secret: false,
    /// The key for Voyage.
    VoyageApiKey = "voyage_api_key", installation: Some("VOYAGE_API_KEY"), secret: true,
    /// The key for Resend.
    ResendApiKey = "resend_api_key", installation: Some("RESEND_API_KEY"), secret: true,
    /// The sender of mail that names none.
    ResendFromAddress = "resend_from_address", installation: Some("RESEND_FROM_ADDRESS"), secret: false,
    /// The incoming webhook of Slack: whoever knows it can post.
    SlackWebhookUrl = "slack_webhook_url", installation: Some("SLACK_WEBHOOK_URL"), secret: true,
    /// The connection string that `postgres_query` reads with.
    QueryDatabaseUrl = "query_database_url", installation: Some("QUERY_DATABASE_URL"), secret: true,
    /// What webhooks are signed with (`whsec_…`). The installation has none: a signature is the tenant's.
    WebhookSecret = "webhook_secret", installation: None, secret: true,
}

impl OwnSetting {
    /// Whether a value can be one of this setting, as far as its form tells.
    ///
    /// # Errors
    /// What is wrong with it; never the value.
    pub fn check(self, value: &str) -> Result<(), SettingError> {
        if value.is_empty() || value.len() > MAX_VALUE_BYTES {
            return Err(SettingError("has from 1 to 4096 bytes"));
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(SettingError("is visible ASCII, without line ends"));
        }
        match self {
            Self::SlackWebhookUrl => url(value).map(drop),
            Self::QueryDatabaseUrl => match url(value)?.scheme() {
                "postgres" | "postgresql" => Ok(()),
                _ => Err(SettingError("begins with postgresql://")),
            },
            Self::WebhookSecret => SigningKey::parse(value).map(drop),
            Self::ResendFromAddress if !value.contains('@') => {
                Err(SettingError("is an address such as AOS <aos@example.com>"))
            }
            _ => Ok(()),
        }
    }
}

fn url(value: &str) -> Result<Url, SettingError> {
    Url::parse(value).map_err(|_| SettingError("is a URL"))
}

impl fmt::Display for OwnSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no setting of a tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such setting")]
pub struct UnknownOwnSetting;

impl FromStr for OwnSetting {
    type Err = UnknownOwnSetting;

    fn from_str(word: &str) -> Result<Self, UnknownOwnSetting> {
        Self::ALL
            .iter()
            .copied()
            .find(|setting| setting.as_str() == word)
            .ok_or(UnknownOwnSetting)
    }
}

/// What the installation has, and who may use it.
#[derive(Debug, Clone, Default)]
pub struct Installation {
    /// Its own values.
    pub values: BTreeMap<OwnSetting, SecretString>,
    /// The tiers whose tenants may use them where they have none of their own.
    pub open_to: Vec<Tier>,
    /// The name of the operator's tenant: the only one that may use `QUERY_DATABASE_URL`.
    pub operator_tenant: Option<String>,
}

/// A tenant as a skill sees it.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// What its verified identity calls it.
    pub name: String,
    /// What it may use.
    pub tier: Tier,
    /// What it brought along.
    pub values: BTreeMap<OwnSetting, SecretString>,
    /// What it brought along and nobody can open any more. The installation's never takes its place.
    pub unreadable: BTreeSet<OwnSetting>,
}

/// A value and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The value.
    pub value: &'a SecretString,
    /// Whether it is the tenant's own; else the installation's.
    pub is_own: bool,
}

impl Owner {
    /// The tenant's own value, or the installation's where the tenant may use it.
    pub fn value<'a>(&'a self, setting: OwnSetting, installation: &'a Installation) -> Option<Held<'a>> {
        if let Some(value) = self.values.get(&setting) {
            return Some(Held { value, is_own: true });
        }
        if self.unreadable.contains(&setting) {
            return None;
        }
        let may_use = match setting {
            OwnSetting::QueryDatabaseUrl => installation.operator_tenant.as_deref() == Some(self.name.as_str()),
            _ => installation.open_to.contains(&self.tier),
        };
        let value = installation.values.get(&setting).filter(|_| may_use)?;
        Some(Held { value, is_own: false })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn installation() -> Installation {
        Installation {
            values: OwnSetting::ALL
                .iter()
                .map(|setting| (*setting, SecretString::from("the installation's")))
                .collect(),
            open_to: vec![Tier::Pro],
            operator_tenant: Some("us".to_owned()),
        }
    }

    fn owner(name: &str, tier: Tier, own: &[OwnSetting]) -> Owner {
        Owner {
            name: name.to_owned(),
            tier,
            values: own
                .iter()
                .map(|setting| (*setting, SecretString::from("own")))
                .collect(),
            unreadable: BTreeSet::new(),
        }
    }

    #[test]
    fn a_tenants_own_value_comes_first_and_the_installations_only_by_tier() {
        let installation = installation();
        let key = OwnSetting::AnthropicApiKey;
        let value = |owner: &Owner| {
            owner
                .value(key, &installation)
                .map(|held| (held.value.expose_secret().to_owned(), held.is_own))
        };
        assert_eq!(value(&owner("a", Tier::Free, &[])), None);
        assert_eq!(value(&owner("a", Tier::Free, &[key])), Some(("own".to_owned(), true)));
        assert_eq!(value(&owner("a", Tier::Pro, &[key])), Some(("own".to_owned(), true)));
        assert_eq!(
            value(&owner("a", Tier::Pro, &[])),
            Some(("the installation's".to_owned(), false))
        );
    }

    #[test]
    fn the_installations_database_is_the_operators_alone() {
        let installation = installation();
        let query = OwnSetting::QueryDatabaseUrl;
        assert!(owner("a", Tier::Pro, &[]).value(query, &installation).is_none());
        assert!(owner("us", Tier::Free, &[]).value(query, &installation).is_some());
        let nobody = Installation {
            operator_tenant: None,
            ..installation
        };
        assert!(owner("", Tier::Pro, &[]).value(query, &nobody).is_none());
    }

    #[test]
    fn a_value_that_cannot_be_opened_is_not_replaced() {
        let mut owner = owner("a", Tier::Pro, &[]);
        owner.unreadable.insert(OwnSetting::AnthropicApiKey);
        assert!(owner.value(OwnSetting::AnthropicApiKey, &installation()).is_none());
    }

    #[test]
    fn every_setting_has_a_word_of_its_own() {
        for setting in OwnSetting::ALL {
            assert_eq!(setting.as_str().parse(), Ok(*setting));
        }
        assert_eq!("".parse::<OwnSetting>(), Err(UnknownOwnSetting));
    }
}
