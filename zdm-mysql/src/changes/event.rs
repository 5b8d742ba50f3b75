//! Events of the log: the header that each has, and what the bodies of those
//! say that are neither tables nor rows.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html>,
//! <https://mariadb.com/docs/server/reference/clientserver-protocol/replication-protocol>

mod gtid;
mod query;

use zdm_core::Result;

pub(super) use self::gtid::{Gtid, MariaTransaction, XaId, gtid, maria, tagged};
pub(super) use self::query::{Query, query};
use super::reader::{Reader, broken};
use crate::position::MariaGtid;

/// Length of the header of an event.
pub(super) const HEADER: usize = 19;

/// The kinds of events, as their headers number them.
pub(super) mod kind {
    pub(in crate::changes) const QUERY: u8 = 2;
    pub(in crate::changes) const STOP: u8 = 3;
    pub(in crate::changes) const ROTATE: u8 = 4;
    pub(in crate::changes) const INTVAR: u8 = 5;
    pub(in crate::changes) const RAND: u8 = 13;
    pub(in crate::changes) const USER_VAR: u8 = 14;
    pub(in crate::changes) const BEGIN_LOAD_QUERY: u8 = 17;
    pub(in crate::changes) const EXECUTE_LOAD_QUERY: u8 = 18;
    pub(in crate::changes) const FORMAT_DESCRIPTION: u8 = 15;
    pub(in crate::changes) const XID: u8 = 16;
    pub(in crate::changes) const TABLE_MAP: u8 = 19;
    pub(in crate::changes) const WRITE_ROWS_V1: u8 = 23;
    pub(in crate::changes) const UPDATE_ROWS_V1: u8 = 24;
    pub(in crate::changes) const DELETE_ROWS_V1: u8 = 25;
    pub(in crate::changes) const INCIDENT: u8 = 26;
    pub(in crate::changes) const HEARTBEAT: u8 = 27;
    pub(in crate::changes) const IGNORABLE: u8 = 28;
    pub(in crate::changes) const ROWS_QUERY: u8 = 29;
    pub(in crate::changes) const WRITE_ROWS: u8 = 30;
    pub(in crate::changes) const UPDATE_ROWS: u8 = 31;
    pub(in crate::changes) const DELETE_ROWS: u8 = 32;
    pub(in crate::changes) const GTID: u8 = 33;
    pub(in crate::changes) const ANONYMOUS_GTID: u8 = 34;
    pub(in crate::changes) const PREVIOUS_GTIDS: u8 = 35;
    pub(in crate::changes) const TRANSACTION_CONTEXT: u8 = 36;
    pub(in crate::changes) const VIEW_CHANGE: u8 = 37;
    pub(in crate::changes) const XA_PREPARE: u8 = 38;
    pub(in crate::changes) const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub(in crate::changes) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(in crate::changes) const HEARTBEAT_V2: u8 = 41;
    pub(in crate::changes) const GTID_TAGGED: u8 = 42;
    pub(in crate::changes) const MARIA_ANNOTATE_ROWS: u8 = 160;
    pub(in crate::changes) const MARIA_BINLOG_CHECKPOINT: u8 = 161;
    pub(in crate::changes) const MARIA_GTID: u8 = 162;
    pub(in crate::changes) const MARIA_GTID_LIST: u8 = 163;
    pub(in crate::changes) const MARIA_START_ENCRYPTION: u8 = 164;
    pub(in crate::changes) const MARIA_QUERY_COMPRESSED: u8 = 165;
    pub(in crate::changes) const MARIA_WRITE_ROWS_COMPRESSED_V1: u8 = 166;
    pub(in crate::changes) const MARIA_UPDATE_ROWS_COMPRESSED_V1: u8 = 167;
    pub(in crate::changes) const MARIA_DELETE_ROWS_COMPRESSED_V1: u8 = 168;
    pub(in crate::changes) const MARIA_WRITE_ROWS_COMPRESSED: u8 = 169;
    pub(in crate::changes) const MARIA_UPDATE_ROWS_COMPRESSED: u8 = 170;
    pub(in crate::changes) const MARIA_DELETE_ROWS_COMPRESSED: u8 = 171;
}

/// What every event begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Seconds since 1970, by the clock of the server that wrote it first.
    pub(super) timestamp: u32,
    pub(super) kind: u8,
    /// The server that wrote it first.
    pub(super) server: u32,
    /// Bytes of the whole event, header and checksum included.
    pub(super) size: u32,
    /// Where the next event begins in the server's file; 0 for an event that
    /// is in no file, and within transactions since MariaDB 11.8.
    pub(super) next: u32,
    pub(super) flags: u16,
}

impl Header {
    /// Of a file that is still being written to. Not part of its checksum.
    pub(super) const IN_USE: u16 = 0x01;
    /// Made up by the server for us; in no file.
    pub(super) const ARTIFICIAL: u16 = 0x20;
    /// Who does not know the kind may go on.
    const IGNORABLE: u16 = 0x80;

    #[inline]
    pub(super) fn read(event: &mut Reader<'_>) -> Result<Self> {
        // Its bounds are checked once.
        let bytes: [u8; HEADER] = event.array()?;
        let mut fields = Reader::new(&bytes, 0);
        Ok(Self {
            timestamp: fields.u32()?,
            kind: fields.u8()?,
            server: fields.u32()?,
            size: fields.u32()?,
            next: fields.u32()?,
            flags: fields.u16()?,
        })
    }

    pub(super) fn is_artificial(&self) -> bool {
        self.flags & Self::ARTIFICIAL != 0
    }

    pub(super) fn is_ignorable(&self) -> bool {
        self.flags & Self::IGNORABLE != 0
    }
}

/// An event that means something to positions and transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// What comes next lies in another file.
    Rotate { file: String, offset: u64 },
    /// A file begins. `restarted` when a server began it that had just been
    /// started: what was open before is gone.
    Format { restarted: bool },
    /// A transaction begins that MySQL has given a GTID, or has not.
    Gtid(Gtid),
    /// A transaction begins, or is all of it, on MariaDB.
    Maria(MariaTransaction),
    /// The last transaction of each domain before a MariaDB file begins.
    GtidList(Vec<MariaGtid>),
    /// A statement: a boundary, DDL, or something that was not logged as rows.
    Query(Query),
    /// The transaction is committed.
    Xid,
    /// The rows since the transaction began belong to this XA transaction,
    /// which is prepared, or committed at once.
    XaPrepare { id: XaId, one_phase: bool },
    /// Nothing happens; the server has sent everything before this place.
    /// Without a file where the event's form does not tell it.
    Heartbeat { file: String, offset: u64 },
    /// The server was shut down here.
    Stop,
}

pub(super) fn rotate(mut event: Reader<'_>) -> Result<Event> {
    let offset = event.u64()?;
    let len = event.len();
    Ok(Event::Rotate { file: event.text(len)?.to_owned(), offset })
}

pub(super) fn heartbeat(header: &Header, mut event: Reader<'_>) -> Result<Event> {
    let len = event.len();
    Ok(Event::Heartbeat { file: event.text(len)?.to_owned(), offset: header.next.into() })
}

/// The form for files beyond 4 GiB: fields of a kind, a length and a value.
pub(super) fn heartbeat_v2(mut event: Reader<'_>) -> Result<Event> {
    let (mut file, mut offset) = (String::new(), 0);
    while !event.is_empty() {
        let field = event.packed()?;
        if field == 0 {
            break;
        }
        let len = event.packed_len()?;
        match field {
            1 => event.text(len)?.clone_into(&mut file),
            2 => offset = Reader::new(event.take(len)?, 0).packed()?,
            _ => drop(event.take(len)?),
        }
    }
    Ok(Event::Heartbeat { file, offset })
}

pub(super) fn gtid_list(mut event: Reader<'_>) -> Result<Event> {
    // The upper four bits are flags.
    let count = event.u32()? & 0x0fff_ffff;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(MariaGtid { domain: event.u32()?, server: event.u32()?, number: event.u64()? });
    }
    Ok(Event::GtidList(list))
}

pub(super) fn xa_prepare(mut event: Reader<'_>) -> Result<Event> {
    let one_phase = event.u8()? != 0;
    let format = event.u32()?.cast_signed();
    let (global, branch) = (event.u32()?, event.u32()?);
    if global > 64 || branch > 64 {
        return Err(broken("an xid is longer than it can be"));
    }
    // OK because both were just seen to be small.
    let mut part = |len: u32| event.take(len as usize).map(<[u8]>::to_vec);
    Ok(Event::XaPrepare { id: XaId { format, global: part(global)?, branch: part(branch)? }, one_phase })
}
