//! The settings by which callers are known. Must never accept a secret in production that could be guessed.

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::{Reader, guards};
use crate::{
    auth::{ServiceTokens, SharedSecret, jwks::Seal},
    config::{ClerkSettings, Environment, OperatorKey},
    integrations::{
        SettingError,
        clerk::{self, Clerk},
    },
    platform::Clock,
};

/// The `iss` of service tokens, unless `JWT_ISSUER` says otherwise.
const SERVICE_ISSUER: &str = "aos";
/// Where an issuer's keys are, unless `CLERK_JWKS_URL` says otherwise.
const JWKS_PATH: [&str; 2] = [".well-known", "jwks.json"];

impl Reader<'_> {
    pub(super) fn operator_key(&mut self, environment: Environment) -> Option<OperatorKey> {
        self.required("AOS_API_KEY", |value| {
            guards(value, environment)?;
            Ok(OperatorKey::from(value))
        })
    }

    pub(super) fn machine_token(&mut self, environment: Environment) -> Option<SharedSecret> {
        self.optional("MACHINE_SECRET_TOKEN", |value| {
            guards(value, environment)?;
            Ok(SharedSecret::from(value))
        })
    }

    /// One issuer has one kind of tokens: Clerk's name cannot be ours.
    pub(super) fn service_tokens(
        &mut self,
        environment: Environment,
        clerk: Option<&ClerkSettings>,
    ) -> Option<ServiceTokens> {
        let issuer = self.value("JWT_ISSUER").unwrap_or_else(|| SERVICE_ISSUER.to_owned());
        if clerk.is_some_and(|clerk| clerk.issuer == issuer) {
            self.wrong("JWT_ISSUER", "is Clerk's issuer");
            return None;
        }
        self.optional("JWT_SECRET", |value| {
            guards(value, environment)?;
            Ok(ServiceTokens::new(issuer, value))
        })
    }

    /// Production needs Clerk. Elsewhere it may be missing, but not in part.
    pub(super) fn clerk(
        &mut self,
        environment: Environment,
        http: &reqwest::Client,
        clock: &Arc<dyn Clock>,
    ) -> Option<ClerkSettings> {
        let known = self.problems.len();
        let issuer = self.address("CLERK_ISSUER_URL", environment);
        let jwks_url = self.address("CLERK_JWKS_URL", environment);
        let base_url = self.address("CLERK_BASE_URL", environment);
        let secret_key = self.optional("CLERK_SECRET_KEY", |value| match value.strip_prefix("sk_") {
            Some(_) => Ok(SecretString::from(value)),
            None => Err(SettingError("does not begin with sk_")),
        });
        let publishable_key = self.optional("CLERK_PUBLISHABLE_KEY", |value| match value.strip_prefix("pk_") {
            Some(_) => Ok(value.to_owned()),
            None => Err(SettingError("does not begin with pk_")),
        });
        let authorized_parties = self.optional("CLERK_AUTHORIZED_PARTIES", origins);
        if self.problems.len() > known {
            return None;
        }
        let is_needed = environment == Environment::Production
            || issuer.is_some()
            || secret_key.is_some()
            || publishable_key.is_some();
        match (issuer, secret_key, publishable_key) {
            (Some(issuer), Some(secret_key), Some(publishable_key)) => {
                let base_url = base_url.or_else(|| Url::parse(clerk::BASE_URL).ok())?;
                self.own_host(clerk::BASE_URL);
                let jwks_url = jwks_url.unwrap_or_else(|| below(&issuer, &JWKS_PATH));
                let client = Clerk::new(http.clone(), Arc::clone(clock), jwks_url, base_url, &secret_key)
                    .map_err(|SettingError(reason)| self.wrong("CLERK_SECRET_KEY", reason))
                    .ok()?;
                Some(ClerkSettings {
                    issuer: issuer.as_str().trim_end_matches('/').to_owned(),
                    publishable_key,
                    authorized_parties: authorized_parties.unwrap_or_default(),
                    client,
                    keys_seal: Seal::new(&secret_key),
                })
            }
            (issuer, secret_key, publishable_key) => {
                let missing = [
                    ("CLERK_ISSUER_URL", issuer.is_none()),
                    ("CLERK_SECRET_KEY", secret_key.is_none()),
                    ("CLERK_PUBLISHABLE_KEY", publishable_key.is_none()),
                ];
                for (name, _) in missing.into_iter().filter(|(_, is_missing)| is_needed && *is_missing) {
                    self.wrong(name, "is missing");
                }
                None
            }
        }
    }
}

/// An address below another one.
fn below(address: &Url, segments: &[&str]) -> Url {
    let mut below = address.clone();
    if let Ok(mut path) = below.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    below
}

/// Origins as browsers write them, since `azp` is compared to the letter.
fn origins(value: &str) -> Result<Vec<String>, SettingError> {
    value.split(',').map(|text| origin(text.trim())).collect()
}

fn origin(text: &str) -> Result<String, SettingError> {
    let wrong = SettingError("is not a list of origins such as https://app.example.com,https://example.com");
    let url = Url::parse(text).map_err(|_| wrong)?;
    // Not `Url::origin`: an extension's (chrome-extension://…) is opaque to it.
    let host = url.host_str().ok_or(wrong)?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let origin = format!("{}://{host}{port}", url.scheme());
    if origin == text { Ok(origin) } else { Err(wrong) }
}
