//! Signatures of Standard Webhooks: made as a sender makes them, checked as a receiver must.
//! Must never compare a signature byte by byte, nor print a secret.

use std::fmt;

use anyhow::{Context, Result, anyhow, bail, ensure};
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

const SECRET_PREFIX: &str = "whsec_";
/// How long a key may be, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How far a timestamp may be from now, in seconds.
const TOLERANCE_S: i64 = 300;

/// A key that signs and verifies.
#[derive(Clone)]
pub struct SigningSecret(String, hmac::Key);

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret")
    }
}

impl SigningSecret {
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn generate() -> Result<Self> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no randomness: {error}"))?;
        Self::read(&format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)))
    }

    /// `whsec_` and the base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// It is not that.
    pub fn read(text: &str) -> Result<Self> {
        let encoded = text.strip_prefix(SECRET_PREFIX);
        let bytes = STANDARD.decode(encoded.context("a secret begins with whsec_")?)?;
        ensure!(KEY_BYTES.contains(&bytes.len()), "a secret has 24 to 64 bytes");
        Ok(Self(text.to_owned(), hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// As it is written: `whsec_…`.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// One signature of a message, as it stands in `webhook-signature`. `timestamp` is in seconds of the Unix epoch.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signature = hmac::sign(&self.1, &signed(id, &timestamp.to_string(), body));
        format!("v1,{}", STANDARD.encode(signature))
    }
}

fn signed(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

/// The message's id, if one of its signatures is by one of the secrets, and not of another time than `now` (in seconds).
pub(super) fn verify(secrets: &[SigningSecret], headers: &HeaderMap, body: &[u8], now: i64) -> Result<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signatures)) = (
        header("webhook-id").filter(|id| !id.is_empty()),
        header("webhook-timestamp"),
        header("webhook-signature"),
    ) else {
        bail!("missing required headers");
    };
    let seconds: i64 = timestamp.parse().context("the timestamp is no number")?;
    let age = now.saturating_sub(seconds);
    ensure!(age <= TOLERANCE_S, "the timestamp is too old");
    ensure!(age >= -TOLERANCE_S, "the timestamp is too new");
    let content = signed(id, timestamp, body);
    let good = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|signature| {
            secrets
                .iter()
                .any(|secret| hmac::verify(&secret.1, &content, &signature).is_ok())
        });
    ensure!(good, "no signature matches");
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    const AT: i64 = 1_700_000_000;
    const SIGNATURE: &str = "v1,WUgAXU8H0NQ1/7M+TtMwKma2b74a3/TCgekiM3YUdN8=";

    fn headers(signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_1".parse().unwrap());
        headers.insert("webhook-timestamp", AT.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn the_known_vector_is_signed_and_verified() {
        let secret = SigningSecret::read(SECRET).unwrap();
        assert_eq!(secret.sign("msg_1", AT, br#"{"a":1}"#), SIGNATURE);
        let secrets = [SigningSecret::generate().unwrap(), secret];
        let check = |signature: &str, body: &str, now| verify(&secrets, &headers(signature), body.as_bytes(), now);
        assert_eq!(check(SIGNATURE, r#"{"a":1}"#, AT + 300).unwrap(), "msg_1");
        let several = format!("v1a,AAAA v1,AAAA {SIGNATURE}");
        assert!(check(&several, r#"{"a":1}"#, AT - 300).is_ok());
        for (signature, body, now) in [
            (SIGNATURE, r#"{"a":2}"#, AT),
            (SIGNATURE, r#"{"a":1}"#, AT + 301),
            (SIGNATURE, r#"{"a":1}"#, AT - 301),
            ("v2,WUgAXU8H0NQ1/7M+TtMwKma2b74a3/TCgekiM3YUdN8=", r#"{"a":1}"#, AT),
            ("", r#"{"a":1}"#, AT),
        ] {
            assert!(check(signature, body, now).is_err(), "{signature} {body} {now}");
        }
    }

    #[test]
    fn secrets_have_a_form_and_are_not_printed() {
        for wrong in ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", "whsec_c2hvcnQ=", "whsec_???"] {
            assert!(SigningSecret::read(wrong).is_err(), "{wrong}");
        }
        let secret = SigningSecret::generate().unwrap();
        assert!(!format!("{secret:?}").contains(secret.reveal()));
    }
}
