//! The walker of the log: which frames lie complete in a buffer, and where.
//!
//! Pure and without a copy: a frame tells the range of its payload in the
//! buffer, so that a decoder can note offsets into one allocation that covers
//! thousands of messages. It is the only code that reads lengths off the wire
//! on this path, and thereby the entry point for fuzzing.
//!
//! <https://www.postgresql.org/docs/current/protocol-replication.html>

use std::ops::Range;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use zdm_core::{Error, ErrorKind, Result};

use crate::error;
use crate::position::Lsn;

/// The largest CopyData: the server cannot build one beyond 1 GiB; some slack
/// for its own header.
pub(super) const MAX_DATA: usize = (1 << 30) + (64 << 10);
/// The largest row of a simple query, and the largest of any other message.
const MAX_ROW: usize = 16 << 20;
const MAX_OTHER: usize = 1 << 20;
/// Tag and length.
const HEADER: usize = 5;

/// A frame of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A piece of the log (`XLogData`).
    Data {
        /// Where in the log the message begins.
        start: Lsn,
        /// Where the server's log ended when it was sent.
        end: Lsn,
        /// The server's clock then, in microseconds since 2000-01-01.
        sent: i64,
        /// The message of the output plugin, as a range of the buffer.
        payload: Range<usize>,
    },
    /// Nothing new; how far the server has read its log.
    KeepAlive {
        /// Everything before this has been sent.
        end: Lsn,
        /// The server's clock, in microseconds since 2000-01-01.
        sent: i64,
        /// Whether the server wants a status at once, lest it give up on us.
        reply: bool,
    },
    /// The server ended the stream: on request, or because it goes down.
    End,
    /// It is ready for another command.
    Ready,
}

/// Walks the frames that lie complete at the beginning of a buffer.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    buffer: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// A walk from the buffer's first byte, which begins a message.
    pub(crate) fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// The next complete frame; `None` when more bytes are needed. Notices
    /// and parameter changes are dealt with on the way.
    ///
    /// # Errors
    ///
    /// What the server reported, or `Protocol` for bytes that it cannot have
    /// meant. Nothing after an error can be trusted: close the connection.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            // OK because `at` only ever moves to the end of a complete message.
            let rest = &self.buffer[self.at..];
            let Some((tag, total)) = header(rest)? else { return Ok(None) };
            let Some(message) = rest.get(..total) else { return Ok(None) };
            let body = self.at + HEADER;
            let end = self.at + total;
            let frame = match tag {
                b'd' => Some(copy_data(&message[HEADER..], body)?),
                b'c' | b'C' => Some(Frame::End),
                b'Z' => Some(Frame::Ready),
                b'E' | b'N' => {
                    report(message)?;
                    None
                }
                b'S' | b'A' => None,
                _ => return Err(unexpected(tag)),
            };
            self.at = end;
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }

    /// How many bytes the frames so far take: the argument for `split`.
    pub(crate) fn consumed(&self) -> usize {
        self.at
    }
}

/// The tag and the whole length of the message that begins a buffer, once
/// its header is there.
///
/// # Errors
///
/// A tag that does not exist, or a length that the tag cannot have: judged on
/// five bytes, so that nothing is awaited that will never come.
pub(super) fn header(buffer: &[u8]) -> Result<Option<(u8, usize)>> {
    let Some((&[tag, length @ ..], _)) = buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
    let limit = match tag {
        b'd' => MAX_DATA,
        b'D' => MAX_ROW,
        b'A' | b'C' | b'E' | b'G' | b'H' | b'I' | b'K' | b'N' | b'R' | b'S' | b'T' | b'W' | b'Z' | b'c' => {
            MAX_OTHER
        }
        _ => return Err(unexpected(tag)),
    };
    // The length counts itself but not the tag.
    match usize::try_from(u32::from_be_bytes(length)) {
        Ok(length) if (4..=limit).contains(&length) => Ok(Some((tag, length + 1))),
        _ => Err(error::protocol("the server announced a message of an impossible length")
            .with("tag", tag.escape_ascii())
            .with("length", u32::from_be_bytes(length))),
    }
}

pub(super) fn unexpected(tag: u8) -> Error {
    error::protocol("the server sent a message that does not belong here: is it a PostgreSQL server?")
        .with("tag", tag.escape_ascii())
}

/// Reads one CopyData whose content begins at `offset` in the buffer.
fn copy_data(content: &[u8], offset: usize) -> Result<Frame> {
    let mut rest = content;
    let kind = take::<1>(&mut rest)?;
    match kind {
        [b'w'] => {
            let (start, end) = (take(&mut rest)?, take(&mut rest)?);
            let sent = i64::from_be_bytes(take(&mut rest)?);
            let from = offset + (content.len() - rest.len());
            Ok(Frame::Data {
                start: Lsn(u64::from_be_bytes(start)),
                end: Lsn(u64::from_be_bytes(end)),
                sent,
                payload: from..offset + content.len(),
            })
        }
        [b'k'] => {
            let end = Lsn(u64::from_be_bytes(take(&mut rest)?));
            let sent = i64::from_be_bytes(take(&mut rest)?);
            let [reply] = take(&mut rest)?;
            Ok(Frame::KeepAlive { end, sent, reply: reply != 0 })
        }
        [kind] => Err(error::protocol("the log contains a message of an unknown kind")
            .with("kind", kind.escape_ascii())),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) =
        rest.split_first_chunk::<N>().ok_or_else(|| error::protocol("a message of the log is too short"))?;
    *rest = tail;
    Ok(*head)
}

/// Logs a notice; returns an error as the error that it is.
fn report(message: &[u8]) -> Result<()> {
    match Message::parse(&mut BytesMut::from(message)) {
        Ok(Some(Message::NoticeResponse(body))) => {
            error::log_notice(body.fields());
            Ok(())
        }
        Ok(Some(Message::ErrorResponse(body))) => Err(error::from_fields(body.fields())),
        _ => Err(Error::new(ErrorKind::Protocol, "the server sent an error that cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::script::{copy_data, keepalive, message, xlog};
    use super::*;

    fn walk(buffer: &[u8]) -> (Vec<Frame>, usize, Option<Error>) {
        let mut frames = Frames::new(buffer);
        let mut found = Vec::new();
        loop {
            match frames.next() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => return (found, frames.consumed(), None),
                Err(error) => return (found, frames.consumed(), Some(error)),
            }
        }
    }

    #[test]
    fn frames_are_found_wherever_the_buffer_ends() {
        let parts = [
            xlog(0x10, b"begin"),
            keepalive(0x20, true),
            message(b'N', b"SNOTICE\0C00000\0Mhello\0\0"),
            message(b'S', b"TimeZone\0UTC\0"),
            xlog(0x30, b""),
            message(b'c', b""),
            message(b'C', b"COPY 0\0"),
            message(b'Z', b"I"),
        ];
        let whole = parts.concat();
        let (all, consumed, error) = walk(&whole);
        assert!(error.is_none() && consumed == whole.len() && all.len() == 6);
        let Frame::Data { start: Lsn(0x10), end: Lsn(0x11), payload, .. } = &all[0] else {
            panic!("{:?}", all[0])
        };
        assert_eq!(&whole[payload.clone()], b"begin");
        assert!(matches!(all[1], Frame::KeepAlive { end: Lsn(0x20), reply: true, .. }));
        assert!(matches!(&all[2], Frame::Data { payload, .. } if payload.is_empty()));
        assert_eq!(all[3..], [Frame::End, Frame::End, Frame::Ready]);
        for end in 0..whole.len() {
            let (found, consumed, error) = walk(&whole[..end]);
            assert!(error.is_none(), "cut at {end}");
            assert_eq!(found[..], all[..found.len()]);
            // The rest, walked from where the first walk stopped, completes it.
            let (rest, _, _) = walk(&whole[consumed..]);
            assert_eq!(found.len() + rest.len(), all.len(), "cut at {end}");
        }
    }

    #[test]
    fn impossible_bytes_are_refused_at_the_header() {
        for bad in [
            &[b'd', 0, 0, 0, 3][..],
            &[b'd', 0x41, 0, 0, 0],
            &[b'd', 0xff, 0xff, 0xff, 0xff],
            &[b'E', 0, 0x20, 0, 0],
            &[b'x', 0, 0, 0, 4],
            &[0; 5],
            &copy_data(b""),
            &copy_data(b"w1234"),
            &copy_data(b"k1234"),
            &copy_data(b"?"),
        ] {
            let (_, _, error) = walk(bad);
            assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::Protocol), "{bad:?}");
        }
        assert!(header(b"d\0\0").unwrap().is_none());
    }

    #[test]
    fn the_servers_error_is_the_error() {
        let (_, _, error) = walk(&message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"));
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(error.is_retryable());
        let (_, _, error) = walk(&message(b'E', b"SFATAL"));
        assert_eq!(error.unwrap().kind(), ErrorKind::Protocol);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (_, consumed, _) = walk(&bytes);
            prop_assert!(consumed <= bytes.len());
        }

        #[test]
        fn one_broken_byte_never_panics_and_ranges_stay_inside(at in 0usize..90, byte in any::<u8>()) {
            let mut bytes = [xlog(1, b"payload"), keepalive(2, false), message(b'E', b"C57P01\0Mm\0\0")].concat();
            let at = at % bytes.len();
            bytes[at] = byte;
            for frame in walk(&bytes).0 {
                if let Frame::Data { payload, .. } = frame {
                    prop_assert!(bytes.get(payload).is_some());
                }
            }
        }
    }
}
