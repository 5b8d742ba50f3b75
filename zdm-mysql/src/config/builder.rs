//! The unchecked form of a configuration: what serde reads, what setters
//! write, and the one place that checks it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zdm_core::{Error, ErrorKind, Result};

use super::{Compression, MySqlConfig, RootCert, Secret, SslMode, optionfile};

/// The longest name of a database, in characters.
/// <https://dev.mysql.com/doc/refman/en/identifier-length.html>
const MAX_NAME: usize = 64;

/// Collects a [`MySqlConfig`]; [`build`](Self::build) checks it.
///
/// The field names are MySQL's own option names with underscores, in serde as
/// well; times are in seconds. Fields that are not set come from the
/// `[client]` group of `~/.my.cnf`, then from `MYSQL_HOST`, `MYSQL_TCP_PORT`
/// and `MYSQL_PWD`, then from the defaults that each setter names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MySqlConfigBuilder {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<String>,
    #[serde(skip_serializing)]
    pub(super) password: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ssl_mode: Option<SslMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ssl_ca: Option<RootCert>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ssl_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ssl_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) compression: Option<Compression>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) connect_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) keepalive: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) lock_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) heartbeat: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) undecided_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) begin_timeout: Option<Duration>,
}

/// One setter for each field, so that their docs stand in one place.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        impl MySqlConfigBuilder {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, value: impl Into<$type>) -> Self {
                self.$name = Some(value.into());
                self
            })*
        }
    };
}

setters! {
    /// A host name or an address. Default: `localhost`, over TCP.
    host: String;
    /// The port. Default: 3306.
    port: u16;
    /// The file of a Unix socket, to be used instead of TCP. Default: none.
    socket: PathBuf;
    /// The user. Default: the name of the operating system's user.
    user: String;
    /// The default database of our sessions. Default: none.
    database: String;
    /// The password. Default: from the option file, or `MYSQL_PWD`.
    password: Secret;
    /// How TLS is used. Default: `preferred`, or `verify_ca` when `ssl_ca` is
    /// given, as in MySQL's clients.
    ssl_mode: SslMode;
    /// Whom to trust: a PEM file, or `system`. Default: nobody.
    ssl_ca: RootCert;
    /// Our own certificate, a PEM file. Default: none.
    ssl_cert: PathBuf;
    /// The key of our certificate, a PEM file. Default: none.
    ssl_key: PathBuf;
    /// How the protocol is compressed. Default: not.
    compression: Compression;
    /// The limit for one attempt to connect. Default: 10 s.
    connect_timeout: Duration;
    /// Silence of a TCP peer before it is probed; zero for never. Default: 60 s.
    keepalive: Duration;
    /// How long a statement of ours may wait for a lock. Default: 50 s, the
    /// server's own default for rows.
    lock_timeout: Duration;
    /// The server id under which changes are read. It must differ from that of
    /// every server and replica around. Default: derived from the run's name.
    server_id: u32;
    /// How often the server tells of its life while its log is silent.
    /// Default: 5 s.
    heartbeat: Duration;
    /// The most bytes of XA transactions, prepared and not yet decided, that
    /// are kept in memory; beyond it the stream stops. Default: 64 MiB.
    undecided_limit: u64;
    /// The database that holds our own tables. Default: `zdm`.
    schema: String;
    /// How long the start of a run may wait for the transactions that are in
    /// progress. Default: 10 min.
    begin_timeout: Duration;
}

impl MySqlConfigBuilder {
    /// Fills what is missing from the option file, the environment and the
    /// defaults, and checks everything.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config), saying which field is wrong and what it
    /// should be.
    pub fn build(self) -> Result<MySqlConfig> {
        self.build_with(&|name| std::env::var(name).ok())
    }

    /// [`build`](Self::build) with the environment given, since a process
    /// cannot safely change its own.
    pub(super) fn build_with(mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<MySqlConfig> {
        if let Some(home) = env("HOME").filter(|home| !home.is_empty()) {
            self.fill_from_options(&optionfile::read(&PathBuf::from(home).join(".my.cnf")))?;
        }
        self.fill_from_environment(env)?;
        let host = text("host", self.host.take().unwrap_or_else(|| "localhost".to_owned()))?;
        if host.starts_with('/') {
            return Err(wrong("host", "must not be a path: write socket=/file for a Unix socket"));
        }
        let port = self.port.unwrap_or(3306);
        if port == 0 {
            return Err(wrong("port", "must be between 1 and 65535"));
        }
        let user = self.user.take().or_else(|| env("USER")).or_else(|| env("USERNAME"));
        let user =
            text("user", user.ok_or_else(|| wrong("user", "is missing: name the user to log in as"))?)?;
        if self.password.as_ref().is_some_and(|p| p.expose().contains('\0')) {
            return Err(wrong("password", "must not contain a zero byte"));
        }
        let (ssl_mode, ssl_ca) = self.trust()?;
        let client_cert = match (self.ssl_cert.take(), self.ssl_key.take()) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("ssl_cert", "and ssl_key must be given together")),
        };
        Ok(MySqlConfig {
            host,
            port,
            socket: self.socket.take().map(socket).transpose()?,
            user,
            database: self.database.take().map(|name| name_of("database", name)).transpose()?,
            password: self.password,
            ssl_mode,
            ssl_ca,
            client_cert,
            compression: self.compression,
            connect_timeout: positive("connect_timeout", self.connect_timeout, Duration::from_secs(10))?,
            keepalive: Some(self.keepalive.unwrap_or(Duration::from_secs(60))).filter(|time| !time.is_zero()),
            lock_timeout: positive("lock_timeout", self.lock_timeout, Duration::from_secs(50))?,
            server_id: match self.server_id {
                Some(0) => return Err(wrong("server_id", "must be between 1 and 4294967295")),
                id => id,
            },
            heartbeat: positive("heartbeat", self.heartbeat, Duration::from_secs(5))?,
            undecided_limit: self.undecided_limit.unwrap_or(64 << 20),
            schema: own_schema(self.schema.unwrap_or_else(|| "zdm".to_owned()))?,
            begin_timeout: positive("begin_timeout", self.begin_timeout, Duration::from_secs(600))?,
        })
    }

    /// Settles `ssl_mode` and `ssl_ca`, which depend on each other.
    fn trust(&mut self) -> Result<(SslMode, Option<RootCert>)> {
        let root = self.ssl_ca.take();
        let mode = match (self.ssl_mode, &root) {
            (None, Some(RootCert::System)) => SslMode::VerifyIdentity,
            (None, Some(RootCert::File(_))) => SslMode::VerifyCa,
            (None, None) => SslMode::default(),
            // Anybody can get *some* certificate from a public authority.
            (Some(SslMode::VerifyCa), Some(RootCert::System)) => {
                return Err(wrong("ssl_ca", "`system` needs ssl-mode=verify_identity"));
            }
            (Some(mode), _) => mode,
        };
        if mode.verifies() && root.is_none() {
            return Err(wrong(
                "ssl_ca",
                "is missing: name the authority's PEM file, or write `system` for those that this system trusts",
            ));
        }
        Ok((mode, root))
    }
}

impl TryFrom<MySqlConfigBuilder> for MySqlConfig {
    type Error = Error;

    fn try_from(builder: MySqlConfigBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<MySqlConfig> for MySqlConfigBuilder {
    fn from(config: MySqlConfig) -> Self {
        let (ssl_cert, ssl_key) = config.client_cert.unzip();
        Self {
            host: Some(config.host),
            port: Some(config.port),
            socket: config.socket,
            user: Some(config.user),
            database: config.database,
            password: config.password,
            ssl_mode: Some(config.ssl_mode),
            ssl_ca: config.ssl_ca,
            ssl_cert,
            ssl_key,
            compression: config.compression,
            connect_timeout: Some(config.connect_timeout),
            keepalive: Some(config.keepalive.unwrap_or_default()),
            lock_timeout: Some(config.lock_timeout),
            server_id: config.server_id,
            heartbeat: Some(config.heartbeat),
            undecided_limit: Some(config.undecided_limit),
            schema: Some(config.schema),
            begin_timeout: Some(config.begin_timeout),
        }
    }
}

/// Neither empty nor with a zero byte: what the login packet can carry.
fn text(field: &'static str, value: String) -> Result<String> {
    if value.is_empty() {
        return Err(wrong(field, "must not be empty"));
    }
    if value.contains('\0') {
        return Err(wrong(field, "must not contain a zero byte"));
    }
    Ok(value)
}

fn socket(path: PathBuf) -> Result<PathBuf> {
    if cfg!(not(unix)) {
        return Err(wrong("socket", "is for Unix systems: leave it out, and name a host"));
    }
    if path.as_os_str().is_empty() {
        return Err(wrong("socket", "must not be empty"));
    }
    Ok(path)
}

fn name_of(field: &'static str, name: String) -> Result<String> {
    let name = text(field, name)?;
    if name.chars().count() > MAX_NAME {
        return Err(wrong(field, "must be at most 64 characters long"));
    }
    Ok(name)
}

fn own_schema(name: String) -> Result<String> {
    let name = name_of("schema", name)?;
    let servers = ["mysql", "information_schema", "performance_schema", "sys"];
    if servers.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(wrong("schema", "must not be one of the server's own: choose another name"));
    }
    Ok(name)
}

fn positive(field: &'static str, value: Option<Duration>, default: Duration) -> Result<Duration> {
    match value.unwrap_or(default) {
        Duration::ZERO => Err(wrong(field, "must be more than zero")),
        value => Ok(value),
    }
}

pub(super) fn wrong(field: &'static str, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{field} {what}")).during("config.build")
}

/// Durations as seconds, whole or not.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) if value.subsec_nanos() == 0 => to.serialize_u64(value.as_secs()),
            Some(value) => to.serialize_f64(value.as_secs_f64()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(from)?
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(de::Error::custom))
            .transpose()
    }
}
