//! Programs out of Debian packages, unpacked without being installed.
//!
//! `apt-get` is given a configuration of its own: its lists and archives are in
//! the cache, it knows of no installed package, so that even the C library
//! comes along, and its only source is one suite of the mirror that the machine
//! itself uses. So it needs no rights, leaves the system as it is, and can take
//! from a suite (Debian 13, sid) what this system does not have. apt checks the
//! signatures; only the date until which a list is valid is not looked at,
//! since a frozen mirror is as good as any.
//!
//! What is unpacked runs through its own loader ([`Root::command`]), so the
//! libraries of the system and those of the packages never meet.

mod root;
mod sources;

use std::fs;
use std::path::Path;
use std::process::Command;

pub(crate) use self::root::Root;
pub(crate) use self::sources::{Suite, suites};
use crate::cache::{create_open_dir, open_to_all};
use crate::command::run;
use crate::error::{Doing, Error, Result};

/// apt with one suite, in a folder of its own.
#[derive(Debug)]
pub(crate) struct Apt<'a> {
    suite: &'a Suite,
    state: &'a Path,
}

impl<'a> Apt<'a> {
    /// Reads the lists of packages of a suite. `state` is the folder for them.
    pub(crate) fn open(suite: &'a Suite, state: &'a Path) -> Result<Self> {
        for dir in ["lists/partial", "archives/partial", "sources"] {
            create_open_dir(&state.join(dir))?;
        }
        let write = |file: &str, text: &str| {
            let path = state.join(file);
            fs::write(&path, text).doing(|| format!("writing {}", path.display()))
        };
        write("status", "")?;
        write("apt.conf", &conf(state))?;
        let apt = Self { suite, state };
        let mut refused = no_apt("it has none");
        for source in suite.sources() {
            write("sources/one.sources", &source)?;
            match apt.run("apt-get", &["update", "--error-on=any"]) {
                Ok(_) => return Ok(apt),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// The version that the suite has of a package, if it has one.
    pub(crate) fn version(&self, package: &str) -> Result<Option<String>> {
        let shown = self.run("apt-cache", &["policy", package])?;
        let candidate = shown.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(candidate.filter(|&version| version != "(none)").map(Into::into))
    }

    /// The names of packages that match a regular expression.
    pub(crate) fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found = self.run("apt-cache", &["search", "--names-only", pattern])?;
        Ok(found.lines().filter_map(|line| line.split_once(" - ")).map(|(name, _)| name.into()).collect())
    }

    /// Downloads `packages` with all that they need, and `alone` without, and
    /// unpacks them. Removes its own folder: there is nothing more to ask.
    pub(crate) fn unpack(self, packages: &[&str], alone: &[&str], into: &Path) -> Result<()> {
        let mut words = vec!["install", "--download-only", "--yes"];
        words.extend(packages);
        self.run("apt-get", &words)?;
        if !alone.is_empty() {
            let mut words = vec!["download"];
            words.extend(alone);
            self.run("apt-get", &words)?;
        }
        let archives = self.state.join("archives");
        let doing = || format!("looking into {}", archives.display());
        for entry in fs::read_dir(&archives).doing(doing)? {
            let path = entry.doing(doing)?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                let mut dpkg = Command::new("dpkg");
                dpkg.arg("-x").arg(&path).arg(into);
                run(&mut dpkg, || format!("unpacking {}", path.display()))?;
            }
        }
        fs::remove_dir_all(self.state).doing(|| format!("removing {}", self.state.display()))?;
        open_to_all(into)
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command.arg("-q").arg("-c").arg(self.state.join("apt.conf")).args(words);
        // Where `apt-get download` puts what it fetches.
        command.current_dir(self.state.join("archives"));
        run(&mut command, || {
            format!("asking {} for {}: {program} {}", self.suite, words[words.len() - 1], words[0])
        })
    }
}

/// What differs from the machine's own configuration, which is read before
/// this, for its proxies and keys.
fn conf(state: &Path) -> String {
    let state = state.display();
    // Each path for itself, since what the machine has set would win over a
    // folder that we set for all of them.
    format!(
        r#"Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "{state}/status";
Dir::State::extended_states "{state}/extended_states";
Dir::Cache "{state}";
Dir::Cache::archives "{state}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{state}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Default-Release "";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Debug::NoLocking "true";
"#
    )
}

/// Explains that nothing can be fetched on a system that is not Debian's kin.
fn no_apt(why: impl std::fmt::Display) -> Error {
    Error::new("looking for a Debian mirror in /etc/apt")
        .because(why.to_string())
        .advise("fetching packages needs Debian or Ubuntu with apt; elsewhere, install the server")
}
