//! The sample run of `cargo xtask dev`: creates an agent if there is none, posts `examples/all-skills.json`, and shows what
//! becomes of its steps. It uses the public API and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aos_dev::cloud::LocalCloud;
use aos_dev::paths::{repository, state_dir};
use reqwest::Method;
use serde_json::Value;

use crate::api::{Api, id_of};
use crate::dev::say;

const TENANT: &str = "demo";
const AGENT: &str = "sample";
const PATIENCE: Duration = Duration::from_secs(60);

/// Carries out the run and prints it.
///
/// # Errors
/// When a request is refused, or the run does not succeed within a minute.
pub(crate) async fn run(cloud: &LocalCloud) -> Result<()> {
    let api = Api::new(cloud, TENANT)?;
    equip(&api, cloud).await?;
    let agent = api.agent(AGENT).await?;
    let text = std::fs::read_to_string(repository().join("examples/all-skills.json"))
        .context("cannot read examples/all-skills.json")?
        .replace("{{AGENT_ID}}", &agent)
        .replace("{{STANDINS_URL}}", &cloud.standins().url());
    let body: Value = serde_json::from_str(&text).context("examples/all-skills.json is not JSON")?;
    let request = state_dir().join("sample.json");
    std::fs::write(&request, serde_json::to_vec_pretty(&body)?)?;

    say("\nSample run (examples/all-skills.json)");
    let started = Instant::now();
    let run = api.send(Method::POST, "/v1/runs", Some(&body)).await?;
    let id = id_of(&run)?;
    let status = follow(&api, &id, started).await?;
    let run = api.send(Method::GET, &format!("/v1/runs/{id}"), None).await?;
    match status.as_str() {
        "succeeded" => say(&format!("\nOutput\n{}", serde_json::to_string_pretty(&run["output"])?)),
        _ => bail!("run {id} {status}: {}", run["error"]),
    }
    say("\nAgain, from another terminal:");
    say("  . .aos/dev.env && curl -sS \"$AOS_URL/v1/runs\" -H \"X-API-Key: $AOS_API_KEY\" \\");
    say(&format!(
        "    -H 'X-AOS-Tenant: {TENANT}' -H 'Content-Type: application/json' --data @.aos/sample.json"
    ));
    Ok(())
}

/// What skills need of a tenant's own: a database to query, a secret to sign webhooks with.
async fn equip(api: &Api, cloud: &LocalCloud) -> Result<()> {
    let settings = serde_json::json!({
        "query_database_url": cloud.env().get("QUERY_DATABASE_URL"),
        "webhook_secret": cloud.standins().webhooks().secret("all-skills")?,
    });
    api.send(Method::PUT, "/v1/settings", Some(&settings)).await.map(drop)
}

/// Prints each change of the run's history as it appears, and returns the status in which the run ended.
async fn follow(api: &Api, id: &str, started: Instant) -> Result<String> {
    let mut seen = 0;
    loop {
        let history = api
            .send(Method::GET, &format!("/v1/runs/{id}/history?after={seen}"), None)
            .await?;
        let entries = history["items"].as_array().context("the history has no items")?;
        for entry in entries {
            let word = |name: &str| entry[name].as_str().unwrap_or("").to_owned();
            let step = if entry["entity"] == "run" {
                "the run".to_owned()
            } else {
                word("step_key")
            };
            let change = match word("from_status").as_str() {
                "" => word("to_status"),
                from => format!("{from} → {}", word("to_status")),
            };
            let error = entry["error"]["message"]
                .as_str()
                .map(|message| format!("  ({message})"))
                .unwrap_or_default();
            // The time of day from RFC 3339, to the millisecond.
            let at = entry["at"].as_str().and_then(|at| at.get(11..23)).unwrap_or("");
            say(&format!("  {at:<12}  {step:<14} {change}{error}"));
        }
        seen = entries.last().and_then(|entry| entry["seq"].as_u64()).unwrap_or(seen);
        let run_ended = entries.iter().find_map(|entry| {
            let status = entry["to_status"].as_str()?;
            let ended = entry["entity"] == "run" && ["succeeded", "failed", "cancelled"].contains(&status);
            ended.then(|| status.to_owned())
        });
        if let Some(status) = run_ended {
            return Ok(status);
        }
        if started.elapsed() > PATIENCE {
            bail!("run {id} has not ended after {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
