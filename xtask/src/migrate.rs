//! `cargo xtask migrate`: the schema and the Worker's users. Passwords are shown once, when they are made.

use std::process::ExitCode;

use anyhow::{Context, Result};
use aos_dev::migrate::{MigrationReport, Roles, migrate};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Give the Worker's users new passwords; the old ones stop working at once
    #[arg(long)]
    rotate_passwords: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let url = std::env::var("DATABASE_URL_DIRECT")
        .context("set DATABASE_URL_DIRECT to the connection string of the database's owner (not the pooled one)")?;
    let roles = if arguments.rotate_passwords {
        Roles::Rotate
    } else {
        Roles::CreateMissing
    };
    show(&migrate(&url, roles).await?);
    Ok(ExitCode::SUCCESS)
}

/// Prints what was done: notes to stderr, settings to stdout.
pub(crate) fn show(report: &MigrationReport) {
    match report.applied.as_slice() {
        [] => eprintln!("The schema was current."),
        applied => eprintln!("Applied {}.", applied.join(", ")),
    }
    if report.database_url.is_some() || report.engine_database_url.is_some() {
        eprintln!("Users with new passwords, shown only now; give them to the Worker (`wrangler secret put`):");
    }
    if let Some(url) = &report.database_url {
        println!("DATABASE_URL={url}");
    }
    if let Some(url) = &report.engine_database_url {
        println!("ENGINE_DATABASE_URL={url}");
    }
}
