//! A replication connection before the log streams: greeting, login, and the
//! few statements that settle the session.

mod select;

use tokio::io::{AsyncRead, AsyncWrite};
use zdm_core::{Error, ErrorKind, Result};

use super::auth;
use super::channel::Channel;
use super::dump::Dump;
use super::gather::RECEIVE_BUFFER;
use super::greeting::Greeting;
use super::reader::Reader;
use super::request::Request;
use super::rows::{self, Row};
use super::stream::Stream;
use crate::config::{MySqlConfig, SslMode};
use crate::error;

/// The most that one packet of an answer may have,
const MAX_PACKET: usize = 16 << 20;
/// the most that its rows may take together,
const MAX_RESULT: usize = 64 << 20;
/// and the most columns that one may have, as in the servers.
const MAX_COLUMNS: u64 = 4096;

const COM_QUERY: u8 = 3;

/// A connection that is logged in, ready for a command.
#[derive(Debug)]
pub(crate) struct Connection<S = Stream> {
    channel: Channel<S>,
    version: String,
    #[cfg(feature = "failpoints")]
    id: u32,
    /// A command was sent and its answer not yet read to the end: set for the
    /// time of a query, and left set by one that was dropped.
    busy: bool,
}

impl Connection {
    /// Connects and logs in, all within `connect_timeout`.
    ///
    /// # Errors
    ///
    /// `Connection`, `Timeout`, `Authentication`, `NotFound` (the database),
    /// `Config` (TLS), `Protocol`.
    pub(crate) async fn connect(config: &MySqlConfig) -> Result<Self> {
        let limit = config.connect_timeout();
        let outcome = tokio::time::timeout(limit, Self::open(config)).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the server did not let us in within connect_timeout")
                .with("seconds", limit.as_secs_f64()))
        });
        outcome.map_err(|error| error.during("wire.connect").with("server", config))
    }

    async fn open(config: &MySqlConfig) -> Result<Self> {
        let (mut channel, greeting) = greet(Stream::open(config, Some(RECEIVE_BUFFER)).await?).await?;
        let mode = config.ssl_mode();
        let mut tls = channel.stream().may_encrypt() && mode != SslMode::Disabled;
        if tls && !greeting.offers_tls() {
            if mode != SslMode::Preferred {
                return Err(error::no_tls());
            }
            tls = false;
        }
        if tls {
            channel.send(&greeting.ssl_request(config)).await?;
            let sequence = channel.sequence();
            match channel.into_stream()?.encrypt(config).await {
                Ok(stream) => channel = Channel::over(stream, sequence),
                Err(error) if mode == SslMode::Preferred => {
                    tracing::debug!(%error, "tls failed, going on without it since ssl-mode is preferred");
                    let (channel, greeting) =
                        greet(Stream::open(config, Some(RECEIVE_BUFFER)).await?).await?;
                    return Self::start(channel, &greeting, config, false).await;
                }
                Err(error) => return Err(error),
            }
        }
        Self::start(channel, &greeting, config, tls).await
    }

    async fn start(
        channel: Channel<Stream>,
        greeting: &Greeting,
        config: &MySqlConfig,
        tls: bool,
    ) -> Result<Self> {
        let private = channel.stream().is_private();
        Self::login(channel, greeting, config, tls, private).await
    }
}

/// Reads the greeting of a server.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<(Channel<S>, Greeting)> {
    let mut channel = Channel::new(stream);
    let packet = channel.packet(MAX_PACKET).await?;
    if packet.first() == Some(&0xff) {
        return Err(rows::server_error(&packet));
    }
    let greeting = Greeting::read(&packet)?;
    Ok((channel, greeting))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over a stream that needs nothing more, for tests.
    #[cfg(any(test, feature = "failpoints"))]
    pub(super) async fn over(stream: S, config: &MySqlConfig) -> Result<Self> {
        let (channel, greeting) = greet(stream).await?;
        Self::login(channel, &greeting, config, false, false).await
    }

    async fn login(
        mut channel: Channel<S>,
        greeting: &Greeting,
        config: &MySqlConfig,
        tls: bool,
        private: bool,
    ) -> Result<Self> {
        if config.compression().is_some_and(|compression| !greeting.offers(compression)) {
            return Err(Error::new(
                ErrorKind::Config,
                "the server does not offer that compression: leave it out, or choose another (zstd is MySQL's, since \
                 8.0.18; its setting protocol_compression_algorithms lists what it takes)",
            ));
        }
        auth::login(&mut channel, greeting, config, tls, private).await?;
        if let Some(compression) = config.compression() {
            channel.compress(compression);
        }
        Ok(Self {
            channel,
            version: greeting.version.clone(),
            #[cfg(feature = "failpoints")]
            id: greeting.connection_id,
            busy: false,
        })
    }

    /// The version as the server wrote it, MariaDB's name included.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The connection's number, as `SHOW PROCESSLIST` shows it.
    #[cfg(feature = "failpoints")]
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Runs one statement and returns its rows. When it is dropped, the
    /// connection is of no more use.
    ///
    /// # Errors
    ///
    /// What the server reported; the connection can still be used then.
    pub(crate) async fn query(&mut self, statement: &str) -> Result<Vec<Row>> {
        self.begin()?;
        self.channel.command(&[&[COM_QUERY], statement.as_bytes()].concat()).await?;
        let answer = self.answer().await;
        // An error of the server's ends its answer.
        self.busy = answer.as_ref().is_err_and(|error| error::code(error).is_none());
        answer
    }

    async fn answer(&mut self) -> Result<Vec<Row>> {
        let first = self.channel.packet(MAX_PACKET).await?;
        match first.first() {
            Some(0x00) => return Ok(Vec::new()),
            Some(0xff) => return Err(rows::server_error(&first)),
            Some(0xfb) => return Err(error::protocol("the server asks for a file that nobody offered")),
            _ => {}
        }
        let columns = Reader::new(&first).lenenc()?.filter(|count| *count <= MAX_COLUMNS);
        let columns = columns.and_then(|count| usize::try_from(count).ok());
        let columns = columns.ok_or_else(|| error::protocol("the server's answer has no columns"))?;
        for _ in 0..columns {
            self.channel.packet(MAX_PACKET).await?;
        }
        if !rows::is_end(&self.channel.packet(MAX_PACKET).await?) {
            return Err(error::protocol("the server's answer does not end its columns"));
        }
        let (mut found, mut size) = (Vec::new(), 0);
        loop {
            let packet = self.channel.packet(MAX_PACKET).await?;
            if rows::is_end(&packet) {
                return Ok(found);
            }
            if packet.first() == Some(&0xff) {
                return Err(rows::server_error(&packet));
            }
            size += packet.len();
            if size > MAX_RESULT {
                return Err(error::protocol("the server's answer is larger than any such answer can be"));
            }
            found.push(Row::read(packet, columns)?);
        }
    }

    /// Runs a command that is answered by OK or an error.
    pub(super) async fn command(&mut self, payload: &[u8]) -> Result<()> {
        self.begin()?;
        self.channel.command(payload).await?;
        let packet = self.channel.packet(MAX_PACKET).await?;
        self.busy = false;
        match packet.first() {
            Some(0x00) => Ok(()),
            Some(0xff) => Err(rows::server_error(&packet)),
            _ => Err(error::protocol("the server answered a command with a packet out of turn")),
        }
    }

    /// Settles the session for replication and asks for the log. What is wrong
    /// with the request shows in the first packet of the dump.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub(crate) async fn dump(mut self, request: &Request) -> Result<Dump<S>> {
        request.settle(&mut self).await.map_err(|error| match error::code(&error) {
            // MariaDB's word for a right that is missing.
            Some(1045) => Error::new(
                ErrorKind::Permission,
                "the user may not read the binary log: grant REPLICATION SLAVE ON *.*",
            )
            .caused_by(error),
            _ => error,
        })?;
        let command = request.encode()?;
        self.begin()?;
        self.channel.command(&command).await?;
        Ok(Dump::new(self.channel))
    }

    fn begin(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.busy, true) {
            return Err(Error::new(
                ErrorKind::Other,
                "a statement was dropped before its end: the connection is of no more use",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
