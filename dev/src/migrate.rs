//! Applies the migrations of `migrations/` and makes the two users that the Worker signs in as.
//! It needs the owner's connection string, which never reaches the Worker; it prints nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use crate::secrets;

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// Who may migrate one database at a time: the key of a session lock in PostgreSQL. Any fixed number does.
const MIGRATION_LOCK: i64 = 0x0041_4f53;
const API: LoginRole = LoginRole {
    login: "aos_api_login",
    group: "aos_api",
};
const ENGINE: LoginRole = LoginRole {
    login: "aos_engine_login",
    group: "aos_engine",
};

/// A user that can sign in and has the rights of a group; the group's rights are in the migrations.
struct LoginRole {
    login: &'static str,
    group: &'static str,
}

/// What to do about the passwords of the two users.
#[derive(Clone, Copy, Debug)]
pub enum Roles<'a> {
    /// Makes the users that are missing, with generated passwords.
    CreateMissing,
    /// Gives both users new generated passwords. The old ones stop working at once.
    Rotate,
    /// Gives both users these passwords; for databases of a server whose users are made already.
    Given {
        /// The password of the API's user.
        api: &'a str,
        /// The password of the engine's user.
        engine: &'a str,
    },
}

/// What was done.
#[derive(Clone, Debug)]
pub struct MigrationReport {
    /// The migrations applied now, as `V1__name`, in order. Empty when the schema was current.
    pub applied: Vec<String>,
    /// The API user's connection string, if its password was made or changed.
    pub database_url: Option<String>,
    /// The engine user's connection string, if its password was made or changed.
    pub engine_database_url: Option<String>,
}

/// Brings the database up to date. Safe to repeat and to run from several places at once.
///
/// # Errors
/// When the database cannot be reached, a migration fails (it is rolled back, those before it stay), or a migration
/// that was applied earlier has been edited since.
pub async fn migrate(url: &str, roles: Roles<'_>) -> Result<MigrationReport> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match attempt(url, roles).await {
            Err(error) if attempts < 8 && collided_with_another(&error) => {
                tokio::time::sleep(Duration::from_millis(40 * attempts)).await;
            }
            outcome => return outcome,
        }
    }
}

async fn attempt(url: &str, roles: Roles<'_>) -> Result<MigrationReport> {
    let mut client = connect(url).await?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .await
        .context("cannot lock the database")?;
    let report = embedded::migrations::runner()
        .run_async(&mut client)
        .await
        .context("a migration failed")?;
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    let (api, engine) = match roles {
        Roles::Given { api, engine } => (Some(api), Some(engine)),
        Roles::CreateMissing | Roles::Rotate => (None, None),
    };
    let rotate = matches!(roles, Roles::Rotate);
    let api = sign_in_user(&client, &API, api, rotate).await?;
    let engine = sign_in_user(&client, &ENGINE, engine, rotate).await?;
    let for_user = |role: &LoginRole, password: Option<String>| match password {
        Some(password) => connection_string(url, role.login, &password).map(Some),
        None => Ok(None),
    };
    Ok(MigrationReport {
        applied,
        database_url: for_user(&API, api)?,
        engine_database_url: for_user(&ENGINE, engine)?,
    })
}

/// Makes the user or changes its password; returns the password if it did either.
async fn sign_in_user(client: &Client, role: &LoginRole, given: Option<&str>, rotate: bool) -> Result<Option<String>> {
    let exists = client
        .query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&role.login])
        .await?
        .is_some();
    if exists && given.is_none() && !rotate {
        return Ok(None);
    }
    let password = match given {
        Some(password) => password.to_owned(),
        None => secrets::generate()?,
    };
    let verb = if exists { "ALTER" } else { "CREATE" };
    let (login, group) = (escape_identifier(role.login), escape_identifier(role.group));
    // One transaction: there is never a user without its rights.
    let sql = format!(
        "BEGIN; {verb} ROLE {login} LOGIN INHERIT PASSWORD {}; GRANT {group} TO {login}; COMMIT",
        escape_literal(&password)
    );
    client
        .batch_execute(&sql)
        .await
        .with_context(|| format!("cannot make the user {}", role.login))?;
    Ok(Some(password))
}

/// Roles belong to the whole server: two databases of it that are migrated at once may trip over each other's changes.
fn collided_with_another(error: &anyhow::Error) -> bool {
    // 40001 and 40P01: serialization, deadlock. XX000: "tuple concurrently updated". 23505 and 42710: made by another.
    const COLLISIONS: [&str; 5] = ["40001", "40P01", "XX000", "23505", "42710"];
    error
        .chain()
        .filter_map(|error| error.downcast_ref::<tokio_postgres::Error>()?.code())
        .any(|state| COLLISIONS.contains(&state.code()))
}

/// The same database for another user.
fn connection_string(url: &str, user: &str, password: &str) -> Result<String> {
    let mut url = Url::parse(url).context("the connection string is not a URL")?;
    url.set_username(user)
        .ok()
        .context("the connection string takes no user")?;
    url.set_password(Some(password))
        .ok()
        .context("the connection string takes no password")?;
    Ok(url.into())
}

/// Connects with TLS when the URL asks for it or the host is another machine.
async fn connect(url: &str) -> Result<Client> {
    let mut config = configuration(url)?;
    let no_answer = || "cannot connect to the database of DATABASE_URL_DIRECT";
    if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.with_context(no_answer)?;
        tokio::spawn(connection);
        return Ok(client);
    }
    config
        .ssl_mode(SslMode::Require)
        .connect_timeout(Duration::from_secs(30));
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (client, connection) = config
        .connect(MakeRustlsConnect::new(tls))
        .await
        .with_context(no_answer)?;
    tokio::spawn(connection);
    Ok(client)
}

/// Reads a connection string. Its TLS mode becomes `Disable` only for this machine, unless that too asks for TLS.
fn configuration(url: &str) -> Result<Config> {
    // Certificates are always verified here, so libpq's stricter modes mean nothing more than `require`.
    let url = url
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require");
    let mut config: Config = url.parse().context("DATABASE_URL_DIRECT is not a connection string")?;
    let local = Url::parse(&url).is_ok_and(|url| matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")));
    let mode = if local && config.get_ssl_mode() != SslMode::Require {
        SslMode::Disable
    } else {
        SslMode::Require
    };
    config.ssl_mode(mode);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        let mode = |url: &str| configuration(url).unwrap().get_ssl_mode();
        assert_eq!(mode("postgresql://u:p@127.0.0.1:5432/db"), SslMode::Disable);
        assert_eq!(mode("postgresql://u:p@localhost/db?sslmode=require"), SslMode::Require);
        assert_eq!(
            mode("postgresql://u:p@ep-x.eu-central-1.aws.neon.tech/db"),
            SslMode::Require
        );
        assert_eq!(
            mode("postgresql://u:p@ep-x.aws.neon.tech/db?sslmode=disable"),
            SslMode::Require
        );
        assert_eq!(
            mode("postgresql://u:p@ep-x.aws.neon.tech/db?sslmode=verify-full"),
            SslMode::Require
        );
    }

    #[test]
    fn a_users_connection_string_keeps_host_database_and_options() {
        let url = "postgresql://owner:old@ep-x.aws.neon.tech/db?sslmode=require&channel_binding=require";
        assert_eq!(
            connection_string(url, "aos_api_login", "a/b@c").unwrap(),
            "postgresql://aos_api_login:a%2Fb%40c@ep-x.aws.neon.tech/db?sslmode=require&channel_binding=require"
        );
    }
}
