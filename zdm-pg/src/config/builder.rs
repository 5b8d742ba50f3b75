//! The unchecked form of a configuration: what serde reads, what setters
//! write, and the one place that checks it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zdm_core::{Error, ErrorKind, Result};

use super::{ChannelBinding, Keepalive, PgConfig, RootCert, Secret, SslMode, passfile};

/// The longest name of a PostgreSQL object, in bytes (`NAMEDATALEN - 1`).
const MAX_NAME: usize = 63;

/// Collects a [`PgConfig`]; [`build`](Self::build) checks it.
///
/// The field names are those of libpq's connection parameters, in serde as
/// well; times are in seconds. Fields that are not set come from the
/// environment (`PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`,
/// `PGPASSFILE`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY`,
/// `PGCHANNELBINDING`, `PGAPPNAME`, `PGOPTIONS`, `PGCONNECT_TIMEOUT`), then
/// from the defaults that each setter names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PgConfigBuilder {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostaddr: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dbname: Option<String>,
    #[serde(skip_serializing)]
    pub(super) password: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) passfile: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sslmode: Option<SslMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sslrootcert: Option<RootCert>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sslcert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sslkey: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel_binding: Option<ChannelBinding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) application_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) options: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) connect_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) answer_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keepalives: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) keepalives_idle: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) keepalives_interval: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publication: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) status_interval: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub(super) begin_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) streaming: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failover: Option<bool>,
}

/// One setter for each field, so that their docs stand in one place.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        impl PgConfigBuilder {
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
    /// A host name, an address, or the folder of a Unix socket (it begins
    /// with `/`). Default: `localhost`.
    host: String;
    /// The address to connect to, while `host` stays the name that the
    /// certificate is checked for. Default: look `host` up.
    hostaddr: IpAddr;
    /// The port. Default: 5432.
    port: u16;
    /// The user. Default: the name of the operating system's user.
    user: String;
    /// The database. Default: named like the user.
    dbname: String;
    /// The password. Default: from the password file.
    password: Secret;
    /// The password file. Default: `~/.pgpass`.
    passfile: PathBuf;
    /// How TLS is used. Default: `prefer`, or `verify-full` when
    /// `sslrootcert` is `system`.
    sslmode: SslMode;
    /// Whom to trust: a PEM file, or `system`. Default:
    /// `~/.postgresql/root.crt`, if it exists.
    sslrootcert: RootCert;
    /// Our own certificate, a PEM file. Default: none.
    sslcert: PathBuf;
    /// The key of our certificate, a PEM file. Default: none.
    sslkey: PathBuf;
    /// Whether SCRAM is bound to the TLS channel. Default: `prefer`.
    channel_binding: ChannelBinding;
    /// What our sessions call themselves in `pg_stat_activity`, followed by
    /// their purpose. Default: `zdm`.
    application_name: String;
    /// Server options, as in `-c work_mem=64MB`. Default: none.
    options: String;
    /// The limit for one attempt to connect. Default: 10 s.
    connect_timeout: Duration;
    /// How long a session is silent, though an answer is due, before the
    /// server is asked over another connection whether it still works on it.
    /// If not, or if it cannot be reached, the session is given up as a lost
    /// connection; a statement that works may take as long as it likes.
    /// Default: 60 s.
    answer_timeout: Duration;
    /// Whether silent TCP peers are probed. Default: yes.
    keepalives: bool;
    /// Silence before the first probe. Default: 60 s.
    keepalives_idle: Duration;
    /// Time between probes. Default: 10 s.
    keepalives_interval: Duration;
    /// The replication slot of a run that reads changes. Default: none.
    slot: String;
    /// The publication of a run that reads changes. Default: none.
    publication: String;
    /// The schema that holds our own tables. Default: `zdm`.
    schema: String;
    /// How often the server hears how far we have come. Default: 10 s.
    status_interval: Duration;
    /// How long the start of a run may wait for the transactions that are in
    /// progress. Default: 10 min.
    begin_timeout: Duration;
    /// Whether a server from 14 on sends a transaction of more than its
    /// `logical_decoding_work_mem` while it runs. Such a one then waits for its
    /// end in the run's spool, else in the server's own files, and is sent
    /// behind its commit alone. Default: yes.
    streaming: bool;
    /// Whether the run's slot is made as a failover slot, which a server from
    /// 17 on keeps on its standbys too (`sync_replication_slots`). The run
    /// itself does not go on at a standby that took over: what the target has
    /// may never have come there. Default: no.
    failover: bool;
}

impl PgConfigBuilder {
    /// Fills what is missing from the environment, the password file and the
    /// defaults, and checks everything.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config), saying which field is wrong and what it
    /// should be.
    pub fn build(self) -> Result<PgConfig> {
        self.build_with(&|name| std::env::var(name).ok())
    }

    /// [`build`](Self::build) with the environment given, since a process
    /// cannot safely change its own.
    pub(super) fn build_with(mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<PgConfig> {
        self.fill_from(env)?;
        let host = self.host.take().or_else(|| self.hostaddr.map(|a| a.to_string()));
        let host = text("host", host.unwrap_or_else(|| "localhost".to_owned()))?;
        if host.contains(',') {
            return Err(wrong("host", "must be one host: name the server that is to be migrated"));
        }
        let port = self.port.unwrap_or(5432);
        if port == 0 {
            return Err(wrong("port", "must be between 1 and 65535"));
        }
        let user = self.user.take().or_else(|| env("USER")).or_else(|| env("USERNAME"));
        let user =
            text("user", user.ok_or_else(|| wrong("user", "is missing: name the user to log in as"))?)?;
        let dbname = text("dbname", self.dbname.take().unwrap_or_else(|| user.clone()))?;
        let password = match self.password.take() {
            Some(password) => Some(password),
            None => {
                let file = self.passfile.take().or_else(|| in_home(env, ".pgpass"));
                let wanted = passfile::Wanted { host: &host, port, dbname: &dbname, user: &user };
                file.and_then(|file| passfile::lookup(&file, &wanted))
            }
        };
        if password.as_ref().is_some_and(|p| p.expose().contains('\0')) {
            return Err(wrong("password", "must not contain a zero byte"));
        }
        let (sslmode, sslrootcert) = self.trust(env)?;
        let client_cert = match (self.sslcert.take(), self.sslkey.take()) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("sslcert", "and sslkey must be given together")),
        };
        let keepalive = self.keepalives.unwrap_or(true).then(|| {
            let idle = self.keepalives_idle.unwrap_or(Duration::from_secs(60));
            Keepalive { idle, interval: self.keepalives_interval.unwrap_or(Duration::from_secs(10)) }
        });
        Ok(PgConfig {
            host,
            hostaddr: self.hostaddr,
            port,
            user,
            dbname,
            password,
            sslmode,
            sslrootcert,
            client_cert,
            channel_binding: self.channel_binding.unwrap_or_default(),
            application_name: text(
                "application_name",
                self.application_name.unwrap_or_else(|| "zdm".to_owned()),
            )?,
            options: self.options.map(|options| text("options", options)).transpose()?,
            connect_timeout: positive("connect_timeout", self.connect_timeout)?,
            answer_timeout: positive(
                "answer_timeout",
                self.answer_timeout.or(Some(Duration::from_secs(60))),
            )?,
            keepalive,
            slot: self.slot.map(slot_name).transpose()?,
            publication: self.publication.map(|name| object_name("publication", name)).transpose()?,
            schema: own_schema(self.schema.unwrap_or_else(|| "zdm".to_owned()))?,
            status_interval: positive("status_interval", self.status_interval)?,
            begin_timeout: positive("begin_timeout", self.begin_timeout.or(Some(Duration::from_secs(600))))?,
            streaming: self.streaming.unwrap_or(true),
            failover: self.failover.unwrap_or(false),
        })
    }

    /// Settles `sslmode` and `sslrootcert`, which depend on each other.
    fn trust(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<(SslMode, Option<RootCert>)> {
        let root = self.sslrootcert.take();
        let mode = match (self.sslmode, &root) {
            (None, Some(RootCert::System)) => SslMode::VerifyFull,
            (Some(SslMode::VerifyFull) | None, _) => self.sslmode.unwrap_or_default(),
            // Anybody can get *some* certificate from a public authority.
            (Some(_), Some(RootCert::System)) => {
                return Err(wrong("sslrootcert", "`system` needs sslmode=verify-full"));
            }
            (Some(mode), _) => mode,
        };
        let root = root.or_else(|| {
            in_home(env, ".postgresql/root.crt").filter(|path| path.exists()).map(RootCert::File)
        });
        if mode.verifies() && root.is_none() {
            return Err(wrong(
                "sslrootcert",
                "is missing: name the authority's PEM file, or write `system` for those that this system trusts",
            ));
        }
        Ok((mode, root))
    }
}

impl TryFrom<PgConfigBuilder> for PgConfig {
    type Error = Error;

    fn try_from(builder: PgConfigBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<PgConfig> for PgConfigBuilder {
    fn from(config: PgConfig) -> Self {
        let (sslcert, sslkey) = config.client_cert.unzip();
        Self {
            host: Some(config.host),
            hostaddr: config.hostaddr,
            port: Some(config.port),
            user: Some(config.user),
            dbname: Some(config.dbname),
            password: config.password,
            passfile: None,
            sslmode: Some(config.sslmode),
            sslrootcert: config.sslrootcert,
            sslcert,
            sslkey,
            channel_binding: Some(config.channel_binding),
            application_name: Some(config.application_name),
            options: config.options,
            connect_timeout: Some(config.connect_timeout),
            answer_timeout: Some(config.answer_timeout),
            keepalives: Some(config.keepalive.is_some()),
            keepalives_idle: config.keepalive.map(|k| k.idle),
            keepalives_interval: config.keepalive.map(|k| k.interval),
            slot: config.slot,
            publication: config.publication,
            schema: Some(config.schema),
            status_interval: Some(config.status_interval),
            begin_timeout: Some(config.begin_timeout),
            streaming: Some(config.streaming),
            failover: Some(config.failover),
        }
    }
}

fn in_home(env: &dyn Fn(&str) -> Option<String>, path: &str) -> Option<PathBuf> {
    env("HOME").filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(path))
}

/// Neither empty nor with a zero byte: what the startup packet can carry.
fn text(field: &'static str, value: String) -> Result<String> {
    if value.is_empty() {
        return Err(wrong(field, "must not be empty"));
    }
    if value.contains('\0') {
        return Err(wrong(field, "must not contain a zero byte"));
    }
    Ok(value)
}

fn object_name(field: &'static str, name: String) -> Result<String> {
    let name = text(field, name)?;
    if name.len() > MAX_NAME {
        return Err(wrong(field, "must be at most 63 bytes long"));
    }
    Ok(name)
}

/// The rule of `ReplicationSlotValidateName`.
fn slot_name(name: String) -> Result<String> {
    let name = object_name("slot", name)?;
    if !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        return Err(wrong("slot", "may contain only lower case letters, digits and underscores"));
    }
    Ok(name)
}

fn own_schema(name: String) -> Result<String> {
    let name = object_name("schema", name)?;
    if name.starts_with("pg_") || name == "information_schema" {
        return Err(wrong("schema", "must not be one of the server's own: choose another name"));
    }
    Ok(name)
}

fn positive(field: &'static str, value: Option<Duration>) -> Result<Duration> {
    match value.unwrap_or(Duration::from_secs(10)) {
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
