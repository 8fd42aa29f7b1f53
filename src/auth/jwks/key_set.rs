//! One issuer's keys as they were at one time, and their form at rest. A set belongs to the issuer that it was fetched
//! from: keys that were found by their name alone once let another instance's tokens in.

use std::{collections::HashMap, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jsonwebtoken::DecodingKey;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::elapsed;

/// Keys that are taken from one document at most.
const MAX_KEYS: usize = 32;
/// Bytes of an RSA modulus: 2,048 to 4,096 bits. Shorter ones can be broken, longer ones cost too much.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Bytes of an RSA exponent; more than any that is in use.
const MAX_EXPONENT_BYTES: usize = 4;

/// Why keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKeys {
    /// Not a JSON Web Key Set (RFC 7517).
    #[error("it is not a set of keys: {0}")]
    NotAKeySet(String),
    /// Two keys have one name: which of them is meant cannot be said.
    #[error("two keys have one name")]
    Ambiguous,
    /// None of the keys is one for RS256 of a sound size.
    #[error("it holds no usable key")]
    NoUsableKey,
    /// The copy at rest was not written by us.
    #[error("it does not have our seal")]
    NotSealed,
    /// The copy at rest belongs to another issuer.
    #[error("it belongs to another issuer")]
    OtherIssuer,
}

/// An issuer's keys.
#[derive(Clone)]
pub(super) struct KeySet {
    issuer: String,
    fetched_at: Timestamp,
    keys: HashMap<String, Key>,
}

#[derive(Clone)]
struct Key {
    parts: RsaParts,
    decoding: DecodingKey,
}

/// An RSA public key, both parts in base64url.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RsaParts {
    n: String,
    e: String,
}

/// A JSON Web Key Set (RFC 7517), as far as we look at it.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The form at rest.
#[derive(Serialize, Deserialize)]
struct AtRest {
    issuer: String,
    /// Milliseconds since 1970.
    fetched_at: i64,
    keys: HashMap<String, RsaParts>,
}

impl KeySet {
    /// Reads what the issuer sent. Keys of other kinds and for other uses are passed over (RFC 7517 section 5).
    pub(super) fn from_document(issuer: &str, document: &[u8], now: Timestamp) -> Result<Self, UnusableKeys> {
        let Document { keys } =
            serde_json::from_slice(document).map_err(|error| UnusableKeys::NotAKeySet(error.to_string()))?;
        let mut found = HashMap::new();
        for (kid, parts) in keys.into_iter().filter_map(Jwk::usable).take(MAX_KEYS) {
            let Some(key) = Key::new(parts) else { continue };
            if found.insert(kid, key).is_some() {
                return Err(UnusableKeys::Ambiguous);
            }
        }
        Self::new(issuer.to_owned(), now, found)
    }

    /// Reads the form at rest, if we wrote it, and for this issuer.
    pub(super) fn from_sealed(issuer: &str, sealed: &str, seal: &Seal) -> Result<Self, UnusableKeys> {
        let json = seal.open(sealed).ok_or(UnusableKeys::NotSealed)?;
        let at_rest: AtRest =
            serde_json::from_str(json).map_err(|error| UnusableKeys::NotAKeySet(error.to_string()))?;
        if at_rest.issuer != issuer {
            return Err(UnusableKeys::OtherIssuer);
        }
        let fetched_at = Timestamp::from_millisecond(at_rest.fetched_at).unwrap_or(Timestamp::MIN);
        let keys = at_rest
            .keys
            .into_iter()
            .filter_map(|(kid, parts)| Some((kid, Key::new(parts)?)));
        Self::new(at_rest.issuer, fetched_at, keys.collect())
    }

    fn new(issuer: String, fetched_at: Timestamp, keys: HashMap<String, Key>) -> Result<Self, UnusableKeys> {
        if keys.is_empty() {
            return Err(UnusableKeys::NoUsableKey);
        }
        Ok(Self {
            issuer,
            fetched_at,
            keys,
        })
    }

    /// The form at rest.
    pub(super) fn sealed(&self, seal: &Seal) -> String {
        let parts = |(kid, key): (&String, &Key)| (kid.clone(), key.parts.clone());
        let at_rest = AtRest {
            issuer: self.issuer.clone(),
            fetched_at: self.fetched_at.as_millisecond(),
            keys: self.keys.iter().map(parts).collect(),
        };
        // Texts and numbers always become JSON; an empty copy would be refused when it is read.
        seal.close(&serde_json::to_string(&at_rest).unwrap_or_default())
    }

    pub(super) fn get(&self, kid: &str) -> Option<&DecodingKey> {
        self.keys.get(kid).map(|key| &key.decoding)
    }

    pub(super) fn fetched_at(&self) -> Timestamp {
        self.fetched_at
    }

    pub(super) fn age(&self, now: Timestamp) -> Duration {
        elapsed(self.fetched_at, now)
    }

    /// Whether every key of `older` is still here, unchanged.
    pub(super) fn keeps_all_of(&self, older: &Self) -> bool {
        older
            .keys
            .iter()
            .all(|(kid, key)| self.keys.get(kid).is_some_and(|kept| kept.parts == key.parts))
    }
}

impl Jwk {
    /// A key with a name that may check RS256 signatures.
    fn usable(self) -> Option<(String, RsaParts)> {
        let is_or_absent = |text: &Option<String>, wanted: &str| text.as_ref().is_none_or(|text| text == wanted);
        if self.kty != "RSA" || !is_or_absent(&self.usage, "sig") || !is_or_absent(&self.alg, "RS256") {
            return None;
        }
        let kid = self.kid.filter(|kid| !kid.is_empty())?;
        Some((kid, RsaParts { n: self.n?, e: self.e? }))
    }
}

impl Key {
    /// `None` for numbers that are no sound RSA key.
    fn new(parts: RsaParts) -> Option<Self> {
        let n = URL_SAFE_NO_PAD.decode(&parts.n).ok()?;
        let e = URL_SAFE_NO_PAD.decode(&parts.e).ok()?;
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        let sound = MODULUS_BYTES.contains(&n.len())
            && n.first() != Some(&0)
            && is_odd(&n)
            && e.len() <= MAX_EXPONENT_BYTES
            && is_odd(&e)
            && e != [1];
        sound.then(|| Self {
            decoding: DecodingKey::from_rsa_raw_components(&n, &e),
            parts,
        })
    }
}

/// Marks the copy that isolates share through Redis, so that who can write there still cannot sign anybody in.
#[derive(Clone)]
pub struct Seal(Hmac<Sha256>);

impl Seal {
    /// A seal that only who knows `secret` can make. Another secret makes another seal: copies under the old one are
    /// passed over.
    pub fn new(secret: &SecretString) -> Self {
        // HMAC takes a key of any length, so the constructor cannot fail; an empty one would seal nothing either way.
        let keyed = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
        let mut derivation = keyed(secret.expose_secret().as_bytes());
        derivation.update(b"aos: seal of the keys of an issuer");
        Self(keyed(&derivation.finalize().into_bytes()))
    }

    fn close(&self, text: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        format!("{}.{text}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn open<'a>(&self, sealed: &'a str) -> Option<&'a str> {
        let (tag, text) = sealed.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        mac.verify_slice(&tag).ok().map(|()| text)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The key of RFC 7515 appendix A.2.
    const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

    fn read(document: Value) -> Result<KeySet, UnusableKeys> {
        KeySet::from_document("https://issuer", document.to_string().as_bytes(), Timestamp::UNIX_EPOCH)
    }

    fn key(changes: Value) -> Value {
        let mut key = json!({"kty": "RSA", "kid": "a", "use": "sig", "alg": "RS256", "n": N, "e": "AQAB"});
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    #[test]
    fn only_sound_rsa_keys_for_signatures_are_taken() {
        for good in [
            json!({}),
            json!({"use": null, "alg": null}),
            json!({"x5c": ["x"]}),
            json!({"e": "Aw"}),
        ] {
            assert!(read(json!({"keys": [key(good.clone())]})).is_ok(), "{good}");
        }
        for bad in [
            json!({"kty": "EC"}),
            json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}),
            json!({"use": "enc"}),
            json!({"alg": "RS512"}),
            json!({"alg": "HS256"}),
            json!({"kid": null}),
            json!({"kid": ""}),
            json!({"n": null}),
            json!({"e": null}),
            json!({"n": ""}),
            json!({"n": "AQAB"}),
            json!({"n": N.split_at(300).0}),
            json!({"n": format!("AAAA{}", N.split_at(4).1)}),
            json!({"n": N.repeat(3)}),
            json!({"n": format!("{N}=")}),
            json!({"n": "!"}),
            json!({"e": "AQ"}),
            json!({"e": ""}),
            json!({"e": "Ag"}),
            json!({"e": "AQABAQAB"}),
        ] {
            assert_eq!(
                read(json!({"keys": [key(bad.clone())]})).err(),
                Some(UnusableKeys::NoUsableKey),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_set_that_is_none_or_is_ambiguous_is_refused_as_a_whole() {
        for bad in [
            json!({}),
            json!([]),
            json!({"keys": {}}),
            json!({"keys": [1]}),
            json!({"keys": [{"kty": 1}]}),
        ] {
            assert!(matches!(read(bad.clone()), Err(UnusableKeys::NotAKeySet(_))), "{bad}");
        }
        assert_eq!(read(json!({"keys": []})).err(), Some(UnusableKeys::NoUsableKey));
        let twice = json!({"keys": [key(json!({})), key(json!({"e": "Aw"}))]});
        assert_eq!(read(twice).err(), Some(UnusableKeys::Ambiguous));
    }

    #[test]
    fn a_bad_key_beside_a_good_one_takes_nothing_from_it() {
        let keys =
            read(json!({"keys": [key(json!({"kty": "EC"})), key(json!({})), key(json!({"kid": "b", "n": "AQ"}))]}));
        let keys = keys.unwrap();
        assert!(keys.get("a").is_some() && keys.get("b").is_none() && keys.get("").is_none());
    }

    #[test]
    fn the_form_at_rest_opens_under_its_seal_and_for_its_issuer_only() {
        let seal = Seal::new(&"secret".into());
        let keys = read(json!({"keys": [key(json!({}))]})).unwrap();
        let sealed = keys.sealed(&seal);
        let opened = KeySet::from_sealed("https://issuer", &sealed, &seal).unwrap();
        assert!(opened.keeps_all_of(&keys) && opened.fetched_at() == keys.fetched_at());
        let error = |issuer, sealed: &str, seal: &Seal| KeySet::from_sealed(issuer, sealed, seal).err();
        assert_eq!(
            error("https://issuer", &sealed, &Seal::new(&"other".into())),
            Some(UnusableKeys::NotSealed)
        );
        assert_eq!(error("https://other", &sealed, &seal), Some(UnusableKeys::OtherIssuer));
        assert_eq!(
            error("https://issuer", &sealed.replace("AQAB", "AQAD"), &seal),
            Some(UnusableKeys::NotSealed)
        );
        let (_, json) = sealed.split_once('.').unwrap();
        for forged in ["", ".", json, &format!(".{json}"), &format!("AAAA.{json}")] {
            assert_eq!(error("https://issuer", forged, &seal), Some(UnusableKeys::NotSealed));
        }
        assert!(matches!(
            error("https://issuer", &seal.close("{}"), &seal),
            Some(UnusableKeys::NotAKeySet(_))
        ));
    }

    #[test]
    fn a_key_that_changed_under_its_name_is_not_kept() {
        let old = read(json!({"keys": [key(json!({}))]})).unwrap();
        let more = read(json!({"keys": [key(json!({})), key(json!({"kid": "b"}))]})).unwrap();
        let changed = read(json!({"keys": [key(json!({"e": "Aw"}))]})).unwrap();
        assert!(more.keeps_all_of(&old) && !old.keeps_all_of(&more) && !changed.keeps_all_of(&old));
    }
}
