//! Migrating is repeatable, safe from several places at once, and leaves users who may not own or alter anything.

use anyhow::Result;
use aos_dev::migrate::{Roles, migrate};
use aos_dev::postgres::{Postgres, PostgresOptions};
use aos_dev::progress::Progress;
use aos_dev::scratch::Scratch;
use tokio_postgres::{Client, NoTls};

async fn server(scratch: &Scratch) -> Result<Postgres> {
    let dir = scratch.path().join("postgres");
    Postgres::start(PostgresOptions {
        dir,
        durable: false,
        progress: Progress::silent(),
    })
    .await
}

async fn sign_in(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn migrating_twice_applies_once_and_keeps_passwords_until_they_are_rotated() -> Result<()> {
    let scratch = Scratch::new()?;
    let postgres = server(&scratch).await?;
    let url = postgres.create_database("aos").await?;

    let first = migrate(&url, Roles::CreateMissing).await?;
    assert!(
        first.applied.first().is_some_and(|name| name.starts_with("V1__")),
        "{:?}",
        first.applied
    );
    let api = first.database_url.expect("a new user's connection string");
    let engine = first.engine_database_url.expect("a new user's connection string");
    sign_in(&api).await?;
    sign_in(&engine).await?;

    let second = migrate(&url, Roles::CreateMissing).await?;
    assert!(second.applied.is_empty() && second.database_url.is_none() && second.engine_database_url.is_none());
    sign_in(&api).await?;

    let third = migrate(&url, Roles::Rotate).await?;
    assert!(sign_in(&api).await.is_err(), "the old password stops working");
    sign_in(&third.database_url.expect("a rotated user's connection string")).await?;
    sign_in(&third.engine_database_url.expect("a rotated user's connection string")).await?;
    Ok(())
}

#[tokio::test]
async fn the_workers_users_own_nothing_and_may_alter_nothing() -> Result<()> {
    let scratch = Scratch::new()?;
    let postgres = server(&scratch).await?;
    let url = postgres.create_database("aos").await?;
    let report = migrate(&url, Roles::CreateMissing).await?;
    let owner = sign_in(&url).await?;
    let owned = "SELECT count(*) FROM pg_class JOIN pg_roles ON relowner = pg_roles.oid WHERE rolname LIKE 'aos%'";
    assert_eq!(owner.query_one(owned, &[]).await?.get::<_, i64>(0), 0);
    for user in [report.database_url, report.engine_database_url] {
        let client = sign_in(&user.expect("a connection string")).await?;
        for forbidden in [
            "ALTER TABLE runs ADD COLUMN x int",
            "DROP TABLE runs",
            "CREATE TABLE mine (x int)",
        ] {
            let error = client.batch_execute(forbidden).await.expect_err(forbidden);
            assert_eq!(
                error.code().expect("an answer of the database").code(),
                "42501",
                "{forbidden}"
            );
        }
        client.query("SELECT id FROM runs LIMIT 1", &[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn several_databases_of_one_server_can_be_migrated_at_once() -> Result<()> {
    let scratch = Scratch::new()?;
    let postgres = server(&scratch).await?;
    let mut urls = Vec::new();
    for name in ["one", "two", "three", "four"] {
        urls.push(postgres.create_database(name).await?);
    }
    // The same database twice among them.
    urls.push(postgres.create_database("one").await?);
    let roles = Roles::Given {
        api: "the-password-of-the-api",
        engine: "the-password-of-the-engine",
    };
    let work = urls.iter().map(|url| migrate(url, roles));
    let reports = futures::future::try_join_all(work).await?;
    for report in reports {
        sign_in(&report.database_url.expect("a connection string")).await?;
        sign_in(&report.engine_database_url.expect("a connection string")).await?;
    }
    Ok(())
}
