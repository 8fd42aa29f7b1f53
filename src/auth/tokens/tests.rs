mod bad;
mod chance;
mod forged;
mod good;
mod memory;
mod vectors;

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::auth::{
    jwks::Seal,
    testing::{Hand, ISSUER, Issuer, NOW, SigningKey, changed, key, write},
};

const PARTY: &str = "https://app.example.com";
const SERVICE_ISSUER: &str = "aos";
const SECRET: &str = "a-secret-of-service-users-0123456789";

/// An isolate that accepts both kinds of tokens, and the world around it.
struct Scene {
    issuer: Arc<Issuer>,
    clock: Arc<Hand>,
    tokens: Tokens,
}

impl Scene {
    fn new() -> Self {
        Self::with(&[PARTY])
    }

    fn with(parties: &[&str]) -> Self {
        let issuer = Arc::new(Issuer::default());
        issuer.publishes(&[("a", key(0))]);
        let clock = Arc::new(Hand::default());
        let jwks = Jwks::new(ISSUER, Box::new(Arc::clone(&issuer)), Seal::new(&"secret".into()));
        let parties = parties.iter().map(|&party| party.to_owned()).collect();
        let tokens = Tokens::new(clock.clone())
            .with_sessions(jwks, parties)
            .with_services(ServiceTokens::new(SERVICE_ISSUER, SECRET));
        Self { issuer, clock, tokens }
    }

    async fn principal(&self, token: &str) -> Result<Principal, Refusal> {
        self.tokens.verify(token).await.map(|verified| verified.principal)
    }
}

fn session_header() -> Value {
    json!({"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "a", "typ": "JWT"})
}

fn session_claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "user_1", "sid": "sess_1", "azp": PARTY, "iat": NOW, "nbf": NOW - 10, "exp": NOW + 60,
        "v": 2, "sts": "active", "fva": [0, -1], "jti": "0123456789abcdef", "pla": "u:free_user",
    })
}

/// A session token, changed in its header and in its claims; null takes an entry away.
fn session(header: Value, claims: Value) -> String {
    let (header, claims) = (changed(session_header(), header), changed(session_claims(), claims));
    write(
        &header.to_string(),
        &claims.to_string(),
        &key(0).signing,
        Algorithm::RS256,
    )
}

/// A session token with these claims changed.
fn claiming(claims: Value) -> String {
    session(json!({}), claims)
}

/// A service token, changed likewise.
fn service(header: Value, claims: Value) -> String {
    let header = changed(json!({"alg": "HS256", "typ": "JWT"}), header);
    let base =
        json!({"iss": SERVICE_ISSUER, "sub": "billing", "tenant": "acme", "roles": ["developer"], "exp": NOW + 600});
    let claims = changed(base, claims);
    let secret = SigningKey::from_secret(SECRET.as_bytes());
    write(&header.to_string(), &claims.to_string(), &secret, Algorithm::HS256)
}

/// A payload that need not be JSON, signed as a session.
fn of_text(header: &str, payload: &str) -> String {
    write(header, payload, &key(0).signing, Algorithm::RS256)
}

/// The claims of a session with `more` at their end, which a JSON value cannot express.
fn and(more: &str) -> String {
    let claims = session_claims().to_string();
    let open = claims.strip_suffix('}').unwrap();
    of_text(&session_header().to_string(), &format!("{open},{more}}}"))
}

/// Each in an isolate of its own, since one unknown key closes the door for the next.
async fn are_refused(cases: impl IntoIterator<Item = (&'static str, String, Refusal)>) {
    for (name, token, expected) in cases {
        assert_eq!(Scene::new().principal(&token).await, Err(expected), "{name}");
    }
}
