//! Fetches PostgreSQL from Debian or Ubuntu, without installing it.
//!
//! `apt-get` is given a state of its own (lists, cache), so it needs no rights
//! and leaves the system as it is; the sources, the proxy and the keys are the
//! machine's, and apt checks the signatures. It downloads what is not yet
//! installed, and `dpkg -x` unpacks that into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::binaries::{Binaries, run};
use super::npm::open;
use super::options::Version;
use crate::cache::{Cache, create_open_dir};
use crate::error::{Doing, Error, Result};

/// The wanted version, or that of the distribution, out of the cache or from a mirror.
pub(crate) fn fetch(version: Version) -> Result<Binaries> {
    let (entry, package) = match version {
        Version::Any => ("apt-postgres".into(), "postgresql".into()),
        Version::Major(major) => (format!("apt-postgres-{major}"), format!("postgresql-{major}")),
    };
    let root = Cache::open()?.entry(&entry, |partial| unpack(&package, partial))?;
    let versions = root.join("usr/lib/postgresql");
    let doing = || format!("looking into {}", versions.display());
    let dir = fs::read_dir(&versions).doing(doing)?.next().transpose().doing(doing)?;
    let dir = dir.ok_or_else(|| Error::new(doing()).because("it is empty"))?.path().join("bin");
    Binaries::probe(&dir, Some(libraries(&root)))
}

fn unpack(package: &str, into: &Path) -> Result<()> {
    let state = into.join("apt");
    for dir in ["lists/partial", "archives/partial"] {
        create_open_dir(&state.join(dir))?;
    }
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
        for option in [
            format!("Dir::State::lists={}", state.join("lists").display()),
            format!("Dir::Cache={}", state.display()),
            format!("Dir::Cache::archives={}", state.join("archives").display()),
            "Debug::NoLocking=true".into(),
            "APT::Sandbox::User=".into(),
            "APT::Install-Recommends=false".into(),
            "Acquire::Languages=none".into(),
        ] {
            command.arg("-o").arg(option);
        }
        run(command.args(words), || format!("fetching {package} with apt-get {}", words[0]))
    };
    apt(&["update"])?;
    apt(&["install", "--download-only", "--yes", package])?;
    let archives = state.join("archives");
    let doing = || format!("looking into {}", archives.display());
    for entry in fs::read_dir(&archives).doing(doing)? {
        let path = entry.doing(doing)?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(into), || {
                format!("unpacking {}", path.display())
            })?;
        }
    }
    fs::remove_dir_all(&state).doing(|| format!("removing {}", state.display()))?;
    open(into)
}

/// Debian keeps libraries in a folder named for the architecture.
fn libraries(root: &Path) -> PathBuf {
    root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}
