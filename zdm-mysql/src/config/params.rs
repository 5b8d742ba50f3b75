//! Connection parameters by name: the one table behind URLs, the option file
//! and the environment.

use std::str::FromStr;
use std::time::Duration;

use zdm_core::{Error, ErrorKind, Result};

use super::builder::wrong;
use super::modes::Compression;
use super::{MySqlConfigBuilder, Secret};

/// Environment variable and parameter.
/// <https://dev.mysql.com/doc/refman/en/environment-variables.html>
const ENVIRONMENT: [(&str, &str); 3] =
    [("MYSQL_HOST", "host"), ("MYSQL_TCP_PORT", "port"), ("MYSQL_PWD", "password")];

impl MySqlConfigBuilder {
    /// Reads a `mysql://` or `mariadb://` URL. Nothing is checked beyond its
    /// syntax.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config) or, for a parameter of MySQL's clients
    /// that we lack, [`Unsupported`](ErrorKind::Unsupported). Values are never
    /// shown, since a misplaced one may be a password.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix("mysql://").or_else(|| text.strip_prefix("mariadb://")) else {
            return Err(Error::new(ErrorKind::Config, "a URL must begin with mysql:// or mariadb://")
                .during("config.parse"));
        };
        let mut builder = Self::default();
        zdm_core::net::parse_url(rest, "database", &mut |key, value| builder.set(key, value))?;
        Ok(builder)
    }

    /// Sets one parameter from its text. As in MySQL's own options, `-` and
    /// `_` in a name are the same.
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key.replace('-', "_").as_str() {
            "host" => self.host = Some(value.to_owned()),
            "port" => self.port = Some(number("port", value, "must be a number between 1 and 65535")?),
            "socket" => self.socket = Some(value.into()),
            "user" => self.user = Some(value.to_owned()),
            "database" => self.database = Some(value.to_owned()),
            "password" => self.password = Some(Secret::new(value)),
            "ssl_mode" => self.ssl_mode = Some(value.parse()?),
            "ssl_ca" => self.ssl_ca = Some(value.into()),
            "ssl_cert" => self.ssl_cert = Some(value.into()),
            "ssl_key" => self.ssl_key = Some(value.into()),
            "compression" | "compression_algorithms" => self.compression = Compression::from_word(value)?,
            "connect_timeout" => self.connect_timeout = Some(seconds("connect_timeout", value)?),
            "keepalive" => self.keepalive = Some(seconds("keepalive", value)?),
            "lock_timeout" => self.lock_timeout = Some(seconds("lock_timeout", value)?),
            "server_id" => {
                self.server_id =
                    Some(number("server_id", value, "must be a number between 1 and 4294967295")?);
            }
            "heartbeat" => self.heartbeat = Some(seconds("heartbeat", value)?),
            "undecided_limit" => {
                self.undecided_limit = Some(number("undecided_limit", value, "must be a number of bytes")?);
            }
            "schema" => self.schema = Some(value.to_owned()),
            "begin_timeout" => self.begin_timeout = Some(seconds("begin_timeout", value)?),
            name if KNOWN_TO_MYSQL.contains(&name) => {
                let message = format!("connection parameter `{name}` is not supported: leave it out");
                return Err(Error::new(ErrorKind::Unsupported, message).during("config.parse"));
            }
            // The name is not shown either: in `…?password=a&b=c` it may be
            // the rest of a password.
            _ => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "unknown connection parameter: check the spelling, and percent-encode `@ / ? # & =` in values",
                )
                .during("config.parse"));
            }
        }
        Ok(())
    }

    /// Fills what has not been set from the `[client]` groups of an option
    /// file. What it has beyond our parameters is another client's business.
    pub(super) fn fill_from_options(&mut self, options: &[(String, String)]) -> Result<()> {
        const OURS: [&str; 9] =
            ["host", "port", "socket", "user", "password", "ssl_mode", "ssl_ca", "ssl_cert", "ssl_key"];
        let mut found = Self::default();
        for (key, value) in options {
            if OURS.contains(&key.replace('-', "_").as_str()) {
                found.set(key, value).map_err(|error| error.with("file", "~/.my.cnf"))?;
            }
        }
        self.fill(found);
        Ok(())
    }

    /// Fills what has not been set from the environment.
    pub(super) fn fill_from_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        let mut found = Self::default();
        for (variable, key) in ENVIRONMENT {
            if let Some(value) = env(variable).filter(|value| !value.is_empty()) {
                found.set(key, &value).map_err(|error| error.with("variable", variable))?;
            }
        }
        self.fill(found);
        Ok(())
    }

    fn fill(&mut self, found: Self) {
        // A place that was written out must not become another one.
        if self.host.is_none() && self.port.is_none() && self.socket.is_none() {
            (self.host, self.socket) = (found.host, found.socket);
        }
        self.port = self.port.or(found.port);
        self.user = self.user.take().or(found.user);
        self.password = self.password.take().or(found.password);
        self.ssl_mode = self.ssl_mode.or(found.ssl_mode);
        self.ssl_ca = self.ssl_ca.take().or(found.ssl_ca);
        self.ssl_cert = self.ssl_cert.take().or(found.ssl_cert);
        self.ssl_key = self.ssl_key.take().or(found.ssl_key);
    }
}

/// Options of MySQL's clients that we refuse by name.
const KNOWN_TO_MYSQL: [&str; 18] = [
    "bind_address",
    "charset",
    "default_auth",
    "default_character_set",
    "enable_cleartext_plugin",
    "get_server_public_key",
    "init_command",
    "login_path",
    "plugin_dir",
    "protocol",
    "server_public_key_path",
    "ssl_capath",
    "ssl_cipher",
    "ssl_crl",
    "ssl_crlpath",
    "ssl_fips_mode",
    "tls_ciphersuites",
    "tls_version",
];

fn number<T: FromStr>(field: &'static str, value: &str, must: &str) -> Result<T> {
    value.trim().parse().map_err(|_| wrong(field, must))
}

fn seconds(field: &'static str, value: &str) -> Result<Duration> {
    number(field, value, "must be a whole number of seconds").map(Duration::from_secs)
}
