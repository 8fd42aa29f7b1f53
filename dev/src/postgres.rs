//! A PostgreSQL of our own: real server binaries, a data folder and a port that nobody else uses.
//! It listens on 127.0.0.1 only, asks for a password (scram), and never touches a server that it did not start.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres_protocol::escape::escape_identifier;
use tokio_postgres::NoTls;

use crate::postgres_binaries::Binaries;
use crate::process::{Process, ProcessSpec, Signal, User, as_user, free_port, run_tool};
use crate::progress::Progress;
use crate::tools::install_into;

const SUPERUSER: &str = "postgres";
/// Crash recovery after a kill takes seconds; a slow disk may add some.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How to run the server.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The folder for data, password and log. A data folder that is there is used again.
    pub dir: PathBuf,
    /// Whether commits survive a power cut (`fsync`). Tests do without; a killed server loses nothing either way.
    pub durable: bool,
    /// Who is told what is being done.
    pub progress: Progress,
}

/// A running server. Stopped on drop; the data stays until its folder is removed.
pub struct Postgres {
    binaries: Binaries,
    user: Option<User>,
    dir: PathBuf,
    durable: bool,
    port: u16,
    password: String,
    process: Mutex<Option<Arc<Process>>>,
}

impl Postgres {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When no server binaries of version 15 or newer are found, or the server does not come up (with its log's end).
    pub async fn start(options: PostgresOptions) -> Result<Self> {
        let user = User::for_servers()?;
        let dir = reachable_folder(&options.dir, user.as_ref(), &options.progress)?;
        let binaries = Binaries::find(&dir, user.as_ref(), &options.progress).await?;
        if dir.join("data").join("PG_VERSION").is_file() {
            binaries.check_data(&dir.join("data"))?;
        } else {
            create_data(&binaries, &dir, user.as_ref(), &options.progress).await?;
        }
        let password = std::fs::read_to_string(dir.join("superuser-password"))
            .with_context(|| format!("{} has lost its password file: start afresh", dir.display()))?;
        let mut server = Self {
            binaries,
            user,
            dir,
            durable: options.durable,
            port: 0,
            password,
            process: Mutex::new(None),
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            server.port = free_port()?;
            match server.launch().await {
                Ok(()) => return Ok(server),
                // Between looking for a free port and using it somebody else may have taken it.
                Err(error) if attempts < 5 && format!("{error:#}").contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what a server has kept for `dir`. No server may run on it.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn remove_data(dir: &Path) -> Result<()> {
        for folder in [dir, &folder_elsewhere(dir)] {
            if folder.exists() {
                std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        }
        Ok(())
    }

    /// The TCP port on 127.0.0.1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The version that the server tells of itself, such as `15.14`.
    pub fn version(&self) -> &str {
        self.binaries.version()
    }

    /// The connection string of the superuser for the maintenance database.
    pub fn superuser_url(&self) -> String {
        self.url(SUPERUSER, &self.password, "postgres")
    }

    /// A connection string for a user of this server.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database, unless it is there, and returns the superuser's connection string for it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        let client = self.connect().await?;
        let exists = client
            .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name])
            .await?;
        if exists.is_none() {
            client
                .batch_execute(&format!("CREATE DATABASE {}", escape_identifier(name)))
                .await?;
        }
        Ok(self.url(SUPERUSER, &self.password, name))
    }

    /// Removes a database, ending the sessions that use it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let client = self.connect().await?;
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", escape_identifier(name));
        Ok(client.batch_execute(&drop).await?)
    }

    /// Ends the server as an operator would (fast shutdown, then immediate, then SIGKILL). The data stays.
    pub async fn stop(&self) {
        if let Some(process) = self.take() {
            let soft = tokio::time::timeout(Duration::from_secs(10), ended(&process));
            process.signal(Signal::INT);
            if soft.await.is_err() {
                process.signal(Signal::QUIT);
            }
            process.stop(Duration::from_secs(5)).await;
        }
    }

    /// Kills the server and its backends at once, as a crash would. The data stays.
    pub fn kill(&self) {
        if let Some(process) = self.take() {
            process.kill();
        }
    }

    /// Starts the server again on the same port and data, after `stop`, `kill`, or instead of the one that runs.
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
        let fsync = if self.durable { "on" } else { "off" };
        let settings = [
            ("listen_addresses", "127.0.0.1"),
            // The path of a socket may be too long for the system, and nobody needs one.
            ("unix_socket_directories", ""),
            ("max_connections", "200"),
            ("fsync", fsync),
            ("full_page_writes", fsync),
            ("jit", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        let spec = ProcessSpec::new("PostgreSQL", self.binaries.server(), self.dir.join("postgres.log"))
            .args(["-D".as_ref(), self.dir.join("data").as_os_str()])
            .args(["-p", &self.port.to_string()])
            .args(
                settings
                    .iter()
                    .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]),
            )
            .current_dir(&self.dir)
            .user(self.user.clone())
            // Fast shutdown: SIGTERM would wait for clients to leave.
            .stop_signal(Signal::INT);
        let deadline = Instant::now() + START_PATIENCE;
        let mut process = Process::spawn(&spec)?;
        loop {
            if let Some(error) = process.death_notice() {
                // After a kill the last backend may hold the shared memory for a moment.
                let held = process.output().contains("pre-existing shared memory block");
                if !held || Instant::now() > deadline {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                process = Process::spawn(&spec)?;
            }
            match self.connect().await {
                Ok(_) => break,
                Err(error) if Instant::now() > deadline => {
                    bail!(
                        "PostgreSQL does not answer: {error:#}; its log ends with:\n{}",
                        process.log_tail(20)
                    );
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
        *self.slot() = Some(Arc::new(process));
        Ok(())
    }

    async fn connect(&self) -> Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::connect(&self.superuser_url(), NoTls).await?;
        // It ends with the client; what went wrong on it is told to the client.
        tokio::spawn(connection);
        Ok(client)
    }

    fn take(&self) -> Option<Arc<Process>> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ended(process: &Process) {
    while process.exit_status().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The folder itself, or one under the system's temporary folder when the server's user cannot get to it.
fn reachable_folder(wanted: &Path, user: Option<&User>, progress: &Progress) -> Result<PathBuf> {
    std::fs::create_dir_all(wanted).with_context(|| format!("cannot create {}", wanted.display()))?;
    let Some(user) = user else { return Ok(wanted.to_owned()) };
    let own = |dir: &Path| -> Result<()> {
        chown(dir, Some(user.uid), Some(user.gid)).with_context(|| format!("cannot hand {} over", dir.display()))?;
        Ok(std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?)
    };
    own(wanted)?;
    if can_use(user, wanted) {
        return Ok(wanted.to_owned());
    }
    let elsewhere = folder_elsewhere(wanted);
    std::fs::create_dir_all(&elsewhere)?;
    own(&elsewhere)?;
    progress.note(&format!(
        "PostgreSQL's data is in {}: its user `{}` cannot reach {}",
        elsewhere.display(),
        user.name,
        wanted.display()
    ));
    Ok(elsewhere)
}

fn folder_elsewhere(wanted: &Path) -> PathBuf {
    let name = format!(
        "aos-postgres-{}",
        crate::secrets::fingerprint(wanted.as_os_str().as_encoded_bytes())
    );
    std::env::temp_dir().join(name)
}

/// Whether the user can read and enter (or execute) the path.
pub(crate) fn can_use(user: &User, path: &Path) -> bool {
    let mut test = as_user(Path::new("sh"), Some(user), None);
    test.args(["-c", "test -r \"$0\" && test -x \"$0\""])
        .arg(path)
        .current_dir("/");
    test.status().is_ok_and(|status| status.success())
}

/// Fills `dir/data` and `dir/superuser-password` from a template that is made once per server version on this machine.
async fn create_data(binaries: &Binaries, dir: &Path, user: Option<&User>, progress: &Progress) -> Result<()> {
    let key = format!(
        "{}-{}",
        binaries.identity(),
        user.map_or("own", |user| user.name.as_str())
    );
    let template = crate::paths::cache_dir()?.join("postgres").join(key);
    install_into(&template, progress, |staging| async move {
        progress
            .step(
                "a fresh PostgreSQL data folder",
                initdb(binaries, dir, user, &staging, progress),
            )
            .await
    })
    .await?;
    copy(&template.join("superuser-password"), dir)?;
    // A copy that is cut short must not look like a data folder.
    let staging = dir.join("data.part");
    if staging.exists() {
        std::fs::remove_dir_all(&staging)?;
    }
    copy(&template.join("data"), &staging)?;
    std::fs::rename(&staging, dir.join("data")).context("cannot put the data folder in place")
}

async fn initdb(
    binaries: &Binaries,
    dir: &Path,
    user: Option<&User>,
    target: &Path,
    progress: &Progress,
) -> Result<()> {
    // Made where the server's user may write, then copied to the cache, which that user may not even see.
    let workshop = tempfile::Builder::new().prefix("initdb-").tempdir_in(dir)?;
    let password_file = workshop.path().join("superuser-password");
    std::fs::write(&password_file, crate::secrets::generate()?)?;
    std::fs::set_permissions(&password_file, std::fs::Permissions::from_mode(0o600))?;
    if let Some(user) = user {
        chown(workshop.path(), Some(user.uid), Some(user.gid))?;
        chown(&password_file, Some(user.uid), Some(user.gid))?;
    }
    let mut command = as_user(&binaries.initdb(), user, None);
    let locale = if cfg!(target_os = "linux") { "C.UTF-8" } else { "C" };
    command
        .arg("-D")
        .arg(workshop.path().join("data"))
        .arg("--pwfile")
        .arg(&password_file);
    command.args([
        "-U",
        SUPERUSER,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-sync",
        "--no-instructions",
    ]);
    command.arg(format!("--locale={locale}")).current_dir(workshop.path());
    run_tool("initdb", command, progress).await?;
    copy(&workshop.path().join("data"), target)?;
    copy(&password_file, target)
}

/// Copies with owner and permissions, which the standard library does not.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .context("cannot run cp")?;
    if !status.success() {
        bail!("cannot copy {} to {}", from.display(), to.display());
    }
    Ok(())
}
