//! Where things lie: the repository, its ignored `.aos/` folder, and the cache that machines share between clones.
//! It only names folders; it never deletes one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the repository this crate was compiled in.
pub fn repository() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// `.aos/`: everything `cargo xtask dev` keeps between runs. Ignored by git.
pub fn state_dir() -> PathBuf {
    repository().join(".aos")
}

/// `node_modules/`: the tools pinned from npm.
pub fn node_modules() -> PathBuf {
    repository().join("node_modules")
}

/// `build/`: what worker-build writes and `wrangler.toml` names as `main`.
pub fn build_dir() -> PathBuf {
    repository().join("build")
}

/// Tools and templates that cost minutes to make: `$AOS_CACHE_DIR`, else `$XDG_CACHE_HOME/aos`, else `~/.cache/aos`.
///
/// # Errors
/// When none of the three variables (`AOS_CACHE_DIR`, `XDG_CACHE_HOME`, `HOME`) is set, or the folder cannot be made.
pub fn cache_dir() -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let dir = set("AOS_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("aos")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("aos")))
        .context("no place for the tool cache: set AOS_CACHE_DIR (HOME is not set)")?;
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create the cache folder {}", dir.display()))?;
    Ok(dir)
}
