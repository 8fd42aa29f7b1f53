//! Standard Webhooks (standardwebhooks.com): signatures of messages, made and checked. Must never print a key, nor compare
//! a signature in a time that tells how much of it was right.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use sha2::Sha256;

use super::SettingError;

/// What the names of its headers begin with.
pub const HEADER_PREFIX: &str = "webhook-";

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// How far a message's time may be from the receiver's.
const TOLERANCE: Duration = Duration::from_secs(300);

/// A key that signs messages and checks them.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One of the three headers is missing or cannot be read.
    #[error("a header of the signature is missing or cannot be read")]
    Headers,
    /// It is more than 300 seconds old, or from as far in the future.
    #[error("the message is of another time")]
    Time,
    /// No signature is by this key.
    #[error("no signature matches")]
    Signature,
}

impl SigningKey {
    /// The key in a secret as it is written: `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// It is not that.
    pub fn parse(secret: &str) -> Result<Self, SettingError> {
        secret
            .strip_prefix("whsec_")
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .filter(|bytes| (24..=64).contains(&bytes.len()))
            .and_then(|bytes| Hmac::new_from_slice(&bytes).ok())
            .map(Self)
            .ok_or(SettingError("is whsec_ and 24 to 64 bytes in base64"))
    }

    /// The headers of a message: the same id for every try, the time of this one, and the signature over both and the body.
    ///
    /// # Errors
    /// The id fits no header.
    pub fn headers(&self, id: &str, at: Timestamp, body: &[u8]) -> Result<HeaderMap, http::Error> {
        let seconds = at.as_second();
        let signature = format!(
            "v1,{}",
            STANDARD.encode(self.mac(id, seconds, body).finalize().into_bytes())
        );
        Ok(HeaderMap::from_iter([
            (ID, HeaderValue::from_str(id)?),
            (TIMESTAMP, HeaderValue::from(seconds)),
            (SIGNATURE, HeaderValue::from_str(&signature)?),
        ]))
    }

    /// Whether a message was signed with this key, and within 300 seconds of now.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Refused> {
        let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(id), Some(seconds), Some(signatures)) = (
            header(ID).filter(|id| !id.is_empty()),
            header(TIMESTAMP).and_then(|text| text.parse::<i64>().ok()),
            header(SIGNATURE),
        ) else {
            return Err(Refused::Headers);
        };
        let mac = self.mac(id, seconds, body);
        let is_right = signatures
            .split(' ')
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .any(|signature| mac.clone().verify_slice(&signature).is_ok());
        if !is_right {
            return Err(Refused::Signature);
        }
        if now.as_second().abs_diff(seconds) > TOLERANCE.as_secs() {
            return Err(Refused::Time);
        }
        Ok(())
    }

    /// Over `id.timestamp.body`.
    fn mac(&self, id: &str, seconds: i64, body: &[u8]) -> Hmac<Sha256> {
        self.0
            .clone()
            .chain_update(format!("{id}.{seconds}."))
            .chain_update(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    const AT: i64 = 1_700_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_known_vector_is_signed_and_verified() {
        let key = SigningKey::parse(SECRET).unwrap();
        let headers = key.headers("msg_1", at(AT), br#"{"a":1}"#).unwrap();
        assert_eq!(headers["webhook-id"], "msg_1");
        assert_eq!(headers["webhook-timestamp"], "1700000000");
        assert_eq!(
            headers["webhook-signature"],
            "v1,WUgAXU8H0NQ1/7M+TtMwKma2b74a3/TCgekiM3YUdN8="
        );
        for (body, now, expected) in [
            (r#"{"a":1}"#, AT, Ok(())),
            (r#"{"a":1}"#, AT + 300, Ok(())),
            (r#"{"a":1}"#, AT - 300, Ok(())),
            (r#"{"a":1}"#, AT + 301, Err(Refused::Time)),
            (r#"{"a":1}"#, AT - 301, Err(Refused::Time)),
            (r#"{"a":2}"#, AT, Err(Refused::Signature)),
        ] {
            assert_eq!(key.verify(&headers, body.as_bytes(), at(now)), expected, "{body} {now}");
        }
    }

    #[test]
    fn any_of_several_signatures_will_do_and_nothing_less_than_all_of_one() {
        let key = SigningKey::parse(SECRET).unwrap();
        let mut headers = key.headers("msg_1", at(AT), b"x").unwrap();
        let good = headers["webhook-signature"].to_str().unwrap().to_owned();
        for (signatures, expected) in [
            (format!("v1a,AAAA v1,AAAA {good}"), Ok(())),
            (good.replace("v1,", "v2,"), Err(Refused::Signature)),
            (good.chars().take(20).collect(), Err(Refused::Signature)),
            ("v1,".to_owned(), Err(Refused::Signature)),
            (String::new(), Err(Refused::Signature)),
        ] {
            headers.insert("webhook-signature", signatures.parse().unwrap());
            assert_eq!(key.verify(&headers, b"x", at(AT)), expected, "{signatures}");
        }
        headers.remove("webhook-id");
        assert_eq!(key.verify(&headers, b"x", at(AT)), Err(Refused::Headers));
    }

    #[test]
    fn secrets_have_a_form_and_keys_do_not_print() {
        for wrong in [
            "",
            "whsec_",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
            "whsec_c2hvcnQ=",
            "whsec_???",
        ] {
            assert!(SigningKey::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", SigningKey::parse(SECRET).unwrap()), "SigningKey");
    }
}
