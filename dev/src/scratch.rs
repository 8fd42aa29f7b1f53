//! Folders for throwaway servers, under the ignored `.aos/`. They go with their owner; what a killed owner left behind
//! is removed by the next one. It removes only folders that it made, and none whose owner lives.

use std::fs::{File, Permissions, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::paths;
use crate::postgres::can_use;
use crate::process::User;

/// A folder that is removed on drop. Others may enter it, as PostgreSQL's user must, but not list it.
pub struct Scratch {
    dir: tempfile::TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes a folder, after removing those of owners that were killed.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn new() -> Result<Self> {
        let parent = parent()?;
        // Held while folders are made or swept: a folder without its lock is never seen by another.
        let turn = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(parent.join("lock"))?;
        turn.lock()?;
        sweep(&parent);
        let dir = tempfile::Builder::new().prefix("cloud-").tempdir_in(&parent)?;
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
        let lock = File::create(dir.path().join("owner.lock"))?;
        lock.try_lock().context("a new folder's lock is free")?;
        Ok(Self { dir, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// `.aos/scratch`, or a folder of the system's temporary one when PostgreSQL's user cannot get into the repository.
fn parent() -> Result<PathBuf> {
    let inside = paths::state_dir().join("scratch");
    std::fs::create_dir_all(&inside).with_context(|| format!("cannot create {}", inside.display()))?;
    match User::for_servers()? {
        Some(user) if !can_use(&user, &inside) => {
            let name = format!(
                "aos-scratch-{}",
                crate::secrets::fingerprint(inside.as_os_str().as_encoded_bytes())
            );
            let elsewhere = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&elsewhere).with_context(|| format!("cannot create {}", elsewhere.display()))?;
            std::fs::set_permissions(&elsewhere, Permissions::from_mode(0o755))?;
            Ok(elsewhere)
        }
        _ => Ok(inside),
    }
}

fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let Ok(lock) = File::open(entry.path().join("owner.lock")) else {
            continue;
        };
        match lock.try_lock() {
            // Servers of a killed owner may be writing still; then a later sweep takes the rest.
            Ok(()) => drop(std::fs::remove_dir_all(entry.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}
