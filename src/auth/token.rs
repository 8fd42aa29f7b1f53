//! What all bearer tokens have in common: the compact form, the header, the signature, the times. Whose verifier is
//! asked follows from the issuer that a token names, and what algorithm it must have follows from the verifier; never
//! does either follow from the token's `alg`.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, IgnoredAny, Visitor},
};

use super::{cryptography, refusal::Refusal};

/// The longest token that is looked at. Clerk's stay under 4 KiB, since browsers keep them in a cookie.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;
/// How far our clock and an issuer's may be apart; what Clerk's own verifier allows.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// `cat` in the header of Clerk's tokens for machines, whose signature a session's key would accept.
const MACHINE_CATEGORY: &str = "cl_B7d4PD333AAA";
/// Characters of a key's name.
const MAX_KID_CHARS: usize = 256;
/// Bytes of a claim that becomes a name of ours.
const MAX_NAME_BYTES: usize = 128;

/// What a token says before anybody has verified it: enough to choose its verifier, and good for nothing else.
pub(super) struct Unverified {
    header: Header,
    pub(super) issuer: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    cat: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Unverified {
    /// Reads a token's header and issuer.
    pub(super) fn read(token: &str) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Issuer {
            iss: Option<String>,
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed);
        };
        let header = part(header)?;
        let Issuer { iss } = part(payload)?;
        URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Malformed)?;
        let issuer = iss.ok_or(Refusal::WrongIssuer)?;
        Ok(Self { header, issuer })
    }

    /// Checks the header against what the issuer's tokens look like.
    ///
    /// Extensions that a header demands must be understood (RFC 7515 section 4.1.11), and we understand none. What
    /// else a header may hold, a key or an address of keys above all, is not looked at.
    pub(super) fn must_be(&self, algorithm: Algorithm) -> Result<(), Refusal> {
        let header = &self.header;
        if header.alg.parse() != Ok(algorithm) {
            return Err(Refusal::WrongAlgorithm);
        }
        if header.crit.is_some() {
            return Err(Refusal::CriticalHeader);
        }
        if header.typ.as_ref().is_some_and(|typ| typ != "JWT") {
            return Err(Refusal::WrongType);
        }
        if header.cat.as_ref().is_some_and(|category| category == MACHINE_CATEGORY) {
            return Err(Refusal::MachineToken);
        }
        Ok(())
    }

    /// The name of the key that it says it was signed with.
    pub(super) fn kid(&self) -> Result<&str, Refusal> {
        let kid = self.header.kid.as_deref().ok_or(Refusal::NoKey)?;
        if kid.is_empty() || kid.len() > MAX_KID_CHARS {
            return Err(Refusal::NoKey);
        }
        Ok(kid)
    }
}

fn part<T: DeserializeOwned>(encoded: &str) -> Result<T, Refusal> {
    let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)
}

/// Checks the signature, and only then reads the claims. A claim of ours that is there twice, or of another type than
/// it must be, makes the token malformed.
pub(super) fn verified<C: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<C, Refusal> {
    // Times are checked against our own clock, the issuer where the verifier was chosen, and the rest of the claims by
    // their type and by `Common`: the library sees to form, algorithm and signature.
    cryptography::install();
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode(token, key, &validation) {
        Ok(data) => Ok(data.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::Signing(_) | ErrorKind::InvalidRsaKey(_) => {
                Refusal::WrongSignature
            }
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => Refusal::WrongAlgorithm,
            _ => Refusal::Malformed,
        }),
    }
}

/// The claims of RFC 7519 that every token of ours is held to.
#[derive(Deserialize)]
pub(super) struct Common {
    pub(super) iss: String,
    pub(super) sub: Option<String>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    aud: Option<IgnoredAny>,
}

impl Common {
    /// Checks what concerns every token, and tells when this one expires.
    ///
    /// A token with an audience is for somebody else, since we have no name of our own as one (RFC 7519 section
    /// 4.1.3): Clerk's session tokens have none, what its templates make for other services does.
    pub(super) fn check(&self, issuer: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
        if self.iss != issuer {
            return Err(Refusal::WrongIssuer);
        }
        if self.aud.is_some() {
            return Err(Refusal::WrongAudience);
        }
        let NumericDate(expires) = self.exp.ok_or(Refusal::WrongClaim("exp"))?;
        if accepted_until(expires) <= now {
            return Err(Refusal::Expired);
        }
        let latest = now.saturating_add(CLOCK_SKEW).unwrap_or(now);
        let begins_later = |date: Option<NumericDate>| date.is_some_and(|NumericDate(date)| date > latest);
        if begins_later(self.nbf) || begins_later(self.iat) {
            return Err(Refusal::NotYetValid);
        }
        Ok(expires)
    }
}

/// The end of the time in which a token that expires then is accepted.
pub(super) fn accepted_until(expires: Timestamp) -> Timestamp {
    expires.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX)
}

/// Seconds since 1970, whole or with a fraction (RFC 7519 section 2). What lies outside the calendar is its nearer end.
#[derive(Clone, Copy)]
pub(super) struct NumericDate(pub(super) Timestamp);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;

        impl Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<NumericDate, E> {
                let nearer = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
                Ok(NumericDate(Timestamp::from_second(seconds).unwrap_or(nearer)))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                self.visit_i64(i64::try_from(seconds).unwrap_or(i64::MAX))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                // The cast saturates; milliseconds are more than any issuer counts.
                let millis = (seconds * 1000.0) as i64;
                let nearer = if seconds < 0.0 { Timestamp::MIN } else { Timestamp::MAX };
                Ok(NumericDate(Timestamp::from_millisecond(millis).unwrap_or(nearer)))
            }
        }

        deserializer.deserialize_any(Seconds)
    }
}

/// Whether a claim can be a name in logs and audits: short, and of characters that cannot be mistaken for anything
/// else there.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-@|+/".contains(&byte);
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.bytes().all(allowed)
}

/// Whether a claim is an id of Clerk's of this kind: `user_`, `org_`, `sess_` and letters and digits after it.
pub(super) fn is_clerk_id(text: &str, prefix: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.strip_prefix(prefix).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
}
