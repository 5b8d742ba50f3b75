//! Which server answers: whose it is, and which version.
//!
//! The two servers share a protocol and part in everything else; each place
//! that must know asks here, and nowhere is a version read from a text again.

use std::fmt;

use zdm_core::{Engine, Error, ErrorKind, Result};

use crate::position::ENGINE;

/// Whose words MariaDB's tables are in.
pub(crate) const MARIADB: Engine = Engine::new("mariadb");

/// Whether tables of that engine are described by this crate.
pub(crate) fn is_ours(engine: &Engine) -> bool {
    *engine == ENGINE || *engine == MARIADB
}

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Flavor {
    /// MySQL, and what is built from it (Percona Server, say).
    MySql,
    /// MariaDB.
    MariaDb,
}

impl Flavor {
    /// The name as it is written into identities.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        })
    }
}

/// A server that has told its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) flavor: Flavor,
    /// Major, minor, patch: `(8, 4, 0)`.
    pub(crate) version: (u16, u16, u16),
}

impl Server {
    /// Reads what a server says of itself: `8.4.0`, `10.11.6-MariaDB-log`,
    /// and in greetings `5.5.5-10.11.6-MariaDB-log`, since replicas of old
    /// took a major version of two digits for one.
    ///
    /// # Errors
    /// `Protocol` when there is no version in it.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let maria = text.contains("MariaDB");
        let plain = if maria { text.strip_prefix("5.5.5-").unwrap_or(text) } else { text };
        let digits = plain.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or("");
        let mut parts = digits.split('.').map(|part| part.parse::<u16>().ok());
        let mut part = || parts.next().flatten();
        match (part(), part()) {
            (Some(major), Some(minor)) => Ok(Self {
                flavor: if maria { Flavor::MariaDb } else { Flavor::MySql },
                version: (major, minor, part().unwrap_or(0)),
            }),
            _ => Err(Error::new(ErrorKind::Protocol, "the server did not tell its version")
                .with("version", text.escape_default())),
        }
    }

    /// Whose words its tables are in. The two servers share their log's
    /// positions, and not their types, collations and functions.
    pub(crate) fn engine(&self) -> Engine {
        if self.is_mariadb() { MARIADB } else { ENGINE }
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.flavor == Flavor::MariaDb
    }

    /// Whether it is a MySQL of that version or a later one.
    pub(crate) fn is_mysql_since(&self, major: u16, minor: u16, patch: u16) -> bool {
        self.flavor == Flavor::MySql && self.version >= (major, minor, patch)
    }

    /// Whether it is a MariaDB of that version or a later one.
    pub(crate) fn is_mariadb_since(&self, major: u16, minor: u16, patch: u16) -> bool {
        self.flavor == Flavor::MariaDb && self.version >= (major, minor, patch)
    }

    /// Refuses what is older than what this crate is made for.
    ///
    /// # Errors
    /// `Unsupported`.
    pub(crate) fn is_new_enough(&self) -> Result<()> {
        if self.is_mysql_since(5, 7, 0) || self.is_mariadb_since(10, 5, 0) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("{self} is too old: it must be MySQL 5.7 or MariaDB 10.5, or a later one"),
        ))
    }

    /// The statement that tells where the binary log ends.
    pub(crate) fn show_log_end(&self) -> &'static str {
        // The old words left MySQL with 8.4; the new ones came with 8.2.
        if self.is_mysql_since(8, 2, 0) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        write!(f, "{} {major}.{minor}.{patch}", self.flavor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart() {
        for (text, shown) in [
            ("8.4.0", "MySQL 8.4.0"),
            ("5.7.44-log", "MySQL 5.7.44"),
            ("8.0.35-27", "MySQL 8.0.35"),
            ("9.7.0-1", "MySQL 9.7.0"),
            ("10.11.6-MariaDB-0+deb12u1", "MariaDB 10.11.6"),
            ("5.5.5-10.11.6-MariaDB-0+deb12u1-log", "MariaDB 10.11.6"),
            ("11.8.2-MariaDB", "MariaDB 11.8.2"),
            ("9.0-x", "MySQL 9.0.0"),
        ] {
            assert_eq!(Server::read(text).unwrap().to_string(), shown);
        }
        for text in ["", "x", "8", "99999999.1.1", "MariaDB"] {
            assert_eq!(Server::read(text).unwrap_err().kind(), ErrorKind::Protocol, "{text}");
        }
    }

    #[test]
    fn versions_are_of_one_flavor() {
        let maria = Server::read("10.11.6-MariaDB").unwrap();
        assert!(!maria.is_mysql_since(5, 7, 0) && maria.is_mariadb_since(10, 11, 0));
        assert!(Server::read("10.4.9-MariaDB").unwrap().is_new_enough().is_err());
        assert!(Server::read("5.6.51").unwrap().is_new_enough().is_err());
        let names = ["8.1.0", "8.4.0"].map(|text| Server::read(text).unwrap().show_log_end());
        assert_eq!(names, ["SHOW MASTER STATUS", "SHOW BINARY LOG STATUS"]);
    }
}
