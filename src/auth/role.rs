//! Roles, and the one table that says what each of them may do. What the table does not grant is refused.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::permission::{Permission, PermissionSet};

/// What somebody is inside a tenant, or to the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To whom the tenant belongs: every user in their own tenant.
    Owner,
    /// Who runs the tenant. The same rights as the owner, because the organisations of Clerk have no owner by
    /// default: what was kept from an admin, nobody there could do.
    Admin,
    /// Who builds agents and runs them.
    Developer,
    /// Who looks after runs and decides about them.
    Reviewer,
    /// Who looks.
    Readonly,
    /// A program that starts runs and reads their results.
    Machine,
    /// Who runs this installation: may do everything, for any tenant.
    Operator,
}

impl Role {
    /// All of them, in the order of the matrix.
    pub const ALL: [Self; 7] = [
        Self::Owner,
        Self::Admin,
        Self::Developer,
        Self::Reviewer,
        Self::Readonly,
        Self::Machine,
        Self::Operator,
    ];

    /// The word, as the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Reviewer => "reviewer",
            Self::Readonly => "readonly",
            Self::Machine => "machine",
            Self::Operator => "operator",
        }
    }

    /// The table: what a role may do.
    pub const fn permissions(self) -> PermissionSet {
        use Permission as P;

        match self {
            Self::Operator => PermissionSet::ALL,
            Self::Owner | Self::Admin => PermissionSet::of(&[
                P::IdentityRead,
                P::AgentsRead,
                P::AgentsWrite,
                P::RunsRead,
                P::RunsCreate,
                P::RunsCancel,
                P::SkillsRead,
                P::SessionsRead,
                P::SessionsRevoke,
                P::ApiKeysRead,
                P::ApiKeysManage,
                P::SecretsRead,
                P::SecretsManage,
                P::SettingsRead,
                P::SettingsManage,
                P::AuditRead,
                P::RbacRead,
            ]),
            Self::Developer => PermissionSet::of(&[
                P::IdentityRead,
                P::AgentsRead,
                P::AgentsWrite,
                P::RunsRead,
                P::RunsCreate,
                P::RunsCancel,
                P::SkillsRead,
                P::SessionsRead,
                P::SessionsRevoke,
                P::SecretsRead,
                P::SettingsRead,
                P::RbacRead,
            ]),
            Self::Reviewer => PermissionSet::of(&[
                P::IdentityRead,
                P::AgentsRead,
                P::RunsRead,
                P::RunsCancel,
                P::SkillsRead,
                P::SessionsRead,
                P::SessionsRevoke,
                P::AuditRead,
                P::RbacRead,
            ]),
            Self::Readonly => PermissionSet::of(&[
                P::IdentityRead,
                P::AgentsRead,
                P::RunsRead,
                P::SkillsRead,
                P::SessionsRead,
                P::RbacRead,
            ]),
            Self::Machine => PermissionSet::of(&[
                P::IdentityRead,
                P::AgentsRead,
                P::RunsRead,
                P::RunsCreate,
                P::SkillsRead,
            ]),
        }
    }

    /// What some roles may do together.
    pub fn permissions_of(roles: &[Self]) -> PermissionSet {
        roles
            .iter()
            .fold(PermissionSet::EMPTY, |set, role| set.union(role.permissions()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such role")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or(UnknownRole)
    }
}

/// The table as `GET /v1/rbac/matrix` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Matrix {
    /// Every permission that there is.
    pub permissions: &'static [Permission],
    /// Every role with what it may do.
    pub roles: Vec<RoleGrant>,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RoleGrant {
    /// The role.
    pub role: Role,
    /// What it may do, and nothing else.
    pub permissions: PermissionSet,
}

/// The table, for `GET /v1/rbac/matrix`.
pub fn matrix() -> Matrix {
    let row = |role: Role| RoleGrant {
        role,
        permissions: role.permissions(),
    };
    Matrix {
        permissions: Permission::ALL,
        roles: Role::ALL.into_iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_but_operator() -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(|role| *role != Role::Operator)
    }

    #[test]
    fn what_concerns_other_tenants_is_the_operators_alone() {
        for role in all_but_operator() {
            for permission in [Permission::TenantsRead, Permission::TenantsManage] {
                assert!(!role.permissions().contains(permission), "{role} has {permission}");
            }
        }
        assert_eq!(Role::Operator.permissions(), PermissionSet::ALL);
    }

    #[test]
    fn who_only_reads_can_only_read() {
        for permission in Role::Readonly.permissions().iter() {
            assert!(permission.as_str().ends_with(":read"), "{permission}");
        }
    }

    #[test]
    fn a_machine_starts_runs_and_reads_and_nothing_more() {
        let words: Vec<_> = Role::Machine.permissions().iter().map(Permission::as_str).collect();
        assert_eq!(
            words,
            [
                "identity:read",
                "agents:read",
                "runs:read",
                "runs:create",
                "skills:read"
            ]
        );
    }

    #[test]
    fn every_permission_is_granted_to_somebody_and_none_to_a_lesser_role_that_a_greater_lacks() {
        let granted = Role::permissions_of(&Role::ALL);
        assert_eq!(granted, PermissionSet::ALL);
        let greater_than = [
            (Role::Owner, Role::Admin),
            (Role::Admin, Role::Developer),
            (Role::Admin, Role::Reviewer),
            (Role::Developer, Role::Readonly),
            (Role::Reviewer, Role::Readonly),
            (Role::Developer, Role::Machine),
        ];
        for (greater, lesser) in greater_than {
            assert!(
                greater.permissions().contains_all(lesser.permissions()),
                "{greater} over {lesser}"
            );
        }
    }

    #[test]
    fn only_those_who_run_a_tenant_handle_its_keys() {
        let with_keys: Vec<_> = Role::ALL
            .into_iter()
            .filter(|role| role.permissions().contains(Permission::ApiKeysManage))
            .collect();
        assert_eq!(with_keys, [Role::Owner, Role::Admin, Role::Operator]);
    }

    #[test]
    fn the_matrix_shows_the_table_and_no_roles_grant_nothing() {
        let shown = serde_json::to_value(matrix()).unwrap();
        assert_eq!(shown["permissions"].as_array().unwrap().len(), Permission::ALL.len());
        assert_eq!(shown["roles"].as_array().unwrap().len(), 7);
        assert_eq!(shown["roles"][5]["role"], "machine");
        assert_eq!(shown["roles"][5]["permissions"][3], "runs:create");
        assert!(Role::permissions_of(&[]).is_empty());
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert_eq!("Owner".parse::<Role>(), Err(UnknownRole));
    }
}
