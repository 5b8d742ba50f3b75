//! How to reach a MySQL or MariaDB server, and what a run needs to know of it.
//!
//! Users know the words already: a `mysql://` or `mariadb://` URL, the option
//! names of `mysql` (`ssl-mode`, `ssl-ca`, `socket`, …), the `[client]` group
//! of `~/.my.cnf`, and `MYSQL_PWD`. Which of the two servers answers is found
//! out when we connect; the scheme does not decide it. Everything is checked
//! once, in [`MySqlConfigBuilder::build`]; a [`MySqlConfig`] that exists is
//! valid.
//!
//! ```
//! use zdm_mysql::config::{MySqlConfig, SslMode};
//!
//! let config = MySqlConfig::parse("mysql://mover:s%2Fcret@db1:3307/shop?ssl-mode=required")?;
//! assert_eq!((config.host(), config.port(), config.database()), ("db1", 3307, Some("shop")));
//! assert_eq!(config.ssl_mode(), SslMode::Required);
//!
//! let config = MySqlConfig::builder().host("db1").user("mover").server_id(4711_u32).build()?;
//! assert_eq!(config.server_id(), Some(4711));
//! # Ok::<(), zdm_core::Error>(())
//! ```
//!
//! What it does not do: several hosts in one URL (a migration has one source;
//! name it), login paths (`.mylogin.cnf`), the classic `key=value` strings.

mod builder;
mod modes;
mod optionfile;
mod params;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zdm_core::{Error, Result};

pub use self::builder::MySqlConfigBuilder;
pub use self::modes::{Compression, SslMode};
pub use zdm_core::net::{RootCert, Secret};

/// A checked description of one MySQL or MariaDB server, and of the names and
/// limits that a run uses there.
///
/// Invariants: the host is one name or address; the user is known; no text
/// contains a zero byte; a mode that verifies has a certificate to verify
/// against. Serialising leaves the password out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "MySqlConfigBuilder", into = "MySqlConfigBuilder")]
#[non_exhaustive]
pub struct MySqlConfig {
    host: String,
    port: u16,
    socket: Option<PathBuf>,
    user: String,
    database: Option<String>,
    password: Option<Secret>,
    ssl_mode: SslMode,
    ssl_ca: Option<RootCert>,
    client_cert: Option<(PathBuf, PathBuf)>,
    compression: Option<Compression>,
    connect_timeout: Duration,
    keepalive: Option<Duration>,
    lock_timeout: Duration,
    server_id: Option<u32>,
    heartbeat: Duration,
    undecided_limit: u64,
    schema: String,
    begin_timeout: Duration,
}

impl MySqlConfig {
    /// Starts a configuration from nothing but defaults and environment.
    pub fn builder() -> MySqlConfigBuilder {
        MySqlConfigBuilder::default()
    }

    /// Reads a `mysql://` or `mariadb://` URL, fills what is missing from the
    /// option file and the environment, and checks it.
    ///
    /// # Errors
    ///
    /// [`Config`](zdm_core::ErrorKind::Config), never with the text itself in
    /// the message, since that may hold a password.
    pub fn parse(text: &str) -> Result<Self> {
        MySqlConfigBuilder::parse(text)?.build()
    }

    /// The host's name or address. With a [`socket`](Self::socket), only a
    /// name to show.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file of the Unix socket to connect through, if that is how.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The user to log in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The default database of our sessions. Names of tables are always
    /// written with theirs.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The password, wherever it was found.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Whether and how far TLS is insisted upon.
    pub fn ssl_mode(&self) -> SslMode {
        self.ssl_mode
    }

    /// What the server's certificate is checked against.
    pub fn ssl_ca(&self) -> Option<&RootCert> {
        self.ssl_ca.as_ref()
    }

    /// Our own certificate and its key, as paths of PEM files.
    pub fn client_cert(&self) -> Option<(&Path, &Path)> {
        self.client_cert.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()))
    }

    /// How the protocol is compressed, if at all.
    pub fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// The limit for one attempt to connect, authentication included.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// The silence after which a TCP peer is asked whether it still lives.
    pub fn keepalive(&self) -> Option<Duration> {
        self.keepalive
    }

    /// How long a statement of ours may wait for a lock, of a row or of a
    /// table's metadata.
    pub fn lock_timeout(&self) -> Duration {
        self.lock_timeout
    }

    /// The server id under which changes are read, if it was chosen.
    pub fn server_id(&self) -> Option<u32> {
        self.server_id
    }

    /// How often the server tells of its life while its log is silent.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// The most bytes of XA transactions that are prepared and not yet
    /// decided which are kept in memory.
    pub fn undecided_limit(&self) -> u64 {
        self.undecided_limit
    }

    /// The database (MySQL says schema as well) that holds our own tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// How long the start of a run may wait for transactions in progress.
    pub fn begin_timeout(&self) -> Duration {
        self.begin_timeout
    }
}

impl FromStr for MySqlConfig {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Shows where it points to, without password and options.
impl fmt::Display for MySqlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "{}@{}", self.user, socket.display())?,
            None => write!(f, "{}@{}:{}", self.user, self.host, self.port)?,
        }
        self.database.iter().try_for_each(|database| write!(f, "/{database}"))
    }
}

#[cfg(test)]
mod tests;
