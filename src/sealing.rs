//! Sealing: what tenants hand over in confidence is encrypted and bound to its place before it is stored.
//!
//! XChaCha20-Poly1305 under a key derived from `SEALING_KEY`; its 24-byte nonces may be drawn at random. A sealed value
//! names the key it was sealed with, so that keys can be rotated, and opens only for the tenant, kind and name that it was
//! sealed for: moved to another row it is worthless.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The form of a sealed value: `v1.KEY.BASE64URL`, where the last part is the nonce and the ciphertext.
const FORM: &str = "v1";
const NONCE_BYTES: usize = 24;

/// What a sealed value is for. It opens at no other place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose it is: the name that the verified identity gives, which is known before the database is asked.
    pub tenant: &'a str,
    /// What kind of thing: `secret`, `setting`.
    pub kind: &'a str,
    /// Its name among those.
    pub name: &'a str,
}

impl Place<'_> {
    /// With their lengths, so that no two places have the same form.
    fn bytes(self) -> Vec<u8> {
        let Self { tenant, kind, name } = self;
        format!("{}:{tenant}{}:{kind}{}:{name}", tenant.len(), kind.len(), name.len()).into_bytes()
    }
}

/// Why a value cannot be sealed or opened. Never holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was sealed with a key that is not there any more.
    #[error("it was sealed with a key that is not configured any more")]
    UnknownKey,
    /// It was not sealed for this place, or somebody changed it.
    #[error("it was not sealed for this place, or was changed")]
    Forged,
    /// The platform gave no randomness.
    #[error("there is no randomness to seal with")]
    NoRandomness,
}

/// The keys: one to seal with, and those that still open.
#[derive(Clone)]
pub struct Sealer {
    current: Key,
    previous: Option<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl Key {
    fn new(secret: &SecretString) -> Self {
        let id = derive(secret, "aos sealing key id");
        Self {
            id: URL_SAFE_NO_PAD.encode(id.get(..6).unwrap_or_default()),
            cipher: XChaCha20Poly1305::new(&derive(secret, "aos sealing key").into()),
        }
    }
}

/// 32 bytes that follow from a secret and say nothing about it.
fn derive(secret: &SecretString, purpose: &str) -> [u8; 32] {
    // A key of any length is taken.
    let Ok(mut mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return [0; 32];
    };
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.current.id)
    }
}

impl Sealer {
    /// Seals with `current`; what was sealed with `previous` opens as well.
    pub fn new(current: &SecretString, previous: Option<&SecretString>) -> Self {
        Self {
            current: Key::new(current),
            previous: previous.map(Key::new),
        }
    }

    /// Seals a value for a place.
    ///
    /// # Errors
    /// [`Error::NoRandomness`]
    pub fn seal(&self, place: Place<'_>, value: &SecretString) -> Result<String, Error> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| Error::NoRandomness)?;
        let payload = Payload {
            msg: value.expose_secret().as_bytes(),
            aad: &place.bytes(),
        };
        let sealed = self.current.cipher.encrypt(&XNonce::from(nonce), payload);
        // A message as long as the memory would be refused; ours are bounded.
        let sealed = sealed.map_err(|_| Error::Forged)?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(format!("{FORM}.{}.{}", self.current.id, URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Opens a value that was sealed for this place.
    ///
    /// # Errors
    /// [`Error::UnknownKey`], [`Error::Forged`]
    pub fn open(&self, place: Place<'_>, sealed: &str) -> Result<SecretString, Error> {
        let mut parts = sealed.splitn(3, '.');
        let (Some(FORM), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::Forged);
        };
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id == id)
            .ok_or(Error::UnknownKey)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).map_err(|_| Error::Forged)?;
        let (nonce, message) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(Error::Forged)?;
        let payload = Payload {
            msg: message,
            aad: &place.bytes(),
        };
        let opened = key.cipher.decrypt(&XNonce::from(*nonce), payload);
        let opened = opened.map_err(|_| Error::Forged)?;
        String::from_utf8(opened)
            .map(SecretString::from)
            .map_err(|_| Error::Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place<'_> {
        Place {
            tenant: "org_1",
            kind: "secret",
            name,
        }
    }

    fn sealer(current: &str, previous: Option<&str>) -> Sealer {
        Sealer::new(&SecretString::from(current), previous.map(SecretString::from).as_ref())
    }

    #[test]
    fn what_is_sealed_opens_at_its_place_and_at_no_other() {
        let sealer = sealer("one", None);
        let value = SecretString::from("hush");
        let sealed = sealer.seal(place("a"), &value).unwrap();
        assert!(!sealed.contains("hush"));
        assert_eq!(sealer.open(place("a"), &sealed).unwrap().expose_secret(), "hush");
        assert_ne!(sealed, sealer.seal(place("a"), &value).unwrap());

        let others = [
            place("b"),
            Place {
                kind: "setting",
                ..place("a")
            },
            Place {
                tenant: "org_2",
                ..place("a")
            },
        ];
        for other in others {
            assert_eq!(sealer.open(other, &sealed).unwrap_err(), Error::Forged);
        }
    }

    #[test]
    fn a_changed_value_does_not_open() {
        let sealer = sealer("one", None);
        let sealed = sealer.seal(place("a"), &SecretString::from("hush")).unwrap();
        for at in (sealed.rfind('.').unwrap() + 1)..sealed.len() - 1 {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(sealer.open(place("a"), &changed).is_err(), "{at}");
        }
        for nonsense in ["", "v1", "v1.", "v2.a.b", "v1..", "hush"] {
            assert!(sealer.open(place("a"), nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn the_previous_key_opens_what_it_sealed_until_it_is_gone() {
        let sealed = sealer("one", None)
            .seal(place("a"), &SecretString::from("hush"))
            .unwrap();
        assert!(sealer("two", Some("one")).open(place("a"), &sealed).is_ok());
        assert_eq!(
            sealer("two", None).open(place("a"), &sealed).unwrap_err(),
            Error::UnknownKey
        );
        let again = sealer("two", Some("one"))
            .seal(place("a"), &SecretString::from("hush"))
            .unwrap();
        assert!(sealer("two", None).open(place("a"), &again).is_ok());
    }
}
