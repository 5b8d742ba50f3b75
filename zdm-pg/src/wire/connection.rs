//! A replication connection before the log streams: start-up, login, and the
//! few commands that a walsender takes.

use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncWrite};
use zdm_core::{Error, ErrorKind, Result};

use super::channel::Channel;
use super::copy::CopyBoth;
use super::gather::RECEIVE_BUFFER;
use super::rows::Row;
use super::stream::Stream;
use super::{auth, frame, session};
use crate::config::PgConfig;
use crate::connect::quote::{quote_ident, quote_literal};
use crate::error;
use crate::position::Lsn;

/// The most that the rows of one simple query may take together.
const MAX_RESULT: usize = 64 << 20;

/// A connection in `replication=database` mode, ready for a command.
#[derive(Debug)]
pub(crate) struct Connection<S = Stream> {
    channel: Channel<S>,
    #[cfg(any(test, feature = "failpoints"))]
    server_version_num: u32,
    process_id: i32,
    /// A command was sent and its answer not yet read to the end: set for the
    /// time of a query, and left set by one that was dropped.
    busy: bool,
}

/// The answer to `IDENTIFY_SYSTEM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemIdentity {
    /// Made once, by `initdb`; replicas share it.
    pub(crate) system_id: String,
    pub(crate) timeline: u32,
    /// How far the server's log is flushed.
    pub(crate) flushed: Lsn,
    pub(crate) dbname: String,
}

impl Connection {
    /// Connects and logs in, all within `connect_timeout`.
    ///
    /// # Errors
    ///
    /// `Connection`, `Timeout`, `Authentication`, `Permission` (the user needs
    /// `REPLICATION`), `NotFound` (the database), `Config` (TLS), `Protocol`.
    pub(crate) async fn connect(config: &PgConfig, purpose: &str) -> Result<Self> {
        Stream::with_login(config, Some(RECEIVE_BUFFER), |stream: Stream| async {
            let end_point = stream.binding().map(<[u8]>::to_vec);
            Self::start(stream, config, purpose, end_point.as_deref()).await
        })
        .await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Starts a session over a stream. The caller limits the time.
    pub(super) async fn start(
        stream: S,
        config: &PgConfig,
        purpose: &str,
        end_point: Option<&[u8]>,
    ) -> Result<Self> {
        let mut channel = Channel::new(stream);
        let (name, options) = (session::application_name(config, purpose), session::options(config));
        let parameters = [
            ("user", config.user()),
            ("database", config.dbname()),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", &name),
            ("options", &options),
        ];
        frontend::startup_message(parameters, &mut channel.output).map_err(error::io)?;
        channel.send().await?;
        auth::login(&mut channel, config, end_point).await?;
        let (mut server_version_num, mut process_id) = (0, 0);
        loop {
            match channel.message().await? {
                Message::ParameterStatus(body) => {
                    if body.name().map_err(error::io)? == "server_version" {
                        let version = body.value().map_err(error::io)?;
                        server_version_num = session::version_num(version).unwrap_or(0);
                    }
                }
                Message::BackendKeyData(body) => process_id = body.process_id(),
                Message::ReadyForQuery(_) => break,
                Message::ErrorResponse(body) => return Err(error::from_fields(body.fields())),
                _ => return Err(error::protocol("the server answered the login with a message out of turn")),
            }
        }
        if server_version_num == 0 {
            return Err(error::protocol("the server did not tell its version"));
        }
        let mut connection = Self {
            channel,
            #[cfg(any(test, feature = "failpoints"))]
            server_version_num,
            process_id,
            busy: false,
        };
        let late = session::late_settings(server_version_num);
        if !late.is_empty() {
            connection.query(late).await?;
        }
        Ok(connection)
    }

    /// The server's version as a number: 150018 for 15.18.
    #[cfg(any(test, feature = "failpoints"))]
    pub(crate) fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    /// The process that serves us, as `pg_stat_replication` shows it.
    pub(crate) fn process_id(&self) -> i32 {
        self.process_id
    }

    /// Runs a replication command or a statement and returns its rows (of the
    /// last one, if there are several). Has no timeout: creating a slot may
    /// rightly take long. When it is dropped, the connection is of no more use.
    ///
    /// # Errors
    ///
    /// What the server reported; the connection can still be used then.
    pub(crate) async fn query(&mut self, command: &str) -> Result<Vec<Row>> {
        self.begin(command).await?;
        let (mut rows, mut size, mut failed) = (Vec::new(), 0, None);
        loop {
            match self.channel.message().await? {
                Message::RowDescription(_) => rows.clear(),
                Message::DataRow(body) => {
                    size += body.buffer().len();
                    if size > MAX_RESULT {
                        return Err(error::protocol(
                            "the server's answer is larger than any such answer can be",
                        ));
                    }
                    rows.push(Row::read(&body)?);
                }
                Message::CommandComplete(_) | Message::EmptyQueryResponse | Message::ParameterStatus(_) => {}
                // A FATAL one is the last message: what follows is the end of
                // the stream, and the error that counts is this one.
                Message::ErrorResponse(body) => {
                    let error = error::from_fields(body.fields());
                    if error.kind() == ErrorKind::Connection {
                        return Err(error);
                    }
                    failed = Some(error);
                }
                Message::ReadyForQuery(_) => break,
                _ => return Err(error::protocol("the server answered a command with a message out of turn")),
            }
        }
        self.busy = false;
        failed.map_or(Ok(rows), Err)
    }

    /// Who the server is, and how far its log has come.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub(crate) async fn identify_system(&mut self) -> Result<SystemIdentity> {
        let rows = self.query("IDENTIFY_SYSTEM").await?;
        let row = rows.first().ok_or_else(|| error::protocol("the server did not identify itself"))?;
        let strange = || error::protocol("the server's timeline is not a number");
        Ok(SystemIdentity {
            system_id: row.text(0)?.to_owned(),
            timeline: row.text(1)?.parse().map_err(|_| strange())?,
            flushed: row.text(2)?.parse()?,
            dbname: row.text(3)?.to_owned(),
        })
    }

    /// Starts to stream a slot's log from a position, with the options of its
    /// output plugin.
    ///
    /// # Errors
    ///
    /// What the server reported: `NotFound` (no such slot), `Conflict` (it is
    /// in use), `Gap` (its log is gone). The connection is closed then.
    pub(crate) async fn start_replication(
        self,
        slot: &str,
        from: Lsn,
        options: &[(&str, &str)],
    ) -> Result<CopyBoth<S>> {
        let mut command = format!("START_REPLICATION SLOT {} LOGICAL {from}", quote_ident(slot));
        for (at, (name, value)) in options.iter().enumerate() {
            command.push_str(if at == 0 { " (" } else { ", " });
            command.push_str(&format!("{} {}", quote_ident(name), quote_literal(value)));
        }
        if !options.is_empty() {
            command.push(')');
        }
        self.copy_both(&command).await
    }

    /// Runs a command that is answered by a stream in both directions.
    async fn copy_both(mut self, command: &str) -> Result<CopyBoth<S>> {
        self.begin(command).await?;
        loop {
            // Raw, since the protocol crate does not know CopyBothResponse.
            let (tag, mut whole) = self.channel.raw().await?;
            match tag {
                b'W' => return Ok(CopyBoth::new(self.channel)),
                b'S' | b'A' => {}
                b'E' | b'N' => match Message::parse(&mut whole) {
                    Ok(Some(Message::NoticeResponse(body))) => error::log_notice(body.fields()),
                    Ok(Some(Message::ErrorResponse(body))) => return Err(error::from_fields(body.fields())),
                    _ => return Err(error::protocol("the server sent an error that cannot be read")),
                },
                tag => return Err(frame::unexpected(tag)),
            }
        }
    }

    /// Sends a command, if the answer to the last one was read to its end.
    async fn begin(&mut self, command: &str) -> Result<()> {
        if self.busy {
            return Err(Error::new(
                ErrorKind::Connection,
                "the connection was left in the middle of a command: open a new one",
            ));
        }
        self.busy = true;
        frontend::query(command, &mut self.channel.output).map_err(error::io)?;
        self.channel.send().await
    }
}

#[cfg(test)]
mod tests;
