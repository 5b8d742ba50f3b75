//! Packets in and out of a stream: two buffers and their bounds.
//!
//! A packet is its length (3 bytes), a sequence number, and its payload. One
//! of 2^24 - 1 bytes goes on in the next.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use zdm_core::{Error, ErrorKind, Result};

use super::inflate::Inflate;
use crate::config::Compression;
use crate::error;

/// Length and sequence number.
pub(super) const HEADER: usize = 4;
/// The length of a packet that goes on in the next one.
pub(super) const GOES_ON: usize = 0x00ff_ffff;
/// The most that one payload may have when it is joined: what
/// `max_allowed_packet` can be at most, and the little that comes around it.
pub(super) const MAX_PAYLOAD: usize = (1 << 30) + (1 << 16);
/// What one read asks for: the size of the kernel's receive buffer, so that
/// one call empties it.
pub(super) const READ: usize = 256 << 10;
/// A buffer with less room than this gets more before it is read into.
const LITTLE: usize = 64 << 10;
/// The most that may lie unread: the largest payload with what came around it.
const MOST: usize = MAX_PAYLOAD + (64 << 20);

/// A stream with an input and an output buffer.
#[derive(Debug)]
pub(super) struct Channel<S> {
    stream: S,
    /// Begins at a packet's first byte.
    pub(super) input: BytesMut,
    inflate: Option<Inflate>,
    /// What is still to be written; its beginning may be half a packet.
    output: BytesMut,
    unflushed: bool,
    /// The number of the next packet that we send.
    sequence: u8,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            inflate: None,
            output: BytesMut::new(),
            unflushed: false,
            sequence: 0,
        }
    }

    /// From here on packets come and go in compressed frames.
    pub(super) fn compress(&mut self, compression: Compression) {
        self.inflate = Some(Inflate::new(compression));
    }

    /// The stream, to be encrypted from here on.
    ///
    /// # Errors
    /// `Protocol` when something has come already: nobody vouches for it.
    pub(super) fn into_stream(self) -> Result<S> {
        if self.input.is_empty() {
            return Ok(self.stream);
        }
        Err(error::protocol("the server sent something before the encryption that it announced"))
    }

    /// Goes on over another stream, where the last one left off.
    pub(super) fn over(stream: S, sequence: u8) -> Self {
        Self { sequence, ..Self::new(stream) }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// The number of the next packet that we send.
    pub(super) fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Reads once; how many bytes came. `Ready(0)` is the end of the stream.
    ///
    /// Memory grows with what has arrived, never with what was announced: a
    /// packet that claims 16 MiB doubles the buffer each time it is full.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        if self.input.len() > MOST {
            let error =
                Error::new(ErrorKind::Other, "the log is read faster than it is taken from the buffer");
            return Poll::Ready(Err(error));
        }
        let buffer = match &mut self.inflate {
            Some(inflate) => &mut inflate.packed,
            None => &mut self.input,
        };
        if buffer.capacity() - buffer.len() < LITTLE {
            buffer.reserve(buffer.len().max(READ));
        }
        // OK to make a new future for each poll: `read_buf` keeps no state.
        let read = ready!(pin!(self.stream.read_buf(buffer)).poll(cx)).map_err(error::io)?;
        if let Some(inflate) = &mut self.inflate {
            inflate.unpack(&mut self.input)?;
        }
        Poll::Ready(Ok(read))
    }

    /// How much can be read without growing.
    pub(super) fn room(&self) -> usize {
        let buffer = self.inflate.as_ref().map_or(&self.input, |inflate| &inflate.packed);
        buffer.capacity() - buffer.len()
    }

    /// The next payload, joined from all its packets, no longer than `limit`.
    ///
    /// # Errors
    /// `Connection` when the stream ends, `Protocol` beyond the limit.
    pub(super) async fn packet(&mut self, limit: usize) -> Result<BytesMut> {
        let mut whole = BytesMut::new();
        loop {
            while self.input.len() < HEADER {
                self.read().await?;
            }
            // OK because four bytes are there.
            let (length, sequence) = header(&self.input).unwrap_or_default();
            if whole.len() + length > limit {
                return Err(error::protocol(
                    "the server sent a packet that is larger than any such packet can be",
                ));
            }
            while self.input.len() < HEADER + length {
                self.read().await?;
            }
            self.sequence = sequence.wrapping_add(1);
            self.input.advance(HEADER);
            let payload = self.input.split_to(length);
            if whole.is_empty() {
                whole = payload;
            } else {
                whole.extend_from_slice(&payload);
            }
            if length < GOES_ON {
                return Ok(whole);
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        if poll_fn(|cx| self.poll_read(cx)).await? == 0 { Err(error::closed()) } else { Ok(()) }
    }

    /// Sends the first packet of a command.
    pub(super) async fn command(&mut self, payload: &[u8]) -> Result<()> {
        self.sequence = 0;
        if let Some(inflate) = &mut self.inflate {
            inflate.begin();
        }
        self.send(payload).await
    }

    /// Sends a packet as the answer to the last one.
    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let mut packets = BytesMut::with_capacity(payload.len() + HEADER);
        let mut rest = payload;
        loop {
            let (piece, behind) = rest.split_at(rest.len().min(GOES_ON));
            // OK because a piece has at most 2^24 - 1 bytes.
            packets.put_uint_le(piece.len() as u64, 3);
            packets.put_u8(self.sequence);
            packets.extend_from_slice(piece);
            self.sequence = self.sequence.wrapping_add(1);
            rest = behind;
            if piece.len() < GOES_ON {
                break;
            }
        }
        match &mut self.inflate {
            Some(inflate) => inflate.wrap(&packets, &mut self.output),
            None => self.output.unsplit(packets),
        }
        poll_fn(|cx| self.poll_write(cx)).await
    }

    /// Writes all that is in the output buffer. Whatever was written is gone
    /// from the buffer, so a caller that is cancelled loses nothing.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.output.is_empty() {
            let written =
                ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output)).map_err(error::io)?;
            if written == 0 {
                return Poll::Ready(Err(error::closed()));
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
}

/// Length of the payload and sequence number of the packet that begins here,
/// if its header is there.
pub(super) fn header(bytes: &[u8]) -> Option<(usize, u8)> {
    let [a, b, c, sequence] = *bytes.first_chunk()?;
    Some((usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16, sequence))
}
