//! Fetches PostgreSQL from Debian or Ubuntu, without installing it.
//!
//! `apt-get` is given a state of its own (lists, cache), so it needs no rights
//! and leaves the system as it is; the sources, the proxy and the keys are the
//! machine's, and apt checks the signatures. It downloads PostgreSQL and what
//! it needs that is not installed, and `dpkg -x` unpacks that into the cache.
//! The C library stays the system's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::binaries::Binaries;
use super::options::Version;
use crate::cache::{Cache, create_open_dir, open_to_all};
use crate::command::run;
use crate::error::{Doing, Error, Result};

/// What is installed.
const STATUS: &str = "/var/lib/dpkg/status";

/// The wanted version, or that of the distribution, out of the cache or from a mirror.
pub(crate) fn fetch(version: Version) -> Result<Binaries> {
    let (entry, package) = match version {
        Version::Any => ("apt-postgres".into(), "postgresql".into()),
        Version::Major(major) => (format!("apt-postgres-{major}"), format!("postgresql-{major}")),
    };
    let root = Cache::open()?.entry(&entry, |partial| {
        unpack(&package, partial)?;
        // What does not run is not kept.
        probe(partial).map(drop)
    })?;
    probe(&root)
}

fn probe(root: &Path) -> Result<Binaries> {
    let versions = root.join("usr/lib/postgresql");
    let doing = || format!("looking into {}", versions.display());
    let dir = fs::read_dir(&versions).doing(doing)?.next().transpose().doing(doing)?;
    let dir = dir.ok_or_else(|| Error::new(doing()).because("it is empty"))?.path().join("bin");
    Binaries::probe(&dir, Some(libraries(root)))
}

fn unpack(package: &str, into: &Path) -> Result<()> {
    let state = into.join("apt");
    for dir in ["lists/partial", "archives/partial"] {
        create_open_dir(&state.join(dir))?;
    }
    let status = state.join("status");
    fs::write(&status, without_postgres(&fs::read_to_string(STATUS).doing(|| format!("reading {STATUS}"))?))
        .doing(|| format!("writing {}", status.display()))?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
        for option in [
            format!("Dir::State::lists={}", state.join("lists").display()),
            format!("Dir::State::status={}", status.display()),
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
    open_to_all(into)
}

/// The list of what is installed, but for PostgreSQL: that is fetched even if
/// it is, since it may be gone tomorrow.
fn without_postgres(status: &str) -> String {
    let ours = |name: &str| name.contains("postgresql") || name.starts_with("libpq");
    let mut kept = String::new();
    for paragraph in status.split_inclusive("\n\n") {
        let name = paragraph.lines().find_map(|line| line.strip_prefix("Package: "));
        if !name.is_some_and(ours) {
            kept.push_str(paragraph);
        }
    }
    kept
}

/// Debian keeps libraries in a folder named for the architecture.
fn libraries(root: &Path) -> PathBuf {
    root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::without_postgres;

    #[test]
    fn only_postgres_is_forgotten() {
        let status = "Package: libc6\nVersion: 2\n\nPackage: postgresql-15\nVersion: 15\n\nPackage: tar\n\n";
        assert_eq!(without_postgres(status), "Package: libc6\nVersion: 2\n\nPackage: tar\n\n");
    }
}
