//! The log as it streams in.
//!
//! ```text
//! loop {
//!     dump.fill().await?;
//!     while let Some(event) = dump.next()? { ... }   // ranges in the buffer
//!     let bytes = dump.split(consumed);              // the same ranges, in one frozen `Bytes`
//! }
//! ```
//!
//! An event lies in one piece in the read buffer, whatever packets it came in:
//! where it was spread over several, the headers between them are taken out.
//! Many small events lie side by side, and none is copied.
//!
//! Every future here may be dropped at any point and loses nothing.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use zdm_core::{Error, ErrorKind, Result};

use super::channel::{self, Channel, GOES_ON, MAX_PAYLOAD, READ};
use super::gather::Gather;
use super::rows;
use super::stream::Stream;
use crate::error;

/// A dump of the binary log under way.
#[derive(Debug)]
pub(crate) struct Dump<S = Stream> {
    channel: Channel<S>,
    gather: Gather,
    /// Payloads that lie complete in the buffer and were not given yet.
    ready: VecDeque<Range<usize>>,
    /// Up to here the buffer is divided into payloads.
    scanned: usize,
    /// Where a payload begins that goes on in packets still to come.
    open: Option<usize>,
    /// Bytes in the input buffer of which no `fill` has told yet.
    untold: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dump<S> {
    pub(super) fn new(channel: Channel<S>) -> Self {
        let untold = channel.input.len();
        Self { channel, gather: Gather::new(), ready: VecDeque::new(), scanned: 0, open: None, untold }
    }

    /// Waits for more bytes and reads what there is; the number of them, at
    /// least one. Take every event before calling it again.
    ///
    /// On a busy stream it lets bytes gather first (see [`super::gather`]).
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// `Connection` when the stream ended or broke.
    pub(crate) async fn fill(&mut self) -> Result<usize> {
        if self.untold > 0 {
            return Ok(std::mem::take(&mut self.untold));
        }
        // A packet larger than a read gathers by itself.
        let large = self.open.is_some()
            || channel::header(self.channel.input.get(self.scanned..).unwrap_or_default())
                .is_some_and(|(length, _)| length > READ);
        if !large && let Some(until) = self.gather.nap(Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
        let read = poll_fn(|cx| self.poll_fill(cx)).await?;
        self.gather.filled(Instant::now(), read);
        Ok(read)
    }

    /// Reads until the socket is empty, a read's worth is there or the buffer
    /// is full.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        let mut total = 0;
        loop {
            match self.channel.poll_read(cx) {
                Poll::Ready(Ok(0)) if total == 0 => return Poll::Ready(Err(error::closed())),
                // Told again by the next read.
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(total)),
                Poll::Ready(Ok(read)) => total += read,
                // First what was read; a broken stream breaks again.
                Poll::Ready(Err(_)) | Poll::Pending if total > 0 => return Poll::Ready(Ok(total)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            if total >= READ || self.channel.room() == 0 {
                return Poll::Ready(Ok(total));
            }
        }
    }

    /// The next event that lies complete in the buffer, header and checksum
    /// included. Nothing of it was looked at.
    ///
    /// # Errors
    ///
    /// What the server ended the dump with (`Gap`, `Conflict`, …);
    /// `Connection` when it ended it without a word.
    pub(crate) fn next(&mut self) -> Result<Option<Range<usize>>> {
        if self.ready.is_empty() {
            self.scan()?;
        }
        let Some(payload) = self.ready.pop_front() else { return Ok(None) };
        let bytes = self.channel.input.get(payload.clone()).unwrap_or_default();
        match bytes.first() {
            Some(0x00) => Ok(Some(payload.start + 1..payload.end)),
            Some(0xff) => Err(rows::server_error(bytes)),
            Some(0xfe) if rows::is_end(bytes) => {
                Err(Error::new(ErrorKind::Connection, "the server ended the stream: is it being shut down?"))
            }
            _ => Err(error::protocol("the server sent something else than an event of its log")),
        }
    }

    /// The buffer that the ranges of events refer to.
    pub(crate) fn buffer(&self) -> &[u8] {
        &self.channel.input
    }

    /// Takes the first `consumed` bytes out of the buffer: all events that end
    /// there or before, which must have been given. Ranges that lie in them
    /// hold in the result too. No byte is copied.
    pub(crate) fn split(&mut self, consumed: usize) -> Bytes {
        // Nothing that was not given yet: the header before it stays, too.
        let next = self.ready.front().map(|payload| payload.start).or(self.open);
        let consumed = consumed.min(next.map_or(self.scanned, |start| start - channel::HEADER));
        self.scanned -= consumed;
        if let Some(open) = &mut self.open {
            *open -= consumed;
        }
        for payload in &mut self.ready {
            *payload = payload.start - consumed..payload.end - consumed;
        }
        self.channel.input.split_to(consumed).freeze()
    }

    /// Divides what has arrived into payloads, and joins those that came in
    /// several packets.
    fn scan(&mut self) -> Result<()> {
        while let Some((length, _)) =
            channel::header(self.channel.input.get(self.scanned..).unwrap_or_default())
        {
            let start = self.open.unwrap_or(self.scanned + channel::HEADER);
            if self.scanned + channel::HEADER + length - start > MAX_PAYLOAD {
                return Err(error::protocol("the server sent an event that is larger than any event can be"));
            }
            if self.channel.input.len() < self.scanned + channel::HEADER + length {
                return Ok(());
            }
            if self.open.is_some() {
                // The header between two packets of one payload. What follows
                // it is at most what one read has brought, and the packet.
                let behind = self.scanned + channel::HEADER;
                let end = self.channel.input.len();
                self.channel.input.copy_within(behind..end, self.scanned);
                self.channel.input.truncate(end - channel::HEADER);
                self.scanned += length;
            } else {
                self.scanned += channel::HEADER + length;
            }
            if length == GOES_ON {
                self.open = Some(start);
            } else {
                self.open = None;
                self.ready.push_back(start..self.scanned);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
