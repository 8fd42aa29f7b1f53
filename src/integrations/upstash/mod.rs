//! Upstash Redis: commands over HTTPS, many in one request, and channels as server-sent events.
//! Must never print the token, nor repeat commands whose answer was lost unless the caller said they may be.

mod absence;
mod command;
mod error;
mod subscription;

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use self::subscription::Event;
pub use self::{
    absence::Absence,
    command::{Command, Key},
    error::{CommandError, Error},
};
use super::{
    Body, Repeat, SettingError, TookEffect,
    exchange::{self, Answer, Failure},
    tries::Tries,
};
use crate::platform::Clock;

/// The service's limit for a request, and ours for an answer.
const MAX_BYTES: usize = 10 << 20;
/// How long one try may take, unless the client says otherwise: Redis is asked on the way to other things.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A Redis database.
#[derive(Clone)]
pub struct Upstash {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    rest_url: Url,
    /// `Bearer …`, marked as sensitive: it does not print.
    authorization: HeaderValue,
    timeout: Duration,
}

/// The answer to one command: exactly one of the two is there.
#[derive(Deserialize)]
struct Reply {
    /// `Some(Null)` for a null result, `None` where there is no such key.
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Reply {
    fn into_result(self) -> Result<Result<Value, CommandError>, Error> {
        match (self.result, self.error) {
            (_, Some(text)) => match Error::from_text(text) {
                Error::Command(error) => Ok(Err(error)),
                other => Err(other),
            },
            (Some(result), None) => Ok(Ok(result)),
            (None, None) => Err(Error::Protocol("neither a result nor an error".to_owned())),
        }
    }
}

impl Upstash {
    /// A client for the database at `rest_url`.
    ///
    /// # Errors
    /// The URL is not http(s), or the token is empty or holds characters that no header may hold.
    pub fn new(
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        rest_url: Url,
        token: SecretString,
    ) -> Result<Self, SettingError> {
        if !matches!(rest_url.scheme(), "http" | "https") {
            return Err(SettingError("is not an http(s) URL"));
        }
        if token.expose_secret().is_empty() {
            return Err(SettingError("has an empty token"));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
            .map_err(|_| SettingError("has a token with characters that no header may hold"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            http,
            clock,
            rest_url,
            authorization,
            timeout: TIMEOUT,
        })
    }

    /// A client from `rediss://default:TOKEN@HOST:PORT`: the same host answers over HTTPS, and the password is the
    /// token.
    ///
    /// # Errors
    /// The URL is not of this form. Plain `redis://` is refused: it is not Upstash's.
    pub fn from_redis_url(
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        redis_url: SecretString,
    ) -> Result<Self, SettingError> {
        let url = Url::parse(redis_url.expose_secret())
            .map_err(|_| SettingError("is not a URL (rediss://default:TOKEN@HOST:PORT)"))?;
        if url.scheme() != "rediss" {
            return Err(SettingError("does not begin with rediss://"));
        }
        let host = url.host_str().ok_or(SettingError("names no host"))?;
        let rest_url =
            Url::parse(&format!("https://{host}")).map_err(|_| SettingError("names a host that cannot be one"))?;
        let token = percent_decode_str(url.password().unwrap_or_default())
            .decode_utf8()
            .map_err(|_| SettingError("has a password that is not UTF-8"))?;
        Self::new(http, clock, rest_url, SecretString::from(token.into_owned()))
    }

    /// The same database with another time for each try than 3 s. All tries together end after twice that time.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Executes commands in their order, in one request. They are not a transaction: some may fail.
    ///
    /// Tried up to four times within twice the timeout: when nothing was sent, and, where repeating is harmless, when
    /// the answer was lost.
    ///
    /// # Errors
    /// [`Error`], about the request as a whole; never [`Error::Command`] for a command of its own.
    pub async fn pipeline(
        &self,
        commands: &[Command],
        repeat: Repeat,
    ) -> Result<Vec<Result<Value, CommandError>>, Error> {
        let name = commands.first().map_or("", Command::name);
        let replies: Vec<Reply> = self
            .request(self.address(&["pipeline"])?, commands, name, repeat)
            .await?;
        if replies.len() != commands.len() {
            return Err(Error::Protocol(format!(
                "{} replies to {} commands",
                replies.len(),
                commands.len()
            )));
        }
        replies.into_iter().map(Reply::into_result).collect()
    }

    /// Executes one command, tried again as [`Self::pipeline`] is.
    ///
    /// # Errors
    /// [`Error`], [`Error::Command`] where Redis refused it.
    pub async fn command(&self, command: Command, repeat: Repeat) -> Result<Value, Error> {
        let reply: Reply = self
            .request(self.address(&[])?, &command, command.name(), repeat)
            .await?;
        Ok(reply.into_result()??)
    }

    /// Subscribes to a channel and returns when the subscription stands: what is published from then on will come.
    ///
    /// The stream yields payloads. It ends, with an error if the connection broke, and never resumes by itself;
    /// dropping it ends the subscription.
    ///
    /// # Errors
    /// [`Error`], when the subscription was not confirmed within the timeout.
    pub async fn subscribe(&self, channel: &Key) -> Result<impl Stream<Item = Result<String, Error>> + use<>, Error> {
        let mut headers = self.headers();
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let request = self
            .http
            .post(self.address(&["subscribe", channel.as_str()])?)
            .headers(headers);
        let confirmed = exchange::within(&*self.clock, self.timeout, async {
            let response = request.send().await.map_err(exchange::failure)?;
            if response.status() != StatusCode::OK {
                let status = response.status();
                let headers = response.headers().clone();
                let body = exchange::read(response, MAX_BYTES).await?;
                return Ok(Err(refused(&Answer { status, headers, body })));
            }
            let mut events = Box::pin(subscription::events(response, channel.as_str()));
            Ok(confirmation(events.as_mut()).await.map(|()| events))
        });
        let events = confirmed
            .await
            .map_err(|failure| Error::from_failure(failure, self.timeout))??;
        Ok(events.filter_map(|event| {
            std::future::ready(match event {
                Ok(Event::Message(payload)) => Some(Ok(payload)),
                Ok(Event::Subscribed) => None,
                Err(error) => Some(Err(error)),
            })
        }))
    }

    async fn request<T: for<'de> Deserialize<'de>>(
        &self,
        address: Url,
        body: &(impl serde::Serialize + ?Sized),
        name: &str,
        repeat: Repeat,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Protocol(error.to_string()))?;
        if body.len() > MAX_BYTES {
            return Err(Error::TooLarge(Body::Request));
        }
        let body = Bytes::from(body);
        let mut tries = Tries::begin(&*self.clock, self.timeout.saturating_mul(2));
        let mut lost = None;
        loop {
            let timeout = self.timeout.min(tries.time_left());
            let error = match self.once(address.clone(), body.clone(), timeout).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !(error.is_unsent() || (error.is_lost() && repeat == Repeat::Harmless)) {
                return Err(error);
            }
            tracing::warn!(command = name, number = tries.number(), %error, "a try of a command failed");
            // A try that may have taken effect stays true whatever the ones after it met.
            if error.is_lost() {
                lost = Some(error.clone());
            }
            if !tries.next().await {
                return Err(lost.unwrap_or(error));
            }
        }
    }

    async fn once<T: for<'de> Deserialize<'de>>(
        &self,
        address: Url,
        body: Bytes,
        timeout: Duration,
    ) -> Result<T, Error> {
        let request = self.http.post(address).headers(self.headers()).body(body);
        let answer = exchange::exchange(&*self.clock, request, timeout, MAX_BYTES)
            .await
            .map_err(|failure| Error::from_failure(failure, timeout))?;
        if answer.status != StatusCode::OK {
            return Err(refused(&answer));
        }
        // A 200 that is no answer was garbled or cut on the way; the commands have been executed.
        serde_json::from_slice(&answer.body).map_err(|error| {
            Error::from_failure(Failure::Lost(format!("the answer could not be read: {error}")), timeout)
        })
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::AUTHORIZATION, self.authorization.clone()),
        ])
    }

    /// The database's address with these path segments after its own, percent-encoded.
    fn address(&self, segments: &[&str]) -> Result<Url, Error> {
        let mut address = self.rest_url.clone();
        match address.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().extend(segments);
            }
            Err(()) => return Err(Error::Protocol("the database's address has no path".to_owned())),
        }
        Ok(address)
    }
}

impl fmt::Debug for Upstash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstash")
            .field("rest_url", &self.rest_url.as_str())
            .finish_non_exhaustive()
    }
}

/// Waits for the confirmation of a subscription.
async fn confirmation(mut events: Pin<&mut impl Stream<Item = Result<Event, Error>>>) -> Result<(), Error> {
    loop {
        match events.next().await {
            Some(Ok(Event::Subscribed)) => return Ok(()),
            Some(Ok(Event::Message(_))) => {}
            Some(Err(error)) => return Err(error),
            None => {
                let reason = "the subscription ended before it was confirmed".to_owned();
                return Err(Error::Unreachable {
                    took_effect: TookEffect::Unknown,
                    reason,
                });
            }
        }
    }
}

/// What an answer other than 200 means.
fn refused(answer: &Answer) -> Error {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let text = serde_json::from_slice(&answer.body).ok().map(|Refusal { error }| error);
    Error::from_answer(answer.status, text)
}

#[cfg(test)]
mod tests {
    use futures::future::{FutureExt, LocalBoxFuture};
    use serde_json::json;

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

    fn from_redis_url(url: &str) -> Result<Upstash, SettingError> {
        Upstash::from_redis_url(reqwest::Client::new(), Arc::new(NoClock), url.to_owned().into())
    }

    #[test]
    fn a_redis_url_is_turned_into_the_rest_address() {
        let upstash = from_redis_url("rediss://default:to%2Bken@eu1-x-1.upstash.io:33079").unwrap();
        assert_eq!(upstash.address(&[]).unwrap().as_str(), "https://eu1-x-1.upstash.io/");
        assert_eq!(upstash.authorization, "Bearer to+ken");
        for bad in ["redis://default:t@h:1", "rediss://default@h:1", "rediss:x", "h"] {
            assert!(from_redis_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn path_segments_are_encoded_after_the_databases_own_path() {
        let mut upstash = from_redis_url("rediss://default:t@h:1").unwrap();
        upstash.rest_url = Url::parse("http://127.0.0.1:1/db/").unwrap();
        assert_eq!(
            upstash.address(&["subscribe", "a/b:c"]).unwrap().as_str(),
            "http://127.0.0.1:1/db/subscribe/a%2Fb:c"
        );
        assert_eq!(
            upstash.address(&["pipeline"]).unwrap().as_str(),
            "http://127.0.0.1:1/db/pipeline"
        );
    }

    #[test]
    fn the_token_does_not_print() {
        let upstash = from_redis_url("rediss://default:secret@h:1").unwrap();
        assert!(!format!("{upstash:?} {:?}", upstash.headers()).contains("secret"));
    }

    #[test]
    fn a_null_result_is_a_result_and_its_absence_is_none() {
        let read = |json: Value| serde_json::from_value::<Reply>(json).unwrap().into_result();
        assert_eq!(read(json!({"result": null})), Ok(Ok(Value::Null)));
        assert_eq!(read(json!({"error": "ERR no"})), Ok(Err(CommandError("ERR no".into()))));
        assert!(matches!(
            read(json!({"error": "ERR max requests limit exceeded"})),
            Err(Error::Quota(_))
        ));
        assert!(matches!(read(json!({})), Err(Error::Protocol(_))));
    }
}
