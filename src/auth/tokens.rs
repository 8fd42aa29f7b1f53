//! Bearer tokens: from the text to the principal. The issuer that a token names chooses its verifier; a verifier knows
//! one algorithm and one issuer's keys, so that no key can be used for another's signature.

use std::sync::Arc;

use super::{
    jwks::Jwks,
    principal::Principal,
    refusal::Refusal,
    service_token::{self, ServiceTokens},
    session_token::{self, SessionRules},
    token::{Unverified, accepted_until},
    verified_tokens::{Fingerprint, VerifiedTokens},
};
use crate::platform::Clock;

/// Everything that bearer tokens are checked with, for one isolate.
pub struct Tokens {
    clock: Arc<dyn Clock>,
    sessions: Option<Sessions>,
    services: Option<ServiceTokens>,
    verified: VerifiedTokens,
}

struct Sessions {
    authorized_parties: Vec<String>,
    jwks: Jwks,
}

/// A token's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who it is.
    pub principal: Principal,
    /// Whether [`Tokens::refresh_keys`] should be called once the answer is out.
    pub keys_are_due: bool,
}

impl Tokens {
    /// Checks that accept nothing yet; their time is the clock's.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            sessions: None,
            services: None,
            verified: VerifiedTokens::new(),
        }
    }

    /// Accepts the session tokens of the issuer whose keys these are. `authorized_parties` are the origins of the
    /// applications whose tokens are accepted; where there are none, any is.
    #[must_use]
    pub fn with_sessions(mut self, jwks: Jwks, authorized_parties: Vec<String>) -> Self {
        self.sessions = Some(Sessions {
            authorized_parties,
            jwks,
        });
        self
    }

    /// Accepts these service tokens.
    #[must_use]
    pub fn with_services(mut self, services: ServiceTokens) -> Self {
        self.services = Some(services);
        self
    }

    /// Whose token it is. Whether its session has been revoked is not asked here.
    ///
    /// # Errors
    /// [`Refusal`]; all but a few look the same to the caller.
    pub async fn verify(&self, token: &str) -> Result<Verified, Refusal> {
        let now = self.clock.now();
        let fingerprint = Fingerprint::of(token);
        if let Some(principal) = self.verified.get(fingerprint, self.generation(), now) {
            return Ok(Verified {
                principal,
                keys_are_due: false,
            });
        }
        let unverified = Unverified::read(token)?;
        let (principal, expires, generation, keys_are_due) = match (&self.sessions, &self.services) {
            (Some(sessions), _) if sessions.jwks.issuer() == unverified.issuer => {
                unverified.must_be(session_token::ALGORITHM)?;
                let found = sessions.jwks.key(unverified.kid()?, self.clock.as_ref()).await?;
                let rules = SessionRules {
                    issuer: sessions.jwks.issuer(),
                    authorized_parties: &sessions.authorized_parties,
                };
                let (principal, expires) = session_token::verify(token, &found.key, &rules, self.clock.now())?;
                (principal, expires, found.generation, found.due)
            }
            (_, Some(services)) if services.issuer() == unverified.issuer => {
                unverified.must_be(service_token::ALGORITHM)?;
                let (principal, expires) = services.verify(token, now)?;
                (principal, expires, self.generation(), false)
            }
            (None, None) => return Err(Refusal::NotConfigured),
            _ => return Err(Refusal::WrongIssuer),
        };
        self.verified
            .put(fingerprint, principal.clone(), generation, accepted_until(expires), now);
        Ok(Verified {
            principal,
            keys_are_due,
        })
    }

    /// Fetches the issuer's keys again if they are due. Belongs after the response, never before it.
    pub async fn refresh_keys(&self) {
        if let Some(sessions) = &self.sessions {
            sessions.jwks.refresh(self.clock.as_ref()).await;
        }
    }

    /// What was verified under other keys than these is not known any more.
    fn generation(&self) -> u64 {
        self.sessions.as_ref().map_or(0, |sessions| sessions.jwks.generation())
    }
}

#[cfg(test)]
mod tests;
