//! Tokens signed with `JWT_SECRET` (HS256): service users of a self-hosted set-up. Whoever holds the secret names the
//! tenant, so it guards as much as all of them; the operator's rights it never gives.

use std::fmt;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::{
    principal::{Credential, Principal},
    refusal::Refusal,
    role::Role,
    token::{self, Common, is_name},
};

pub(super) const ALGORITHM: Algorithm = Algorithm::HS256;

/// The roles that such a token may claim: those of services, not of who runs a tenant or the installation.
const ROLES: [Role; 4] = [Role::Developer, Role::Reviewer, Role::Readonly, Role::Machine];

/// What a service token is checked with.
#[derive(Clone)]
pub struct ServiceTokens {
    issuer: String,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(flatten)]
    common: Common,
    tenant: Option<String>,
    roles: Option<Vec<String>>,
}

impl ServiceTokens {
    /// Tokens of this issuer, signed with this secret.
    pub fn new(issuer: impl Into<String>, secret: &str) -> Self {
        Self {
            issuer: issuer.into(),
            key: DecodingKey::from_secret(secret.as_bytes()),
        }
    }

    /// The `iss` of these tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Verifies a token, and tells when it expires and who it is.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<(Principal, Timestamp), Refusal> {
        let claims: Claims = token::verified(token, &self.key, ALGORITHM)?;
        let expires = claims.common.check(&self.issuer, now)?;
        let wrong = Refusal::WrongClaim;
        let subject = claims.common.sub.filter(|sub| is_name(sub)).ok_or(wrong("sub"))?;
        let tenant = claims
            .tenant
            .and_then(|tenant| tenant.parse().ok())
            .ok_or(wrong("tenant"))?;
        let roles = roles(&claims.roles.unwrap_or_default())?;
        let principal = Principal::new(tenant, subject, roles, Credential::ServiceToken { expires });
        Ok((principal, expires))
    }
}

/// The claimed roles, each once. One that such a token may not claim is a mistake that is not passed over.
fn roles(claimed: &[String]) -> Result<Vec<Role>, Refusal> {
    if claimed.is_empty() {
        return Err(Refusal::WrongClaim("roles"));
    }
    let allowed = |role: &Role| ROLES.contains(role);
    let mut roles = claimed
        .iter()
        .map(|name| name.parse().ok().filter(allowed).ok_or(Refusal::WrongRole))
        .collect::<Result<Vec<_>, _>>()?;
    roles.sort_unstable();
    roles.dedup();
    Ok(roles)
}

impl fmt::Debug for ServiceTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceTokens")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
