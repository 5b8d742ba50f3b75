//! Compressed events: a whole transaction of MySQL 8.0.20 and later in one
//! event, and MariaDB's single compressed events.
//!
//! What they hold is unpacked piece by piece into a buffer of its own, never
//! wholly: a transaction of gigabytes compresses into megabytes.
//!
//! <https://dev.mysql.com/doc/refman/en/binary-log-transaction-compression.html>,
//! <https://mariadb.com/docs/server/server-management/server-monitoring-logs/binary-log/compressing-events-to-reduce-size-of-the-binary-log>

use std::fmt;
use std::io::{Cursor, Read};
use std::ops::Range;

use bytes::BytesMut;
use flate2::read::ZlibDecoder;
use ruzstd::decoding::StreamingDecoder;
use zdm_core::{Error, ErrorKind, Result};

use super::event::{HEADER, kind};
use super::reader::{Reader, broken};

/// The longest event: a row as large as `max_allowed_packet` can be, twice
/// (old and new image), with some room.
const LONGEST: u64 = (2 << 30) + (1 << 20);
/// How much is unpacked at a time.
const PIECE: usize = 64 << 10;

/// The contents of a compressed event, not yet unpacked.
pub(super) struct Payload {
    source: Source,
    /// MariaDB: the one event's parts that were not compressed, and how long
    /// the rest is. Taken when it has been unpacked.
    single: Option<(Vec<u8>, u64)>,
    many: bool,
}

enum Source {
    Plain(Cursor<Vec<u8>>),
    Zlib(Box<ZlibDecoder<Cursor<Vec<u8>>>>),
    Zstd(Box<StreamingDecoder<Cursor<Vec<u8>>, ruzstd::decoding::FrameDecoder>>),
}

impl Payload {
    /// Unpacks the next event behind what `piece` holds, and says where it
    /// lies in it; `None` at the end. It has no checksum, and goes to
    /// [`Decoder::decode_unpacked`](super::decoder::Decoder::decode_unpacked).
    ///
    /// Call it as long as `piece` is not too large to be handed over, and then
    /// with a new one.
    ///
    /// # Errors
    /// `Protocol` for what cannot be unpacked.
    pub(super) fn next(&mut self, piece: &mut BytesMut) -> Result<Option<Range<usize>>> {
        let start = piece.len();
        if let Some((head, rest)) = self.single.take() {
            piece.extend_from_slice(&head);
            self.fill(piece, rest)?;
            set_size(piece, start)?;
            return Ok(Some(start..piece.len()));
        }
        if !self.many || !self.begins(piece)? {
            return Ok(None);
        }
        self.fill(piece, HEADER as u64 - 1)?;
        let size =
            piece.get(start + 9..start + 13).and_then(|size| size.try_into().ok()).map(u32::from_le_bytes);
        let rest = u64::from(size.unwrap_or(0)).checked_sub(HEADER as u64);
        self.fill(piece, rest.ok_or_else(|| broken("a compressed event is shorter than its header"))?)?;
        Ok(Some(start..piece.len()))
    }

    /// Appends one byte, unless this is the end.
    fn begins(&mut self, piece: &mut BytesMut) -> Result<bool> {
        let mut byte = [0];
        let there = self.source.read(&mut byte)? == 1;
        if there {
            piece.extend_from_slice(&byte);
        }
        Ok(there)
    }

    /// Appends that many bytes. Room is made as they come, not as they are
    /// announced.
    fn fill(&mut self, piece: &mut BytesMut, len: u64) -> Result<()> {
        if len > LONGEST {
            return Err(broken("a compressed event is longer than any event can be"));
        }
        let mut left = usize::try_from(len).map_err(|_| broken("a compressed event is too long"))?;
        while left > 0 {
            let at = piece.len();
            piece.resize(at + left.min(PIECE), 0);
            let read = self.source.read(&mut piece[at..])?;
            piece.truncate(at + read);
            if read == 0 {
                return Err(broken("a compressed event ends too early"));
            }
            left -= read;
        }
        Ok(())
    }
}

impl Source {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let read = match self {
            Self::Plain(source) => source.read(into),
            Self::Zlib(source) => source.read(into),
            Self::Zstd(source) => source.read(into),
        };
        read.map_err(|error| broken("it cannot be unpacked").caused_by(error))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload")
    }
}

/// Reads `TRANSACTION_PAYLOAD_EVENT`: fields of a kind, a length and a value,
/// and behind the end mark the compressed events.
pub(super) fn transaction(mut event: Reader<'_>) -> Result<Payload> {
    const END: u64 = 0;
    const COMPRESSION: u64 = 2;
    const ZSTD: u64 = 0;
    const NONE: u64 = 255;
    let mut compression = NONE;
    loop {
        let field = event.packed()?;
        if field == END {
            break;
        }
        let len = event.packed_len()?;
        let mut value = Reader::new(event.take(len)?, 0);
        if field == COMPRESSION {
            compression = value.packed()?;
        }
    }
    let source = Cursor::new(event.rest().to_vec());
    let source = match compression {
        NONE => Source::Plain(source),
        ZSTD if source.get_ref().is_empty() => Source::Plain(source),
        ZSTD => {
            let decoder = StreamingDecoder::new(source)
                .map_err(|error| broken("it cannot be unpacked").caused_by(error.to_string()))?;
            Source::Zstd(Box::new(decoder))
        }
        unknown => return Err(unknown_compression(unknown)),
    };
    Ok(Payload { source, single: None, many: true })
}

/// Reads one of MariaDB's compressed events. `head` is the event up to where
/// the compressed part begins, which `event` is at.
///
/// The part is one byte (a mark, the kind, and of how many bytes the length
/// is), the length in big-endian order, and a zlib stream.
pub(super) fn single(head: &[u8], mut event: Reader<'_>) -> Result<Payload> {
    let first = event.u8()?;
    if first & 0x80 == 0 {
        return Err(broken("a compressed event has no mark"));
    }
    if first >> 4 & 7 != 0 {
        return Err(unknown_compression((first >> 4 & 7).into()));
    }
    let mut len = 0;
    let bytes = first & 7;
    if !(1..=4).contains(&bytes) {
        return Err(broken("a compressed event's length is out of shape"));
    }
    for _ in 0..bytes {
        len = len << 8 | u64::from(event.u8()?);
    }
    let mut head = head.to_vec();
    let number = head.get_mut(4).ok_or_else(|| broken("it has no header"))?;
    *number = match *number {
        kind::MARIA_QUERY_COMPRESSED => kind::QUERY,
        old @ kind::MARIA_WRITE_ROWS_COMPRESSED_V1..=kind::MARIA_DELETE_ROWS_COMPRESSED_V1 => {
            old - kind::MARIA_WRITE_ROWS_COMPRESSED_V1 + kind::WRITE_ROWS_V1
        }
        new @ kind::MARIA_WRITE_ROWS_COMPRESSED..=kind::MARIA_DELETE_ROWS_COMPRESSED => {
            new - kind::MARIA_WRITE_ROWS_COMPRESSED + kind::WRITE_ROWS
        }
        _ => return Err(broken("it is not one of the compressed events")),
    };
    let source = Source::Zlib(Box::new(ZlibDecoder::new(Cursor::new(event.rest().to_vec()))));
    Ok(Payload { source, single: Some((head, len)), many: false })
}

/// Writes the length of the event at `start` into its header.
fn set_size(piece: &mut BytesMut, start: usize) -> Result<()> {
    let too_long = || broken("a compressed event is too long");
    let size = u32::try_from(piece.len() - start).map_err(|_| too_long())?;
    piece.get_mut(start + 9..start + 13).ok_or_else(too_long)?.copy_from_slice(&size.to_le_bytes());
    Ok(())
}

fn unknown_compression(number: u64) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the log is compressed in a way that is not known: switch its compression off on the source, and start \
         the run anew",
    )
    .with("compression", number)
}
