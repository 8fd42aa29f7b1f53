//! The tenants of claimed steps: what they brought along and the secrets that their steps name, opened for one execution.
//! Must never hold more secrets than the steps name, nor tell in a log what one is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use secrecy::SecretString;
use serde::Deserialize;

use crate::{
    sealing::{Place, Sealer},
    tenants::{OwnSetting, Owner, Tier},
};

/// The kind of what plans refer to.
const SECRET: &str = "secret";

/// A tenant as a turn's answer has it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct OwnerRow {
    name: String,
    tier: Tier,
    sealed: Vec<SealedRow>,
}

#[derive(Debug, Clone, Deserialize)]
struct SealedRow {
    kind: String,
    name: String,
    sealed: String,
}

/// A tenant, ready for its steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Opened {
    pub(super) owner: Arc<Owner>,
    pub(super) secrets: Arc<BTreeMap<String, SecretString>>,
}

/// Opens what can be opened.
pub(super) fn open(row: OwnerRow, sealer: Option<&Sealer>) -> Opened {
    let mut owner = Owner {
        name: row.name.clone(),
        tier: row.tier,
        values: BTreeMap::new(),
        unreadable: BTreeSet::new(),
    };
    let mut secrets = BTreeMap::new();
    for SealedRow { kind, name, sealed } in row.sealed {
        let place = Place {
            tenant: &row.name,
            kind: &kind,
            name: &name,
        };
        let opened = sealer.and_then(|sealer| {
            sealer
                .open(place, &sealed)
                .inspect_err(
                    |error| tracing::error!(tenant = row.name, kind, name, %error, "a sealed value cannot be opened"),
                )
                .ok()
        });
        match (kind.as_str(), name.parse::<OwnSetting>(), opened) {
            (SECRET, _, Some(value)) => drop(secrets.insert(name, value)),
            (SECRET, _, None) | (_, Err(_), _) => {}
            (_, Ok(setting), Some(value)) => drop(owner.values.insert(setting, value)),
            (_, Ok(setting), None) => drop(owner.unreadable.insert(setting)),
        }
    }
    Opened {
        owner: Arc::new(owner),
        secrets: Arc::new(secrets),
    }
}
