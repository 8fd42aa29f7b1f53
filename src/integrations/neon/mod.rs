//! Neon PostgreSQL: SQL over HTTP, where one request is one batch and one batch is one transaction.
//! Must never print the connection string, nor repeat a write whose answer was lost unless the caller said it may.

mod answers;
mod batch;
mod error;
mod query;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::{Host, Url};

pub use self::{
    answers::Answers,
    batch::{Batch, Isolation, Param, Statement},
    error::{DatabaseError, Error},
    query::{Column, Query, Table},
};
use super::{Body, Repeat, SettingError, TookEffect, exchange, tries::Tries};
use crate::platform::Clock;

/// The gateway's limit for a request; exactly this many bytes still pass.
const MAX_REQUEST_BYTES: usize = 10 << 20;
/// The gateway looks at its limit of 10 MiB before each row, so that one more row may follow; beyond this we stop.
const MAX_ANSWER_BYTES: usize = 12 << 20;

const CONNECTION_STRING: HeaderName = HeaderName::from_static("neon-connection-string");
const POOL_OPT_IN: HeaderName = HeaderName::from_static("neon-pool-opt-in");
const BATCH_ISOLATION: HeaderName = HeaderName::from_static("neon-batch-isolation-level");
const BATCH_READ_ONLY: HeaderName = HeaderName::from_static("neon-batch-read-only");

/// The database, as one of its roles.
#[derive(Clone)]
pub struct Neon {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    endpoint: Url,
    /// Marked as sensitive: it does not print.
    connection_string: HeaderValue,
}

#[derive(Serialize)]
struct Queries<'a> {
    queries: &'a [Statement],
}

impl Neon {
    /// A client for the role that `connection_string` names (`postgres://user:password@host/database`).
    ///
    /// `endpoint` is where requests go; without it, it is derived as the vendor's driver does: the host's first label
    /// becomes `api`, the port is dropped, `https://api.…/sql`.
    ///
    /// # Errors
    /// The connection string is not a complete PostgreSQL URL, or there is no endpoint to derive from it.
    pub fn new(
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        connection_string: SecretString,
        endpoint: Option<Url>,
    ) -> Result<Self, SettingError> {
        let url = Url::parse(connection_string.expose_secret())
            .map_err(|_| SettingError("is not a URL (postgres://user:password@host/database)"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(SettingError("does not begin with postgres:// or postgresql://"));
        }
        if url.username().is_empty() || url.password().is_none_or(str::is_empty) {
            return Err(SettingError("has no user or no password"));
        }
        if url.path().trim_start_matches('/').is_empty() {
            return Err(SettingError("names no database"));
        }
        let endpoint = match endpoint {
            Some(endpoint) => explicit(endpoint)?,
            None => derived(&url)?,
        };
        let mut connection_string = HeaderValue::from_str(connection_string.expose_secret())
            .map_err(|_| SettingError("holds characters that must be percent-encoded"))?;
        connection_string.set_sensitive(true);
        Ok(Self {
            http,
            clock,
            endpoint,
            connection_string,
        })
    }

    /// Executes a batch: one HTTP request, one transaction.
    ///
    /// It is tried up to four times within twice its deadline: when nothing took effect for a passing reason (40001,
    /// 40P01, the database could not be reached), and, where repeating is harmless, when the answer was lost.
    ///
    /// # Errors
    /// [`Error`]; [`Error::may_have_taken_effect`] tells whether the batch may have been committed.
    pub async fn batch(&self, batch: &Batch) -> Result<Answers, Error> {
        if let Some(reason) = batch
            .statements
            .iter()
            .find_map(|statement| statement.unsendable.clone())
        {
            return Err(Error::Unsendable(reason));
        }
        let body = serde_json::to_vec(&Queries {
            queries: &batch.statements,
        })
        .map_err(|error| Error::Unsendable(error.to_string()))?;
        if body.len() > MAX_REQUEST_BYTES {
            return Err(Error::TooLarge {
                body: Body::Request,
                took_effect: TookEffect::No,
            });
        }
        let body = Bytes::from(body);
        let headers = self.headers(batch);
        let mut tries = Tries::begin(&*self.clock, batch.deadline.saturating_mul(2));
        let mut lost = None;
        loop {
            let timeout = batch.deadline.min(tries.time_left());
            let error = match self.once(batch, headers.clone(), body.clone(), timeout).await {
                Ok(answers) => return Ok(answers),
                Err(error) => error,
            };
            let again = error.is_undone_and_passing() || (error.is_lost() && batch.repeat == Repeat::Harmless);
            if !again {
                return Err(error);
            }
            tracing::warn!(batch = batch.name(), number = tries.number(), %error, "a try of a batch failed");
            // A try that may have taken effect stays true whatever the ones after it met.
            if error.is_lost() {
                lost = Some(error.clone());
            }
            if !tries.next().await {
                return Err(lost.unwrap_or(error));
            }
        }
    }

    async fn once(&self, batch: &Batch, headers: HeaderMap, body: Bytes, timeout: Duration) -> Result<Answers, Error> {
        let request = self.http.post(self.endpoint.clone()).headers(headers).body(body);
        let answer = exchange::exchange(&*self.clock, request, timeout, MAX_ANSWER_BYTES)
            .await
            .map_err(|failure| Error::from_failure(failure, timeout))?;
        if answer.status != StatusCode::OK {
            return Err(Error::from_answer(answer.status, &answer.body));
        }
        // A 200 that is no answer was garbled or cut on the way; the statements have been executed.
        Answers::parse(&answer.body, batch.statements.len()).map_err(|error| Error::Unreachable {
            took_effect: TookEffect::Unknown,
            reason: format!("the answer could not be read: {error}"),
        })
    }

    fn headers(&self, batch: &Batch) -> HeaderMap {
        let read_only = if batch.read_only { "true" } else { "false" };
        HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CONNECTION_STRING, self.connection_string.clone()),
            // Without it the gateway may open a new session with the database for each request.
            (POOL_OPT_IN, HeaderValue::from_static("true")),
            (BATCH_ISOLATION, HeaderValue::from_static(batch.isolation.header())),
            (BATCH_READ_ONLY, HeaderValue::from_static(read_only)),
        ])
    }
}

impl fmt::Debug for Neon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neon")
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

/// An endpoint from the settings; the gateway answers at `/sql` only, so that a bare origin means that.
fn explicit(mut endpoint: Url) -> Result<Url, SettingError> {
    if !matches!(endpoint.scheme(), "http" | "https") {
        return Err(SettingError("has an endpoint that is not http(s)"));
    }
    if endpoint.path() == "/" {
        endpoint.set_path("/sql");
    }
    Ok(endpoint)
}

/// The host that requests go to for a connection string, unless an endpoint is given; `None` if it is no connection string.
pub(crate) fn api_host(connection: &Url) -> Option<String> {
    let endpoint = derived(connection).ok()?;
    let is_connection = matches!(connection.scheme(), "postgres" | "postgresql");
    endpoint.host_str().filter(|_| is_connection).map(str::to_owned)
}

/// The endpoint that belongs to a connection string, by the rule of @neondatabase/serverless.
fn derived(connection: &Url) -> Result<Url, SettingError> {
    // `postgres` is no special scheme, so that even an address is a domain to `Url`.
    let named = match connection.host().map(|host| Host::parse(&host.to_string())) {
        Some(Ok(Host::Domain(name))) => name,
        _ => return Err(SettingError("names no host to derive the endpoint from")),
    };
    let (_, zone) = named
        .split_once('.')
        .ok_or(SettingError("names no host to derive the endpoint from"))?;
    Url::parse(&format!("https://api.{zone}/sql"))
        .map_err(|_| SettingError("names no host to derive the endpoint from"))
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

    fn neon(connection_string: &str, endpoint: Option<&str>) -> Result<Neon, SettingError> {
        let endpoint = endpoint.map(|endpoint| Url::parse(endpoint).unwrap());
        Neon::new(
            reqwest::Client::new(),
            Arc::new(NoClock),
            connection_string.to_owned().into(),
            endpoint,
        )
    }

    #[test]
    fn the_endpoint_is_derived_as_the_vendors_driver_does() {
        let neon = neon(
            "postgresql://u:p@ep-x-pooler.ap-southeast-1.aws.neon.tech:5432/db?sslmode=require",
            None,
        );
        assert_eq!(
            neon.unwrap().endpoint.as_str(),
            "https://api.ap-southeast-1.aws.neon.tech/sql"
        );
    }

    #[test]
    fn a_bare_origin_means_its_sql_path() {
        let neon = neon("postgres://u:p@127.0.0.1/db", Some("http://127.0.0.1:4444"));
        assert_eq!(neon.unwrap().endpoint.as_str(), "http://127.0.0.1:4444/sql");
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for bad in [
            "ep-x.neon.tech",
            "https://u:p@ep-x.neon.tech/db",
            "postgres://u@ep-x.neon.tech/db",
            "postgres://:p@ep-x.neon.tech/db",
            "postgres://u:p@ep-x.neon.tech",
            "postgres://u:p@localhost/db",
            "postgres://u:p@127.0.0.1/db",
            "postgres://u:p\u{e4}\n@ep-x.neon.tech/db\u{e4}",
        ] {
            assert!(neon(bad, None).is_err(), "{bad:?}");
        }
        assert!(neon("postgres://u:p@h/db", Some("ftp://h")).is_err());
    }

    #[test]
    fn the_connection_string_does_not_print() {
        let neon = neon("postgres://u:secret@ep-x.neon.tech/db", None).unwrap();
        let headers = neon.headers(&Batch::read());
        assert!(!format!("{neon:?} {headers:?}").contains("secret"));
    }
}
