//! Permissions: the words in which a route says what it needs. What is not granted is refused; nothing here decides
//! who is granted what, which is the table of [`Role`](super::Role).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

/// Declares the permissions once: their variants, their words and their order.
macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// One thing that a caller may be allowed to do, written `area:verb`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        pub enum Permission {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl Permission {
            /// All of them, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word, as the API shows it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

permissions! {
    /// Ask who one is: `GET /v1/session`.
    IdentityRead = "identity:read",
    /// List and read agents.
    AgentsRead = "agents:read",
    /// Create, change and delete agents.
    AgentsWrite = "agents:write",
    /// List and read runs, their steps and their history.
    RunsRead = "runs:read",
    /// Create runs.
    RunsCreate = "runs:create",
    /// Cancel runs.
    RunsCancel = "runs:cancel",
    /// List and read the contracts of skills.
    SkillsRead = "skills:read",
    /// List one's own sessions.
    SessionsRead = "sessions:read",
    /// End one of one's own sessions.
    SessionsRevoke = "sessions:revoke",
    /// List the tenant's API keys; their secrets are shown to nobody.
    ApiKeysRead = "api_keys:read",
    /// Create, rotate and revoke the tenant's API keys.
    ApiKeysManage = "api_keys:manage",
    /// List the tenant's secrets; their values are shown to nobody.
    SecretsRead = "secrets:read",
    /// Give and delete the tenant's secrets.
    SecretsManage = "secrets:manage",
    /// Read the tenant's own settings; keys are shown to nobody.
    SettingsRead = "settings:read",
    /// Change the tenant's own settings.
    SettingsManage = "settings:manage",
    /// Read the tenant's audit log.
    AuditRead = "audit:read",
    /// Read the table of roles and permissions.
    RbacRead = "rbac:read",
    /// List and read tenants: the operator's.
    TenantsRead = "tenants:read",
    /// Set tenants' tiers and limits, and erase them: the operator's.
    TenantsManage = "tenants:manage",
}

impl Permission {
    /// The bit that stands for it.
    const fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such permission")]
pub struct UnknownPermission;

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(word: &str) -> Result<Self, UnknownPermission> {
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.as_str() == word)
            .ok_or(UnknownPermission)
    }
}

/// Some permissions. As JSON it is the list of their words, without doubles, in the order of the declaration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, ToSchema)]
#[schema(value_type = Vec<Permission>)]
pub struct PermissionSet(u64);

impl PermissionSet {
    /// None at all.
    pub const EMPTY: Self = Self(0);
    /// Every permission that there is.
    pub const ALL: Self = Self::of(Permission::ALL);

    /// These permissions.
    pub const fn of(mut permissions: &[Permission]) -> Self {
        let mut bits = 0;
        while let [first, rest @ ..] = permissions {
            bits |= first.bit();
            permissions = rest;
        }
        Self(bits)
    }

    /// Whether it holds this permission.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether it holds every permission of `other`.
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The permissions of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The permissions of both: what a key may do when its owner's rights are narrower than its scopes.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Its permissions that `other` has not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it holds nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its permissions, in the order of the declaration.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .iter()
            .copied()
            .filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions
            .into_iter()
            .fold(Self::EMPTY, |set, permission| set.union(Self(permission.bit())))
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::as_str)).finish()
    }
}

impl Serialize for PermissionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for PermissionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let permissions = Vec::<Permission>::deserialize(deserializer)?;
        let set: Self = permissions.iter().copied().collect();
        if set.iter().count() == permissions.len() {
            Ok(set)
        } else {
            Err(de::Error::custom("a permission is named twice"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_permission_has_a_bit_and_a_word_of_its_own() {
        assert!(Permission::ALL.len() <= 64);
        let bits: BTreeSet<u64> = Permission::ALL.iter().map(|permission| permission.bit()).collect();
        assert_eq!(bits.len(), Permission::ALL.len());
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(*permission));
            assert_eq!(
                serde_json::to_value(permission).unwrap(),
                permission.as_str(),
                "JSON has another word"
            );
            let (area, verb) = permission.as_str().split_once(':').unwrap();
            let plain =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(plain(area) && plain(verb), "{permission}");
        }
        for unknown in ["", "agents", "agents:", "Agents:read", "agents:read ", "*"] {
            assert_eq!(unknown.parse::<Permission>(), Err(UnknownPermission), "{unknown:?}");
        }
    }

    #[test]
    fn a_set_holds_what_it_was_given_and_nothing_else() {
        let set = PermissionSet::of(&[Permission::RunsRead, Permission::AgentsRead]);
        assert!(set.contains(Permission::RunsRead) && !set.contains(Permission::RunsCreate));
        assert_eq!(set.iter().collect::<PermissionSet>(), set);
        assert!(PermissionSet::ALL.contains_all(set) && !set.contains_all(PermissionSet::ALL));
        assert!(set.without(set).is_empty() && PermissionSet::EMPTY.is_empty());
        assert_eq!(set.union(PermissionSet::ALL), PermissionSet::ALL);
        assert_eq!(
            set.intersection(PermissionSet::of(&[Permission::RunsRead]))
                .iter()
                .count(),
            1
        );
        assert_eq!(PermissionSet::ALL.iter().count(), Permission::ALL.len());
    }

    #[test]
    fn a_set_is_a_list_of_words_in_one_order_and_refuses_what_it_does_not_know() {
        let set: PermissionSet = serde_json::from_str(r#"["runs:read","agents:read"]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["agents:read","runs:read"]"#);
        for bad in [
            r#"["runs:read","runs:read"]"#,
            r#"["runs:*"]"#,
            r#""runs:read""#,
            "[1]",
            "[null]",
        ] {
            assert!(serde_json::from_str::<PermissionSet>(bad).is_err(), "{bad}");
        }
    }
}
