//! A secret that callers show to be let in: the operator's key, the machines' token. Must never print, and never
//! tells by its time how much of a guess was right.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A secret, kept as its SHA-256 only: two hashes have one length, so that not even the secret's length shows.
#[derive(Clone)]
pub struct SharedSecret([u8; 32]);

impl SharedSecret {
    /// Whether `shown` is the secret.
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.ct_eq(&hash(shown)).into()
    }
}

impl From<&str> for SharedSecret {
    fn from(secret: &str) -> Self {
        Self(hash(secret.as_bytes()))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret")
    }
}

fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        let secret = SharedSecret::from("0123456789-the-secret-9876543210");
        assert!(secret.is(b"0123456789-the-secret-9876543210"));
        for wrong in [
            "",
            "0",
            "0123456789-the-secret-987654321",
            "0123456789-the-secret-98765432100",
            "\0",
        ] {
            assert!(!secret.is(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn it_does_not_print() {
        assert_eq!(format!("{:?}", SharedSecret::from("abc")), "SharedSecret");
    }
}
