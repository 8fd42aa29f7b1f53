//! Tokens that must not be accepted: one kind for each way in which a token can be wrong, and nothing else wrong with it.
//! Must never change a token that is not asked to be wrong.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::keys::Keyring;

/// The category of machine-to-machine tokens in Clerk's header `cat`.
const MACHINE_CATEGORY: &str = "cl_B7d4PD333AAA";
/// Whom a tampered token would sign in.
const INTRUDER: &str = "user_intruder";
/// How much a huge token is made to weigh more, in bytes.
const HUGE: usize = 256 * 1024;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// What is wrong with a token. In JSON the names are in snake case (`unknown_kid`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Wrong {
            $($(#[$doc])* $kind,)*
        }

        impl Wrong {
            /// Every kind, for tests that must leave none out.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];
        }
    };
}

kinds! {
    /// `exp` was a minute ago.
    Expired,
    /// `nbf` is in a minute.
    NotYetValid,
    /// `iat` is in a minute.
    IssuedInFuture,
    /// There is no `exp`.
    NoExp,
    /// `exp` is right, and a string.
    ExpAsString,
    /// `iss` is another instance's; signature and `kid` are right.
    WrongIssuer,
    /// There is no `iss`.
    NoIssuer,
    /// `azp` is no authorised party.
    WrongAzp,
    /// There is no `azp`.
    NoAzp,
    /// There is no `sub`.
    NoSubject,
    /// `sub` stands in it twice; the second one names somebody else.
    DuplicateClaims,
    /// The organisation's claims are there, in shapes that no version knows.
    OrgMalformed,
    /// `sts` is `pending`: the session has a task before it.
    Pending,
    /// A machine-to-machine token by its header `cat`.
    MachineToken,
    /// 256 KiB larger than it need be.
    Huge,
    /// Signed by a key of nobody's, under the right `kid`.
    WrongKey,
    /// Signed by the right key, under a `kid` that the JWKS does not have; another one each time.
    UnknownKid,
    /// Signed by the right key, without a `kid`.
    NoKid,
    /// Signed by a key that the header brings along (`jwk`), under the right `kid`.
    EmbeddedJwk,
    /// `alg` is `none`, and there is no signature.
    AlgNone,
    /// `alg` is HS256, and the secret is the PEM of the public key.
    Hs256WithPem,
    /// `alg` is HS256, and the secret is the bytes of the JWK's `n`.
    Hs256WithModulus,
    /// Signed by the right key, as RS512.
    Rs512,
    /// `alg` is ES256, signed by a key of nobody's, under the right `kid`.
    Es256,
    /// `sub` was changed after signing.
    TamperedPayload,
    /// One bit of the signature was changed.
    TamperedSignature,
    /// Its second half of the signature is missing.
    Truncated,
    /// A fourth, empty part follows.
    ExtraDot,
    /// The signature carries Base64 padding, which a JWS must not.
    Base64Padding,
}

impl Wrong {
    /// Makes header and claims wrong, as far as the wrong lies there.
    pub(super) fn bend(self, header: &mut Map<String, Value>, claims: &mut Map<String, Value>, now: i64) {
        let times = |claims: &mut Map<String, Value>, iat: i64, nbf: i64, exp: i64| {
            for (name, offset) in [("iat", iat), ("nbf", nbf), ("exp", exp)] {
                claims.insert(name.to_owned(), json!(now.saturating_add(offset)));
            }
        };
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        match self {
            Self::Expired => times(claims, -120, -130, -60),
            Self::NotYetValid => times(claims, 0, 60, 120),
            Self::IssuedInFuture => times(claims, 60, -10, 120),
            Self::NoExp => drop(claims.remove("exp")),
            Self::ExpAsString => {
                let text = claims.get("exp").map(ToString::to_string);
                claims.insert("exp".to_owned(), json!(text));
            }
            Self::WrongIssuer => drop(set("iss", json!("https://clerk.example.com"))),
            Self::NoIssuer => drop(claims.remove("iss")),
            Self::WrongAzp => drop(set("azp", json!("https://app.example.com"))),
            Self::NoAzp => drop(claims.remove("azp")),
            Self::NoSubject => drop(claims.remove("sub")),
            Self::OrgMalformed => {
                set("o", json!(["org_1", { "rol": "admin" }]));
                set("org_id", json!({ "id": "org_1" }));
                set("org_role", json!(["org:admin"]));
                set("org_permissions", json!("org:all:manage"));
                set("fea", json!(7));
            }
            Self::Pending => drop(set("sts", json!("pending"))),
            Self::MachineToken => drop(header.insert("cat".to_owned(), json!(MACHINE_CATEGORY))),
            Self::Huge => drop(set("padding", json!("x".repeat(HUGE)))),
            Self::UnknownKid => {
                let kid = format!("ins_{}", uuid::Uuid::now_v7().simple());
                header.insert("kid".to_owned(), json!(kid));
            }
            Self::NoKid => drop(header.remove("kid")),
            Self::AlgNone => drop(header.insert("alg".to_owned(), json!("none"))),
            Self::Hs256WithPem | Self::Hs256WithModulus => drop(header.insert("alg".to_owned(), json!("HS256"))),
            Self::Rs512 => drop(header.insert("alg".to_owned(), json!("RS512"))),
            Self::Es256 => drop(header.insert("alg".to_owned(), json!("ES256"))),
            Self::DuplicateClaims
            | Self::WrongKey
            | Self::EmbeddedJwk
            | Self::TamperedPayload
            | Self::TamperedSignature
            | Self::Truncated
            | Self::ExtraDot
            | Self::Base64Padding => {}
        }
    }
}

/// Writes a token down and signs it, wrongly if that is asked for.
///
/// # Errors
/// When the system gives no randomness.
pub(super) fn write(
    wrong: Option<Wrong>,
    mut header: Map<String, Value>,
    claims: &Map<String, Value>,
    keys: &mut Keyring,
) -> Result<String> {
    if wrong == Some(Wrong::EmbeddedJwk) {
        header.insert("jwk".to_owned(), keys.stranger()?.jwk());
    }
    let head = encode(&serde_json::to_vec(&header)?);
    let mut payload = serde_json::to_string(claims)?;
    if wrong == Some(Wrong::DuplicateClaims) {
        // Last, since most readers keep the last.
        let open = payload.strip_suffix('}').context("claims are an object")?;
        payload = format!(r#"{open},"sub":"{INTRUDER}"}}"#);
    }
    let payload = encode(payload.as_bytes());
    let mut signature = sign(wrong, format!("{head}.{payload}").as_bytes(), keys)?;
    Ok(match wrong {
        Some(Wrong::TamperedPayload) => {
            let mut claims = claims.clone();
            claims.insert("sub".to_owned(), json!(INTRUDER));
            format!(
                "{head}.{}.{}",
                encode(&serde_json::to_vec(&claims)?),
                encode(&signature)
            )
        }
        Some(Wrong::TamperedSignature) => {
            let middle = signature.len() / 2;
            signature.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
            format!("{head}.{payload}.{}", encode(&signature))
        }
        Some(Wrong::Truncated) => {
            signature.truncate(signature.len() / 2);
            format!("{head}.{payload}.{}", encode(&signature))
        }
        Some(Wrong::ExtraDot) => format!("{head}.{payload}.{}.", encode(&signature)),
        // 256 bytes leave one over after the groups of three.
        Some(Wrong::Base64Padding) => format!("{head}.{payload}.{}==", encode(&signature)),
        _ => format!("{head}.{payload}.{}", encode(&signature)),
    })
}

fn sign(wrong: Option<Wrong>, message: &[u8], keys: &mut Keyring) -> Result<Vec<u8>> {
    match wrong {
        Some(Wrong::AlgNone) => Ok(Vec::new()),
        Some(Wrong::Hs256WithPem) => Ok(hmac(keys.current()?.pem()?.as_bytes(), message)),
        Some(Wrong::Hs256WithModulus) => Ok(hmac(&keys.current()?.modulus(), message)),
        Some(Wrong::Rs512) => keys.current()?.sign(&RSA_PKCS1_SHA512, message),
        Some(Wrong::Es256) => elliptic(message),
        Some(Wrong::WrongKey | Wrong::EmbeddedJwk) => keys.stranger()?.sign(&RSA_PKCS1_SHA256, message),
        _ => keys.current()?.sign(&RSA_PKCS1_SHA256, message),
    }
}

fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}

/// ES256 by a key that is forgotten at once.
fn elliptic(message: &[u8]) -> Result<Vec<u8>> {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| anyhow!("no key for ES256"))?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random)
        .map_err(|error| anyhow!("the new key for ES256 is refused: {error}"))?;
    let signature = pair.sign(&random, message).map_err(|_| anyhow!("ECDSA did not sign"))?;
    Ok(signature.as_ref().to_vec())
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
