//! From events to the items of a batch: where transactions begin and end, and
//! which of them count.
//!
//! Pure: it is given one event after the other. What it cannot do at once it
//! gives back as [`Then`]: a compressed event is unpacked piece by piece, and
//! an XA transaction that was decided is read from where it was kept.
//!
//! A transaction with nothing of ours in it is never begun; it moves the
//! reader on, and many of them in a row are told as one [`Item::Idle`].

use std::ops::Range;

use zdm_core::change::{Assembler, Begin, Commit, DateTime, Item, Xid};
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Result};

use super::aside::{self, Aside, Events};
use super::decoder::{Decoder, Step};
use super::event::{Event, Gtid, Header, MariaTransaction, Query, XaId, kind};
use super::payload::Payload;
use super::place::{Name, Place};
use super::reader::{Reader, broken};
use super::statement::{Meaning, Tables};
use crate::position::{FilePoint, Point};

/// Turns the events of one stream into items.
#[derive(Debug)]
pub(super) struct Walk {
    decoder: Decoder,
    tables: Tables,
    place: Place,
    aside: Aside,
    open: Option<Open>,
    /// The place moved without a commit of ours, and nobody was told yet.
    idle: bool,
    /// The place that was told last.
    told: Option<FilePoint>,
}

/// A transaction that has begun in the log.
#[derive(Debug)]
struct Open {
    name: Name,
    begins: FilePoint,
    xid: Xid,
    /// Microseconds since 1970, where its first server said.
    committed: Option<u64>,
    /// Rows follow up to a commit; else one statement is all of it.
    block: bool,
    /// The reader has it already: it is read for what it prepares.
    had: bool,
    /// Something of it was put into a batch.
    told: bool,
    /// Its rows wait for a decision.
    aside: Option<Events>,
    /// The XA transaction that it decides, where its first event says so.
    decides: Option<XaId>,
}

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The log itself.
    Log,
    /// Another event, or what was kept aside.
    Within,
}

/// What is to be done after an event.
#[derive(Debug)]
pub(super) enum Then {
    /// The next event.
    Next,
    /// These events first.
    Unpack(Payload),
    /// These events first, and then [`Walk::decided`].
    Decide(Events),
}

impl Walk {
    /// Of a stream that begins behind `from`, on that server. `checksums` says
    /// whether events end with one, until the log says so itself.
    pub(super) fn new(schema: &Schema, from: &Point, server: u32, checksums: bool, undecided: u64) -> Self {
        Self {
            decoder: Decoder::new(schema, checksums),
            tables: Tables::new(schema),
            place: Place::new(from, server),
            aside: Aside::new(undecided),
            open: None,
            idle: false,
            told: from.at.as_ref().map(|at| at.point.clone()),
        }
    }

    /// Whether there is something to be handed over.
    pub(super) fn has_news(&self, batch: &Assembler) -> bool {
        !batch.is_empty() || (self.idle && self.open.is_none())
    }

    /// Where the log was read to.
    pub(super) fn file(&self) -> Option<&FilePoint> {
        self.place.file()
    }

    /// Adds what is told only before a batch is handed over. Within a
    /// transaction there is no place to go on from.
    pub(super) fn settle(&mut self, batch: &mut Assembler) {
        if self.open.is_none() {
            self.tell_idle(batch);
        }
    }

    fn tell_idle(&mut self, batch: &mut Assembler) {
        if std::mem::take(&mut self.idle)
            && self.place.is_new()
            && let Ok(point) = self.place.point(self.aside.low())
        {
            self.told = point.at.as_ref().map(|at| at.point.clone());
            batch.item(Item::Idle { position: (&point).into() });
        }
    }

    /// Reads the event that lies at `range` of `buffer`.
    ///
    /// # Errors
    /// Those of the decoder; `SchemaChanged` for DDL of our tables; `Config`
    /// for changes that were not logged as rows; `Unsupported` for more
    /// undecided rows than may be kept.
    pub(super) fn event(
        &mut self,
        buffer: &[u8],
        range: Range<usize>,
        from: From,
        batch: &mut Assembler,
    ) -> Result<Then> {
        let bytes = buffer.get(range.clone()).ok_or_else(|| broken("it lies outside the buffer"))?;
        let header = Header::read(&mut Reader::new(bytes, 0))?;
        if from == From::Log && header.kind != kind::ROTATE {
            self.place.advance(&header)?;
        }
        if is_rows(header.kind) && !self.rows(buffer, range.clone(), from, batch)? {
            return Ok(Then::Next);
        }
        let (header, step) = match from {
            From::Log => self.decoder.decode(buffer, range.clone(), batch)?,
            From::Within => self.decoder.decode_unpacked(buffer, range.clone(), batch)?,
        };
        match step {
            Step::Done if header.kind == kind::TABLE_MAP => {
                self.keep(buffer, range, from, false).map(|()| Then::Next)
            }
            Step::Done => Ok(Then::Next),
            Step::Payload(payload) => Ok(Then::Unpack(payload)),
            Step::Event(event) => self.meaning(&header, event, batch),
        }
    }

    /// Whether rows are to be decoded now, into a transaction that was told.
    fn rows(
        &mut self,
        buffer: &[u8],
        range: Range<usize>,
        from: From,
        batch: &mut Assembler,
    ) -> Result<bool> {
        let Some(open) = &mut self.open else { return Err(broken("rows outside a transaction")) };
        if !self.decoder.concerns(buffer, range.clone())? {
            self.decoder.pass(buffer, range)?;
            return Ok(false);
        }
        if open.aside.is_some() {
            self.keep(buffer, range, from, true)?;
            return Ok(false);
        }
        if open.had {
            return Ok(false);
        }
        self.tell_begin(batch);
        Ok(true)
    }

    /// Keeps an event of an XA transaction, if it concerns the run.
    fn keep(&mut self, buffer: &[u8], range: Range<usize>, from: From, rows: bool) -> Result<()> {
        let Some(events) = self.open.as_mut().and_then(|open| open.aside.as_mut()) else { return Ok(()) };
        if !self.decoder.concerns(buffer, range.clone())? {
            return Ok(());
        }
        let range = match from {
            From::Log => self.decoder.without_checksum(buffer, range)?,
            From::Within => range,
        };
        self.aside.keep(events, buffer.get(range).unwrap_or_default(), rows)
    }

    /// Tells the begin, now that something of ours is in the transaction.
    fn tell_begin(&mut self, batch: &mut Assembler) {
        let Some(open) = self.open.as_mut().filter(|open| !open.told) else { return };
        open.told = true;
        let xid = open.xid;
        // The place has moved into the transaction: what came before it is
        // told by its commit.
        self.idle = false;
        batch.item(Item::Begin(Begin { xid }));
    }

    fn meaning(&mut self, header: &Header, event: Event, batch: &mut Assembler) -> Result<Then> {
        match event {
            Event::Rotate { file, offset } => {
                self.torn()?;
                self.place.rotate(&file, offset)?;
            }
            Event::Format { .. } => self.torn()?,
            Event::Gtid(gtid) => self.begin_mysql(header, gtid)?,
            Event::Maria(transaction) => self.begin_maria(header, transaction)?,
            Event::Query(query) => return self.query(header, &query, batch),
            Event::Xid => self.commit(header, batch)?,
            Event::XaPrepare { id, one_phase } => return self.prepared(header, id, one_phase, batch),
            Event::Heartbeat { file, offset } => {
                if self.open.is_none() {
                    self.place.silent(&file, offset)?;
                    self.idle |= self.place.file() != self.told.as_ref();
                }
            }
            Event::GtidList(_) | Event::Stop => {}
        }
        Ok(Then::Next)
    }

    /// A file begins or ends: what was open was cut off by a crash of the
    /// server, and never committed.
    fn torn(&mut self) -> Result<()> {
        match self.open.take() {
            Some(open) if open.told => Err(Error::new(
                ErrorKind::Connection,
                "the server crashed in the middle of a transaction that was already being read: read it again",
            )),
            Some(Open { aside: Some(events), .. }) => {
                self.aside.release(&events);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin_mysql(&mut self, header: &Header, gtid: Gtid) -> Result<()> {
        let begins = self.begins(header)?;
        // By place: what a snapshot under a lock can be compared with.
        let xid = Xid(u128::from(begins.number()) << 64 | u128::from(begins.offset));
        let name = gtid.id.map_or(Name::None, |(uuid, tag, number)| Name::MySql(uuid, tag, number));
        self.begin(name, begins, xid, gtid.committed, false, None)
    }

    fn begin_maria(&mut self, header: &Header, transaction: MariaTransaction) -> Result<()> {
        let begins = self.begins(header)?;
        let id = transaction.id;
        let xid = Xid(u128::from(id.domain) << 96 | u128::from(id.server) << 64 | u128::from(id.number));
        // There is no BEGIN: the flags say what follows.
        let block = !transaction.standalone && transaction.completes.is_none();
        self.begin(Name::Maria(id), begins, xid, None, block, transaction.completes)?;
        if transaction.prepares.is_some()
            && let Some(open) = &mut self.open
        {
            open.aside = Some(Events::default());
        }
        Ok(())
    }

    fn begin(
        &mut self,
        name: Name,
        begins: FilePoint,
        xid: Xid,
        committed: Option<u64>,
        block: bool,
        decides: Option<XaId>,
    ) -> Result<()> {
        if self.open.is_some() {
            return Err(broken("a transaction begins within another"));
        }
        let had = self.place.has(&name, &begins);
        self.open =
            Some(Open { name, begins, xid, committed, block, had, told: false, aside: None, decides });
        Ok(())
    }

    /// Where the event began that has just been read. The server may have left
    /// out what was before it: its end says more than that of the one before.
    fn begins(&self, header: &Header) -> Result<FilePoint> {
        let here = self.place.file().cloned();
        let mut here = here.ok_or_else(|| broken("the log did not say which file it is"))?;
        // What is in no file has moved nothing.
        if header.next != 0 || !header.is_artificial() {
            here.offset = here.offset.saturating_sub(header.size.into());
        }
        Ok(here)
    }

    fn query(&mut self, header: &Header, query: &Query, batch: &mut Assembler) -> Result<Then> {
        let meaning = self.tables.meaning(query);
        let Some(open) = &mut self.open else {
            return match meaning {
                Meaning::Nothing => Ok(Then::Next),
                _ => Err(broken("a statement outside a transaction")),
            };
        };
        match meaning {
            Meaning::Begin => open.block = true,
            Meaning::XaStart => {
                open.block = true;
                open.aside = Some(Events::default());
            }
            Meaning::Commit => self.commit(header, batch)?,
            Meaning::Rollback | Meaning::RollbackTo
                if open.told || open.aside.as_ref().is_some_and(Events::has_rows) =>
            {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "a transaction was rolled back after its rows were logged: do tables of another engine than \
                     InnoDB take part in it? leave them out, or start the run anew",
                ));
            }
            Meaning::Rollback => self.end()?,
            Meaning::RollbackTo => {}
            Meaning::XaCommit | Meaning::XaRollback => {
                let id = open.decides.take().or_else(|| aside::named(&query.text));
                let id =
                    id.ok_or_else(|| broken("an XA transaction is decided that has no readable name"))?;
                let (had, events) = (open.had, self.aside.decide(&id));
                match events {
                    Some(events) if meaning == Meaning::XaCommit && !had => {
                        return Ok(self.decide(events, batch));
                    }
                    _ => self.end()?,
                }
            }
            _ if open.had => self.statement_ends()?,
            Meaning::Nothing => self.statement_ends()?,
            Meaning::Truncate(tables) => {
                let block = open.block;
                self.tell_begin(batch);
                batch.item(Item::Truncate { tables: tables.into() });
                if !block {
                    self.commit(header, batch)?;
                }
            }
            Meaning::Changes(table) => {
                return Err(Error::new(
                    ErrorKind::SchemaChanged,
                    "a statement may have changed a table of the run: drop the run and start it anew",
                )
                .with("table", table)
                .with("statement", shortened(&query.text)));
            }
            Meaning::NotAsRows => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "a change was logged as a statement and not as rows: set binlog_format=ROW for every session, \
                     and start the run anew",
                )
                .with("statement", shortened(&query.text)));
            }
        }
        Ok(Then::Next)
    }

    /// Outside a block, one statement is a transaction.
    fn statement_ends(&mut self) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| !open.block) { self.end() } else { Ok(()) }
    }

    fn prepared(
        &mut self,
        header: &Header,
        id: XaId,
        one_phase: bool,
        batch: &mut Assembler,
    ) -> Result<Then> {
        let Some(open) = &mut self.open else { return Err(broken("an XA PREPARE outside a transaction")) };
        let Some(events) = open.aside.take() else {
            // Nothing was kept: it was a plain transaction up to here.
            return if one_phase {
                self.commit(header, batch).map(|()| Then::Next)
            } else {
                Err(broken("an XA PREPARE without an XA START"))
            };
        };
        if !events.has_rows() || (one_phase && open.had) {
            self.aside.release(&events);
            self.end()?;
        } else if one_phase {
            self.aside.release(&events);
            return Ok(self.decide(events, batch));
        } else {
            let low = self.place.low(&open.name, &open.begins)?;
            self.aside.prepare(id, events, low);
            self.end()?;
        }
        Ok(Then::Next)
    }

    /// The rows that were kept count now.
    fn decide(&mut self, events: Events, batch: &mut Assembler) -> Then {
        self.tell_begin(batch);
        Then::Decide(events)
    }

    /// All events of [`Then::Decide`] have been read.
    pub(super) fn decided(&mut self, batch: &mut Assembler) -> Result<()> {
        self.finish(None, batch)
    }

    fn commit(&mut self, header: &Header, batch: &mut Assembler) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.aside.is_some()) {
            return Err(broken("an XA transaction is committed as if it were none"));
        }
        self.finish(Some(header.timestamp), batch)
    }

    fn finish(&mut self, seconds: Option<u32>, batch: &mut Assembler) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Err(broken("a commit that no transaction had begun"));
        };
        self.place.take(&open.name)?;
        if !open.told {
            self.idle |= !open.had;
            return Ok(());
        }
        let micros = open.committed.or(seconds.map(|seconds| u64::from(seconds) * 1_000_000));
        let time = micros.and_then(|micros| i64::try_from(micros).ok()).map(DateTime::from_micros);
        let point = self.place.point(self.aside.low())?;
        self.told = point.at.as_ref().map(|at| at.point.clone());
        batch.item(Item::Commit(Commit { position: (&point).into(), time }));
        self.idle = false;
        Ok(())
    }

    /// A transaction with nothing of ours in it ends.
    fn end(&mut self) -> Result<()> {
        match self.open.take() {
            Some(open) if open.told => Err(broken("a transaction ends without a commit")),
            Some(open) => {
                if let Some(events) = &open.aside {
                    self.aside.release(events);
                }
                self.place.take(&open.name)?;
                self.idle |= !open.had;
                Ok(())
            }
            None => Err(broken("an end that no transaction had begun")),
        }
    }
}

/// Whether an event holds rows, compressed or not.
fn is_rows(kind: u8) -> bool {
    matches!(
        kind,
        kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
            | kind::WRITE_ROWS..=kind::DELETE_ROWS
            | kind::PARTIAL_UPDATE_ROWS
            | kind::MARIA_WRITE_ROWS_COMPRESSED_V1..=kind::MARIA_DELETE_ROWS_COMPRESSED
    )
}

/// The beginning of a statement, to be shown. It may hold values: as little as
/// tells which one it is.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
