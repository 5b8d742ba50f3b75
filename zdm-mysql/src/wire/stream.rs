//! One connected, and if need be encrypted, byte stream to a server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use zdm_core::Result;

use super::{socket, tls};
use crate::config::MySqlConfig;
use crate::error;

/// A stream to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Stream {
    /// Connects. `receive_buffer` fixes the size of the kernel's buffer, which
    /// otherwise grows as it likes.
    ///
    /// Has no timeout of its own: the caller's covers the login as well.
    pub(super) async fn open(config: &MySqlConfig, receive_buffer: Option<u32>) -> Result<Self> {
        #[cfg(unix)]
        if let Some(path) = config.socket() {
            return Ok(Self::Unix(socket::unix(path, receive_buffer).await?));
        }
        Ok(Self::Tcp(socket::tcp(config, receive_buffer).await?))
    }

    /// Shakes hands for TLS, once the server was told that we will.
    pub(super) async fn encrypt(self, config: &MySqlConfig) -> Result<Self> {
        match self {
            Self::Tcp(tcp) => Ok(Self::Tls(Box::new(tls::handshake(config, tcp).await?))),
            // Never asked for: see `may_encrypt`.
            _ => Err(error::protocol("tls is only for tcp")),
        }
    }

    /// Whether TLS is possible. A Unix socket has nobody in between.
    pub(super) fn may_encrypt(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Whether nobody in between can read: a password may go as it is.
    pub(super) fn is_private(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            #[cfg(unix)]
            Self::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
