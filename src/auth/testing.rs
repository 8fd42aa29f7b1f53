//! A scene for the tests of tokens: keys, a mint for tokens of any shape, an issuer that can be away, a clock.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use rsa::{
    Pkcs1v15Sign, Pss, RsaPrivateKey,
    rand_core::OsRng,
    sha2::{Digest, Sha256, Sha512},
    traits::PublicKeyParts,
};
use serde_json::{Value, json};

use super::jwks::{FetchKeysError, KeySource};
use crate::{
    integrations::{TookEffect, clerk},
    platform::Clock,
};

pub(super) const ISSUER: &str = "https://clerk.example.com";
/// The time at which the tests begin, in seconds since 1970.
pub(super) const NOW: i64 = 1_800_000_000;

/// What signs tokens, by any algorithm that it can be used for.
pub(super) enum SigningKey {
    Rsa(Box<RsaPrivateKey>),
    Secret(Vec<u8>),
}

impl SigningKey {
    pub(super) fn from_secret(secret: &[u8]) -> Self {
        Self::Secret(secret.to_vec())
    }

    fn sign(&self, message: &[u8], algorithm: Algorithm) -> Vec<u8> {
        match (self, algorithm) {
            (Self::Rsa(key), Algorithm::RS256) => key
                .sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message))
                .unwrap(),
            (Self::Rsa(key), Algorithm::RS512) => key
                .sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message))
                .unwrap(),
            (Self::Rsa(key), Algorithm::PS256) => {
                let scheme = Pss::new::<Sha256>();
                key.sign_with_rng(&mut OsRng, scheme, &Sha256::digest(message)).unwrap()
            }
            (Self::Secret(secret), Algorithm::HS256) => {
                let mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
            (Self::Secret(secret), Algorithm::HS512) => {
                let mac = Hmac::<sha2::Sha512>::new_from_slice(secret).unwrap();
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
            _ => panic!("{algorithm:?} is not for this key"),
        }
    }
}

/// An RSA key of 2,048 bits.
pub(super) struct TestKey {
    pub(super) signing: SigningKey,
    n: String,
    e: String,
}

/// One of two keys, made once for all tests.
pub(super) fn key(number: usize) -> &'static TestKey {
    static KEYS: [OnceLock<TestKey>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[number].get_or_init(|| {
        let private = RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
        TestKey {
            n: encode(&private.n().to_bytes_be()),
            e: encode(&private.e().to_bytes_be()),
            signing: SigningKey::Rsa(Box::new(private)),
        }
    })
}

impl TestKey {
    pub(super) fn jwk(&self, kid: &str) -> Value {
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": self.n, "e": self.e})
    }

    /// What a confused verifier might take for a secret.
    pub(super) fn modulus(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(&self.n).unwrap()
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these texts, which need not be JSON.
pub(super) fn write(header: &str, payload: &str, key: &SigningKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    format!("{message}.{}", encode(&key.sign(message.as_bytes(), algorithm)))
}

/// `token` with one of its three parts replaced.
pub(super) fn with_part(token: &str, index: usize, part: impl FnOnce(&str) -> String) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[index] = part(&parts[index]);
    parts.join(".")
}

/// `base` with these entries changed; null takes an entry away.
pub(super) fn changed(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

/// A clock that is moved by hand alone.
pub(super) struct Hand(Mutex<Timestamp>);

impl Default for Hand {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::from_second(NOW).unwrap()))
    }
}

impl Hand {
    pub(super) fn passes(&self, duration: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(duration).unwrap();
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    /// Lets the others go on; no time passes by it.
    fn sleep(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::task::yield_now().boxed_local()
    }
}

/// An issuer and the copy in Redis.
#[derive(Default)]
pub(super) struct Issuer {
    /// What it publishes; nothing while it is away.
    pub(super) document: Mutex<Option<Value>>,
    pub(super) copy: Mutex<Option<String>>,
    pub(super) fetches: AtomicUsize,
    /// Never answers.
    pub(super) hangs: Mutex<bool>,
}

impl Issuer {
    /// Publishes these keys, each with its name.
    pub(super) fn publishes(&self, keys: &[(&str, &TestKey)]) {
        let keys: Vec<_> = keys.iter().map(|(kid, key)| key.jwk(kid)).collect();
        *self.document.lock().unwrap() = Some(json!({ "keys": keys }));
    }

    pub(super) fn is_away(&self) {
        *self.document.lock().unwrap() = None;
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }
}

impl KeySource for Arc<Issuer> {
    fn fetch(&self) -> LocalBoxFuture<'_, Result<Bytes, FetchKeysError>> {
        self.fetches.fetch_add(1, SeqCst);
        async {
            if *self.hangs.lock().unwrap() {
                futures::future::pending::<()>().await;
            }
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            let document = self.document.lock().unwrap().clone();
            let away = clerk::Error::Unreachable {
                took_effect: TookEffect::No,
                reason: "away".to_owned(),
            };
            Ok(Bytes::from(document.ok_or(away)?.to_string()))
        }
        .boxed_local()
    }

    fn kept(&self) -> LocalBoxFuture<'_, Option<String>> {
        async {
            tokio::task::yield_now().await;
            self.copy.lock().unwrap().clone()
        }
        .boxed_local()
    }

    fn keep(&self, copy: String, ttl: Duration) -> LocalBoxFuture<'_, ()> {
        assert_eq!(ttl, Duration::from_secs(24 * 60 * 60));
        *self.copy.lock().unwrap() = Some(copy);
        futures::future::ready(()).boxed_local()
    }
}
