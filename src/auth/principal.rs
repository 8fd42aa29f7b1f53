//! The principal: who is calling, as a verified credential says. Must never be made from anything that was not
//! verified, and never prints a credential.

use std::fmt;

use jiff::Timestamp;

use super::{
    permission::{Permission, PermissionSet},
    role::Role,
    tenant_name::TenantName,
};
use crate::ids::ApiKeyId;

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose data the request may see; nobody else's.
    pub tenant: TenantName,
    /// Who it is inside the tenant, for logs: a user, a service, a key, `operator`, `machine`.
    pub subject: String,
    /// What it is.
    pub roles: Vec<Role>,
    /// What it may do, by its roles and by what its credential adds or takes away.
    pub permissions: PermissionSet,
    /// How it was proved.
    pub credential: Credential,
}

/// How a principal was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// `X-API-Key` with the operator's key.
    Operator,
    /// `X-Machine-Token`.
    Machine,
    /// A session token of Clerk's.
    Session {
        /// The session, `sess_…`; it may be revoked before the token expires.
        id: String,
        /// When the token expires; until then a revocation must be remembered.
        expires: Timestamp,
        /// Who acts as this user with the operator's consent (claim `act`): audits name both.
        actor: Option<String>,
    },
    /// A token signed with `JWT_SECRET`.
    ServiceToken {
        /// When the token expires.
        expires: Timestamp,
    },
    /// `X-API-Key` with a tenant's own key.
    ApiKey {
        /// The key's id, never the key.
        id: ApiKeyId,
    },
}

impl Credential {
    /// One word for logs, metrics and the API.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Machine => "machine",
            Self::Session { .. } => "session",
            Self::ServiceToken { .. } => "service_token",
            Self::ApiKey { .. } => "api_key",
        }
    }
}

impl Principal {
    /// Somebody with what these roles may do.
    pub fn new(tenant: TenantName, subject: impl Into<String>, roles: Vec<Role>, credential: Credential) -> Self {
        Self {
            permissions: Role::permissions_of(&roles),
            tenant,
            subject: subject.into(),
            roles,
            credential,
        }
    }

    /// The operator, acting for a tenant.
    pub fn operator(tenant: TenantName) -> Self {
        Self::new(tenant, "operator", vec![Role::Operator], Credential::Operator)
    }

    /// A machine, acting for a tenant. Its permissions are fixed.
    pub fn machine(tenant: TenantName) -> Self {
        Self::new(tenant, "machine", vec![Role::Machine], Credential::Machine)
    }

    /// A tenant's own key, which may do what its scopes say. It has no role, and what is the operator's alone is not
    /// among its rights, whatever its scopes say.
    pub fn api_key(tenant: TenantName, id: ApiKeyId, scopes: PermissionSet) -> Self {
        Self {
            tenant,
            subject: id.to_string(),
            roles: Vec::new(),
            permissions: scopes.intersection(Role::Owner.permissions()),
            credential: Credential::ApiKey { id },
        }
    }

    /// Whether it may do this.
    pub const fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }

    /// Whether it runs this installation.
    pub fn is_operator(&self) -> bool {
        self.credential == Credential::Operator
    }

    /// Who it was and how it was proved, on one line, for audits: `session:sess_1 user_1`.
    pub fn label(&self) -> Label<'_> {
        Label(self)
    }
}

/// A principal as audits name it.
pub struct Label<'a>(&'a Principal);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(principal) = self;
        match &principal.credential {
            Credential::Operator | Credential::Machine => f.write_str(principal.credential.kind()),
            Credential::ApiKey { id } => write!(f, "api_key:{id}"),
            Credential::ServiceToken { .. } => write!(f, "service_token {}", principal.subject),
            Credential::Session { id, actor, .. } => {
                write!(f, "session:{id} {}", principal.subject)?;
                actor.as_ref().map_or(Ok(()), |actor| write!(f, " by {actor}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantName {
        "org_1".parse().unwrap()
    }

    fn key(scopes: PermissionSet) -> Principal {
        Principal::api_key(tenant(), ApiKeyId(uuid::Uuid::nil()), scopes)
    }

    #[test]
    fn a_key_has_its_scopes_but_never_what_is_the_operators() {
        let scopes = PermissionSet::of(&[Permission::RunsRead, Permission::TenantsManage]);
        let scoped = key(scopes);
        assert!(scoped.may(Permission::RunsRead));
        assert!(!scoped.may(Permission::TenantsManage) && !scoped.may(Permission::RunsCreate));
        assert!(!key(PermissionSet::ALL).may(Permission::TenantsRead));
    }

    #[test]
    fn only_the_operators_credential_is_the_operator() {
        assert!(Principal::operator(tenant()).is_operator());
        assert!(Principal::operator(tenant()).may(Permission::TenantsManage));
        assert!(!Principal::machine(tenant()).is_operator());
    }

    #[test]
    fn audits_name_who_it_was_and_how_it_was_proved() {
        let session = Credential::Session {
            id: "sess_1".to_owned(),
            expires: Timestamp::UNIX_EPOCH,
            actor: Some("user_support".to_owned()),
        };
        let labels = [
            (Principal::operator(tenant()), "operator"),
            (Principal::machine(tenant()), "machine"),
            (
                key(PermissionSet::EMPTY),
                "api_key:key_00000000000000000000000000000000",
            ),
            (
                Principal::new(tenant(), "user_1", vec![Role::Owner], session),
                "session:sess_1 user_1 by user_support",
            ),
        ];
        for (principal, label) in labels {
            assert_eq!(principal.label().to_string(), label);
        }
    }
}
