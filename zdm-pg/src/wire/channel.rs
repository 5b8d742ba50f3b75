//! Messages in and out of a stream: two buffers and their bounds.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use zdm_core::{Error, ErrorKind, Result};

use super::frame;
use crate::error;

/// What one read asks for: the size of the kernel's receive buffer, so that
/// one call empties it.
pub(super) const READ: usize = 256 << 10;
/// A buffer with less room than this gets more before it is read into.
const LITTLE: usize = 64 << 10;

/// A stream with an input and an output buffer.
#[derive(Debug)]
pub(super) struct Channel<S> {
    stream: S,
    /// Begins at a message's first byte.
    pub(super) input: BytesMut,
    /// What is still to be written; its beginning may be half a message.
    pub(super) output: BytesMut,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), unflushed: false }
    }

    /// Reads once. `Ready(0)` is the end of the stream.
    ///
    /// Memory grows with what has arrived, never with what was announced: a
    /// message that claims a gigabyte has the buffer grow to eight times what
    /// is there each time it is full.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        if self.input.len() > frame::MAX_DATA + READ {
            let error =
                Error::new(ErrorKind::Other, "the log is read faster than it is taken from the buffer");
            return Poll::Ready(Err(error));
        }
        if self.room() < LITTLE {
            // In few steps, each of which leaves a buffer behind, and no further
            // than the message that lies there reaches.
            let left = match frame::header(&self.input) {
                Ok(Some((_, total))) => total.saturating_sub(self.input.len()),
                _ => 0,
            };
            let more = if left > 0 { left.min(self.input.len() * 7) } else { self.input.len() };
            self.input.reserve(more.max(READ));
        }
        // OK to make a new future for each poll: `read_buf` keeps no state.
        let read = pin!(self.stream.read_buf(&mut self.input));
        read.poll(cx).map_err(error::io)
    }

    /// How much can be read without growing.
    pub(super) fn room(&self) -> usize {
        self.input.capacity() - self.input.len()
    }

    /// Writes all that is in the output buffer. Whatever was written is gone
    /// from the buffer, so a caller that is cancelled loses nothing.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.output.is_empty() {
            let written =
                ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output)).map_err(error::io)?;
            if written == 0 {
                return Poll::Ready(Err(closed()));
            }
            self.output.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(error::io)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the output buffer while nothing is expected from the server.
    pub(super) async fn send(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    /// The next message, whole, and its tag. Cancel-safe.
    pub(super) async fn raw(&mut self) -> Result<(u8, BytesMut)> {
        loop {
            if let Some((tag, total)) = frame::header(&self.input)?
                && self.input.len() >= total
            {
                return Ok((tag, self.input.split_to(total)));
            }
            if poll_fn(|cx| self.poll_read(cx)).await? == 0 {
                return Err(closed());
            }
        }
    }

    /// The next message that answers us. Notices are logged on the way.
    pub(super) async fn message(&mut self) -> Result<Message> {
        loop {
            let (tag, mut whole) = self.raw().await?;
            match Message::parse(&mut whole).map_err(|cause| malformed(tag).caused_by(cause))? {
                Some(Message::NoticeResponse(body)) => error::log_notice(body.fields()),
                Some(Message::NotificationResponse(_)) => {}
                Some(message) => return Ok(message),
                None => return Err(malformed(tag)),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Takes the first bytes of the input, sharing its allocation.
    pub(super) fn split(&mut self, consumed: usize) -> Bytes {
        self.input.split_to(consumed.min(self.input.len())).freeze()
    }

    /// Says goodbye as far as that goes: the server ends the session anyway.
    pub(super) async fn close(&mut self) {
        postgres_protocol::message::frontend::terminate(&mut self.output);
        if self.send().await.is_ok() {
            let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await;
        }
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Connection, "the server closed the connection")
}

fn malformed(tag: u8) -> Error {
    error::protocol("the server sent a message that cannot be read").with("tag", tag.escape_ascii())
}
