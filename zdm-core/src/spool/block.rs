//! Records that lie together, and go to disk and come back together.
//!
//! ```text
//! block   length of what follows the head, its checksum; then records
//! record  its part, its length, its bytes
//! ```
//!
//! All numbers have 32 bits, little end first.

use std::io::{self, Read, Write};
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::records::spoiled;
use crate::Result;

/// A block takes no more once it has so many bytes.
const FULL: usize = 256 << 10;
/// Length and checksum.
const HEAD: usize = 8;
/// Part and length.
const RECORD: usize = 8;

/// A block in memory.
#[derive(Debug)]
pub(super) struct Filling {
    /// Room for the head, and records.
    bytes: BytesMut,
    /// The bytes of the last record, where they lie elsewhere; then it is the
    /// only one.
    shared: Option<Bytes>,
}

impl Filling {
    pub(super) fn new() -> Self {
        Self { bytes: BytesMut::from(&[0; HEAD][..]), shared: None }
    }

    pub(super) fn of_one(part: u32, record: Bytes) -> Self {
        let mut block = Self::new();
        block.header(part, record.len());
        block.shared = Some(record);
        block
    }

    pub(super) fn has_room(&self) -> bool {
        self.shared.is_none() && self.bytes.len() < FULL
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.shared.as_ref().map_or(0, Bytes::len)
    }

    pub(super) fn add(&mut self, part: u32, record: &[&[u8]]) {
        self.header(part, record.iter().map(|piece| piece.len()).sum());
        record.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
    }

    fn header(&mut self, part: u32, len: usize) {
        self.bytes.put_u32_le(part);
        // OK to saturate: no source's message is of 4 GiB, and one that was
        // would not be read back as another, but as spoiled.
        self.bytes.put_u32_le(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Writes it with its head.
    pub(super) fn write(mut self, into: &mut impl Write) -> io::Result<()> {
        let shared = self.shared.unwrap_or_default();
        let len = self.bytes.len() - HEAD + shared.len();
        let len = u32::try_from(len).map_err(|_| io::Error::other("a record of 4 GiB"))?;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&self.bytes[HEAD..]);
        sum.update(&shared);
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        self.bytes[4..HEAD].copy_from_slice(&sum.finalize().to_le_bytes());
        into.write_all(&self.bytes)?;
        into.write_all(&shared)
    }

    /// What lies in it: the bytes, and where in them records begin; `None`
    /// for all of them being one record, of that part.
    pub(super) fn into_bytes(self) -> (Bytes, Option<u32>) {
        match self.shared {
            // OK to index: a block of one has that record's header.
            Some(shared) => {
                let part = &self.bytes[HEAD..HEAD + 4];
                (shared, Some(u32::from_le_bytes([part[0], part[1], part[2], part[3]])))
            }
            None => (self.bytes.freeze().slice(HEAD..), None),
        }
    }
}

/// Reads a block that [`Filling::write`] has written; `left` is what the file
/// still has of them, and is less by it then.
pub(super) fn read(from: &mut impl Read, left: &mut u64) -> Result<Bytes> {
    let io = |error: io::Error| spoiled("it cannot be read").caused_by(error);
    let (mut len, mut sum) = ([0; 4], [0; 4]);
    from.read_exact(&mut len).map_err(io)?;
    from.read_exact(&mut sum).map_err(io)?;
    let (len, sum) = (u32::from_le_bytes(len), u32::from_le_bytes(sum));
    // Before so much memory is taken for it.
    *left = left
        .checked_sub(HEAD as u64 + u64::from(len))
        .ok_or_else(|| spoiled("a block is longer than its file"))?;
    let mut bytes = BytesMut::zeroed(usize::try_from(len).map_err(|_| spoiled("a block is too long"))?);
    from.read_exact(&mut bytes).map_err(io)?;
    if crc32fast::hash(&bytes) != sum {
        return Err(spoiled("a block has another checksum"));
    }
    Ok(bytes.freeze())
}

/// The record at `at`: its part and place, and moves on behind it.
pub(super) fn record(bytes: &[u8], at: &mut usize) -> Result<Option<(u32, Range<usize>)>> {
    let rest = bytes.get(*at..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    let broken = || spoiled("a record ends too early");
    let ([a, b, c, d, e, f, g, h], _) = rest.split_first_chunk::<RECORD>().ok_or_else(broken)?;
    let len = usize::try_from(u32::from_le_bytes([*e, *f, *g, *h])).map_err(|_| broken())?;
    let start = *at + RECORD;
    let end = start.checked_add(len).filter(|end| *end <= bytes.len()).ok_or_else(broken)?;
    *at = end;
    Ok(Some((u32::from_le_bytes([*a, *b, *c, *d]), start..end)))
}
