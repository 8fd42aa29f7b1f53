//! `cargo xtask openapi`: `openapi.json`, which is committed, from the code, which is the truth.
//! The Worker's crate is asked through its example, so that the commands compile without it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aos_dev::paths::repository;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail if the file is not what the code says
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let current = from_code().await?;
    if arguments.check {
        check(&current)?;
    } else {
        std::fs::write(file(), current)?;
        eprintln!("Wrote openapi.json.");
    }
    Ok(ExitCode::SUCCESS)
}

fn file() -> PathBuf {
    repository().join("openapi.json")
}

async fn from_code() -> Result<String> {
    let mut cargo = tokio::process::Command::new("cargo");
    cargo
        .args(["run", "--quiet", "--package", "aos-worker", "--example", "openapi"])
        .current_dir(repository());
    let output = cargo
        .stderr(std::process::Stdio::inherit())
        .output()
        .await
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the Worker's crate did not describe itself ({})", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn check(current: &str) -> Result<()> {
    let committed = std::fs::read_to_string(file()).context("cannot read openapi.json")?;
    let mut pairs = committed.lines().zip(current.lines()).enumerate();
    if let Some((number, (old, new))) = pairs.find(|(_, (old, new))| old != new) {
        let number = number + 1;
        bail!(
            "openapi.json is out of date: line {number} is\n  {old}\nand should be\n  {new}\nRun `cargo xtask openapi`."
        );
    }
    if committed != current {
        bail!("openapi.json is out of date: it is longer or shorter than it should be. Run `cargo xtask openapi`.");
    }
    Ok(())
}
