//! `cargo xtask openapi`: the committed descriptions, from the code, which is the truth: `openapi.json` of the API and
//! `contracts.json` of the skills.
//! The Worker's crate is asked through its examples, so that the commands compile without it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aos_dev::paths::repository;

/// The files, each with the example that prints it.
const DESCRIPTIONS: [(&str, &str); 2] = [("openapi.json", "openapi"), ("contracts.json", "contracts")];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail if a file is not what the code says
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    for (name, example) in DESCRIPTIONS {
        let current = from_code(example).await?;
        if arguments.check {
            check(name, &current)?;
        } else {
            std::fs::write(file(name), current)?;
            eprintln!("Wrote {name}.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn file(name: &str) -> PathBuf {
    repository().join(name)
}

async fn from_code(example: &str) -> Result<String> {
    let mut cargo = tokio::process::Command::new("cargo");
    cargo
        .args(["run", "--quiet", "--package", "aos-worker", "--example", example])
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

fn check(name: &str, current: &str) -> Result<()> {
    let committed = std::fs::read_to_string(file(name)).with_context(|| format!("cannot read {name}"))?;
    let mut pairs = committed.lines().zip(current.lines()).enumerate();
    if let Some((number, (old, new))) = pairs.find(|(_, (old, new))| old != new) {
        let number = number + 1;
        bail!("{name} is out of date: line {number} is\n  {old}\nand should be\n  {new}\nRun `cargo xtask openapi`.");
    }
    if committed != current {
        bail!("{name} is out of date: it is longer or shorter than it should be. Run `cargo xtask openapi`.");
    }
    Ok(())
}
