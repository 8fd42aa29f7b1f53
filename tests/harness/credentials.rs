//! Credentials, good and bad: people with session tokens, and tokens that are signed with a secret.

use aos_dev::standins::clerk::{Org, TokenSpec};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    client::{Call, Client, Reply},
    world::World,
};

/// Somebody who signed in.
pub struct Person {
    /// Their way to the first Worker.
    pub client: Client,
    /// `user_…`
    pub user: String,
    /// Their active organisation, which is their tenant.
    pub org: Org,
}

impl Person {
    pub(crate) fn new(client: Client, user: String, org: Org) -> Self {
        Self { client, user, org }
    }

    /// Somebody else of the same organisation, in another role.
    pub fn colleague(&self, world: &World, role: &str) -> Self {
        let user = format!("user_{}", world.number());
        Self::new(
            world.client(),
            user,
            Org {
                role: role.to_owned(),
                ..self.org.clone()
            },
        )
    }

    /// Their tenant's name.
    pub fn tenant(&self) -> &str {
        &self.org.id
    }

    /// What a good token of theirs says; it lasts for ten minutes, so that a slow machine changes nothing.
    pub fn spec(&self) -> TokenSpec {
        TokenSpec::of(self.user.as_str()).in_org(self.org.clone()).lasting(600)
    }

    /// A request with a token.
    pub fn with(&self, token: &str, method: &str, path: &str) -> Call {
        self.client.stranger(method, path).bearer(token)
    }

    /// A new API key of their tenant with these scopes; gives the answer that shows it.
    pub async fn api_key(&self, token: &str, scopes: &[&str], fields: Value) -> Value {
        let mut body = json!({"name": "key", "scopes": scopes});
        let (Some(body_fields), Some(more)) = (body.as_object_mut(), fields.as_object()) else {
            panic!("a key's fields are an object");
        };
        body_fields.extend(more.clone());
        let reply: Reply = self.with(token, "POST", "/v1/api-keys").json(&body).send().await;
        reply.expect(201)
    }
}

/// A token signed by HS256 with `secret`, whatever its header says.
pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
