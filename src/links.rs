//! Signed links: whoever has one may read one object of one tenant until a time, without another credential. Must never
//! open anything else, nor tell in its answer or its time how far a forgery came.
//!
//! A link names the key that signed it, so that keys can be rotated. Its signature (HMAC-SHA256) is over its purpose, the
//! tenant, the object and its end: a link for one thing opens no other, in whatever order its parts are put together.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use url::{Url, form_urlencoded};

use crate::{ids::TenantId, problem::Problem};

/// What a link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The calendar file of a step.
    Calendar,
}

impl Purpose {
    /// Its word in what is signed.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
        }
    }

    /// The path above its objects.
    const fn path(self) -> &'static str {
        match self {
            Self::Calendar => "/v1/calendar",
        }
    }
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is incomplete, was changed, or was signed by a key that is not there any more.
    #[error("the link is not complete, or not one of ours")]
    Invalid,
    /// It was good once.
    #[error("the link has expired")]
    Expired,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (code, title) = match error {
            Error::Invalid => ("link_invalid", "The link is not valid"),
            Error::Expired => ("link_expired", "The link has expired"),
        };
        Self::new(403, code, title, error.to_string())
    }
}

/// What signs links and checks them.
#[derive(Clone)]
pub struct Links {
    current: Key,
    previous: Option<Key>,
    /// The address of this installation, without a slash at its end; empty where nobody said it.
    base: String,
}

#[derive(Clone)]
struct Key {
    id: String,
    mac: Hmac<Sha256>,
}

impl Key {
    fn new(secret: &SecretString) -> Self {
        let derived = |purpose: &str| {
            let mac = keyed(secret.expose_secret().as_bytes()).chain_update(purpose);
            mac.finalize().into_bytes()
        };
        let id = derived("aos link key id");
        Self {
            id: URL_SAFE_NO_PAD.encode(id.get(..6).unwrap_or_default()),
            mac: keyed(&derived("aos link key")),
        }
    }

    /// Over what a link is for. Purposes, ids and numbers hold no line end: no two links have the same form.
    fn over(&self, purpose: Purpose, tenant: TenantId, object: &str, expires: i64) -> Hmac<Sha256> {
        let form = format!("{}\n{tenant}\n{object}\n{expires}", purpose.as_str());
        self.mac.clone().chain_update(form)
    }
}

/// HMAC takes a key of any length, so the constructor cannot fail.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({} at {:?})", self.current.id, self.base)
    }
}

impl Links {
    /// Signs with `current`; what `previous` signed is good as well. `base`: the address of this installation; without
    /// it links are paths.
    pub fn new(current: &SecretString, previous: Option<&SecretString>, base: Option<&Url>) -> Self {
        Self {
            current: Key::new(current),
            previous: previous.map(Key::new),
            base: base
                .map(|url| url.as_str().trim_end_matches('/').to_owned())
                .unwrap_or_default(),
        }
    }

    /// The link to an object of a tenant's, good until `expires`, to the second. `object` is an id: it stands in the path
    /// as it is.
    pub fn link(&self, purpose: Purpose, tenant: TenantId, object: &str, expires: Timestamp) -> String {
        let expires = expires.as_second();
        let signature = self.current.over(purpose, tenant, object, expires).finalize();
        format!(
            "{}{}/{object}?tenant={tenant}&expires={expires}&key={}&sig={}",
            self.base,
            purpose.path(),
            self.current.id,
            URL_SAFE_NO_PAD.encode(signature.into_bytes()),
        )
    }

    /// The tenant whose object a link opens, by its path's object and its query.
    ///
    /// # Errors
    /// [`Error`]; that it has expired is told of a genuine link only.
    pub fn open(&self, purpose: Purpose, object: &str, query: Option<&str>, now: Timestamp) -> Result<TenantId, Error> {
        let part = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            pairs.find(|(found, _)| found == name).map(|(_, value)| value)
        };
        let (Some(tenant), Some(expires), Some(key), Some(signature)) =
            (part("tenant"), part("expires"), part("key"), part("sig"))
        else {
            return Err(Error::Invalid);
        };
        let (Ok(tenant), Ok(expires), Ok(signature)) = (
            tenant.parse::<TenantId>(),
            expires.parse::<i64>(),
            URL_SAFE_NO_PAD.decode(&*signature),
        ) else {
            return Err(Error::Invalid);
        };
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|known| known.id == *key)
            .ok_or(Error::Invalid)?;
        key.over(purpose, tenant, object, expires)
            .verify_slice(&signature)
            .map_err(|_| Error::Invalid)?;
        if now.as_second() >= expires {
            return Err(Error::Expired);
        }
        Ok(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = "stp_018f0000000070008000000000000003";

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn tenant() -> TenantId {
        "ten_018f0000000070008000000000000001".parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn links() -> Links {
        Links::new(&secret("one"), None, None)
    }

    fn opened(links: &Links, link: &str, now: i64) -> Result<TenantId, Error> {
        let (path, query) = link.split_once('?').unwrap();
        let (_, object) = path.rsplit_once('/').unwrap();
        links.open(Purpose::Calendar, object, Some(query), at(now))
    }

    #[test]
    fn a_link_opens_its_object_until_its_end() {
        let link = links().link(Purpose::Calendar, tenant(), OBJECT, at(1_000));
        assert!(
            link.starts_with(&format!("/v1/calendar/{OBJECT}?tenant={}&expires=1000&key=", tenant())),
            "{link}"
        );
        assert_eq!(opened(&links(), &link, 0), Ok(tenant()));
        assert_eq!(opened(&links(), &link, 999), Ok(tenant()));
        assert_eq!(opened(&links(), &link, 1_000), Err(Error::Expired));
    }

    #[test]
    fn nothing_of_a_link_can_be_changed_or_left_out() {
        let link = links().link(Purpose::Calendar, tenant(), OBJECT, at(1_000));
        let (path, query) = link.split_once('?').unwrap();
        let pairs: Vec<&str> = query.split('&').collect();
        for left_out in 0..pairs.len() {
            let rest: Vec<&str> = pairs
                .iter()
                .enumerate()
                .filter(|(place, _)| *place != left_out)
                .map(|(_, p)| *p)
                .collect();
            assert_eq!(
                opened(&links(), &format!("{path}?{}", rest.join("&")), 0),
                Err(Error::Invalid),
                "{left_out}"
            );
        }
        let (_, signature) = link.rsplit_once("sig=").unwrap();
        for (from, to) in [
            (
                "stp_018f0000000070008000000000000003",
                "stp_018f0000000070008000000000000004",
            ),
            (
                "ten_018f0000000070008000000000000001",
                "ten_018f0000000070008000000000000002",
            ),
            ("ten_", "run_"),
            ("expires=1000", "expires=9000"),
            ("expires=1000", "expires=x"),
            ("expires=1000", "expires=99999999999999999999"),
            ("key=", "key=x"),
            (signature, ""),
            (signature, "AAAA"),
            (signature, signature.get(..signature.len() - 2).unwrap()),
            (signature, "%00"),
        ] {
            let forged = link.replacen(from, to, 1);
            assert_ne!(forged, link);
            assert_eq!(opened(&links(), &forged, 0), Err(Error::Invalid), "{forged}");
            // Also of a link that has expired nobody learns how far a forgery came.
            assert_eq!(opened(&links(), &forged, 99_999), Err(Error::Invalid), "{forged}");
        }
        assert_eq!(
            links().open(Purpose::Calendar, OBJECT, None, at(0)),
            Err(Error::Invalid)
        );
    }

    #[test]
    fn keys_rotate_and_an_old_link_is_good_while_its_key_is_known() {
        let old = links().link(Purpose::Calendar, tenant(), OBJECT, at(1_000));
        let rotated = Links::new(&secret("two"), Some(&secret("one")), None);
        assert_eq!(opened(&rotated, &old, 0), Ok(tenant()));
        let new = rotated.link(Purpose::Calendar, tenant(), OBJECT, at(1_000));
        assert_ne!(new, old);
        assert_eq!(opened(&rotated, &new, 0), Ok(tenant()));
        assert_eq!(opened(&links(), &new, 0), Err(Error::Invalid));
        assert_eq!(
            opened(&Links::new(&secret("two"), None, None), &old, 0),
            Err(Error::Invalid)
        );
    }

    #[test]
    fn a_link_is_absolute_where_the_installation_knows_its_address() {
        for (base, expected) in [
            ("https://aos.corp.dev", "https://aos.corp.dev/v1/calendar/"),
            ("https://corp.dev/aos/", "https://corp.dev/aos/v1/calendar/"),
        ] {
            let links = Links::new(&secret("one"), None, Some(&base.parse().unwrap()));
            let link = links.link(Purpose::Calendar, tenant(), OBJECT, at(1_000));
            assert!(link.starts_with(expected), "{link}");
            assert_eq!(opened(&links, &link, 0), Ok(tenant()));
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let links = Links::new(&secret("s3cret"), Some(&secret("0ther")), None);
        let printed = format!("{links:?}");
        assert!(!printed.contains("s3cret") && !printed.contains("0ther"), "{printed}");
    }
}
