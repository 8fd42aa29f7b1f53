//! Clerk: the public keys of its session tokens, and its backend API for sessions and users.
//! Must never print the secret key, nor send it anywhere but to the backend API.

mod answers;
mod error;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

pub use self::{
    answers::{Activity, Session, SessionStatus, User},
    error::Error,
};
use super::{
    SettingError,
    exchange::{self, Failure},
    tries::Tries,
};
use crate::platform::Clock;

/// Where Clerk's backend API is, unless `CLERK_BASE_URL` says otherwise.
pub const BASE_URL: &str = "https://api.clerk.com";
/// The version of the backend API whose shapes are read here.
const API_VERSION: HeaderValue = HeaderValue::from_static("2026-05-12");
const VERSION_HEADER: HeaderName = HeaderName::from_static("clerk-api-version");
/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest answer: a key is about 500 bytes, a session about 1 KiB.
const MAX_KEYS_BYTES: usize = 64 << 10;
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Sessions of a user that are listed at most; the newest come first.
const MOST_SESSIONS: &str = "100";
/// Characters of an id; Clerk's have about 32.
const MAX_ID_CHARS: usize = 128;

/// A Clerk instance.
#[derive(Clone)]
pub struct Clerk {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    jwks_url: Url,
    base_url: Url,
    /// `Bearer …`, marked as sensitive: it does not print.
    authorization: HeaderValue,
}

impl Clerk {
    /// The instance whose public keys are at `jwks_url`, and whose backend API is at the `/v1` of `base_url`.
    ///
    /// # Errors
    /// The secret key holds characters that no header may hold.
    pub fn new(
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        jwks_url: Url,
        base_url: Url,
        secret_key: &SecretString,
    ) -> Result<Self, SettingError> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", secret_key.expose_secret()))
            .map_err(|_| SettingError("has characters that no header may hold"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            http,
            clock,
            jwks_url,
            base_url,
            authorization,
        })
    }

    /// The instance's JSON Web Key Set, as it was sent. All tries together take three seconds: requests wait for it.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn jwks(&self) -> Result<Bytes, Error> {
        let tries = Tries::begin(&*self.clock, TIMEOUT);
        self.tried("jwks", tries, MAX_KEYS_BYTES, || self.http.get(self.jwks_url.clone()))
            .await
    }

    /// The user's sessions, the newest first, at most a hundred; those of one status if one is named.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn sessions(&self, user_id: &str, status: Option<SessionStatus>) -> Result<Vec<Session>, Error> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<Session>,
        }
        let mut address = self.address(&["sessions"])?;
        address
            .query_pairs_mut()
            .append_pair("user_id", user_id)
            .append_pair("limit", MOST_SESSIONS)
            .append_pair("paginated", "true")
            .extend_pairs(status.and_then(SessionStatus::as_str).map(|status| ("status", status)));
        let Page { data } = self.backend("sessions", Method::GET, address).await?;
        Ok(data)
    }

    /// Ends a session. One that is over already stays as it is: the end of it is the same. Tokens that it was given
    /// stay good until they expire.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a session that the instance does not have; else [`Error`].
    pub async fn revoke_session(&self, id: &str) -> Result<(), Error> {
        let address = self.address(&["sessions", sound(id)?, "revoke"])?;
        match self.backend::<Session>("revoke_session", Method::POST, address).await {
            Ok(_) => Ok(()),
            // Also when the answer to the first try was lost.
            Err(Error::Invalid { code, .. }) if code == "invalid_action_for_session" => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A user.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a user that the instance does not have; else [`Error`].
    pub async fn user(&self, id: &str) -> Result<User, Error> {
        let address = self.address(&["users", sound(id)?])?;
        self.backend("user", Method::GET, address).await
    }

    /// A call of the backend API. Each may be repeated: two read, and a session ends only once.
    async fn backend<T: for<'de> Deserialize<'de>>(
        &self,
        name: &'static str,
        method: Method,
        address: Url,
    ) -> Result<T, Error> {
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, self.authorization.clone()),
            (VERSION_HEADER, API_VERSION),
        ]);
        let tries = Tries::begin(&*self.clock, TIMEOUT.saturating_mul(2));
        let request = || {
            self.http
                .request(method.clone(), address.clone())
                .headers(headers.clone())
        };
        let body = self.tried(name, tries, MAX_ANSWER_BYTES, request).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Protocol(error.to_string()))
    }

    async fn tried(
        &self,
        name: &'static str,
        mut tries: Tries<'_>,
        max_bytes: usize,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<Bytes, Error> {
        loop {
            let timeout = TIMEOUT.min(tries.time_left());
            let error = match self.once(request(), timeout, max_bytes).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            if !error.is_passing() {
                return Err(error);
            }
            tracing::warn!(call = name, number = tries.number(), %error, "a try of a call to Clerk failed");
            if !tries.next().await {
                return Err(error);
            }
        }
    }

    async fn once(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Bytes, Error> {
        let answer = exchange::within(&*self.clock, timeout, async {
            let response = request.send().await.map_err(exchange::failure)?;
            let status = response.status();
            let retry_after = retry_after(response.headers());
            let body = exchange::read(response, max_bytes).await?;
            Ok::<_, Failure>((status, retry_after, body))
        });
        let (status, retry_after, body) = answer.await.map_err(|failure| Error::from_failure(failure, timeout))?;
        if status == StatusCode::OK {
            Ok(body)
        } else {
            Err(Error::from_answer(status, retry_after, &body))
        }
    }

    /// An address of the backend API, with these path segments percent-encoded.
    fn address(&self, segments: &[&str]) -> Result<Url, Error> {
        let mut address = self.base_url.clone();
        match address.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().push("v1").extend(segments);
            }
            Err(()) => return Err(Error::Protocol("the backend API's address has no path".to_owned())),
        }
        Ok(address)
    }
}

/// An id that can stand in a path. What cannot be an id is nobody's, and Clerk is not asked.
fn sound(id: &str) -> Result<&str, Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if id.is_empty() || id.len() > MAX_ID_CHARS || !id.bytes().all(plain) {
        return Err(Error::NotFound);
    }
    Ok(id)
}

/// Seconds, as Clerk writes them.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl fmt::Debug for Clerk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clerk")
            .field("jwks_url", &self.jwks_url.as_str())
            .field("base_url", &self.base_url.as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{FutureExt, LocalBoxFuture};

    use super::*;

    struct NoClock;

    impl Clock for NoClock {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }

        fn sleep(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
            futures::future::pending().boxed_local()
        }
    }

    fn clerk(base_url: &str) -> Clerk {
        let url = |text: &str| Url::parse(text).unwrap();
        let secret = SecretString::from("sk_test_s3cret");
        let (http, clock) = (reqwest::Client::new(), Arc::new(NoClock));
        Clerk::new(http, clock, url("https://issuer/jwks"), url(base_url), &secret).unwrap()
    }

    #[test]
    fn the_secret_key_does_not_print() {
        assert!(!format!("{:?}", clerk(BASE_URL)).contains("s3cret"));
    }

    #[test]
    fn calls_go_to_the_first_version_under_the_address() {
        for base in ["https://h", "https://h/", "https://h/clerk", "https://h/clerk/"] {
            let address = clerk(base).address(&["users", "user_1"]).unwrap();
            assert!(address.path().ends_with("/v1/users/user_1"), "{address}");
            assert_eq!(address.path().contains("clerk/v1"), base.contains("clerk"), "{address}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_an_id_is_not_asked_for() {
        let clerk = clerk("https://nowhere.invalid");
        for bad in [
            "",
            "..",
            ".",
            "a/b",
            "sess_1/../users",
            "a b",
            "ä",
            "a?b",
            &"a".repeat(200),
        ] {
            assert_eq!(clerk.revoke_session(bad).await, Err(Error::NotFound), "{bad}");
            assert_eq!(clerk.user(bad).await, Err(Error::NotFound), "{bad}");
        }
    }
}
