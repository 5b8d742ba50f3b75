//! Fetches PostgreSQL out of the packages of Debian or Ubuntu.
//!
//! What comes from another suite than the system's own needs that suite's C
//! library, and `initdb` starts `postgres` by itself. So each program gets a
//! script in its place that runs it through its own loader.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::binaries::Binaries;
use super::options::Version;
use crate::cache::Cache;
use crate::error::{Doing, Error, Result};
use crate::packages::{Apt, Root, Suite, suites};

/// Which of Debian's suites has which version: the others have none of its own.
const KNOWN: [(u16, &str); 4] = [(13, "bullseye"), (15, "bookworm"), (17, "trixie"), (18, "sid")];

/// The wanted version, or that of the distribution, out of the cache or from a mirror.
pub(crate) fn fetch(version: Version) -> Result<Binaries> {
    let suites = suites()?;
    let mut refusals = String::new();
    let has = |suite: &&Suite| match version {
        Version::Major(major) if suites.len() > 1 => KNOWN.contains(&(major, suite.name())),
        _ => true,
    };
    for suite in suites.iter().filter(has) {
        match of_suite(suite, version) {
            Ok(binaries) => return Ok(binaries),
            Err(error) => refusals.push_str(&format!("\n  - {suite}: {error}")),
        }
    }
    if refusals.is_empty() {
        refusals.push_str("no suite of the mirror has it");
    }
    Err(Error::new(format!("fetching {version} with apt")).because(refusals))
}

fn of_suite(suite: &Suite, version: Version) -> Result<Binaries> {
    let dir = Cache::open()?.entry(&format!("apt-postgres-{suite}"), |partial| {
        let state = partial.join("apt");
        let apt = Apt::open(suite, &state)?;
        let name = apt.names("^postgresql-[0-9]+$")?.pop();
        let name = name.ok_or_else(|| Error::new("looking for postgresql").because("it has none"))?;
        apt.unpack(&[&name], &[], partial)?;
        let root = Root::open(partial)?;
        let programs = programs(&root)?;
        for entry in
            fs::read_dir(&programs).doing(|| format!("looking into {}", programs.display()))?.flatten()
        {
            wrap(&root, &entry.path())?;
        }
        // What does not run is not kept.
        Binaries::probe(&programs).map(drop)
    })?;
    let binaries = Binaries::probe(&programs(&Root::open(&dir)?)?)?;
    match version {
        Version::Major(major) if binaries.major != major => {
            Err(Error::new("looking into the cache").because(format!("it has {}", binaries.version)))
        }
        _ => Ok(binaries),
    }
}

/// The folder with the programs: `usr/lib/postgresql/15/bin`.
fn programs(root: &Root) -> Result<PathBuf> {
    let versions = root.path("usr/lib/postgresql");
    let doing = || format!("looking into {}", versions.display());
    let dir = fs::read_dir(&versions).doing(doing)?.next().transpose().doing(doing)?;
    Ok(dir.ok_or_else(|| Error::new(doing()).because("it is empty"))?.path().join("bin"))
}

/// Puts a script in the place of a program, which stays beside it: PostgreSQL
/// finds its files by the folder that it was started from.
fn wrap(root: &Root, program: &Path) -> Result<()> {
    let doing = || format!("wrapping {}", program.display());
    let is_binary = fs::read(program).doing(doing)?.starts_with(b"\x7fELF");
    if !is_binary {
        return Ok(());
    }
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    fs::rename(program, program.with_file_name(format!("{name}.real"))).doing(doing)?;
    let (loader, libraries) = root.relative_loader();
    let libraries = libraries.map(|folder| format!("$root/{folder}")).join(":");
    // The folder of the cache gets its name only when all is done: nothing here
    // may hold it.
    let script = format!(
        "#!/bin/sh\nhere=${{0%/*}}\nroot=${{here%/usr/lib/postgresql/*}}\n\
         unset LD_LIBRARY_PATH LD_PRELOAD\n\
         exec \"$root/{loader}\" --library-path \"{libraries}\" \"$here/{name}.real\" \"$@\"\n"
    );
    fs::write(program, script).doing(doing)?;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).doing(doing)
}
