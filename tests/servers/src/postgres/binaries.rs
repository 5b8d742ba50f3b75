//! The programs of one PostgreSQL, wherever they came from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::Account;
use crate::command::run;
use crate::error::{Error, Result};

/// The folder with the programs of one version.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(crate) dir: PathBuf,
    pub(crate) major: u16,
    /// All that `postgres --version` says.
    pub(crate) version: String,
}

impl Binaries {
    /// Asks the server in `dir` for its version, as the account that will run it.
    pub(crate) fn probe(dir: &Path) -> Result<Self> {
        let doing = || format!("asking {} for its version", dir.join("postgres").display());
        if !Account::of_servers().reaches(&dir.join("postgres")) {
            return Err(
                Error::new(doing()).because("it is not there, or closed to the account of the servers")
            );
        }
        let mut found = Self { dir: dir.into(), major: 0, version: String::new() };
        let output = run(found.command("postgres").arg("--version"), doing)?;
        output.trim().clone_into(&mut found.version);
        found.major = major(&found.version)
            .ok_or_else(|| Error::new(doing()).because(format!("it said '{output}'")))?;
        Ok(found)
    }

    /// The command that runs one of its programs as the servers' account, deaf
    /// to the environment that a developer may have set up for another server.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.dir.join(program));
        Account::of_servers().run(&mut command).current_dir("/");
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").env("TZ", "UTC");
        command
    }

    /// Whether a program of this name is among them.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.dir.join(program).is_file()
    }
}

/// The major version in `postgres (PostgreSQL) 15.4 (Debian …)` or `… 18beta1`.
fn major(version: &str) -> Option<u16> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.4 (Debian 15.4-1.pgdg120+1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("postgres"), None);
    }
}
