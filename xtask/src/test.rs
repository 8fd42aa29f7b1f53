//! `cargo xtask test`: everything that must hold, in one command. It installs what it needs, shows what it is doing, and
//! does not stop at the first failure. With a filter only the tests whose names contain it run.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aos_dev::paths::state_dir;
use aos_dev::progress::Progress;
use aos_dev::tools::{BuildTools, NpmTools, cargo_machete};
use aos_dev::worker_build::build_worker;

use crate::stages::{Stages, cargo, listen, run_tests, succeed};

/// The platform takes 3 MB gzip on every plan; over 2 MB we have lost control of it, over 1 MB we should look.
const GZIP_LIMIT_KIB: f64 = 2048.0;
const GZIP_AIM_KIB: f64 = 1024.0;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only tests whose names contain one of these; lints, docs and sizes are left out
    filter: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let progress = Progress::console();
    let npm = NpmTools::install(&progress).await?;
    BuildTools::install(&progress).await?;
    let everything = arguments.filter.is_empty();
    let mut stages = Stages::default();

    if everything {
        stages
            .check("format", succeed(cargo(["fmt", "--all", "--check"])))
            .await;
        let native = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        stages.check("lints (native)", succeed(cargo(native))).await;
        let wasm = [
            "--package",
            "aos-worker",
            "--target",
            "wasm32-unknown-unknown",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        let mut clippy = cargo(["clippy"]);
        clippy.args(wasm);
        stages.check("lints (wasm32)", succeed(clippy)).await;
        stages
            .check("unused dependencies", unused_dependencies(&progress))
            .await;
        let mut doc = cargo(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        stages.check("docs", succeed(doc)).await;
    }

    let mut tests = cargo(["test", "--workspace", "--exclude", "aos-tests", "--no-fail-fast"]);
    tests.arg("--").args(&arguments.filter);
    stages.count("unit and gateway tests", run_tests(tests)).await;

    let build = async { build_worker(&progress).await.map(drop) };
    let built = stages.check("Worker build", build).await;
    if everything {
        stages
            .check(
                "openapi.json, contracts.json",
                succeed(cargo(["xtask", "openapi", "--check"])),
            )
            .await;
        if built {
            stages.check("wrangler deploy --dry-run, size", dry_run(&npm)).await;
            stages.check("start-up", start_up(&npm)).await;
        }
    }
    if built {
        let mut tests = cargo(["test", "--package", "aos-tests", "--no-fail-fast"]);
        tests.arg("--").args(&arguments.filter);
        stages.count("end-to-end tests", run_tests(tests)).await;
    } else {
        stages
            .check("end-to-end tests", async {
                bail!("there is no Worker to test: it did not build")
            })
            .await;
    }

    let sum = stages.summarise();
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn unused_dependencies(progress: &Progress) -> Result<()> {
    let machete = cargo_machete(progress).await?;
    let mut command = std::process::Command::new(machete);
    command
        .arg("--skip-target-dir")
        .current_dir(aos_dev::paths::repository());
    succeed(command).await
}

/// What Cloudflare would be sent: that wrangler accepts it, and how large it is.
async fn dry_run(npm: &NpmTools) -> Result<()> {
    let mut wrangler = npm.command("wrangler");
    wrangler
        .args(["deploy", "--dry-run", "--outdir"])
        .arg(state_dir().join("dry-run"));
    let said = listen(wrangler).await?;
    let gzip = gzip_kib(&said).context("wrangler did not tell the size of the upload")?;
    println!("upload, gzip: {gzip:.0} KiB (aim {GZIP_AIM_KIB:.0}, limit {GZIP_LIMIT_KIB:.0})");
    if gzip > GZIP_LIMIT_KIB {
        bail!("the Worker is too large: {gzip:.0} KiB gzip");
    }
    if gzip > GZIP_AIM_KIB {
        println!("warning: the Worker is larger than we aim for");
    }
    Ok(())
}

/// The start of the Worker up to its first request, as wrangler profiles it on this machine.
async fn start_up(npm: &NpmTools) -> Result<()> {
    let mut wrangler = npm.command("wrangler");
    wrangler
        .args(["check", "startup", "--outfile"])
        .arg(state_dir().join("startup.cpuprofile"));
    let said = listen(wrangler).await?;
    let active = active_ms(&said).context("wrangler did not tell the start-up time")?;
    println!("start-up: {active:.1} ms of CPU (aim under 100, the platform stops it at 1000)");
    if active > 1000.0 {
        bail!("the Worker takes too long to start");
    }
    Ok(())
}

/// From `Total Upload: 236.80 KiB / gzip: 80.88 KiB`.
fn gzip_kib(said: &str) -> Option<f64> {
    let after = said.split("/ gzip: ").nth(1)?;
    let mut words = after.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    match words.next()? {
        "KiB" => Some(number),
        "MiB" => Some(number * 1024.0),
        _ => None,
    }
}

/// From `│   Active: 17.6 ms (including 0.0 ms garbage collection)`.
fn active_ms(said: &str) -> Option<f64> {
    let mut words = said.split("Active: ").nth(1)?.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    match words.next()? {
        "ms" => Some(number),
        "s" => Some(number * 1000.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{active_ms, gzip_kib};

    #[test]
    fn wranglers_figures_are_read() {
        assert_eq!(
            gzip_kib("Total Upload: 236.80 KiB / gzip: 80.88 KiB\nYour Worker"),
            Some(80.88)
        );
        assert_eq!(gzip_kib("Total Upload: 9000.00 KiB / gzip: 2.5 MiB\n"), Some(2560.0));
        assert_eq!(gzip_kib("nothing of the kind"), None);
        assert_eq!(
            active_ms("│   Active: 17.6 ms (including 0.0 ms garbage collection)"),
            Some(17.6)
        );
    }
}
