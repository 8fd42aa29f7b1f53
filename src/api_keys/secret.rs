//! The key itself: how it is made, and the hash that is all anybody keeps of it.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use crate::{digest::sha256_hex, problem::Problem};

/// What every key begins with: it tells people and scanners for leaked secrets what it is.
const PREFIX: &str = "aos_";
/// Random bytes of a key. It cannot be guessed, so that a plain hash keeps it: there is no list of likely keys for
/// which a slow one would help, and every request would pay for it.
const RANDOM_BYTES: usize = 32;
/// Characters of a key: the prefix and the bytes in base64url.
const KEY_CHARS: usize = PREFIX.len() + RANDOM_BYTES.div_ceil(3) * 4 - 1;
/// Characters that are shown of a key later: 48 of its 256 bits.
const SHOWN_CHARS: usize = PREFIX.len() + 8;

/// SHA-256 of a whole key, in hexadecimal as the database has it. Whoever has it has nothing that opens anything; still
/// it does not print.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyHash(String);

impl KeyHash {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// The hash of what a header shows, if it has the form of a tenant's key: `aos_` and 43 characters of base64url. What
/// has not needs no look-up.
///
/// Comparing hashes in the database takes no care of time: what that would tell is how the hash of a guess begins, from
/// which nothing follows for the key.
pub fn hash_of(shown: &[u8]) -> Option<KeyHash> {
    let random = shown.strip_prefix(PREFIX.as_bytes())?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (shown.len() == KEY_CHARS && random.iter().all(plain)).then(|| hash(shown))
}

fn hash(key: &[u8]) -> KeyHash {
    KeyHash(sha256_hex(key))
}

/// A new key, to be shown once.
pub(super) struct NewKey {
    key: SecretString,
    pub(super) hash: KeyHash,
    /// How it begins.
    pub(super) prefix: String,
}

impl NewKey {
    /// # Errors
    /// 503 `unavailable`, without random bytes: a key is never made of anything else.
    pub(super) fn make() -> Result<Self, Problem> {
        let mut random = [0_u8; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| {
            tracing::error!(%error, "the platform gave no random bytes for a key");
            Problem::unavailable("no key can be made at the moment")
        })?;
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        Ok(Self {
            hash: hash(key.as_bytes()),
            prefix: key.chars().take(SHOWN_CHARS).collect(),
            key: SecretString::from(key),
        })
    }

    /// The key, for the one answer that shows it.
    pub(super) fn show(&self) -> &str {
        self.key.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_form_that_is_looked_up_and_its_hash() {
        let (one, other) = (NewKey::make().unwrap(), NewKey::make().unwrap());
        assert_eq!(hash_of(one.show().as_bytes()).unwrap(), one.hash);
        assert_ne!(one.hash, other.hash);
        assert!(one.show().len() == KEY_CHARS && one.show().starts_with(&one.prefix));
        assert_eq!(one.prefix.len(), 12);
        assert!(!format!("{:?}", one.hash).contains(one.hash.as_str()));
    }

    #[test]
    fn the_hash_is_sha_256_in_hexadecimal() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(b"abc").as_str(), abc);
    }

    #[test]
    fn what_is_no_key_is_not_looked_up() {
        let key = format!("aos_{}", "x".repeat(43));
        assert!(hash_of(key.as_bytes()).is_some());
        for bad in [
            "",
            "aos_",
            key.trim_start_matches('a'),
            key.split_at(46).0,
            &format!("{key}x"),
            &key.replace("aos_", "aos-"),
        ] {
            assert!(hash_of(bad.as_bytes()).is_none(), "{bad}");
        }
        for odd in [' ', '+', '/', '=', '\0', '\''] {
            assert!(hash_of(key.replacen('x', &odd.to_string(), 1).as_bytes()).is_none());
        }
    }
}
