//! Clerk's session tokens: from a verified signature to a principal. Must never take a tenant or a role from a claim
//! that Clerk's users can write.
//!
//! - The tenant is the active organisation; without one it is the user, who owns it.
//! - The role is the organisation's: `admin` is our admin, `member` our developer, and a custom role that is called
//!   like one of `owner`, `developer`, `reviewer`, `readonly` is that one. Every other role only reads.
//! - A custom permission `org:aos:runs_create` adds `runs:create`, likewise every permission that an owner has. Roles
//!   and permissions are defined by whoever runs the Clerk application; organisations only hand them out.

mod organisation;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use self::organisation::{Organisation, OrganisationClaims};
use super::{
    permission::{Permission, PermissionSet},
    principal::{Credential, Principal},
    refusal::Refusal,
    role::Role,
    token::{self, Common, is_clerk_id},
};

/// The algorithm of all tokens of Clerk's.
pub(super) const ALGORITHM: Algorithm = Algorithm::RS256;

/// What is expected of a session token besides its signature.
pub(super) struct SessionRules<'a> {
    /// `iss`, to the letter.
    pub(super) issuer: &'a str,
    /// The origins of the applications whose tokens are accepted (`azp`). Empty: of any, or of none.
    pub(super) authorized_parties: &'a [String],
}

#[derive(Deserialize)]
struct Claims {
    #[serde(flatten)]
    common: Common,
    sid: Option<String>,
    azp: Option<String>,
    sts: Option<String>,
    act: Option<Actor>,
    #[serde(flatten)]
    organisation: OrganisationClaims,
}

#[derive(Deserialize)]
struct Actor {
    sub: Option<String>,
}

/// Verifies a token with the key that its header names, and tells when it expires and who it is.
pub(super) fn verify(
    token: &str,
    key: &DecodingKey,
    rules: &SessionRules<'_>,
    now: Timestamp,
) -> Result<(Principal, Timestamp), Refusal> {
    let claims: Claims = token::verified(token, key, ALGORITHM)?;
    let expires = claims.common.check(rules.issuer, now)?;
    check_party(claims.azp.as_deref(), rules.authorized_parties)?;
    match claims.sts.as_deref() {
        None | Some("active") => {}
        Some("pending") => return Err(Refusal::PendingSession),
        Some(_) => return Err(Refusal::WrongClaim("sts")),
    }
    let user = id(claims.common.sub, "user_", "sub")?;
    let session = id(claims.sid, "sess_", "sid")?;
    let actor = claims.act.map(|actor| id(actor.sub, "user_", "act")).transpose()?;
    let credential = Credential::Session {
        id: session,
        expires,
        actor,
    };
    let principal = match claims.organisation.active()? {
        None => {
            let tenant = user.parse().map_err(|_| Refusal::WrongClaim("sub"))?;
            Principal::new(tenant, user, vec![Role::Owner], credential)
        }
        Some(organisation) => member(organisation, user, credential)?,
    };
    Ok((principal, expires))
}

/// The official verifier's rule: where parties are set, a token that names none is not theirs.
fn check_party(party: Option<&str>, authorized: &[String]) -> Result<(), Refusal> {
    let is_authorized = |party| authorized.iter().any(|authorized| authorized == party);
    if authorized.is_empty() || party.is_some_and(is_authorized) {
        Ok(())
    } else {
        Err(Refusal::WrongParty)
    }
}

fn id(claim: Option<String>, prefix: &str, name: &'static str) -> Result<String, Refusal> {
    claim
        .filter(|id| is_clerk_id(id, prefix))
        .ok_or(Refusal::WrongClaim(name))
}

fn member(organisation: Organisation, user: String, credential: Credential) -> Result<Principal, Refusal> {
    let tenant = organisation.id.parse().map_err(|_| Refusal::WrongClaim("org_id"))?;
    let mut principal = Principal::new(tenant, user, vec![role(&organisation.role)], credential);
    principal.permissions = principal.permissions.union(added(&organisation.permissions));
    Ok(principal)
}

/// Our role for one of Clerk's, which is written without its `org:`.
fn role(name: &str) -> Role {
    match name {
        "member" => Role::Developer,
        "owner" => Role::Owner,
        "admin" => Role::Admin,
        "developer" => Role::Developer,
        "reviewer" => Role::Reviewer,
        // `machine` and `operator` are no roles of people.
        _ => Role::Readonly,
    }
}

/// Our permissions among those of the organisation, never one of the operator's.
fn added(permissions: &[String]) -> PermissionSet {
    let named = |permission: &Permission| permissions.contains(&clerk_name(*permission));
    Role::Owner.permissions().iter().filter(named).collect()
}

/// What one of our permissions is called in Clerk, where a name has a feature and one word.
fn clerk_name(permission: Permission) -> String {
    format!("org:aos:{}", permission.as_str().replace(':', "_"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_permission_has_a_name_of_its_own_in_clerk() {
        let names: BTreeSet<_> = Permission::ALL.iter().copied().map(clerk_name).collect();
        assert_eq!(names.len(), Permission::ALL.len());
        assert!(names.contains("org:aos:api_keys_manage"));
    }

    #[test]
    fn an_organisations_permissions_add_ours_and_never_the_operators() {
        let names = |names: &[&str]| added(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(
            names(&[
                "org:aos:runs_create",
                "org:runs:create",
                "org:billing:manage",
                "runs:cancel"
            ]),
            PermissionSet::of(&[Permission::RunsCreate])
        );
        assert!(names(&["org:aos:tenants_manage", "org:aos:tenants_read", "org:aos:*"]).is_empty());
    }

    #[test]
    fn an_unknown_role_only_reads() {
        for (name, expected) in [
            ("admin", Role::Admin),
            ("member", Role::Developer),
            ("owner", Role::Owner),
            ("reviewer", Role::Reviewer),
            ("readonly", Role::Readonly),
            ("operator", Role::Readonly),
            ("machine", Role::Readonly),
            ("Admin", Role::Readonly),
            ("", Role::Readonly),
        ] {
            assert_eq!(role(name), expected, "{name}");
        }
    }
}
