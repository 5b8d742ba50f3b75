//! One connected, and if need be encrypted, byte stream to a server.

use std::future::{Ready as ReadyFuture, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use zdm_core::{Error, ErrorKind, Result};

use super::{binding, socket, tls};
use crate::config::{PgConfig, SslMode};
use crate::error;

/// A stream to a server, before the first message of the protocol proper.
#[derive(Debug)]
pub(crate) struct Stream {
    transport: Transport,
    /// Hash of the server's certificate, for SCRAM-SHA-256-PLUS.
    binding: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects and negotiates TLS. `receive_buffer` fixes the size of the
    /// kernel's buffer, which otherwise grows as it likes.
    ///
    /// Has no timeout of its own: the caller's covers the login as well.
    pub(crate) async fn open(config: &PgConfig, receive_buffer: Option<u32>) -> Result<Self> {
        #[cfg(unix)]
        if let Some(path) = config.socket_path() {
            // libpq, too, ignores `sslmode` here: nobody is in between.
            let unix = socket::unix(&path, receive_buffer).await?;
            return Ok(Self { transport: Transport::Unix(unix), binding: None });
        }
        let tcp = socket::tcp(config, receive_buffer).await?;
        if config.sslmode() == SslMode::Disable {
            return Ok(Self::plain(tcp));
        }
        match Self::encrypt(config, tcp).await {
            Ok(stream) => Ok(stream),
            Err(error) if config.sslmode() == SslMode::Prefer => {
                tracing::debug!(%error, "tls failed, going on without it since sslmode is prefer");
                Self::open_plain(config, receive_buffer).await
            }
            Err(error) => Err(error),
        }
    }

    /// Connects without TLS, as `prefer` does when TLS did not work.
    async fn open_plain(config: &PgConfig, receive_buffer: Option<u32>) -> Result<Self> {
        Ok(Self::plain(socket::tcp(config, receive_buffer).await?))
    }

    /// Runs `login` over a new stream, within the configured time. With
    /// `prefer`, a server whose rules refuse encrypted logins (28000) is
    /// asked once more without.
    pub(crate) async fn with_login<T, F>(
        config: &PgConfig,
        receive_buffer: Option<u32>,
        login: impl Fn(Self) -> F + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let limit = config.connect_timeout();
        let attempt = async {
            let stream = Self::open(config, receive_buffer).await?;
            let may_fall_back = config.sslmode() == SslMode::Prefer && stream.is_encrypted();
            match login(stream).await {
                Err(error) if may_fall_back && error::sqlstate(&error) == Some("28000") => {
                    // If that fails too, the first answer is the telling one.
                    login(Self::open_plain(config, receive_buffer).await?).await.map_err(|_| error)
                }
                outcome => outcome,
            }
        };
        match tokio::time::timeout(limit, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(timed_out(limit)),
        }
        .map_err(|error| error.during("wire.connect").with("server", config))
    }

    fn plain(tcp: TcpStream) -> Self {
        Self { transport: Transport::Tcp(tcp), binding: None }
    }

    /// Asks for TLS and shakes hands; `N` leaves the stream plain where the
    /// mode allows it.
    ///
    /// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
    async fn encrypt(config: &PgConfig, mut tcp: TcpStream) -> Result<Self> {
        // SSLRequest: its length, and 1234 and 5679 in place of a version.
        tcp.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await.map_err(error::io)?;
        let mut answer = [0];
        tcp.read_exact(&mut answer).await.map_err(error::io)?;
        match answer[0] {
            b'S' => {}
            b'N' if config.sslmode() == SslMode::Prefer => return Ok(Self::plain(tcp)),
            b'N' => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "the server does not offer tls: turn ssl on there, or allow sslmode=prefer",
                ));
            }
            // A server before 7.1 answers with an error; so may one that is
            // out of processes. Its text is not authenticated: not shown.
            _ => return Err(error::protocol("the server answered the request for tls with something else")),
        }
        let tls = tls::handshake(config, tcp).await?;
        let binding =
            tls.get_ref().1.peer_certificates().and_then(|chain| binding::end_point(chain.first()?));
        Ok(Self { transport: Transport::Tls(Box::new(tls)), binding })
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// What SCRAM-SHA-256-PLUS binds to: `tls-server-end-point`.
    pub(super) fn binding(&self) -> Option<&[u8]> {
        self.binding.as_deref()
    }
}

fn timed_out(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, "the server did not let us in within connect_timeout")
        .with("seconds", limit.as_secs_f64())
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            #[cfg(unix)]
            Transport::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Transport::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            #[cfg(unix)]
            Transport::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Transport::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(s) => Pin::new(s).poll_flush(cx),
            #[cfg(unix)]
            Transport::Unix(s) => Pin::new(s).poll_flush(cx),
            Transport::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            #[cfg(unix)]
            Transport::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Transport::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        self.binding.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// Hands a [`Stream`], which has negotiated TLS already or needs none, to
/// `tokio_postgres` as if it had just been encrypted. That way
/// `tokio_postgres` learns what to bind SCRAM to.
#[derive(Debug)]
pub(crate) struct Ready;

impl<S: TlsStream + Unpin> TlsConnect<S> for Ready {
    type Stream = S;
    type Error = io::Error;
    type Future = ReadyFuture<io::Result<S>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
    }
}
