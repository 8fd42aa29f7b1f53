//! A tiny Worker of the test's own that sends to the queue of the Worker under test what that would never send: garbage,
//! and the same doorbell over and over. wrangler carries messages between Workers of one machine that share a registry.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use aos_dev::{
    process::{Process, ProcessSpec, free_port},
    progress::Progress,
    tools::NpmTools,
};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
export default {
    async fetch(request, env) {
        for (const { body, contentType, hex } of await request.json()) {
            const bytes = hex && Uint8Array.from(hex.match(/../g).map((pair) => parseInt(pair, 16)));
            await env.SKILL_JOBS.send(hex ? bytes : body, { contentType });
        }
        return new Response("sent");
    },
};
"#;

/// The running sender. Stopped on drop.
pub struct Sender {
    url: String,
    process: Process,
}

impl Sender {
    /// Starts it beside the Worker whose folder this is.
    pub(crate) async fn start(worker_dir: &Path) -> Result<Self> {
        let npm = NpmTools::install(&Progress::silent()).await?;
        let dir = worker_dir.with_file_name("sender");
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("sender.mjs"), SCRIPT)?;
        let config = json!({
            "name": "sender", "main": "sender.mjs", "compatibility_date": "2026-10-01",
            "queues": {"producers": [{"binding": "SKILL_JOBS", "queue": "skill-jobs"}]},
        });
        std::fs::write(dir.join("wrangler.json"), config.to_string())?;
        let port = free_port()?.to_string();
        // The registry of the Worker under test: so the queue is found there.
        let registry = worker_dir.join("registry");
        let spec = ProcessSpec::new("the sender (wrangler dev)", npm.tool("node"), dir.join("sender.log"))
            .args([npm.tool("wrangler")])
            .args([
                "dev",
                "--local",
                "--ip",
                "127.0.0.1",
                "--port",
                &port,
                "--inspector-port",
                "0",
            ])
            .args(["--show-interactive-dev-session=false"])
            .current_dir(&dir)
            .env("PATH", npm.path())
            .env("NO_COLOR", "1")
            .env("CI", "1")
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_SEND_ERROR_REPORTS", "false")
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
            .env("WRANGLER_LOG_PATH", dir.join("wrangler-logs"))
            .env("WRANGLER_REGISTRY_PATH", &registry)
            .env("MINIFLARE_REGISTRY_PATH", &registry);
        let process = Process::spawn(&spec)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while !process.output().contains("Ready on http") {
            if let Some(error) = process.death_notice() {
                return Err(error);
            }
            if Instant::now() > deadline {
                bail!("the sender is not ready:\n{}", process.log_tail(20));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            process,
        })
    }

    /// Sends messages, one by one: `{"body": …, "contentType": "json" | "text" | "v8"}`, or `{"hex": …, "contentType":
    /// "bytes"}`.
    pub async fn send(&self, messages: &[Value]) {
        let sending = async {
            let sent = reqwest::Client::new().post(&self.url).json(&messages).send().await?;
            let (status, text) = (sent.status(), sent.text().await?);
            ensure!(status.is_success(), "{status}: {text}");
            // wrangler drops what it cannot deliver, and lets the sender think otherwise.
            ensure!(
                !self.process.output().contains("dropping it"),
                "{}",
                self.process.log_tail(5)
            );
            Ok(())
        };
        sending
            .await
            .context("the queue takes the messages")
            .expect("messages are sent");
    }
}
