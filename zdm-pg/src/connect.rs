//! Control connections: SQL through `tokio_postgres`, over a stream that
//! `wire` opened, in a session that agrees with the replication connection on
//! how values look.

mod aside;
mod felt;
mod messages;
mod pulse;
pub(crate) mod quote;
mod rows;
mod watch;

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::task::ready;

use tokio::task::{AbortHandle, JoinHandle};
use tokio_postgres::config::{ChannelBinding as ClientBinding, SslMode as ClientSslMode, SslNegotiation};
use tokio_postgres::{AsyncMessage, Client, Config};
use zdm_core::{Error, ErrorKind, Result};

use self::aside::Aside;
pub(crate) use self::aside::LARGE;
use self::felt::Felt;
use self::pulse::{Pulse, Turn};
pub(crate) use self::rows::CopiedRow;
pub(crate) use self::rows::CopiedRows;
use crate::config::{ChannelBinding, PgConfig};
use crate::error::{self, OrPg};
use crate::wire::{Ready, Stream, session};

/// A session for SQL. It is a [`Client`] that ends with its handle: dropped,
/// its socket closes, and the server rolls back what was open.
#[derive(Debug)]
pub(crate) struct Control {
    client: Client,
    driver: JoinHandle<()>,
    pulse: Pulse,
    aside: Aside,
    watcher: Option<AbortHandle>,
    server_version_num: u32,
    process_id: i32,
    config: PgConfig,
}

impl Control {
    /// Connects, logs in and settles the session, all within
    /// `connect_timeout`. `purpose` shows in `pg_stat_activity`.
    ///
    /// It is watched: an answer that the server no longer works on is not
    /// waited for (see [`watch`]).
    ///
    /// # Errors
    ///
    /// `Connection`, `Timeout`, `Authentication`, `NotFound` (the database),
    /// `Config` (TLS), `Protocol`.
    pub(crate) async fn connect(config: &PgConfig, purpose: &str) -> Result<Self> {
        let mut control = Self::open(config, purpose).await?;
        let watch = watch::watch(
            config.clone(),
            control.process_id,
            control.pulse.clone(),
            control.aside.clone(),
            control.driver.abort_handle(),
        );
        control.watcher = Some(tokio::spawn(watch).abort_handle());
        Ok(control)
    }

    /// The same without a watcher.
    async fn open(config: &PgConfig, purpose: &str) -> Result<Self> {
        Stream::with_login(config, None, |stream| Self::start(stream, config, purpose)).await
    }

    async fn start(stream: Stream, config: &PgConfig, purpose: &str) -> Result<Self> {
        // Direct: no second request for TLS, `Ready` hands the stream on.
        let mut client = Config::new();
        client
            .user(config.user())
            .dbname(config.dbname())
            .application_name(session::application_name(config, purpose))
            .options(session::options(config))
            .ssl_mode(ClientSslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct)
            .channel_binding(match config.channel_binding() {
                ChannelBinding::Disable => ClientBinding::Disable,
                ChannelBinding::Prefer => ClientBinding::Prefer,
                ChannelBinding::Require => ClientBinding::Require,
            });
        if let Some(password) = config.password() {
            client.password(password.expose());
        }
        let (pulse, aside) = (Pulse::new(Turn::Idle), Aside::default());
        let felt = Felt::new(stream, pulse.clone(), aside.clone());
        let (client, mut connection) = client.connect_raw(felt, Ready).await.map_err(error::from_client)?;
        let version = connection.parameter("server_version").and_then(session::version_num);
        let server_version_num =
            version.ok_or_else(|| error::protocol("the server did not tell its version"))?;
        let driver = tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                loop {
                    match ready!(connection.poll_message(cx)) {
                        Some(Ok(AsyncMessage::Notice(notice))) => {
                            error::notice(notice.severity(), notice.code().code(), notice.message());
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(error).into(),
                        None => return Ok(()).into(),
                    }
                }
            })
            .await;
            // Whoever waits for an answer is told as well; this is for a
            // session that was idle.
            if let Err(error) = ended {
                tracing::debug!(error = %error::from_client(error), "control connection ended");
            }
        });
        // Aborts the driver also when what follows fails.
        let mut control = Self {
            client,
            driver,
            pulse,
            aside,
            watcher: None,
            server_version_num,
            process_id: 0,
            config: config.clone(),
        };
        let late = session::late_settings(server_version_num);
        if !late.is_empty() {
            control.batch_execute(late).await.during("connect.settle")?;
        }
        let row =
            control.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await.during("connect.settle")?;
        control.process_id = row.try_get(0).during("connect.settle")?;
        Ok(control)
    }

    /// The same for a session that may hold what others wait for, and that no
    /// large answer comes through: if our host vanishes, the server ends it,
    /// and with it its locks, within a minute.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub(crate) async fn holding(config: &PgConfig, purpose: &str) -> Result<Self> {
        let control = Self::connect(config, purpose).await?;
        control.batch_execute(session::GIVE_UP).await.during("connect.settle")?;
        Ok(control)
    }

    /// The server's version as a number: 150018 for 15.18.
    pub(crate) fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    /// The process that serves us, as `pg_stat_activity` shows it.
    pub(crate) fn process_id(&self) -> i32 {
        self.process_id
    }

    /// How often the session's watcher has looked at what the server does.
    #[cfg(feature = "failpoints")]
    pub(crate) fn looks(&self) -> tokio::sync::watch::Receiver<u64> {
        self.pulse.watch()
    }

    /// Asks the server, over a connection of its own, to cancel what this
    /// session is doing. Whether it did shows in the session only.
    ///
    /// # Errors
    ///
    /// `Connection` or `Timeout` when the request could not be delivered.
    pub(crate) async fn cancel(&self) -> Result<()> {
        let token = self.client.cancel_token();
        let deliver = async {
            let stream = Stream::open(&self.config, None).await?;
            token.cancel_query_raw(stream, Ready).await.during("connect.cancel")
        };
        match tokio::time::timeout(self.config.connect_timeout(), deliver).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(ErrorKind::Timeout, "the request to cancel was not delivered in time")),
        }
    }
}

impl Deref for Control {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// For `Client::transaction`, which borrows the session.
impl DerefMut for Control {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.driver.abort();
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }
}
