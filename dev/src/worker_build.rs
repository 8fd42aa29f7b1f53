//! Turns the crate in `functions/` into the files in `build/` that wrangler uploads. Does nothing when nothing changed.
//! There is one kind of build, the release: what is tested is what is deployed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::paths;
use crate::process::run_tool;
use crate::progress::Progress;
use crate::tools::{BuildTools, NpmTools, take_turn};

/// What a build was made of, kept beside it.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stamp {
    /// Every file of ours that the compiler read, and the manifests.
    inputs: Vec<PathBuf>,
    /// SHA-256 over their names and contents.
    fingerprint: String,
}

/// Builds the Worker unless the last build was of the same sources. Returns the folder with `worker/shim.mjs` in it.
///
/// # Errors
/// When a tool cannot be installed or the Worker does not compile; the message ends with what the compiler said.
pub async fn build_worker(progress: &Progress) -> Result<PathBuf> {
    let build = paths::build_dir();
    let _turn = take_turn(&paths::state_dir().join("build.lock"), progress).await?;
    let stamp_file = build.join(".aos-stamp.json");
    if is_current(&build, &stamp_file) {
        return Ok(build);
    }
    let npm = NpmTools::install(progress).await?;
    let tools = BuildTools::install(progress).await?;
    let mut command = Command::new(&tools.worker_build);
    command
        .current_dir(paths::repository().join("functions"))
        .arg("--release")
        .arg("--out-dir")
        .arg(&build);
    // It dies of an error that has been shown already.
    command.env("RUST_BACKTRACE", "0");
    // Named, so that worker-build fetches none of its own from the network.
    command.env("WASM_BINDGEN_BIN", &tools.wasm_bindgen);
    command
        .env("ESBUILD_BIN", npm.tool("esbuild"))
        .env("WASM_OPT_BIN", npm.tool("wasm-opt"))
        .env("PATH", npm.path());
    // What a panic would say of where it was is then the same on every machine, and shorter.
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", without_machine_paths());
    let step = "the Worker (about two minutes from nothing, half a minute after a change)";
    progress.step(step, run_tool("worker-build", command, progress)).await?;
    strip_names(&npm, &build, progress).await?;
    let inputs = compiled_files().await?;
    let fingerprint = fingerprint(&inputs)?;
    let stamp = Stamp { inputs, fingerprint };
    std::fs::write(&stamp_file, serde_json::to_vec_pretty(&stamp)?)?;
    Ok(build)
}

/// Takes the names of functions out of the wasm: an eighth of the upload, which only a panic would show.
async fn strip_names(npm: &NpmTools, build: &Path, progress: &Progress) -> Result<()> {
    let (wasm, stripped) = (build.join("index_bg.wasm"), build.join("index_bg.stripped.wasm"));
    let mut command = npm.command("wasm-opt");
    command.arg("--strip-debug").arg(&wasm).arg("-o").arg(&stripped);
    run_tool("wasm-opt", command, progress).await?;
    std::fs::rename(&stripped, &wasm).context("cannot put the stripped wasm in its place")
}

/// Compiler flags that shorten the paths of crates and of this repository.
fn without_machine_paths() -> String {
    let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let registry = cargo_home.join("registry").join("src");
    [registry.as_path(), paths::repository()]
        .map(|folder| format!("--remap-path-prefix={}=", folder.display()))
        .join(" ")
}

fn is_current(build: &Path, stamp_file: &Path) -> bool {
    let Ok(stamp) = std::fs::read(stamp_file) else {
        return false;
    };
    let Ok(stamp) = serde_json::from_slice::<Stamp>(&stamp) else {
        return false;
    };
    let complete = ["worker/shim.mjs", "index.js", "index_bg.wasm"]
        .iter()
        .all(|file| build.join(file).is_file());
    // A file that is gone makes an error: the build is not current then.
    complete && fingerprint(&stamp.inputs).is_ok_and(|now| now == stamp.fingerprint)
}

/// Our files that went into the last build, by the list that cargo writes beside the wasm: it knows `include_str!` too.
async fn compiled_files() -> Result<Vec<PathBuf>> {
    let mut cargo = tokio::process::Command::new("cargo");
    cargo
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(paths::repository());
    let metadata = cargo.output().await.context("cannot run cargo metadata")?.stdout;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).context("cargo metadata gave no JSON")?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?;
    let list = Path::new(target).join("wasm32-unknown-unknown/release/aos_worker.d");
    let list = std::fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let (_, files) = list.split_once(": ").context("a dependency list without a colon")?;
    // A space inside a name is written with a backslash before it.
    let files = files.trim().replace("\\ ", "\0");
    let mut inputs: Vec<PathBuf> = files
        .split_whitespace()
        .map(|file| PathBuf::from(file.replace('\0', " ")))
        .collect();
    let manifests = [
        "Cargo.toml",
        "Cargo.lock",
        "functions/Cargo.toml",
        "rust-toolchain.toml",
        "package-lock.json",
    ];
    inputs.extend(manifests.iter().map(|file| paths::repository().join(file)));
    inputs.sort();
    Ok(inputs)
}

fn fingerprint(inputs: &[PathBuf]) -> Result<String> {
    let mut hash = Sha256::new();
    for input in inputs {
        let content = std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
        hash.update(input.as_os_str().as_encoded_bytes());
        // The length keeps the end of one file from being taken for the start of the next.
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(&content);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
