//! A server made of bytes, for tests.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose reads are written down beforehand, one piece each, and
/// whose writes are kept. After the last piece it ends, or stays silent.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) pieces: VecDeque<Vec<u8>>,
    pub(super) written: Vec<u8>,
    /// Instead of an end of the stream.
    pub(super) silent: bool,
    /// The bytes that writes may still take; then they block.
    pub(super) window: Option<usize>,
}

impl Script {
    pub(super) fn new(bytes: &[u8], piece: usize) -> Self {
        Self { pieces: bytes.chunks(piece.max(1)).map(<[u8]>::to_vec).collect(), ..Self::default() }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.pieces.pop_front() else {
            return if self.silent { Poll::Pending } else { Poll::Ready(Ok(())) };
        };
        let fits = piece.len().min(buf.remaining());
        buf.put_slice(&piece[..fits]);
        if fits < piece.len() {
            self.pieces.push_front(piece.split_off(fits));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let fits = self.window.map_or(buf.len(), |window| window.min(buf.len()));
        if fits == 0 {
            return Poll::Pending;
        }
        self.window = self.window.map(|window| window - fits);
        self.written.extend(&buf[..fits]);
        Poll::Ready(Ok(fits))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

pub(super) fn copy_data(content: &[u8]) -> Vec<u8> {
    message(b'd', content)
}

pub(super) fn xlog(start: u64, payload: &[u8]) -> Vec<u8> {
    copy_data(&[b"w", &start.to_be_bytes()[..], &(start + 1).to_be_bytes(), &[0; 8], payload].concat())
}

pub(super) fn keepalive(end: u64, reply: bool) -> Vec<u8> {
    copy_data(&[b"k", &end.to_be_bytes()[..], &[0; 8], &[u8::from(reply)]].concat())
}

/// What a server of version 13 sends to let a trusted user in.
pub(super) fn welcome() -> Vec<u8> {
    [
        message(b'R', &[0, 0, 0, 0]),
        message(b'S', b"server_version\x0013.4\0"),
        message(b'K', &[0, 0, 0, 7, 0, 0, 0, 9]),
        message(b'Z', b"I"),
    ]
    .concat()
}
