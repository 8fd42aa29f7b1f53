//! `cargo xtask dev`: the local cloud, a sample run on it, and then it stays until Ctrl-C.
//! One at a time per clone; it leaves no process and no secret behind.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aos_dev::cloud::{CloudData, CloudOptions, LocalCloud};
use aos_dev::paths::{repository, state_dir};
use aos_dev::progress::Progress;
use tokio::signal::unix::{SignalKind, signal};

use crate::sample;

/// wrangler's own choice, so that people find the Worker where they expect it.
const USUAL_PORT: u16 = 8787;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Do not carry out the sample run
    #[arg(long)]
    no_demo: bool,
    /// Start with empty data
    #[arg(long)]
    fresh: bool,
    /// The Worker's port [default: 8787, or a free one if that is taken]
    #[arg(long)]
    port: Option<u16>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let _only_one = refuse_a_second()?;
    let mut stop = StopRequest::listen()?;
    say("Starting the local cloud (Ctrl-C stops it)");
    let options = CloudOptions {
        data: CloudData::Kept(state_dir().join("dev")),
        fresh: arguments.fresh,
        workers: 1,
        port: arguments.port.or_else(usual_port),
        extra_vars: own_vars()?,
        crons_fire: true,
        progress: Progress::console(),
    };
    let cloud = tokio::select! {
        cloud = LocalCloud::start(options) => cloud?,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    let env_file = state_dir().join("dev.env");
    write_env(&env_file, &cloud)?;
    introduce(&cloud);

    let mut exit_code = ExitCode::SUCCESS;
    let staying = async {
        if !arguments.no_demo
            && let Err(error) = sample::run(&cloud).await
        {
            // What runs is left running, to look into it; the failure is told again by the exit code.
            say(&format!("\nThe sample run did not succeed: {error:#}"));
            exit_code = ExitCode::FAILURE;
        }
        say("\nRunning. Ctrl-C stops it.");
        std::future::pending::<()>().await;
    };
    let failure = tokio::select! {
        () = staying => None,
        failure = cloud.failure() => Some(failure),
        () = stop.asked() => None,
    };
    say("\nStopping");
    cloud.stop().await;
    // Its addresses and secrets are worth nothing now.
    let _ = std::fs::remove_file(&env_file);
    match failure {
        Some(failure) => Err(failure.context("a part of the local cloud ended by itself")),
        None => Ok(exit_code),
    }
}

/// Takes the lock that the first `dev` holds until it ends, however it ends.
fn refuse_a_second() -> Result<File> {
    std::fs::create_dir_all(state_dir())?;
    let path = state_dir().join("dev.lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            bail!(
                "`cargo xtask dev` is already running in this clone (process {}); stop that one first",
                holder.trim()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

fn usual_port() -> Option<u16> {
    std::net::TcpListener::bind(("127.0.0.1", USUAL_PORT))
        .is_ok()
        .then_some(USUAL_PORT)
}

/// The developer's own settings from `.dev.vars`: keys of real services, which then take the place of stand-ins.
/// What the local cloud makes itself it does not take from there.
fn own_vars() -> Result<BTreeMap<String, String>> {
    const MADE_HERE: [&str; 10] = [
        "ENVIRONMENT",
        "AOS_API_KEY",
        "DATABASE_URL",
        "ENGINE_DATABASE_URL",
        "NEON_HTTP_ENDPOINT",
        "UPSTASH_REDIS_REST_URL",
        "UPSTASH_REDIS_REST_TOKEN",
        "REDIS_URL",
        "HTTP_ALLOWED_LOOPBACK_PORTS",
        "DNS_OVER_HTTPS_URL",
    ];
    let file = repository().join(".dev.vars");
    if !file.is_file() {
        return Ok(BTreeMap::new());
    }
    let vars = dotenvy::from_path_iter(&file)?
        .collect::<Result<BTreeMap<_, _>, _>>()
        .context("cannot read .dev.vars")?;
    Ok(vars
        .into_iter()
        .filter(|(name, value)| !value.is_empty() && !MADE_HERE.contains(&name.as_str()))
        .collect())
}

/// `export NAME='value'` lines, for a shell to read (`. .aos/dev.env`) and for nobody else on the machine.
fn write_env(file: &Path, cloud: &LocalCloud) -> Result<()> {
    // The mode counts only for a file that is made.
    let _ = std::fs::remove_file(file);
    let mut opened = File::options().create_new(true).write(true).mode(0o600).open(file)?;
    for (name, value) in cloud.env() {
        writeln!(opened, "export {name}={}", shell_quoted(&value))?;
    }
    Ok(())
}

fn shell_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn introduce(cloud: &LocalCloud) {
    let env = cloud.env();
    let of = |name: &str| env.get(name).cloned().unwrap_or_default();
    say(&format!("\nAOS          {}", of("AOS_URL")));
    say(&format!(
        "PostgreSQL   127.0.0.1:{} (version {})",
        cloud.postgres().port(),
        cloud.postgres().version()
    ));
    say(&format!("Redis        127.0.0.1:{}", cloud.redis().port()));
    say(&format!("Neon's HTTP  {}", of("NEON_HTTP_ENDPOINT")));
    say(&format!("Upstash's    {}", of("UPSTASH_REDIS_REST_URL")));
    say(&format!("Stand-ins    {}", of("STANDINS_URL")));
    if let Some(worker) = cloud.workers().first() {
        say(&format!("Worker's log {}", worker.log().display()));
    }
    say("Keys and connection strings: .aos/dev.env (source it in a shell)");
}

/// Prints a line. A closed terminal is no reason to leave processes behind, so unlike `println!` it cannot panic.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Ctrl-C, `kill`, or the closing of the terminal.
struct StopRequest {
    signals: [tokio::signal::unix::Signal; 3],
}

impl StopRequest {
    fn listen() -> Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self {
            signals: [interrupt?, terminate?, hangup?],
        })
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shell_quoted;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for value in ["plain", "it's", "$HOME `id` \"x\" \\ !", "two\nlines", ""] {
            let script = format!("printf %s {}", shell_quoted(value));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }
}
