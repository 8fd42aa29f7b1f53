//! The Worker in workerd, through `wrangler dev`, with local R2, queues and crons of its own.
//! It works offline and reports to nobody. Settings reach it through a file of mode 0600, never by the command line.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::process::{Process, ProcessSpec, free_port};
use crate::progress::Progress;
use crate::tools::{NpmTools, QUIET_WRANGLER};

/// wrangler is ready in about 3 s on an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// How to run one Worker.
#[derive(Clone)]
pub struct WorkerOptions {
    /// The folder for its configuration, settings, log and wrangler's temporary files.
    pub dir: PathBuf,
    /// What worker-build made.
    pub build: PathBuf,
    /// Where R2 and the queues keep their data.
    pub persist_to: PathBuf,
    /// Vars and secrets, over those of `wrangler.toml`.
    pub vars: BTreeMap<String, String>,
    /// Tables of `wrangler.toml` that are left out, such as `r2_buckets`.
    pub without: Vec<&'static str>,
    /// The port on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// Who is told what is being done.
    pub progress: Progress,
}

/// A running Worker. Stopped on drop. Several run side by side, each with its own folder.
pub struct WorkerProcess {
    npm: NpmTools,
    dir: PathBuf,
    persist_to: PathBuf,
    port: u16,
    process: Mutex<Option<Arc<Process>>>,
}

impl WorkerProcess {
    /// Starts workerd and waits until it listens.
    ///
    /// # Errors
    /// When wrangler refuses the configuration or the Worker does not start (with the log's end).
    pub async fn start(options: WorkerOptions) -> Result<Self> {
        let npm = NpmTools::install(&options.progress).await?;
        std::fs::create_dir_all(&options.dir).with_context(|| format!("cannot create {}", options.dir.display()))?;
        write_configuration(&options)?;
        let WorkerOptions { dir, persist_to, .. } = options;
        let mut worker = Self {
            npm,
            dir,
            persist_to,
            port: 0,
            process: Mutex::new(None),
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            worker.port = match options.port {
                Some(port) => port,
                None => free_port()?,
            };
            match worker.launch().await {
                Ok(()) => return Ok(worker),
                // Between looking for a free port and using it somebody else may have taken it.
                Err(error) if attempts < 5 && options.port.is_none() && port_was_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The base URL, without a slash at its end. It stays the same over restarts.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The file with all that wrangler and the Worker have logged.
    pub fn log(&self) -> PathBuf {
        self.dir.join("worker.log")
    }

    /// Asks it to end (SIGTERM to wrangler and workerd), then kills what is left. R2's data stays.
    pub async fn stop(&self) {
        if let Some(process) = self.take() {
            process.stop(Duration::from_secs(8)).await;
        }
    }

    /// Kills wrangler and workerd at once, as a crash would: what they were doing is lost. R2's data stays.
    pub fn kill(&self) {
        if let Some(process) = self.take() {
            process.kill();
        }
    }

    /// Starts it again on the same port and data, after `stop`, `kill`, or instead of the one that runs.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await;
        self.launch().await
    }

    /// Changes settings; they count from the next `restart`.
    ///
    /// # Errors
    /// When the file cannot be written or a value cannot be expressed in it.
    pub fn set_vars(&self, vars: &BTreeMap<String, String>) -> Result<()> {
        write_private(&self.dir.join(".dev.vars"), &dev_vars(vars)?)
    }

    /// Fires a cron trigger, as Cloudflare would at its time, and waits until the Worker has handled it.
    ///
    /// # Errors
    /// When the Worker does not answer, or its handler fails.
    pub async fn fire_cron(&self, cron: &str) -> Result<()> {
        let mut url = url::Url::parse(&self.url())?.join("/cdn-cgi/handler/scheduled")?;
        url.query_pairs_mut().append_pair("cron", cron);
        let response = reqwest::Client::new()
            .get(url)
            .timeout(Duration::from_secs(900))
            .send()
            .await?;
        let (status, outcome) = (response.status(), response.text().await?);
        if !status.is_success() || outcome.trim() != "ok" {
            bail!("the cron trigger `{cron}` ended with {status}: {outcome}");
        }
        Ok(())
    }

    /// Why it is no longer running, if it ended by itself.
    pub fn death_notice(&self) -> Option<anyhow::Error> {
        self.slot().as_ref().and_then(|process| process.death_notice())
    }

    /// wrangler's process; `None` after `stop` or `kill`.
    pub fn process(&self) -> Option<Arc<Process>> {
        self.slot().clone()
    }

    async fn launch(&self) -> Result<()> {
        let port = self.port.to_string();
        let spec = ProcessSpec::new("the Worker (wrangler dev)", self.npm.tool("node"), self.log())
            .args([self.npm.tool("wrangler")])
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
            .args([
                "--test-scheduled",
                "--show-interactive-dev-session=false",
                "--persist-to",
            ])
            .args([&self.persist_to])
            .current_dir(&self.dir)
            .env("PATH", self.npm.path())
            .env("NO_COLOR", "1")
            .env("WRANGLER_LOG_PATH", self.dir.join("wrangler-logs"))
            // Workers of one machine find each other in the registry; ours must not.
            .env("WRANGLER_REGISTRY_PATH", self.dir.join("registry"))
            .env("MINIFLARE_REGISTRY_PATH", self.dir.join("registry"));
        let spec = QUIET_WRANGLER
            .iter()
            .fold(spec, |spec, (name, value)| spec.env(name, value));
        let process = Process::spawn(&spec)?;
        let deadline = Instant::now() + START_PATIENCE;
        while !process.output().contains("Ready on http") {
            if let Some(error) = process.death_notice() {
                return Err(error);
            }
            if Instant::now() > deadline {
                bail!("the Worker is not ready; its log ends with:\n{}", process.log_tail(30));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        *self.slot() = Some(Arc::new(process));
        Ok(())
    }

    fn take(&self) -> Option<Arc<Process>> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn port_was_taken(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("Address already in use") || text.contains("EADDRINUSE")
}

/// The crons of `wrangler.toml`.
///
/// # Errors
/// When the file cannot be read.
pub fn crons() -> Result<Vec<String>> {
    let config = wrangler_toml()?;
    let crons = config
        .get("triggers")
        .and_then(|triggers| triggers.get("crons"))
        .and_then(toml::Value::as_array);
    Ok(crons
        .into_iter()
        .flatten()
        .filter_map(|cron| cron.as_str().map(str::to_owned))
        .collect())
}

fn wrangler_toml() -> Result<toml::Table> {
    let file = paths::repository().join("wrangler.toml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    text.parse()
        .with_context(|| format!("cannot understand {}", file.display()))
}

/// `wrangler.toml` as it is, but with what is already built in place of the build command.
fn write_configuration(options: &WorkerOptions) -> Result<()> {
    let mut config = wrangler_toml()?;
    config.remove("build");
    options.without.iter().for_each(|table| drop(config.remove(*table)));
    let main = std::path::absolute(options.build.join("worker").join("shim.mjs"))?;
    config.insert("main".to_owned(), main.to_string_lossy().into_owned().into());
    // Stands beside the settings file, which wrangler looks for beside its configuration.
    std::fs::write(options.dir.join("wrangler.json"), serde_json::to_vec_pretty(&config)?)?;
    write_private(&options.dir.join(".dev.vars"), &dev_vars(&options.vars)?)
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(file);
    let mut opened = opened.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(opened.write_all(text.as_bytes())?)
}

/// Settings in the form that wrangler reads: single quotes take everything but themselves literally.
fn dev_vars(vars: &BTreeMap<String, String>) -> Result<String> {
    let line = |(name, value): (&String, &String)| {
        let quote = ['\'', '`'].into_iter().find(|quote| !value.contains(*quote));
        let quote = quote.with_context(|| format!("{name} holds both kinds of quotes that .dev.vars knows"))?;
        Ok(format!("{name}={quote}{value}{quote}\n"))
    };
    vars.iter().map(line).collect()
}
