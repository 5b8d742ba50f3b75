//! Sessions for SQL, through `mysql_async`, settled so that values look the
//! same in each of them whatever the server's own settings are.

pub(crate) mod durable;
pub(crate) mod quote;
mod server;
pub(crate) mod threads;

use std::ops::{Deref, DerefMut};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, SslOpts};
use rustls::crypto::{CryptoProvider, ring};
use zdm_core::{Error, ErrorKind, Result};

pub(crate) use self::server::{Flavor, MARIADB, Server, is_ours};
use crate::config::{Compression, MySqlConfig, RootCert, SslMode};
use crate::error::{self, OrMy};

/// After how many seconds of silence the server ends a session that may hold
/// what others wait for.
const GIVE_UP: u32 = 60;

/// A session for SQL. It is a [`Conn`] that ends with its handle: dropped, its
/// socket closes, and the server rolls back what was open.
///
/// Row counts are of rows *found*, not of rows changed.
#[derive(Debug)]
pub(crate) struct Control {
    conn: Conn,
    server: Server,
    config: MySqlConfig,
}

impl Control {
    /// Connects, logs in and settles the session, all within
    /// `connect_timeout`. `purpose` shows in
    /// `performance_schema.session_connect_attrs`.
    ///
    /// # Errors
    ///
    /// `Connection`, `Timeout`, `Authentication`, `NotFound` (the database),
    /// `Config` (TLS), `Unsupported` (the server's age), `Protocol`.
    pub(crate) async fn connect(config: &MySqlConfig, purpose: &str) -> Result<Self> {
        let limit = config.connect_timeout();
        let outcome = tokio::time::timeout(limit, Self::open(config, purpose)).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the server did not let us in within connect_timeout")
                .with("seconds", limit.as_secs_f64()))
        });
        outcome.map_err(|error| error.during("connect.open").with("server", config))
    }

    /// The same for a session that may hold what others wait for: if our host
    /// vanishes, the server ends it, and with it its locks, within a minute.
    /// So it must be [pinged](Conn::ping) more often than that.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub(crate) async fn holding(config: &MySqlConfig, purpose: &str) -> Result<Self> {
        let mut control = Self::connect(config, purpose).await?;
        control.query_drop(format!("SET SESSION wait_timeout = {GIVE_UP}")).await.during("connect.settle")?;
        Ok(control)
    }

    async fn open(config: &MySqlConfig, purpose: &str) -> Result<Self> {
        let mode = config.ssl_mode();
        let tls = config.socket().is_none() && mode != SslMode::Disabled;
        let conn = match log_in(options(config, purpose, tls).into()).await {
            // Without TLS on the server, or with one that does not work.
            Err(error) if tls && mode == SslMode::Preferred && is_about_tls(&error) => {
                tracing::debug!(%error, "tls failed, going on without it since ssl-mode is preferred");
                log_in(options(config, purpose, false).into()).await?
            }
            // `mysql_async` checks the name in this mode, too: it is given one
            // that is in the certificate. Who signed that is checked again.
            Err(error) if mode == SslMode::VerifyCa => {
                let Some(name) = error::name_of_certificate(&error) else { return Err(error) };
                let ssl = ssl(config).with_danger_tls_hostname_override(Some(name));
                log_in(options(config, purpose, false).ssl_opts(ssl).into()).await?
            }
            outcome => outcome?,
        };
        Self::settle(conn, config).await
    }

    async fn settle(mut conn: Conn, config: &MySqlConfig) -> Result<Self> {
        let version: Option<String> = conn.query_first("SELECT VERSION()").await.during("connect.settle")?;
        let server = Server::read(&version.unwrap_or_default())?;
        server.is_new_enough()?;
        for statement in settings(&server, config.lock_timeout()) {
            conn.query_drop(statement).await.during("connect.settle")?;
        }
        Ok(Self { conn, server, config: config.clone() })
    }

    /// Whose server it is, and which version.
    pub(crate) fn server(&self) -> Server {
        self.server
    }

    /// The configuration that it was opened with.
    pub(crate) fn config(&self) -> &MySqlConfig {
        &self.config
    }
}

impl Deref for Control {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Control {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

/// What each session begins with.
fn settings(server: &Server, lock_timeout: Duration) -> Vec<String> {
    let lock_timeout = lock_timeout.as_secs().max(1);
    let mut settings = vec![
        // A transaction begins when we say so, and bytes mean what we send.
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin".to_owned(),
        format!(
            "SET SESSION autocommit = 1, time_zone = '+00:00', \
             sql_mode = 'NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
             lock_wait_timeout = {lock_timeout}, innodb_lock_wait_timeout = {lock_timeout}, \
             wait_timeout = 28800, net_write_timeout = 3600, net_read_timeout = 3600, \
             group_concat_max_len = 4294967295, sql_safe_updates = 0, sql_select_limit = DEFAULT"
        ),
    ];
    // No limit of the server's own may end a statement that reads a table.
    settings.push(if server.is_mariadb() {
        "SET SESSION max_statement_time = 0".to_owned()
    } else {
        "SET SESSION max_execution_time = 0".to_owned()
    });
    if server.is_mysql_since(8, 0, 3) {
        // Else AUTO_INCREMENT is told as it was up to a day ago.
        settings.push("SET SESSION information_schema_stats_expiry = 0".to_owned());
    }
    settings
}

/// Connects and logs in. A login that is refused is tried once more:
/// `mysql_async` takes a zero off the end of the 32 octets that a password of
/// MariaDB's ed25519 signs, so that one login of 256 fails.
async fn log_in(options: Opts) -> Result<Conn> {
    match log_in_once(options.clone()).await {
        Err(error) if error.kind() == ErrorKind::Authentication => log_in_once(options).await,
        outcome => outcome,
    }
}

async fn log_in_once(options: Opts) -> Result<Conn> {
    // `mysql_async` panics where a server's key or its random bytes are not
    // what they should be.
    let connecting = AssertUnwindSafe(Conn::new(options)).catch_unwind();
    match connecting.await {
        Ok(outcome) => outcome.map_err(error::from_client),
        Err(_) => Err(error::protocol("the server's part of the login cannot be read")),
    }
}

/// Whether it may go without TLS.
fn is_about_tls(error: &Error) -> bool {
    error::code(error).is_none() && matches!(error.kind(), ErrorKind::Config | ErrorKind::Protocol)
}

fn options(config: &MySqlConfig, purpose: &str, tls: bool) -> OptsBuilder {
    let socket = config.socket().map(|path| path.to_string_lossy().into_owned());
    let compression = match config.compression() {
        Some(Compression::Zlib) => Some(mysql_async::Compression::fast()),
        Some(Compression::Zstd) | None => None,
    };
    OptsBuilder::default()
        .ip_or_hostname(config.host())
        .tcp_port(config.port())
        .socket(socket)
        // Else it would leave TCP for a socket that the server names.
        .prefer_socket(false)
        .user(Some(config.user()))
        .pass(config.password().map(|password| password.expose()))
        .db_name(config.database())
        .tcp_keepalive(config.keepalive())
        .compression(compression)
        .client_found_rows(true)
        .ssl_opts(tls.then(|| ssl(config)))
        .connect_attribute("program_name", format!("zdm {purpose}"))
}

fn ssl(config: &MySqlConfig) -> SslOpts {
    // rustls would panic where an application has more than one provider and
    // has named none; where it has one, this changes nothing.
    if CryptoProvider::get_default().is_none() {
        let _ = ring::default_provider().install_default();
    }
    let mode = config.ssl_mode();
    let mut options = SslOpts::default()
        .with_danger_accept_invalid_certs(!mode.verifies())
        .with_danger_skip_domain_validation(mode != SslMode::VerifyIdentity);
    if mode.verifies() {
        let roots = match config.ssl_ca() {
            Some(RootCert::File(path)) => vec![path.clone().into()],
            _ => {
                rustls_native_certs::load_native_certs().certs.iter().map(|der| der.to_vec().into()).collect()
            }
        };
        options = options.with_root_certs(roots).with_disable_built_in_roots(true);
    }
    let identity = config
        .client_cert()
        .map(|(cert, key)| ClientIdentity::new(cert.to_owned().into(), key.to_owned().into()));
    options.with_client_identity(identity)
}
