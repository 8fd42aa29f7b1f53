//! `cargo xtask deploy`: migrate, upload, and see that what was uploaded is ready. A Worker cannot refuse to start, so a
//! wrong setting shows only when it is asked.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aos_dev::migrate::{Roles, migrate};
use aos_dev::paths::state_dir;
use aos_dev::progress::Progress;
use aos_dev::tools::NpmTools;

/// New settings take a moment to reach every place.
const READY_PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Further arguments for `wrangler deploy`
    #[arg(last = true)]
    wrangler: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let progress = Progress::console();
    if let Ok(url) = std::env::var("DATABASE_URL_DIRECT") {
        let report = progress.step("migrations", migrate(&url, Roles::CreateMissing)).await?;
        crate::migrate::show(&report);
    } else {
        eprintln!("DATABASE_URL_DIRECT is not set: the database is left as it is.");
    }

    let npm = NpmTools::install(&progress).await?;
    std::fs::create_dir_all(state_dir())?;
    let record = state_dir().join("deploy.ndjson");
    // wrangler appends to it.
    let _ = std::fs::remove_file(&record);
    let mut wrangler = npm.command("wrangler");
    wrangler
        .arg("deploy")
        .args(arguments.wrangler)
        .env("WRANGLER_OUTPUT_FILE_PATH", &record);
    let status = tokio::process::Command::from(wrangler)
        .status()
        .await
        .context("cannot run wrangler")?;
    if !status.success() {
        bail!("wrangler deploy failed ({status})");
    }
    let record = std::fs::read_to_string(&record).context("wrangler left no record of the deployment")?;
    let addresses = deployed_addresses(&record);
    let Some(address) = addresses.first() else {
        eprintln!("The Worker has no address of its own (no route, no workers.dev): not probed.");
        return Ok(ExitCode::SUCCESS);
    };
    progress
        .step(&format!("{address}/readyz"), ready(&npm, address))
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// The URLs in wrangler's record (one JSON object a line, type `deploy`, `targets`).
fn deployed_addresses(record: &str) -> Vec<String> {
    let entries = record
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let deployments = entries.filter(|entry| entry["type"] == "deploy");
    let targets = deployments.flat_map(|entry| entry["targets"].as_array().cloned().unwrap_or_default());
    let addresses = targets.filter_map(|target| target.as_str().map(|target| target.trim_end_matches('/').to_owned()));
    addresses.filter(|address| address.starts_with("https://")).collect()
}

/// Asks until it answers 200. Node asks, for it brings TLS and our own client, which only tests use, does without.
async fn ready(npm: &NpmTools, address: &str) -> Result<()> {
    const ASK: &str = "const answer = await fetch(process.argv[1], { signal: AbortSignal.timeout(10000) }); \
                       console.log(answer.status, await answer.text()); process.exit(answer.ok ? 0 : 1)";
    let deadline = Instant::now() + READY_PATIENCE;
    loop {
        let mut node = npm.command("node");
        node.args(["--input-type=module", "--eval", ASK])
            .arg(format!("{address}/readyz"));
        let output = tokio::process::Command::from(node)
            .output()
            .await
            .context("cannot run node")?;
        if output.status.success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let said = [output.stdout, output.stderr].concat();
            bail!(
                "the Worker is deployed but not ready: {}",
                String::from_utf8_lossy(&said).trim()
            );
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::deployed_addresses;

    #[test]
    fn the_address_is_read_from_wranglers_record() {
        let record = "{\"type\":\"wrangler-session\",\"version\":1}\n\
                      {\"type\":\"deploy\",\"version\":1,\"targets\":[\"https://aos.example.workers.dev\",\"schedule: * * * * *\"]}\n";
        assert_eq!(deployed_addresses(record), ["https://aos.example.workers.dev"]);
        assert!(deployed_addresses("{\"type\":\"deploy\",\"targets\":null}").is_empty());
    }
}
