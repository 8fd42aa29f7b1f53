//! Child processes that cannot outlive us: each has its own process group, a log file and a death signal, and is stopped
//! on drop. It never signals a process that it did not start.
//!
//! Linux ends a child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so all of them are started from one
//! thread that lives as long as the program. A test binary that exits without dropping its statics, or is killed, thus
//! takes its servers with it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

use crate::process_table::{Entry, family_of, process_table};

/// A user that a server runs as, because it refuses to run as root.
#[derive(Clone, Debug)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The numeric user id.
    pub uid: u32,
    /// The numeric id of the primary group.
    pub gid: u32,
}

impl User {
    /// The user to hand servers to when we are root: `postgres` where it exists, else `nobody`. `None` when we are not root.
    ///
    /// # Errors
    /// When `/etc/passwd` names neither.
    pub fn for_servers() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let find = |wanted: &str| {
            passwd.lines().find_map(|line| {
                let mut columns = line.split(':');
                let name = columns.next().filter(|name| *name == wanted)?;
                let uid = columns.nth(1)?.parse().ok()?;
                let gid = columns.next()?.parse().ok()?;
                Some(Self {
                    name: name.to_owned(),
                    uid,
                    gid,
                })
            })
        };
        let user = find("postgres").or_else(|| find("nobody"));
        Ok(Some(user.context(
            "running as root, and neither user `postgres` nor `nobody` exists to run PostgreSQL as",
        )?))
    }
}

/// What to start, and how it must end.
pub struct ProcessSpec {
    name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    current_dir: Option<PathBuf>,
    log: PathBuf,
    user: Option<User>,
    stop_signal: Signal,
}

impl ProcessSpec {
    /// A process named `name` in messages, whose output is appended to the file `log`.
    pub fn new(name: &'static str, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name,
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            current_dir: None,
            log: log.into(),
            user: None,
            stop_signal: Signal::TERM,
        }
    }

    /// Adds arguments. Never a secret: anyone on the machine can read a command line.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// Runs it as another user (we are root then).
    #[must_use]
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// The signal that asks it to end, also sent when we die. SIGTERM unless said otherwise.
    #[must_use]
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    fn command(&self) -> Result<Command> {
        let mut command = as_user(&self.program, self.user.as_ref(), Some(self.stop_signal));
        command
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log: File = log.with_context(|| format!("cannot open the log {}", self.log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        Ok(command)
    }
}

/// A command that runs `program` as `user`, and gets `death_signal` (SIGINT or SIGTERM) when the thread that starts it ends.
/// Both need `setpriv` (util-linux); without it (macOS) the program runs as we do, and only `Drop` ends it.
pub fn as_user(program: &Path, user: Option<&User>, death_signal: Option<Signal>) -> Command {
    static SETPRIV: LazyLock<bool> = LazyLock::new(|| find_on_path("setpriv").is_some());
    if !*SETPRIV || (user.is_none() && death_signal.is_none()) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    if let Some(user) = user {
        command
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.gid))
            .arg("--init-groups");
    }
    if let Some(signal) = death_signal {
        command.args(["--pdeathsig", if signal == Signal::INT { "INT" } else { "TERM" }]);
    }
    command.arg("--").arg(program);
    command
}

/// The first executable of that name in the folders of `PATH`.
pub fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A running child. Dropping it stops it, softly at first.
pub struct Process {
    name: &'static str,
    pid: Pid,
    child: Mutex<Child>,
    log: PathBuf,
    log_start: u64,
    stop_signal: Signal,
}

impl Process {
    /// Starts the process and returns at once; whether it is ready is for the caller to find out.
    ///
    /// # Errors
    /// When the program or its log cannot be opened.
    pub fn spawn(spec: &ProcessSpec) -> Result<Self> {
        let log_start = spec.log.metadata().map_or(0, |meta| meta.len());
        let command = spec.command()?;
        let child = spawn_from_lasting_thread(command)
            .with_context(|| format!("cannot start {} ({})", spec.name, spec.program.display()))?;
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a child without a process id")?;
        let (name, log, stop_signal) = (spec.name, spec.log.clone(), spec.stop_signal);
        Ok(Self {
            name,
            pid,
            child: Mutex::new(child),
            log,
            log_start,
            stop_signal,
        })
    }

    /// The process id, which is also the id of its group.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// An error that says how it ended and what it last wrote, once it has ended.
    pub fn death_notice(&self) -> Option<anyhow::Error> {
        let status = self.exit_status()?;
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        Some(anyhow::anyhow!(
            "{} {how}; its log {} ends with:\n{}",
            self.name,
            self.log.display(),
            self.log_tail(20)
        ))
    }

    /// The file that takes its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has written since it was started.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
    }

    /// The last `count` lines it wrote.
    pub fn log_tail(&self, count: usize) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines
            .get(lines.len().saturating_sub(count)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        if self.exit_status().is_none() {
            // It may end between the look and the signal; its id stays ours until we wait for it.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Asks it to end, waits up to `patience`, then kills what is left of it and of everything it started.
    pub async fn stop(&self, patience: Duration) {
        let family = self.ask_to_end();
        let deadline = Instant::now() + patience;
        while self.exit_status().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.end_family(family);
    }

    /// Kills it and everything it started, at once (SIGKILL), as a crash or a power cut would.
    pub fn kill(&self) {
        self.end_family(family_of(self.pid));
    }

    fn ask_to_end(&self) -> Vec<Entry> {
        let family = family_of(self.pid);
        if self.exit_status().is_none() {
            let _ = kill_process_group(self.pid, self.stop_signal);
        }
        family
    }

    /// Kills the process if it still runs, and those of its family that do: PostgreSQL's backends leave the group, and a
    /// workerd outlives a wrangler that was killed.
    fn end_family(&self, mut family: Vec<Entry>) {
        if self.exit_status().is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = kill_process(self.pid, Signal::KILL);
        }
        family.extend(family_of(self.pid));
        let _ = self.child().wait();
        // A signal is delivered in the background: return when they are gone, so that ports and files are free.
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            let left = process_table()
                .into_iter()
                .filter(|entry| family.iter().any(|member| member.is(entry)));
            let left: Vec<Entry> = left.collect();
            if left.is_empty() {
                break;
            }
            for entry in left {
                let _ = kill_process(entry.pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = self.ask_to_end();
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.exit_status().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.end_family(family);
    }
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

fn spawn_from_lasting_thread(command: Command) -> Result<Child> {
    static STARTER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        let run = move || {
            for (mut command, answer) in jobs {
                // The asker waits for the answer, so a closed channel means that it panicked: nobody is left to tell.
                let _ = answer.send(command.spawn());
            }
        };
        // Without this thread nothing can be started; `send` below then fails and says so.
        let _ = std::thread::Builder::new()
            .name("process-starter".to_owned())
            .spawn(run);
        sender
    });
    let (answer, child) = mpsc::channel();
    STARTER
        .send((command, answer))
        .ok()
        .context("the thread that starts processes is gone")?;
    Ok(child.recv().context("the thread that starts processes is gone")??)
}

/// The ids of the processes that `process` started and that still run; for tests that look for orphans.
pub fn running_family(process: &Process) -> Vec<i32> {
    family_of(process.pid)
        .iter()
        .map(|entry| entry.pid.as_raw_nonzero().get())
        .collect()
}

/// A TCP port on 127.0.0.1 that nobody listens on at this moment.
///
/// # Errors
/// When the machine has none left.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// Runs a tool to its end, showing its latest line as progress.
///
/// # Errors
/// When it cannot be started or fails; the message carries the last lines it wrote.
pub async fn run_tool(name: &str, command: Command, progress: &crate::progress::Progress) -> Result<()> {
    use tokio::io::AsyncBufReadExt;
    let mut command = tokio::process::Command::from(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let stdout = child.stdout.take().context("a child without stdout")?;
    let stderr = child.stderr.take().context("a child without stderr")?;
    let mut stdout = tokio::io::BufReader::new(stdout).split(b'\n');
    let mut stderr = tokio::io::BufReader::new(stderr).split(b'\n');
    let mut last = std::collections::VecDeque::new();
    let (mut stdout_open, mut stderr_open) = (true, true);
    while stdout_open || stderr_open {
        let line = tokio::select! {
            line = stdout.next_segment(), if stdout_open => line.inspect(|line| stdout_open = line.is_some()),
            line = stderr.next_segment(), if stderr_open => line.inspect(|line| stderr_open = line.is_some()),
        };
        if let Some(line) = line? {
            let line = String::from_utf8_lossy(&line).into_owned();
            progress.detail(&line);
            last.push_back(line);
            if last.len() > 100 {
                last.pop_front();
            }
        }
    }
    let status = child.wait().await?;
    if !status.success() {
        let lines: Vec<String> = last.into();
        bail!("{name} failed ({status}); it last wrote:\n{}", lines.join("\n"));
    }
    Ok(())
}
