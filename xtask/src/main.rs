//! The project's commands: `cargo xtask <command>`. Each is a file of its own and thin: what takes thought is in `dev/`.

mod api;
mod bench;
mod build;
mod deploy;
mod dev;
mod migrate;
mod openapi;
mod sample;
mod soak;
mod stages;
mod test;
mod token;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The chores of AOS.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring up the whole local cloud and carry out a sample run
    Dev(dev::Arguments),
    /// Run every check: format, lints, docs, tests, build, sizes, and the end-to-end tests
    Test(test::Arguments),
    /// Measure the whole local system: runs and steps per second, requests per step, latencies
    Bench(bench::Arguments),
    /// Run the proofs that take minutes
    Soak(soak::Arguments),
    /// Build the Worker into build/ (what wrangler.toml calls)
    Build,
    /// Apply the migrations to the database of DATABASE_URL_DIRECT and make the Worker's users
    Migrate(migrate::Arguments),
    /// Write openapi.json and contracts.json from the code
    Openapi(openapi::Arguments),
    /// Migrate (if DATABASE_URL_DIRECT is set), upload the Worker to Cloudflare, and see that it is ready
    Deploy(deploy::Arguments),
    /// Print a session token for the running local cloud, to use with curl
    Token(token::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome: Result<ExitCode> = match Arguments::parse().command {
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Test(arguments) => test::run(arguments).await,
        Command::Bench(arguments) => bench::run(arguments).await,
        Command::Soak(arguments) => soak::run(arguments).await,
        Command::Build => build::run().await,
        Command::Migrate(arguments) => migrate::run(arguments).await,
        Command::Openapi(arguments) => openapi::run(arguments).await,
        Command::Deploy(arguments) => deploy::run(arguments).await,
        Command::Token(arguments) => token::run(arguments).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
