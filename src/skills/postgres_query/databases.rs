//! Which databases `postgres_query` may sign in to: Neon's, and never those that AOS keeps its own state in. Must never
//! send a tenant's password to another host.

use std::{fmt, sync::Arc};

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    integrations::{SettingError, neon::Neon},
    platform::Clock,
};

/// What every host of Neon's ends with.
const ZONE: &str = ".neon.tech";
/// What the name of a compute ends with where its connections go through a pooler.
const POOLED: &str = "-pooler";

/// The way to callers' databases.
#[derive(Clone)]
pub struct QueryDatabases {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// In development alone: the one gateway, whatever host is named.
    endpoint: Option<Url>,
    /// AOS's own.
    own: Arc<[Place]>,
}

/// A database, however its connection string is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The host's first label, pooled or not: unlike what follows it, it has no second name.
    compute: String,
    database: String,
}

impl Place {
    fn of(url: &Url) -> Option<Self> {
        let mut segments = url.path_segments()?;
        let database = percent_decode_str(segments.next()?).decode_utf8().ok()?.into_owned();
        if database.is_empty() || segments.next().is_some() {
            return None;
        }
        let host = url.host_str()?.to_ascii_lowercase();
        let label = host.split('.').next()?;
        Some(Self {
            compute: label.strip_suffix(POOLED).unwrap_or(label).to_owned(),
            database,
        })
    }
}

impl QueryDatabases {
    /// `endpoint`: the gateway of a development machine, `None` in production; `own`: the connection strings of AOS itself.
    pub fn new<'a>(
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        endpoint: Option<Url>,
        own: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let own = own.into_iter().filter_map(|url| Place::of(&Url::parse(url).ok()?));
        Self {
            http,
            clock,
            endpoint,
            own: own.collect(),
        }
    }

    /// A client for the database that a connection string names.
    ///
    /// Its options are left out: they could name another compute than its host does.
    ///
    /// # Errors
    /// It is no such connection string, its host is not Neon's, or the database is AOS's own.
    pub fn connect(&self, connection_string: &SecretString) -> Result<Neon, SettingError> {
        let mut url = Url::parse(connection_string.expose_secret())
            .map_err(|_| SettingError("is not a URL (postgresql://user:password@host/database)"))?;
        let place = Place::of(&url).ok_or(SettingError("names no host or not one database"))?;
        if self.endpoint.is_none() {
            let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
            if !is_neons(&host) {
                return Err(SettingError("names a host that is not Neon's (*.neon.tech)"));
            }
            if url.set_host(Some(&host)).is_err() || url.set_port(None).is_err() {
                return Err(SettingError("names a host that is not Neon's (*.neon.tech)"));
            }
        }
        if self.is_own(&place) {
            return Err(SettingError("names the database that AOS keeps its own state in"));
        }
        url.set_query(None);
        url.set_fragment(None);
        Neon::new(
            self.http.clone(),
            Arc::clone(&self.clock),
            SecretString::from(String::from(url)),
            self.endpoint.clone(),
        )
    }

    /// The gateway of a development machine leads to one server, whatever host is named.
    fn is_own(&self, place: &Place) -> bool {
        self.own
            .iter()
            .any(|own| own.database == place.database && (self.endpoint.is_some() || own.compute == place.compute))
    }
}

impl fmt::Debug for QueryDatabases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryDatabases").finish_non_exhaustive()
    }
}

/// Whether a name in lower case is one below Neon's zone, without anything in it that another reader could take for the
/// end of a host.
fn is_neons(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    host.strip_suffix(ZONE)
        .is_some_and(|labels| labels.split('.').all(is_label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skills::testing::Stopped;

    const OWN: &str = "postgresql://aos_api:pw@ep-own-1-pooler.eu-west-2.aws.neon.tech/aos?sslmode=require";

    fn connect(url: &str, endpoint: Option<&str>) -> Result<String, &'static str> {
        let databases = QueryDatabases::new(
            reqwest::Client::new(),
            Arc::new(Stopped::default()),
            endpoint.map(|endpoint| endpoint.parse().unwrap()),
            [OWN],
        );
        let neon = databases.connect(&url.into());
        neon.map(|neon| format!("{neon:?}"))
            .map_err(|SettingError(reason)| reason)
    }

    #[test]
    fn a_database_of_neons_is_reached_where_neon_answers() {
        for url in [
            "postgresql://reader:pw@ep-x-pooler.us-east-1.aws.neon.tech/shop?sslmode=require&channel_binding=require",
            "postgres://reader:p%40w@EP-X.US-EAST-1.AWS.NEON.TECH:5432/shop",
            "postgres://ep-x.evil.com@reader:pw@ep-x.us-east-1.aws.neon.tech/shop",
        ] {
            let reached = connect(url, None).unwrap();
            assert!(
                reached.contains("\"https://api.us-east-1.aws.neon.tech/sql\""),
                "{url}: {reached}"
            );
        }
    }

    #[test]
    fn a_password_goes_to_no_other_host() {
        for url in [
            "postgres://u:p@evil.com/db",
            "postgres://u:p@evil-neon.tech/db",
            "postgres://u:p@evilneon.tech/db",
            "postgres://u:p@a.evilneon.tech/db",
            "postgres://u:p@neon.tech/db",
            "postgres://u:p@.neon.tech/db",
            "postgres://u:p@a..neon.tech/db",
            "postgres://u:p@ep-x.neon.tech./db",
            "postgres://u:p@ep-x.neon.tech.evil.com/db",
            "postgres://u:p@ep-x.neon.tech@evil.com/db",
            "postgres://u:p@evil.com\\@ep-x.neon.tech.evil.com/db",
            "postgres://u:p@evil.com#@ep-x.neon.tech/db",
            "postgres://u:p@evil.com?@ep-x.neon.tech/db",
            "postgres://u:p@evil.com/@ep-x.neon.tech/db",
            "postgres://ep-x.neon.tech:p@evil.com/db?host=ep-x.neon.tech",
            "postgres://u:p@evil.com,ep-x.neon.tech/db",
            "postgres://u:p@evil.com%2fep-x.neon.tech/db",
            "postgres://u:p@evil.com%23.neon.tech/db",
            "postgres://u:p@127.0.0.1/db",
            "postgres://u:p@[::1]/db",
            "postgres://u:p@\u{ff45}vil.neon.tech/db",
            "postgres://u:p@ep_x.neon.tech/db",
            "https://u:p@ep-x.neon.tech/db",
            "postgres:u:p@ep-x.neon.tech/db",
            "postgres://u@ep-x.neon.tech/db",
            "postgres://u:p@ep-x.neon.tech",
            "postgres://u:p@ep-x.neon.tech/",
            "postgres://u:p@ep-x.neon.tech/db/other",
            "ep-x.neon.tech",
            "",
        ] {
            assert!(connect(url, None).is_err(), "{url}: {:?}", connect(url, None));
        }
    }

    #[test]
    fn the_database_of_aos_is_nobodys_to_query() {
        for url in [
            OWN,
            "postgres://somebody:else@ep-own-1.eu-west-2.aws.neon.tech/aos",
            "postgres://u:p@EP-OWN-1.eu-west-2.aws.neon.tech:5432/%61os",
            "postgres://u:p@ep-own-1-pooler.c-2.eu-west-2.aws.neon.tech/./aos#x",
        ] {
            assert_eq!(
                connect(url, None),
                Err("names the database that AOS keeps its own state in"),
                "{url}"
            );
        }
        // Another database, or another compute whose options name AOS's: those are not sent.
        for url in [
            "postgres://u:p@ep-own-1.eu-west-2.aws.neon.tech/shop",
            "postgres://u:p@ep-x.eu-west-2.aws.neon.tech/aos?options=endpoint%3Dep-own-1",
        ] {
            assert!(connect(url, None).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_development_machine_has_one_gateway_and_one_server() {
        let gateway = Some("http://127.0.0.1:4444/sql");
        let reached = connect("postgres://u:p@127.0.0.1:5432/shop", gateway).unwrap();
        assert!(reached.contains("\"http://127.0.0.1:4444/sql\""), "{reached}");
        assert!(connect("postgres://u:p@any.host/aos", gateway).is_err());
    }
}
