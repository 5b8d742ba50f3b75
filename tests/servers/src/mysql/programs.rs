//! The server program of one MySQL or MariaDB, wherever it came from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::Flavor;
use crate::account::Account;
use crate::command::run;
use crate::error::{Error, Result};
use crate::packages::Root;

/// A server program, and what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) flavor: Flavor,
    /// All that `--version` says.
    pub(crate) version: String,
    /// Its number: `10.11.18`.
    pub(crate) number: String,
    server: PathBuf,
    /// The folder with `share` in it.
    base: PathBuf,
    /// Where it was unpacked, if it is not installed.
    root: Option<Root>,
}

impl Programs {
    /// Asks an installed server for its version.
    pub(crate) fn installed(server: &Path) -> Result<Self> {
        // `/usr/sbin/mysqld` has its messages in `/usr/share`.
        let base = server.ancestors().nth(2).unwrap_or(Path::new("/usr")).to_owned();
        Self::probe(server.into(), base, None)
    }

    /// Asks a server out of packages for its version.
    pub(crate) fn unpacked(root: Root) -> Result<Self> {
        let server = ["usr/sbin/mariadbd", "usr/sbin/mysqld"].map(|path| root.path(path));
        let server = server.iter().find(|path| path.is_file()).unwrap_or(&server[1]).clone();
        Self::probe(server, root.path("usr"), Some(root))
    }

    fn probe(server: PathBuf, base: PathBuf, root: Option<Root>) -> Result<Self> {
        let doing = || format!("asking {} for its version", server.display());
        if !Account::of_servers().reaches(&server) {
            return Err(
                Error::new(doing()).because("it is not there, or closed to the account of the servers")
            );
        }
        let mut found = Self {
            flavor: Flavor::MySql,
            version: String::new(),
            number: String::new(),
            server: server.clone(),
            base,
            root,
        };
        let output = run(found.command().args(["--no-defaults", "--version"]), doing)?;
        output.trim().clone_into(&mut found.version);
        (found.flavor, found.number) =
            read(&found.version).ok_or_else(|| Error::new(doing()).because(format!("it said '{output}'")))?;
        Ok(found)
    }

    /// The command that runs the server as the servers' account, deaf to the
    /// environment that a developer may have set up for another server.
    pub(crate) fn command(&self) -> Command {
        let mut command = match &self.root {
            Some(root) => root.command(&self.server),
            None => Command::new(&self.server),
        };
        Account::of_servers().run(&mut command).current_dir("/");
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("MYSQL") || name.starts_with("MARIADB") {
                command.env_remove(&*name);
            }
        }
        command.env("LC_ALL", "C").env("TZ", "UTC");
        command
    }

    /// The command of a client that came with it, as this process's account.
    pub(crate) fn client(&self, name: &str) -> Result<Command> {
        let path = self.base.join("bin").join(name);
        match &self.root {
            _ if !path.is_file() => Err(Error::new(format!("finding {name}"))
                .because(format!("{} is not there", path.display()))
                .advise("install the client programs (Debian: apt-get install mariadb-client)")),
            Some(root) => Ok(root.command(&path)),
            None => Ok(Command::new(path)),
        }
    }

    /// Whether it has a plugin in a library of this name.
    pub(crate) fn has_plugin(&self, library: &str) -> bool {
        let folders = ["lib/mysql/plugin", "lib64/mysql/plugin", "lib/mariadb/plugin", "lib/plugin"];
        folders.iter().any(|folder| self.base.join(folder).join(format!("{library}.so")).is_file())
    }

    /// The settings that tell the server where its own files are. An installed
    /// one knows.
    pub(crate) fn places(&self) -> Vec<(&'static str, PathBuf)> {
        if self.root.is_none() {
            return Vec::new();
        }
        let share = self.share();
        vec![
            ("basedir", self.base.clone()),
            ("character_sets_dir", share.join("charsets")),
            ("plugin_dir", self.base.join("lib/mysql/plugin")),
            ("lc_messages_dir", share),
        ]
    }

    /// The folder with messages, character sets and, of MariaDB, the SQL that
    /// fills a new data folder.
    pub(crate) fn share(&self) -> PathBuf {
        let share = self.base.join("share");
        // MariaDB has moved its files to a folder of its own name.
        let own = share.join("mariadb");
        match own.join("maria_add_gis_sp_bootstrap.sql").is_file() {
            true => own,
            false => share.join("mysql"),
        }
    }

    /// Whether this is the version, or one of the versions, that `wanted` names.
    pub(crate) fn is(&self, wanted: Option<&str>) -> bool {
        wanted.is_none_or(|wanted| matches(&self.number, wanted))
    }

    /// Whether its number is at least this.
    pub(crate) fn at_least(&self, major: u32, minor: u32) -> bool {
        let mut parts = self.number.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
    }
}

/// Whether `10.11.18` is a `10.11`: part by part, as far as the latter goes.
pub(crate) fn matches(number: &str, wanted: &str) -> bool {
    let mut parts = number.split('.');
    wanted.split('.').all(|part| parts.next() == Some(part))
}

/// The flavor and the number in `mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))`
/// or `mariadbd  Ver 10.11.18-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64`.
fn read(version: &str) -> Option<(Flavor, String)> {
    let after = version.split_once(" Ver ")?.1;
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
    let flavor = if version.contains("MariaDB") { Flavor::MariaDb } else { Flavor::MySql };
    (!after[..end].is_empty()).then(|| (flavor, after[..end].into()))
}

#[cfg(test)]
mod tests {
    use super::{matches, read};
    use crate::mysql::Flavor;

    #[test]
    fn the_version_is_read() {
        let mysql = "/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))";
        assert_eq!(read(mysql), Some((Flavor::MySql, "9.7.4".into())));
        let mariadb = "mariadbd  Ver 10.11.18-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)";
        assert_eq!(read(mariadb), Some((Flavor::MariaDb, "10.11.18".into())));
        assert_eq!(read("mysqld"), None);
    }

    #[test]
    fn a_version_is_as_exact_as_it_is_written() {
        for (wanted, is) in
            [("10", true), ("10.11", true), ("10.1", false), ("10.11.18", true), ("11", false)]
        {
            assert_eq!(matches("10.11.18", wanted), is, "{wanted}");
        }
    }
}
