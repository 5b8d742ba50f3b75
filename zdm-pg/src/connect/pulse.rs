//! A stream that notes when bytes last moved, and who is to speak next.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use crate::wire::Stream;

/// Sync: the end of a request that the server must answer.
const SYNC: &[u8] = b"S\0\0\0\x04";
/// `ReadyForQuery` but for its last byte, which tells of the transaction.
const READY: &[u8] = b"Z\0\0\0\x05";
/// The longer of the two, whole.
const TAIL: usize = 6;

/// Where a session stands, by the bytes that went over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The last request was answered: silence means nothing.
    Idle,
    /// Part of a request was sent, as rows of a COPY: either side may pause.
    Asking,
    /// A whole request was sent and nothing has come back: the server's turn.
    Asked,
    /// Part of an answer has come.
    Answering,
}

/// What is known of a session's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) turn: Turn,
    /// When bytes last went in either direction.
    pub(super) at: Instant,
    /// The system takes none of ours.
    pub(super) stuck: bool,
    sent: [u8; TAIL],
    received: [u8; TAIL],
}

impl Moved {
    fn new(at: Instant) -> Self {
        Self { turn: Turn::Idle, at, stuck: false, sent: [0; TAIL], received: [0; TAIL] }
    }

    fn sent(&mut self, bytes: &[u8]) {
        (self.at, self.stuck) = (Instant::now(), false);
        shift(&mut self.sent, bytes);
        // A simple query ends with the zero behind its text, which no row in
        // COPY's text format can hold.
        let whole = self.sent.ends_with(SYNC) || self.sent.ends_with(&[0]);
        self.turn = if whole { Turn::Asked } else { Turn::Asking };
    }

    fn received(&mut self, bytes: &[u8]) {
        self.at = Instant::now();
        shift(&mut self.received, bytes);
        // What comes unasked (a notice, a setting that changed) asks nothing.
        if self.turn != Turn::Idle {
            let ready = self.received[..TAIL - 1] == *READY;
            self.turn = if ready { Turn::Idle } else { Turn::Answering };
        }
    }
}

/// Keeps the last bytes of what has gone by.
fn shift(tail: &mut [u8; TAIL], bytes: &[u8]) {
    let new = bytes.len().min(TAIL);
    tail.rotate_left(new);
    tail[TAIL - new..].copy_from_slice(&bytes[bytes.len() - new..]);
}

/// A session's bytes as its watcher sees them. A handle: clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<Mutex<Moved>>);

impl Pulse {
    pub(super) fn now(&self) -> Moved {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Moved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream with a pulse.
#[derive(Debug)]
pub(super) struct Felt {
    stream: Stream,
    pulse: Pulse,
}

impl Felt {
    pub(super) fn new(stream: Stream) -> (Self, Pulse) {
        let pulse = Pulse(Arc::new(Mutex::new(Moved::new(Instant::now()))));
        (Self { stream, pulse: pulse.clone() }, pulse)
    }
}

impl AsyncRead for Felt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(new @ [_, ..]) = buf.filled().get(before..) {
            self.pulse.lock().received(new);
        }
        polled
    }
}

impl AsyncWrite for Felt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        match &polled {
            Poll::Ready(Ok(count @ 1..)) => self.pulse.lock().sent(&buf[..*count]),
            Poll::Pending => self.pulse.lock().stuck = true,
            Poll::Ready(_) => {}
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl TlsStream for Felt {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_turn_it_is_shows_in_the_last_bytes() {
        let mut moved = Moved::new(Instant::now());
        moved.received(b"S\0\0\0\x0aa setting");
        assert_eq!(moved.turn, Turn::Idle, "what comes unasked");
        moved.sent(b"Q\0\0\0\x0bSELECT");
        assert_eq!(moved.turn, Turn::Asking);
        moved.sent(b" 1\0");
        assert_eq!(moved.turn, Turn::Asked);
        moved.received(b"C\0\0\0\x0dSELECT 1\0Z\0\0");
        assert_eq!(moved.turn, Turn::Answering);
        // In two pieces.
        moved.received(b"\0\x05I");
        assert_eq!(moved.turn, Turn::Idle);
        moved.sent(b"B\0\0\0\x04S\0\0\0\x04");
        assert_eq!(moved.turn, Turn::Asked);
        moved.received(b"G\0\0\0\x07\0\0\0");
        moved.sent(b"d\0\0\0\x07a\tb\n");
        assert_eq!(moved.turn, Turn::Asking, "rows of a copy, which may pause");
        moved.sent(b"c\0\0\0\x04S\0\0\0\x04");
        assert_eq!(moved.turn, Turn::Asked);
    }
}
