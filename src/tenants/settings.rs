//! `/v1/settings`: what a tenant brought along in place of what the installation has. Keys are write-only; all values are
//! sealed before they are stored.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Installation, OwnSetting};
use crate::{
    audit::{Action, By},
    auth::Principal,
    body::Body,
    database::{Database, Rows, operation},
    integrations::SettingError,
    problem::{FieldError, Problem, pointer_token},
    sealing::{Place, Sealer},
    secrets::{Kind, SealedRow, not_configured},
};

const SETTINGS: Kind = Kind {
    word: "setting",
    most: 64,
    put: Action::SettingsPut,
    delete: Action::SettingsPut,
};

/// Values to set, by the names of the settings: a text sets, `null` takes the tenant's own away. What is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = BTreeMap<String, Option<String>>, example = json!({
    "slack_webhook_url": "https://hooks.slack.com/services/…", "anthropic_model": "claude-haiku-4-5", "openai_api_key": null
}))]
pub struct SettingsChange(BTreeMap<String, Option<SecretString>>);

/// A tenant's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TenantSettings {
    /// All that there can be.
    pub items: Vec<TenantSetting>,
}

/// One setting as it holds for the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "anthropic_model", "source": "tenant", "value": "claude-haiku-4-5", "updated_at": "2026-11-28T10:00:00Z",
    "updated_by": "session:sess_1 user_1"
}))]
pub struct TenantSetting {
    /// Its name.
    pub name: &'static str,
    /// Whose value holds.
    pub source: Source,
    /// The tenant's own value; `null` for keys and other secrets, which are shown to nobody.
    #[schema(required)]
    pub value: Option<String>,
    /// When the tenant's own was given.
    #[schema(required)]
    pub updated_at: Option<Timestamp>,
    /// By whom.
    #[schema(required)]
    pub updated_by: Option<String>,
}

/// Whose value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The tenant's own.
    Tenant,
    /// The installation's, where the tenant's tier may use it.
    Installation,
    /// There is none.
    None,
}

/// `GET /v1/settings`: one request to the database.
///
/// # Errors
/// 503 `unavailable`.
pub async fn settings(
    database: &Database,
    sealer: Option<&Sealer>,
    installation: &Installation,
    principal: &Principal,
) -> Result<TenantSettings, Problem> {
    let mut transaction = database.enter(principal, operation!("settings.read"));
    let read = SETTINGS.list(&mut transaction, None, true);
    let rows = transaction.commit().await?;
    shown(&rows, read, sealer, installation, principal)
}

/// `PUT /v1/settings`: changes what is named, all or nothing, and answers the settings as they are now.
///
/// # Errors
/// 422 `invalid_request`; 503 `sealing_not_configured`.
pub async fn put_settings(
    database: &Database,
    sealer: Option<&Sealer>,
    installation: &Installation,
    by: By<'_>,
    body: Body<SettingsChange>,
) -> Result<TenantSettings, Problem> {
    let sealer = sealer.ok_or_else(not_configured)?;
    let SettingsChange(change) = body.value;
    check(&change)?;
    let set: Vec<(&str, &SecretString)> = change
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?)))
        .collect();
    let unset: Vec<&str> = change
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let mut transaction = database.enter(by.principal, operation!("settings.put"));
    if !set.is_empty() {
        SETTINGS.put(&mut transaction, database, sealer, by, &set)?;
    }
    if !unset.is_empty() {
        SETTINGS.delete(&mut transaction, database, by, &unset);
    }
    let read = SETTINGS.list(&mut transaction, None, true);
    let rows = transaction.commit().await?;
    shown(&rows, read, Some(sealer), installation, by.principal)
}

fn check(change: &BTreeMap<String, Option<SecretString>>) -> Result<(), Problem> {
    let mut errors = Vec::new();
    for (name, value) in change {
        let at = format!("/{}", pointer_token(name));
        match (name.parse::<OwnSetting>(), value) {
            (Err(_), _) => {
                let names: Vec<_> = OwnSetting::ALL.iter().map(|setting| setting.as_str()).collect();
                let detail = format!("there is no such setting; there are {}", names.join(", "));
                errors.push(FieldError::new(at, "unknown_field", detail));
            }
            (Ok(setting), Some(value)) => {
                if let Err(SettingError(reason)) = setting.check(value.expose_secret()) {
                    errors.push(FieldError::new(at, "invalid_value", reason));
                }
            }
            (Ok(_), None) => {}
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}

fn shown(
    rows: &Rows,
    read: usize,
    sealer: Option<&Sealer>,
    installation: &Installation,
    principal: &Principal,
) -> Result<TenantSettings, Problem> {
    let own: BTreeMap<String, SealedRow> = rows
        .all::<SealedRow>(read)?
        .into_iter()
        .map(|row| (row.name.clone(), row))
        .collect();
    let items = OwnSetting::ALL.iter().map(|setting| {
        let row = own.get(setting.as_str());
        let source = match row {
            Some(_) => Source::Tenant,
            None if installation.values.contains_key(setting) => Source::Installation,
            None => Source::None,
        };
        TenantSetting {
            name: setting.as_str(),
            source,
            value: row.filter(|_| !setting.is_secret()).and_then(|row| {
                let place = Place {
                    tenant: principal.tenant.as_str(),
                    kind: SETTINGS.word,
                    name: &row.name,
                };
                let opened = sealer?.open(place, row.sealed.as_deref()?);
                opened.ok().map(|value| value.expose_secret().to_owned())
            }),
            updated_at: row.map(|row| row.updated_at),
            updated_by: row.map(|row| row.updated_by.clone()),
        }
    });
    Ok(TenantSettings { items: items.collect() })
}
