//! The RSA keys of one instance: the one that signs now, those that are still published, and how they are replaced.
//! Keys are made when they are first needed. Must never give a private key away, nor write one down.

use std::fmt;

use anyhow::{Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RsaEncoding, RsaKeyPair};
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const KEY_BITS: usize = 2048;

/// How [`super::Clerk::rotate`] replaces the signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// A new key under a new `kid`; the one before it stays in the JWKS until the next rotation.
    #[default]
    Overlap,
    /// A new key under a new `kid`; the JWKS holds nothing else.
    Immediate,
    /// A new key under the `kid` of the one before it, which is gone: who cached by `kid` must notice by the signature.
    SameKid,
}

/// A key pair with its name in the JWKS.
pub(super) struct SigningKey {
    kid: String,
    pair: RsaKeyPair,
    public: RsaPublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A key of 2,048 bits. Takes some tenths of a second.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn generate(kid: String) -> Result<Self> {
        let private = RsaPrivateKey::new(&mut OsRng, KEY_BITS)?;
        // Made by one library and used by the other: `ring` makes no RSA keys, and signs fast in every build.
        let pair = RsaKeyPair::from_pkcs8(private.to_pkcs8_der()?.as_bytes())
            .map_err(|error| anyhow!("the new RSA key is refused: {error}"))?;
        Ok(Self {
            kid,
            pair,
            public: private.to_public_key(),
        })
    }

    /// The signature over `message` by this algorithm.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn sign(&self, algorithm: &'static dyn RsaEncoding, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(algorithm, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| anyhow!("RSA did not sign"))?;
        Ok(signature)
    }

    /// The public key as an entry of a JWKS.
    pub(super) fn jwk(&self) -> Value {
        json!({
            "use": "sig",
            "kty": "RSA",
            "kid": self.kid,
            "alg": "RS256",
            "n": URL_SAFE_NO_PAD.encode(self.modulus()),
            "e": URL_SAFE_NO_PAD.encode(self.public.e().to_bytes_be()),
        })
    }

    /// The bytes of the JWK's `n`.
    pub(super) fn modulus(&self) -> Vec<u8> {
        self.public.n().to_bytes_be()
    }

    /// The public key as Clerk's dashboard shows it ("JWKS public key").
    ///
    /// # Errors
    /// When the key cannot be encoded.
    pub(super) fn pem(&self) -> Result<String> {
        Ok(self.public.to_public_key_pem(LineEnding::LF)?)
    }
}

/// The keys of one instance.
#[derive(Debug)]
pub(super) struct Keyring {
    kid: String,
    current: Option<SigningKey>,
    /// Published, and no longer signing.
    retired: Option<SigningKey>,
    /// Published nowhere; for tokens that somebody else signed.
    stranger: Option<SigningKey>,
}

impl Keyring {
    /// The first key will be called `kid`.
    pub(super) fn new(kid: String) -> Self {
        Self {
            kid,
            current: None,
            retired: None,
            stranger: None,
        }
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The key that signs now.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn current(&mut self) -> Result<&SigningKey> {
        made(&mut self.current, &self.kid)
    }

    /// A key that the instance does not know, under the `kid` of the one that signs.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn stranger(&mut self) -> Result<&SigningKey> {
        made(&mut self.stranger, &self.kid)
    }

    /// What the JWKS holds: `{"keys":[…]}`, the signing key first.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn jwks(&mut self) -> Result<Value> {
        let current = self.current()?.jwk();
        let keys: Vec<_> = [current]
            .into_iter()
            .chain(self.retired.as_ref().map(SigningKey::jwk))
            .collect();
        Ok(json!({ "keys": keys }))
    }

    /// Makes a new signing key, to be called `new_kid` unless the rotation keeps the name.
    ///
    /// # Errors
    /// When the system gives no randomness; the old key then stays.
    pub(super) fn rotate(&mut self, rotation: Rotation, new_kid: String) -> Result<()> {
        // Also where no token has been signed yet: a key that was announced must be there to be kept.
        self.current()?;
        let kid = match rotation {
            Rotation::SameKid => self.kid.clone(),
            Rotation::Overlap | Rotation::Immediate => new_kid,
        };
        let before = self.current.replace(SigningKey::generate(kid.clone())?);
        self.retired = before.filter(|_| rotation == Rotation::Overlap);
        self.kid = kid;
        Ok(())
    }
}

/// The key in this place, made if it is empty.
fn made<'a>(place: &'a mut Option<SigningKey>, kid: &str) -> Result<&'a SigningKey> {
    let key = match place.take() {
        Some(key) => key,
        None => SigningKey::generate(kid.to_owned())?,
    };
    Ok(place.insert(key))
}
