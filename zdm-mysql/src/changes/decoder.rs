//! From events of the log to rows of a batch.
//!
//! Pure: it is given one event after the other, each as a range of a buffer,
//! and adds rows to an [`Assembler`] whose cells point into that buffer. What
//! means something to transactions and positions it gives back as an
//! [`Event`]; what is compressed it gives back as a [`Payload`], whose events
//! come back to it.
//!
//! An event that fails adds nothing, so what came before it can still be
//! handed over.

use std::ops::Range;
use std::sync::Arc;

use flate2::Crc;
use hashbrown::HashMap;
use zdm_core::change::Assembler;
use zdm_core::schema::{Schema, Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

use super::event::{self, Event, HEADER, Header, kind};
use super::payload::{self, Payload};
use super::reader::{Reader, broken};
use super::rows::{Rows, RowsKind, STATEMENT_END};
use super::table_map::{Named, TableMap};

/// Tables that one statement can name, more than any does.
const TABLES: usize = 1 << 16;
/// Tables remembered between statements.
const REMEMBERED: usize = 1 << 12;
/// Bytes of a checksum.
const CHECKSUM: usize = 4;

/// Turns events into rows. One for each stream: a table is told once for
/// several events.
#[derive(Debug)]
pub(super) struct Decoder {
    tables: HashMap<TableName, Arc<Table>>,
    /// By the number that rows events use.
    maps: HashMap<u64, Mapped>,
    rows: Rows,
    /// Whether events end with a CRC32.
    checksum: bool,
}

#[derive(Debug)]
struct Mapped {
    /// The event, for the next time that it comes: each statement repeats it.
    event: Vec<u8>,
    /// `None` lies outside the run.
    map: Option<TableMap>,
}

/// What became of an event.
#[derive(Debug)]
pub(super) enum Step {
    /// It was read: rows were added, or nothing had to be.
    Done,
    /// It means something to transactions or positions.
    Event(Event),
    /// It holds further events, which lie in no buffer yet.
    Payload(Payload),
}

impl Decoder {
    /// A decoder of a stream that has rows of these tables. `checksum` says
    /// whether events end with one, until the log itself says so.
    pub(super) fn new(schema: &Schema, checksum: bool) -> Self {
        Self {
            tables: schema
                .tables
                .iter()
                .map(|table| (table.origin.name.clone(), Arc::clone(table)))
                .collect(),
            maps: HashMap::new(),
            rows: Rows::default(),
            checksum,
        }
    }

    /// Decodes the event that lies at `range` of `buffer`.
    ///
    /// # Errors
    /// `Protocol` for what cannot be read, `SchemaChanged` for a table that is
    /// no longer as it was described, `Unsupported` for a log that lacks what
    /// is needed, `Gap` where the server itself has lost changes.
    pub(super) fn decode(
        &mut self,
        buffer: &[u8],
        range: Range<usize>,
        batch: &mut Assembler,
    ) -> Result<(Header, Step)> {
        let bytes = buffer.get(range.clone()).ok_or_else(|| broken("it lies outside the buffer"))?;
        let header = Header::read(&mut Reader::new(bytes, 0))?;
        let bytes = if header.kind == kind::FORMAT_DESCRIPTION {
            self.checksum = format_description(bytes)?;
            &bytes[..bytes.len() - CHECKSUM]
        } else if self.checksum {
            checked(bytes)?
        } else {
            bytes
        };
        self.body(&header, bytes.len() as u64 + self.trailer(&header), bytes, range.start, buffer, batch)
    }

    /// Decodes an event that came out of a [`Payload`], at `range` of
    /// `buffer`.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub(super) fn decode_unpacked(
        &mut self,
        buffer: &[u8],
        range: Range<usize>,
        batch: &mut Assembler,
    ) -> Result<(Header, Step)> {
        let bytes = buffer.get(range.clone()).ok_or_else(|| broken("it lies outside the buffer"))?;
        let header = Header::read(&mut Reader::new(bytes, 0))?;
        match header.kind {
            kind::FORMAT_DESCRIPTION | kind::TRANSACTION_PAYLOAD => {
                Err(broken("a compressed event holds what cannot be compressed"))
            }
            _ => self.body(&header, bytes.len() as u64, bytes, range.start, buffer, batch),
        }
    }

    /// Whether an event of rows, or one that describes a table, is about a
    /// table of the run.
    ///
    /// # Errors
    /// `Protocol` for what cannot be read.
    pub(super) fn concerns(&self, buffer: &[u8], range: Range<usize>) -> Result<bool> {
        let mut event =
            Reader::new(buffer.get(range).ok_or_else(|| broken("it lies outside the buffer"))?, 0);
        event.take(HEADER)?;
        Ok(self.maps.get(&event.u48()?).is_some_and(|mapped| mapped.map.is_some()))
    }

    /// Takes note of an event of rows that concerns nobody.
    ///
    /// # Errors
    /// `Protocol` for what cannot be read.
    pub(super) fn pass(&mut self, buffer: &[u8], range: Range<usize>) -> Result<()> {
        let mut event =
            Reader::new(buffer.get(range).ok_or_else(|| broken("it lies outside the buffer"))?, 0);
        event.take(HEADER + 6)?;
        if event.u16()? & STATEMENT_END != 0 && self.maps.len() > REMEMBERED {
            self.maps.clear();
        }
        Ok(())
    }

    /// Where the event at `range` lies without its checksum, which is right.
    ///
    /// # Errors
    /// `Protocol` when it is not.
    pub(super) fn without_checksum(&self, buffer: &[u8], range: Range<usize>) -> Result<Range<usize>> {
        let bytes = buffer.get(range.clone()).ok_or_else(|| broken("it lies outside the buffer"))?;
        let bytes = if self.checksum { checked(bytes)? } else { bytes };
        Ok(range.start..range.start + bytes.len())
    }

    fn trailer(&self, header: &Header) -> u64 {
        if self.checksum || header.kind == kind::FORMAT_DESCRIPTION { CHECKSUM as u64 } else { 0 }
    }

    fn body(
        &mut self,
        header: &Header,
        size: u64,
        bytes: &[u8],
        at: usize,
        buffer: &[u8],
        batch: &mut Assembler,
    ) -> Result<(Header, Step)> {
        if u64::from(header.size) != size {
            return Err(broken("its length is not the one in its header"));
        }
        // What was taken for a checksum may have been of the header.
        let body = bytes.get(HEADER..).ok_or_else(|| broken("it has no room for a checksum"))?;
        let body = Reader::new(body, at + HEADER);
        let step = match (RowsKind::of(header.kind), header.kind) {
            (Some(kind), _) => {
                self.rows(kind, body, buffer, batch)?;
                Step::Done
            }
            (None, kind::TABLE_MAP) => {
                self.table_map(body)?;
                Step::Done
            }
            _ => other(header, bytes, body)?,
        };
        Ok((*header, step))
    }

    fn table_map(&mut self, mut body: Reader<'_>) -> Result<()> {
        let id = body.u48()?;
        body.u16()?; // flags, none of ours
        let event = body.clone().rest();
        if let Some(known) = self.maps.get(&id)
            && known.event == event
        {
            return Ok(());
        }
        let named = Named::read(body)?;
        let table = self.tables.get(&TableName::new(named.schema, named.name));
        let map = table.map(|table| named.matched(table)).transpose()?;
        if self.maps.len() >= TABLES {
            return Err(broken("a statement names more tables than any can"));
        }
        self.maps.insert(id, Mapped { event: event.to_vec(), map });
        Ok(())
    }

    fn rows(
        &mut self,
        kind: RowsKind,
        mut body: Reader<'_>,
        buffer: &[u8],
        batch: &mut Assembler,
    ) -> Result<()> {
        /// The number of a rows event that only ends a statement.
        const NO_TABLE: u64 = 0x00ff_ffff;
        let (id, flags) = (body.u48()?, body.u16()?);
        if id != NO_TABLE {
            let mapped =
                self.maps.get(&id).ok_or_else(|| broken("rows of a table that was never described"))?;
            if let Some(map) = &mapped.map {
                self.rows.append(kind, map, body, buffer, batch)?;
            }
        }
        if flags & STATEMENT_END != 0 && self.maps.len() > REMEMBERED {
            self.maps.clear();
        }
        Ok(())
    }
}

/// What is neither a table nor rows.
fn other(header: &Header, bytes: &[u8], body: Reader<'_>) -> Result<Step> {
    let event = match header.kind {
        kind::ROTATE => event::rotate(body)?,
        kind::FORMAT_DESCRIPTION => Event::Format { restarted: restarted(body)? },
        kind::QUERY => event::query(body)?,
        kind::XID => Event::Xid,
        kind::XA_PREPARE => event::xa_prepare(body)?,
        kind::GTID => event::gtid(body, false)?,
        kind::ANONYMOUS_GTID => event::gtid(body, true)?,
        kind::GTID_TAGGED => event::tagged(body)?,
        kind::HEARTBEAT => event::heartbeat(header, body)?,
        kind::HEARTBEAT_V2 => event::heartbeat_v2(body)?,
        kind::STOP => Event::Stop,
        kind::MARIA_GTID => event::maria(header.server, body)?,
        kind::MARIA_GTID_LIST => event::gtid_list(body)?,
        kind::TRANSACTION_PAYLOAD => return payload::transaction(body).map(Step::Payload),
        kind::MARIA_QUERY_COMPRESSED => {
            let head = query_head(body.clone())?;
            return compressed(bytes, body, head).map(Step::Payload);
        }
        number @ kind::MARIA_WRITE_ROWS_COMPRESSED_V1..=kind::MARIA_DELETE_ROWS_COMPRESSED => {
            let head = rows_head(number, body.clone())?;
            return compressed(bytes, body, head).map(Step::Payload);
        }
        // What went before in a log, text of statements beside their rows,
        // group replication's own, numbers for statements that are not rows
        // (the statement itself comes as a query): none makes a row.
        kind::PREVIOUS_GTIDS
        | kind::ROWS_QUERY
        | kind::IGNORABLE
        | kind::TRANSACTION_CONTEXT
        | kind::VIEW_CHANGE
        | kind::INTVAR
        | kind::RAND
        | kind::USER_VAR
        | kind::MARIA_ANNOTATE_ROWS
        | kind::MARIA_BINLOG_CHECKPOINT => return Ok(Step::Done),
        kind::INCIDENT => {
            return Err(Error::new(
                ErrorKind::Gap,
                "the server tells in its log that it has lost changes (an incident): start the run anew",
            ));
        }
        kind::BEGIN_LOAD_QUERY | kind::EXECUTE_LOAD_QUERY => {
            return Err(Error::new(
                ErrorKind::Config,
                "LOAD DATA was logged as a statement and not as rows: set binlog_format=ROW for every session, and \
                 start the run anew",
            ));
        }
        kind::MARIA_START_ENCRYPTION => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the log comes encrypted: read it from the server itself, which decrypts it, not from its files",
            ));
        }
        _ if header.is_ignorable() => return Ok(Step::Done),
        number => {
            return Err(broken("it is of an unknown kind").with("kind", number));
        }
    };
    Ok(Step::Event(event))
}

/// Where the compressed part of MariaDB's compressed query begins: behind its
/// fixed part. Variables and database come before the text, and are not
/// compressed.
fn query_head(mut body: Reader<'_>) -> Result<usize> {
    let all = body.len();
    body.take(8)?;
    let database = body.u8()?;
    body.u16()?;
    let variables = body.u16()?;
    body.take(usize::from(database) + usize::from(variables) + 1)?;
    Ok(all - body.len())
}

/// Where the compressed part of MariaDB's compressed rows begins: behind the
/// bits that say which columns there are.
fn rows_head(number: u8, mut body: Reader<'_>) -> Result<usize> {
    let all = body.len();
    body.take(8)?;
    let second = number >= kind::MARIA_WRITE_ROWS_COMPRESSED;
    if second {
        let len =
            body.u16()?.checked_sub(2).ok_or_else(|| broken("extra data is shorter than its length"))?;
        body.take(len.into())?;
    }
    let columns = body.packed_len()?;
    let updates =
        matches!(number, kind::MARIA_UPDATE_ROWS_COMPRESSED_V1 | kind::MARIA_UPDATE_ROWS_COMPRESSED);
    body.take(columns.div_ceil(8) * if updates { 2 } else { 1 })?;
    Ok(all - body.len())
}

fn compressed(bytes: &[u8], mut body: Reader<'_>, head: usize) -> Result<Payload> {
    body.take(head)?;
    payload::single(bytes.get(..HEADER + head).ok_or_else(|| broken("it has no header"))?, body)
}

/// Takes the checksum off, having checked it.
fn checked(bytes: &[u8]) -> Result<&[u8]> {
    let (event, sum) = bytes.split_last_chunk().ok_or_else(|| broken("it has no checksum"))?;
    let mut crc = Crc::new();
    crc.update(event);
    if crc.sum() == u32::from_le_bytes(*sum) { Ok(event) } else { Err(damaged()) }
}

fn damaged() -> Error {
    broken("its checksum is not that of its bytes: it was damaged on its way or on the server's disk")
}

/// Reads whether the events of this file have checksums, from the event that
/// each file begins with; it has one itself whenever they have.
fn format_description(bytes: &[u8]) -> Result<bool> {
    const ALGORITHM_OFF: u8 = 0;
    const ALGORITHM_CRC32: u8 = 1;
    let (event, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(|| broken("it has no checksum"))?;
    match event.last() {
        Some(&ALGORITHM_OFF) => Ok(false),
        Some(&ALGORITHM_CRC32) => {
            // The mark of a file in use is set and cleared in place.
            let (head, rest) = event.split_at_checked(HEADER).ok_or_else(|| broken("it has no header"))?;
            let (fixed, flags) = head.split_last_chunk::<2>().ok_or_else(|| broken("it has no header"))?;
            let flags = u16::from_le_bytes(*flags) & !Header::IN_USE;
            let mut crc = Crc::new();
            [fixed, &flags.to_le_bytes(), rest].iter().for_each(|part| crc.update(part));
            if crc.sum() == u32::from_le_bytes(*sum) { Ok(true) } else { Err(damaged()) }
        }
        _ => Err(Error::new(
            ErrorKind::Unsupported,
            "the log has checksums of an unknown kind: run SET GLOBAL binlog_checksum = 'CRC32' on the source",
        )),
    }
}

/// Reads the rest of that event: version 4, the server's version, the time of
/// its start, and the fixed lengths of each kind's parts.
fn restarted(mut body: Reader<'_>) -> Result<bool> {
    let version = body.u16()?;
    body.take(50)?;
    let created = body.u32()?;
    let header = body.u8()?;
    let lengths = body.rest();
    let fixed = |kind: u8| lengths.get(usize::from(kind) - 1).copied();
    let known = version == 4
        && usize::from(header) == HEADER
        && fixed(kind::TABLE_MAP) == Some(8)
        // Servers of today no longer write the first version of rows.
        && fixed(kind::WRITE_ROWS_V1).is_none_or(|len| matches!(len, 0 | 8))
        && fixed(kind::WRITE_ROWS).is_none_or(|len| len == 10);
    if known {
        return Ok(created != 0);
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        "the log is of a form that is not known: is the server older than MySQL 5.7 or MariaDB 10.5?",
    ))
}

#[cfg(test)]
mod tests;
