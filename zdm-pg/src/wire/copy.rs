//! The log as it streams in, and our reports on how far we have come.
//!
//! One task owns it and does everything in one `select!` loop:
//!
//! ```text
//! loop {
//!     select! {
//!         read = copy.fill() => read?,
//!         _ = clock.tick() => copy.queue_status(...),   // the next poll of fill writes it
//!     };
//!     let mut frames = copy.frames();
//!     while let Some(frame) = frames.next()? { ... }    // ranges in the buffer
//!     let consumed = frames.consumed();
//!     let bytes = copy.split(consumed);                 // the same ranges, in one frozen `Bytes`
//! }
//! ```
//!
//! Every future here may be dropped at any point and loses nothing. Writing
//! never blocks reading: `fill` writes what the socket takes while it waits
//! for bytes, and `flush` reads ahead while the socket takes none.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use zdm_core::{Error, ErrorKind, Result};

use super::channel::{Channel, READ, closed};
use super::frame::{self, Frame, Frames};
use super::gather::Gather;
use super::stream::Stream;
use crate::position::Lsn;

/// How much `flush` may read ahead before it only waits to write.
const AHEAD: usize = 1 << 20;
/// 2000-01-01 in seconds since 1970-01-01.
const PG_EPOCH: u64 = 946_684_800;

/// A replication stream in both directions.
#[derive(Debug)]
pub(crate) struct CopyBoth<S = Stream> {
    channel: Channel<S>,
    gather: Gather,
    /// The newest status not yet in the output buffer. While the socket takes
    /// nothing, a newer one replaces it, so that statuses never pile up.
    status: Option<Status>,
    /// Bytes in the input buffer of which no `fill` has told yet.
    untold: usize,
    /// Why writing failed. The server may have said more before it closed:
    /// that is read first.
    broken: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Status {
    written: Lsn,
    flushed: Lsn,
    applied: Lsn,
    reply: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> CopyBoth<S> {
    pub(super) fn new(channel: Channel<S>) -> Self {
        // What came in one piece with the answer to START_REPLICATION.
        let untold = channel.input.len();
        Self { channel, gather: Gather::new(), status: None, untold, broken: None }
    }

    #[cfg(test)]
    pub(super) fn channel(&self) -> &Channel<S> {
        &self.channel
    }

    /// Waits for more bytes and reads what there is; the number of them, at
    /// least one. Take every complete frame before calling it again.
    ///
    /// While it waits, it writes what [`queue_status`](Self::queue_status)
    /// left. On a busy stream it lets bytes gather first (see
    /// [`super::gather`]). Cancel-safe.
    ///
    /// # Errors
    ///
    /// `Connection` when the stream ended or broke. The end of a stream that
    /// the server meant to end is a frame, not an error.
    pub(crate) async fn fill(&mut self) -> Result<usize> {
        if self.untold > 0 {
            return Ok(std::mem::take(&mut self.untold));
        }
        // A message larger than a read gathers by itself.
        let large = matches!(frame::header(&self.channel.input), Ok(Some((_, total))) if total > READ);
        if !large && let Some(until) = self.gather.nap(Instant::now()) {
            poll_fn(|cx| {
                self.write(cx);
                Poll::Ready(())
            })
            .await;
            tokio::time::sleep_until(until).await;
        }
        let read = poll_fn(|cx| self.poll_fill(cx)).await?;
        self.gather.filled(Instant::now(), read);
        Ok(read)
    }

    /// The frames that lie complete in the buffer.
    pub(crate) fn frames(&self) -> Frames<'_> {
        Frames::new(&self.channel.input)
    }

    /// The buffer that the ranges of [`frames`](Self::frames) refer to.
    pub(crate) fn buffer(&self) -> &[u8] {
        &self.channel.input
    }

    /// Takes the first `consumed` bytes out of the buffer. Ranges that lie in
    /// them hold in the result too. No byte is copied.
    pub(crate) fn split(&mut self, consumed: usize) -> Bytes {
        self.channel.split(consumed)
    }

    /// Notes how far we have come, to be written by the next `fill` or
    /// [`flush`](Self::flush). `flushed` is what the server may forget.
    pub(crate) fn queue_status(&mut self, written: Lsn, flushed: Lsn, applied: Lsn, reply: bool) {
        let reply = reply || self.status.is_some_and(|status| status.reply);
        self.status = Some(Status { written, flushed, applied, reply });
    }

    /// Writes what is queued. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `Connection` when the stream broke.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Tells the server how far we have come, now.
    ///
    /// # Errors
    ///
    /// `Connection` when the stream broke.
    #[cfg(any(test, feature = "failpoints"))]
    pub(crate) async fn send_status(
        &mut self,
        written: Lsn,
        flushed: Lsn,
        applied: Lsn,
        reply: bool,
    ) -> Result<()> {
        self.queue_status(written, flushed, applied, reply);
        self.flush().await
    }

    /// Ends the stream in good order: the queued status, then CopyDone in both
    /// directions, then goodbye. What still arrives is thrown away; the server
    /// may have a transaction to send to its end.
    ///
    /// # Errors
    ///
    /// `Timeout` when the server is not done in time. The connection is closed
    /// in any case.
    pub(crate) async fn finish(mut self, within: Duration) -> Result<()> {
        let orderly = async {
            if let Some(status) = self.status.take() {
                encode(status, &mut self.channel.output);
            }
            frontend::copy_done(&mut self.channel.output);
            self.flush().await?;
            loop {
                let mut frames = self.frames();
                let mut ready = false;
                while let Some(frame) = frames.next()? {
                    ready |= frame == Frame::Ready;
                }
                let consumed = frames.consumed();
                drop(self.split(consumed));
                if ready {
                    self.channel.close().await;
                    return Ok(());
                }
                self.untold = 0;
                poll_fn(|cx| self.poll_fill(cx)).await?;
            }
        };
        let outcome = tokio::time::timeout(within, orderly).await;
        outcome.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the server did not end the replication stream in time"))
        })
    }

    /// Reads until the socket is empty, a read's worth is there or the buffer
    /// is full.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        self.write(cx);
        let mut total = 0;
        loop {
            match self.channel.poll_read(cx) {
                Poll::Ready(Ok(0)) if total == 0 => {
                    return Poll::Ready(Err(self.broken.take().unwrap_or_else(closed)));
                }
                // Told again by the next read.
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(total)),
                Poll::Ready(Ok(read)) => total += read,
                // First what was read; a broken stream breaks again.
                Poll::Ready(Err(_)) | Poll::Pending if total > 0 => return Poll::Ready(Ok(total)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.broken.take().map_or(Poll::Pending, |e| Poll::Ready(Err(e))),
            }
            if total >= READ || self.channel.room() == 0 {
                return Poll::Ready(Ok(total));
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if self.write(cx) {
                return Poll::Ready(self.broken.take().map_or(Ok(()), Err));
            }
            // The server may be waiting for us to read before it reads.
            if self.untold >= AHEAD {
                return Poll::Pending;
            }
            match self.channel.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(closed())),
                Poll::Ready(Ok(read)) => self.untold += read,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Writes what the socket takes; whether nothing is left to be written.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.channel.poll_write(cx) {
                Poll::Pending => return false,
                Poll::Ready(Err(error)) => {
                    self.channel.output.clear();
                    self.status = None;
                    self.broken.get_or_insert(error);
                    return true;
                }
                Poll::Ready(Ok(())) => match self.status.take() {
                    Some(status) => encode(status, &mut self.channel.output),
                    None => return true,
                },
            }
        }
    }
}

/// Standby status update, in a CopyData.
fn encode(status: Status, output: &mut BytesMut) {
    output.put_u8(b'd');
    output.put_i32(38); // length, kind, three positions, clock, flag: 4 + 1 + 3 * 8 + 8 + 1
    output.put_u8(b'r');
    output.put_u64(status.written.0);
    output.put_u64(status.flushed.0);
    output.put_u64(status.applied.0);
    output.put_i64(now());
    output.put_u8(u8::from(status.reply));
}

/// Our clock, in microseconds since 2000-01-01; the server only shows it.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.saturating_sub(Duration::from_secs(PG_EPOCH));
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
