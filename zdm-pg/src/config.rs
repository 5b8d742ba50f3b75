//! How to reach a PostgreSQL server, and what a run needs to know of it.
//!
//! Users know the words already: a `postgres://` URL or libpq's
//! `key=value` string, the `PG…` environment variables, `~/.pgpass`, and the
//! five `sslmode`s mean here what they mean to `psql`. Everything is checked
//! once, in [`PgConfigBuilder::build`]; a [`PgConfig`] that exists is valid.
//!
//! ```
//! use zdm_pg::config::{PgConfig, SslMode};
//!
//! let config = PgConfig::parse("postgres://mover:s%2Fcret@db1:5433/shop?sslmode=require")?;
//! assert_eq!((config.host(), config.port(), config.dbname()), ("db1", 5433, "shop"));
//! assert_eq!(config.sslmode(), SslMode::Require);
//!
//! let config = PgConfig::builder().host("db1").user("mover").slot("zdm_shop").build()?;
//! assert_eq!(config.slot(), Some("zdm_shop"));
//! # Ok::<(), zdm_core::Error>(())
//! ```
//!
//! What it does not do: several hosts in one string (a migration has one
//! source; name the primary), service files, GSSAPI.

mod builder;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod modes;
mod params;
mod passfile;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zdm_core::{Error, Result};

pub use self::builder::PgConfigBuilder;
pub use self::modes::{ChannelBinding, SslMode};
pub use zdm_core::net::{RootCert, Secret};

/// A checked description of one PostgreSQL server and database, and of the
/// names that a run uses there.
///
/// Invariants: the host is one name, address or socket folder; the user is
/// known; no text contains a zero byte; a mode that verifies has a
/// certificate to verify against. Serialising leaves the password out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "PgConfigBuilder", into = "PgConfigBuilder")]
#[non_exhaustive]
pub struct PgConfig {
    host: String,
    hostaddr: Option<IpAddr>,
    port: u16,
    user: String,
    dbname: String,
    password: Option<Secret>,
    sslmode: SslMode,
    sslrootcert: Option<RootCert>,
    client_cert: Option<(std::path::PathBuf, std::path::PathBuf)>,
    channel_binding: ChannelBinding,
    application_name: String,
    options: Option<String>,
    connect_timeout: Duration,
    answer_timeout: Duration,
    keepalive: Option<Keepalive>,
    slot: Option<String>,
    publication: Option<String>,
    schema: String,
    status_interval: Duration,
    begin_timeout: Duration,
    streaming: bool,
    failover: bool,
}

/// When a silent TCP peer is asked whether it still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
}

impl PgConfig {
    /// Starts a configuration from nothing but defaults and environment.
    pub fn builder() -> PgConfigBuilder {
        PgConfigBuilder::default()
    }

    /// Reads a `postgres://` URL or a `key=value` string, fills what is
    /// missing from the environment and the password file, and checks it.
    ///
    /// # Errors
    ///
    /// [`Config`](zdm_core::ErrorKind::Config), never with the text itself in
    /// the message, since that may hold a password.
    pub fn parse(text: &str) -> Result<Self> {
        PgConfigBuilder::parse(text)?.build()
    }

    /// The host's name or address, or the folder of its Unix socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address to connect to, if it is not to be looked up from the host.
    pub fn hostaddr(&self) -> Option<IpAddr> {
        self.hostaddr
    }

    /// The port; also part of a Unix socket's file name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file of the Unix socket, if the host is a folder.
    pub fn socket_path(&self) -> Option<std::path::PathBuf> {
        self.host.starts_with('/').then(|| Path::new(&self.host).join(format!(".s.PGSQL.{}", self.port)))
    }

    /// The user to log in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database.
    pub fn dbname(&self) -> &str {
        &self.dbname
    }

    /// The password, wherever it was found.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Whether and how far TLS is insisted upon.
    pub fn sslmode(&self) -> SslMode {
        self.sslmode
    }

    /// What the server's certificate is checked against.
    pub fn sslrootcert(&self) -> Option<&RootCert> {
        self.sslrootcert.as_ref()
    }

    /// Our own certificate and its key, as paths of PEM files.
    pub fn client_cert(&self) -> Option<(&Path, &Path)> {
        self.client_cert.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()))
    }

    /// Whether SCRAM must be bound to the TLS channel.
    pub fn channel_binding(&self) -> ChannelBinding {
        self.channel_binding
    }

    /// What our sessions call themselves; each adds its purpose behind it.
    pub fn application_name(&self) -> &str {
        &self.application_name
    }

    /// Server options of the user, as in `-c work_mem=64MB`. Settings that
    /// decide how values look as text are ours and come after them.
    pub fn options(&self) -> Option<&str> {
        self.options.as_deref()
    }

    /// The limit for one attempt to connect, authentication included.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long an answer may be due before the server is asked, over another
    /// connection, whether it still works on it; and how long the start of a
    /// stream of changes may take.
    pub fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// The replication slot of a run that reads changes here.
    pub fn slot(&self) -> Option<&str> {
        self.slot.as_deref()
    }

    /// The publication of a run that reads changes here.
    pub fn publication(&self) -> Option<&str> {
        self.publication.as_deref()
    }

    /// The schema that holds our own tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// How often the server hears how far we have come.
    pub fn status_interval(&self) -> Duration {
        self.status_interval
    }

    /// How long the start of a run may wait for transactions in progress.
    pub fn begin_timeout(&self) -> Duration {
        self.begin_timeout
    }

    /// Whether a server that can sends large transactions while they run.
    pub fn streaming(&self) -> bool {
        self.streaming
    }

    /// Whether the run's slot is made as a failover slot.
    pub fn failover(&self) -> bool {
        self.failover
    }

    pub(crate) fn keepalive(&self) -> Option<Keepalive> {
        self.keepalive
    }
}

impl FromStr for PgConfig {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Shows where it points to, without password and options.
impl fmt::Display for PgConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.dbname)
    }
}

#[cfg(test)]
mod tests;
