//! A database to try `postgres_query` on: a little shop, and a role that may read it and do nothing else.
//! The role is made as docs/providers/postgres_query.md tells an operator to make one on Neon.

use anyhow::{Context, Result};
use postgres_protocol::escape::escape_literal;
use tokio_postgres::NoTls;

use crate::postgres::Postgres;
use crate::secrets;

/// The database's name.
pub const DATABASE: &str = "shop";
/// The role's name.
pub const READER: &str = "aos_query_reader";

const SCHEMA: &str = include_str!("query_database.sql");

/// Makes the database and its reader, unless they are there, and returns the reader's connection string. Its password is
/// a new one each time.
///
/// # Errors
/// When the server refuses.
pub async fn create(postgres: &Postgres) -> Result<String> {
    let owner_url = postgres.create_database(DATABASE).await?;
    let (client, connection) = tokio_postgres::connect(&owner_url, NoTls).await?;
    tokio::spawn(connection);
    let password = secrets::generate()?;
    client
        .batch_execute(SCHEMA)
        .await
        .context("cannot fill the query database")?;
    client
        .batch_execute(&format!("alter role {READER} password {}", escape_literal(&password)))
        .await?;
    Ok(postgres.url(READER, &password, DATABASE))
}
