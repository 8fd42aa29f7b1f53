//! Whom to sign in as: user, password and database out of the header `Neon-Connection-String`.
//! Must never print the password, and never use the host, port or options: the gateway knows its one PostgreSQL.

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use url::Url;

use super::failure::Failure;

const CONNECTION_STRING: &str = "neon-connection-string";

/// The credentials of a request. Backends are pooled by all three parts.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Vec<u8>,
    pub(super) database: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Reads the connection string. An `Authorization` header is refused even beside a password, as Neon does
    /// where no tokens are set up.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let text = headers
            .get(CONNECTION_STRING)
            .and_then(|value| value.to_str().ok())
            .ok_or(Failure::Login("invalid header: neon-connection-string"))?;
        let url = Url::parse(text).map_err(|error| Failure::LoginUrl(error.to_string()))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(Failure::Login("incorrect scheme"));
        }
        let database = url
            .path_segments()
            .and_then(|mut parts| parts.next().map(str::to_owned));
        let database = decoded(&database.ok_or(Failure::Login("missing database name"))?)?;
        if database.is_empty() {
            return Err(Failure::Login("invalid database name"));
        }
        let user = decoded(url.username())?;
        if user.is_empty() {
            return Err(Failure::Login("missing username"));
        }
        let password = url.password().filter(|_| !headers.contains_key(header::AUTHORIZATION));
        let password = password.ok_or(Failure::Login("missing authentication credentials: required password"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Failure::Login("missing hostname"));
        }
        Ok(Self {
            user,
            password: percent_decode_str(password).collect(),
            database,
        })
    }
}

fn decoded(text: &str) -> Result<String, Failure> {
    match percent_decode_str(text).decode_utf8() {
        // The start-up message ends names with a zero byte.
        Ok(text) if !text.contains('\0') => Ok(text.into_owned()),
        _ => Err(Failure::Login("invalid username: invalid utf-8 sequence")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Login, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION_STRING, text.parse().unwrap());
        Login::read(&headers)
    }

    #[test]
    fn the_parts_are_percent_decoded() {
        let login = read("postgresql://an%40a:p%2Fw%20%C3%A9@host/my%2Ddb?options=-csearch_path%3Dx").unwrap();
        assert_eq!((login.user.as_str(), login.database.as_str()), ("an@a", "my-db"));
        assert_eq!(login.password, "p/w é".as_bytes());
    }

    #[test]
    fn each_missing_part_is_named() {
        for (text, reason) in [
            ("mysql://u:p@h/d", "incorrect scheme"),
            ("postgres://u:p@h", "missing database name"),
            ("postgres://u:p@h/", "invalid database name"),
            ("postgres://h/d", "missing username"),
            (
                "postgres://u@h/d",
                "missing authentication credentials: required password",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), Failure::Login(reason), "{text}");
        }
        assert!(matches!(read("not a url"), Err(Failure::LoginUrl(_))));
    }

    #[test]
    fn the_password_is_not_printed() {
        let printed = format!("{:?}", read("postgres://u:secret@h/d").unwrap());
        assert!(!printed.contains("secret"), "{printed}");
    }
}
