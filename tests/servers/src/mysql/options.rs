//! What kind of MySQL or MariaDB server a test asks for.

use std::fmt;
use std::time::Duration;

use super::user::{AuthPlugin, User};
use crate::tls::TlsMode;

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// MySQL.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        })
    }
}

/// Where the server may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Origin {
    /// `ZDM_TEST_MYSQL_URL` or `ZDM_TEST_MARIADB_URL`, then what is installed,
    /// then packages.
    #[default]
    Any,
    /// Only binaries that are installed on this machine.
    Installed,
    /// Only packages, fetched into the cache.
    Packages,
}

/// How much the binlog tells of columns (`binlog_row_metadata`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RowMetadata {
    /// What the server does by itself: `MINIMAL` on MySQL, `NO_LOG` on MariaDB.
    #[default]
    Default,
    /// `MINIMAL`: types, signs, character sets.
    Minimal,
    /// `FULL`: names, keys and the words of enums as well.
    Full,
}

/// What kind of server to start; the default is one that zdm can read from.
///
/// By default: the binlog on, with whole row images and GTIDs, commits flushed
/// to the disk, TCP on 127.0.0.1 and a unix socket, UTC, `utf8mb4`,
/// `LOAD DATA LOCAL` allowed, no TLS, the superuser `root` without a password.
/// Buffers are small, so that many servers run side by side.
///
/// ```
/// use zdm_servers::TlsMode;
/// use zdm_servers::mysql::{AuthPlugin, MySqlOptions, RowMetadata, User};
///
/// let options = MySqlOptions::mariadb()
///     .version("10.11")
///     .row_metadata(RowMetadata::Full)
///     .setting("max_connections", 5)
///     .tls(TlsMode::Offered)
///     .user(User::new("me", "secret").plugin(AuthPlugin::Ed25519))
///     .database("shop");
/// ```
#[derive(Debug, Clone)]
pub struct MySqlOptions {
    pub(crate) flavor: Flavor,
    pub(crate) version: Option<String>,
    pub(crate) origin: Origin,
    pub(crate) binlog: bool,
    pub(crate) gtids: bool,
    pub(crate) row_metadata: RowMetadata,
    pub(crate) durable: bool,
    pub(crate) local_infile: bool,
    pub(crate) tls: TlsMode,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) users: Vec<User>,
    pub(crate) databases: Vec<String>,
    pub(crate) patience: Duration,
}

impl MySqlOptions {
    /// A server of this flavor.
    pub fn new(flavor: Flavor) -> Self {
        Self {
            flavor,
            version: None,
            origin: Origin::Any,
            binlog: true,
            gtids: true,
            row_metadata: RowMetadata::Default,
            durable: true,
            local_infile: true,
            tls: TlsMode::Off,
            settings: Vec::new(),
            users: Vec::new(),
            databases: Vec::new(),
            patience: Duration::from_secs(60),
        }
    }

    /// A MySQL.
    pub fn mysql() -> Self {
        Self::new(Flavor::MySql)
    }

    /// A MariaDB.
    pub fn mariadb() -> Self {
        Self::new(Flavor::MariaDb)
    }

    /// Whose server it will be.
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Asks for a version, as exactly as it is written: `9`, `10.11`. Without
    /// it, the one that is installed or that comes first among the packages.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Limits where the server may come from.
    #[must_use]
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Whether there is a binlog.
    #[must_use]
    pub fn binlog(mut self, binlog: bool) -> Self {
        self.binlog = binlog;
        self
    }

    /// Whether a MySQL gives each transaction a GTID. A MariaDB always does.
    #[must_use]
    pub fn gtids(mut self, gtids: bool) -> Self {
        self.gtids = gtids;
        self
    }

    /// How much the binlog tells of columns.
    #[must_use]
    pub fn row_metadata(mut self, metadata: RowMetadata) -> Self {
        self.row_metadata = metadata;
        self
    }

    /// Whether what is committed is flushed to the disk: `sync_binlog` and
    /// `innodb_flush_log_at_trx_commit` of 1, or else 0 and 2. A killed server
    /// loses nothing without it: only a killed machine would.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether clients may `LOAD DATA LOCAL`.
    #[must_use]
    pub fn local_infile(mut self, allowed: bool) -> Self {
        self.local_infile = allowed;
        self
    }

    /// Whether the server speaks TLS.
    #[must_use]
    pub fn tls(mut self, tls: TlsMode) -> Self {
        self.tls = tls;
        self
    }

    /// Adds a line to the configuration file. The last one for a name wins,
    /// also over the defaults. An empty value makes it the name alone.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// Adds a user, who can log in over TCP.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Adds a database.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.databases.push(name.into());
        self
    }

    /// How long the server may take to become ready: a minute by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Whether a server that we did not start can do: nothing was asked of it
    /// that is in its configuration.
    pub(crate) fn is_plain(&self) -> bool {
        self.origin == Origin::Any
            && self.version.is_none()
            && self.binlog
            && self.gtids
            && self.row_metadata == RowMetadata::Default
            && self.durable
            && self.local_infile
            && self.tls == TlsMode::Off
            && self.settings.is_empty()
            && self.users.is_empty()
    }

    /// Whether a user logs in with a plugin that MariaDB has in a file.
    pub(crate) fn needs_ed25519(&self) -> bool {
        self.users.iter().any(|user| user.plugin == AuthPlugin::Ed25519)
    }

    /// What was asked for, in words.
    pub(crate) fn wanted(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.flavor),
            None => self.flavor.to_string(),
        }
    }
}
