//! The messages of `pgoutput`, read where they lie.
//!
//! Protocol version 2: whole transactions in commit order, and parts of
//! streamed ones before. Everything is checked against the end of its message,
//! so no byte from a socket can make us panic, and nothing is allocated for a
//! row.
//!
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use zdm_core::change::{Cell, DateTime, Format};
use zdm_core::{Error, ErrorKind, Result};

use crate::position::Lsn;
use crate::types::{BINARY, TEXT};

/// 2000-01-01 in seconds since 1970-01-01.
const EPOCH: i64 = 946_684_800;

/// One message, its parts not yet read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Where the first byte of `rest` lies in the buffer that cells point into.
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of a message that lies at `at` of a buffer.
    pub(super) fn new(message: &'a [u8], at: usize) -> Self {
        Self { rest: message, at }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| broken("it ends too early"))?;
        self.rest = rest;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| broken("it ends too early"))?;
        self.rest = rest;
        self.at += N;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn lsn(&mut self) -> Result<Lsn> {
        self.u64().map(Lsn)
    }

    fn time(&mut self) -> Result<DateTime> {
        self.array().map(i64::from_be_bytes).map(|micros| DateTime::from_micros_since(micros, EPOCH))
    }

    fn text(&mut self) -> Result<&'a str> {
        let end = self.rest.iter().position(|b| *b == 0).ok_or_else(|| broken("a name has no end"))?;
        let name = self.take(end)?;
        self.byte()?;
        std::str::from_utf8(name).map_err(|_| broken("a name is not UTF-8"))
    }

    /// Refuses what follows the message's last part.
    pub(super) fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(broken("it is longer than it should be")) }
    }

    /// Reads a row's image: a cell for each column that the relation has on
    /// the wire. What was in `cells` is thrown away.
    pub(super) fn tuple(&mut self, cells: &mut Vec<Cell>) -> Result<()> {
        cells.clear();
        for _ in 0..self.u16()? {
            let cell = match self.byte()? {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b't' => self.value(TEXT)?,
                b'b' => self.value(BINARY)?,
                kind => {
                    return Err(broken("a column is of an unknown kind").with("kind", kind.escape_ascii()));
                }
            };
            cells.push(cell);
        }
        Ok(())
    }

    fn value(&mut self, format: u8) -> Result<Cell> {
        let len = self.u32()?;
        let at = self.at;
        self.take(usize::try_from(len).map_err(|_| broken("a value is too long"))?)?;
        let offset = u32::try_from(at).map_err(|_| broken("it lies beyond 4 GiB"))?;
        Ok(Cell::Value { offset, len, format: Format::Native(format) })
    }
}

/// A transaction's rows follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    /// The lower 32 bits of the transaction's number.
    pub(super) xid: u32,
}

impl Begin {
    pub(super) fn read(mut message: Reader<'_>) -> Result<Self> {
        message.lsn()?; // of the commit record
        message.time()?;
        let begin = Self { xid: message.u32()? };
        message.end()?;
        Ok(begin)
    }
}

/// The transaction's rows are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// The end of the commit record.
    pub(super) end: Lsn,
    pub(super) time: DateTime,
}

impl Commit {
    pub(super) fn read(mut message: Reader<'_>) -> Result<Self> {
        message.byte()?; // flags, none yet
        message.lsn()?; // of the commit record
        let commit = Self { end: message.lsn()?, time: message.time()? };
        message.end()?;
        Ok(commit)
    }
}

/// A part of a streamed transaction follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamStart {
    pub(super) xid: u32,
    /// Whether no part of it came before.
    pub(super) first: bool,
}

impl StreamStart {
    pub(super) fn read(mut message: Reader<'_>) -> Result<Self> {
        let start = Self { xid: message.u32()?, first: message.byte()? == 1 };
        message.end()?;
        Ok(start)
    }
}

/// A streamed transaction was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamCommit {
    pub(super) xid: u32,
    pub(super) commit: Commit,
}

impl StreamCommit {
    pub(super) fn read(mut message: Reader<'_>) -> Result<Self> {
        Ok(Self { xid: message.u32()?, commit: Commit::read(message)? })
    }
}

/// A streamed transaction, or a subtransaction of it, was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamAbort {
    pub(super) xid: u32,
    /// The same, if it is the whole.
    pub(super) part: u32,
}

impl StreamAbort {
    pub(super) fn read(mut message: Reader<'_>) -> Result<Self> {
        let abort = Self { xid: message.u32()?, part: message.u32()? };
        message.end()?;
        Ok(abort)
    }
}

/// What a table looks like on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelationMessage<'a> {
    pub(super) id: u32,
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    pub(super) columns: Vec<WireColumn<'a>>,
}

/// A column on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WireColumn<'a> {
    pub(super) name: &'a str,
    /// Whether the log carries it in the image of an old row's key.
    pub(super) identity: bool,
    /// The oid of its type.
    pub(super) data_type: u32,
}

impl<'a> RelationMessage<'a> {
    pub(super) fn read(mut message: Reader<'a>) -> Result<Self> {
        let (id, schema, name) = (message.u32()?, message.text()?, message.text()?);
        message.byte()?; // the replica identity, which the columns' flags tell as well
        // The catalog's own schema is written as an empty name.
        let schema = if schema.is_empty() { "pg_catalog" } else { schema };
        let mut columns = Vec::new();
        for _ in 0..message.u16()? {
            let identity = message.byte()? & 1 != 0;
            let name = message.text()?;
            let data_type = message.u32()?;
            message.u32()?; // the type's modifier
            columns.push(WireColumn { name, identity, data_type });
        }
        message.end()?;
        Ok(Self { id, schema, name, columns })
    }
}

/// Tables were emptied in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Truncate {
    pub(super) relations: Vec<u32>,
}

impl Truncate {
    pub(super) fn read(mut message: Reader<'_>) -> Result<Self> {
        let count = message.u32()?;
        // CASCADE: whom it reached is listed as well. RESTART IDENTITY:
        // sequences are read live in the end.
        message.byte()?;
        let mut relations = Vec::new();
        for _ in 0..count {
            relations.push(message.u32()?);
        }
        message.end()?;
        Ok(Self { relations })
    }
}

/// A message that is not what the protocol says.
pub(super) fn broken(what: &str) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!(
            "the server sent a change that cannot be read: {what}; please report it with the server's version"
        ),
    )
}
