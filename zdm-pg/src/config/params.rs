//! Connection parameters by name: the one table behind URLs, `key=value`
//! strings and the environment.

use std::str::FromStr;
use std::time::Duration;

use zdm_core::{Error, ErrorKind, Result};

use super::builder::wrong;
use super::{PgConfigBuilder, Secret};

/// Environment variable and parameter.
const ENVIRONMENT: [(&str, &str); 14] = [
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGDATABASE", "dbname"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGAPPNAME", "application_name"),
    ("PGOPTIONS", "options"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
];

impl PgConfigBuilder {
    /// Reads a `postgres://` URL or a `key=value` string. Nothing is checked
    /// beyond its syntax.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config) or, for a parameter of libpq that we
    /// lack, [`Unsupported`](ErrorKind::Unsupported). Values are never shown,
    /// since a misplaced one may be a password.
    pub fn parse(text: &str) -> Result<Self> {
        let mut builder = Self::default();
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            zdm_core::net::parse_url(rest, "dbname", &mut |key, value| builder.set(key, value))?;
        } else if text.split('=').next().is_some_and(|head| head.contains("://")) {
            return Err(Error::new(ErrorKind::Config, "a URL must begin with postgres:// or postgresql://"));
        } else {
            keywords(text, &mut |key, value| builder.set(key, value))?;
        }
        Ok(builder)
    }

    /// Sets one parameter from its text.
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "host" => self.host = Some(value.to_owned()),
            "hostaddr" => self.hostaddr = Some(number("hostaddr", value, "must be one IP address")?),
            "port" => self.port = Some(number("port", value, "must be a number between 1 and 65535")?),
            "user" => self.user = Some(value.to_owned()),
            "dbname" => self.dbname = Some(value.to_owned()),
            "password" => self.password = Some(Secret::new(value)),
            "passfile" => self.passfile = Some(value.into()),
            "sslmode" => self.sslmode = Some(value.parse()?),
            "ssl" if value == "true" => self.sslmode = Some(super::SslMode::Require),
            "sslrootcert" => self.sslrootcert = Some(value.into()),
            "sslcert" => self.sslcert = Some(value.into()),
            "sslkey" => self.sslkey = Some(value.into()),
            "channel_binding" => self.channel_binding = Some(value.parse()?),
            "application_name" | "fallback_application_name" => {
                self.application_name = Some(value.to_owned());
            }
            "options" => self.options = Some(value.to_owned()),
            "connect_timeout" => self.connect_timeout = Some(seconds("connect_timeout", value)?),
            "answer_timeout" => self.answer_timeout = Some(seconds("answer_timeout", value)?),
            "keepalives" => self.keepalives = Some(value != "0"),
            "keepalives_idle" => self.keepalives_idle = Some(seconds("keepalives_idle", value)?),
            "keepalives_interval" => self.keepalives_interval = Some(seconds("keepalives_interval", value)?),
            "slot" => self.slot = Some(value.to_owned()),
            "publication" => self.publication = Some(value.to_owned()),
            "schema" => self.schema = Some(value.to_owned()),
            "begin_timeout" => self.begin_timeout = Some(seconds("begin_timeout", value)?),
            "streaming" => self.streaming = Some(switch("streaming", value)?),
            "failover" => self.failover = Some(switch("failover", value)?),
            "status_interval" => self.status_interval = Some(seconds("status_interval", value)?),
            _ if harmless(key, value) => {}
            _ if KNOWN_TO_LIBPQ.contains(&key) => {
                let message = format!("connection parameter `{key}` is not supported: leave it out");
                return Err(Error::new(ErrorKind::Unsupported, message).during("config.parse"));
            }
            // The name is not shown either: in `host=db password=a b=c` it is
            // the rest of a password.
            _ => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "unknown connection parameter: check the spelling, quote values that contain blanks, \
                     and percent-encode `@ / ? # & =` in a URL",
                )
                .during("config.parse"));
            }
        }
        Ok(())
    }

    /// Fills what has not been set from the environment.
    pub(super) fn fill_from(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        let mut found = Self::default();
        for (variable, key) in ENVIRONMENT {
            if let Some(value) = env(variable).filter(|value| !value.is_empty()) {
                found.set(key, &value).map_err(|error| error.with("variable", variable))?;
            }
        }
        // A host that was written out must not get another server's address.
        self.host = self.host.take().or(if self.hostaddr.is_none() { found.host } else { None });
        self.port = self.port.or(found.port);
        self.user = self.user.take().or(found.user);
        self.dbname = self.dbname.take().or(found.dbname);
        self.password = self.password.take().or(found.password);
        self.passfile = self.passfile.take().or(found.passfile);
        self.sslmode = self.sslmode.or(found.sslmode);
        self.sslrootcert = self.sslrootcert.take().or(found.sslrootcert);
        self.sslcert = self.sslcert.take().or(found.sslcert);
        self.sslkey = self.sslkey.take().or(found.sslkey);
        self.channel_binding = self.channel_binding.or(found.channel_binding);
        self.application_name = self.application_name.take().or(found.application_name);
        self.options = self.options.take().or(found.options);
        self.connect_timeout = self.connect_timeout.or(found.connect_timeout);
        Ok(())
    }
}

/// Parameters of libpq that we refuse by name.
const KNOWN_TO_LIBPQ: [&str; 22] = [
    "client_encoding",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "keepalives_count",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "sslpassword",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Values that ask for what we do anyway.
fn harmless(key: &str, value: &str) -> bool {
    match key {
        "client_encoding" => matches!(value.to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "auto"),
        "gssencmode" => matches!(value, "disable" | "prefer"),
        "sslnegotiation" => value == "postgres",
        "target_session_attrs" => value == "any",
        "sslcompression" | "sslsni" | "keepalives_count" | "tcp_user_timeout" => true,
        _ => false,
    }
}

/// Walks a `key = value` string: blanks around `=` are allowed, a value may
/// stand in single quotes, and a backslash takes the next character as it is.
fn keywords(text: &str, set: &mut dyn FnMut(&str, &str) -> Result<()>) -> Result<()> {
    let broken = |what: &str| Error::new(ErrorKind::Config, what).during("config.parse");
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(());
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace() && *c != '=') {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(broken("a connection string is a postgres:// URL or a list of key=value"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\'') if quoted => break,
                Some(c) if c.is_whitespace() && !quoted => break,
                Some('\\') => value.extend(chars.next()),
                Some(c) => value.push(c),
                None if quoted => return Err(broken("a quoted value in the connection string has no end")),
                None => break,
            }
        }
        set(&key, &value)?;
    }
}

fn number<T: FromStr>(field: &'static str, value: &str, must: &str) -> Result<T> {
    value.trim().parse().map_err(|_| wrong(field, must))
}

fn switch(field: &'static str, value: &str) -> Result<bool> {
    match value {
        "1" | "on" | "true" => Ok(true),
        "0" | "off" | "false" => Ok(false),
        _ => Err(wrong(field, "must be `on` or `off`")),
    }
}

fn seconds(field: &'static str, value: &str) -> Result<Duration> {
    number(field, value, "must be a whole number of seconds").map(Duration::from_secs)
}
