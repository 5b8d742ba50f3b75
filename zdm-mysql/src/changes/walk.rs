//! From events to the items of a batch: where transactions begin and end, and
//! which of them count.
//!
//! Pure: it is given one event after the other. What it cannot do at once it
//! gives back as [`Then`]: a compressed event is unpacked piece by piece, and
//! an XA transaction that was decided is read from where it was kept.
//!
//! What a rollback in the log takes back is taken out of the batch again
//! ([`undo`](super::undo)).
//!
//! A transaction with nothing of ours in it is never begun; it moves the
//! reader on, and many of them in a row are told as one [`Item::Idle`].

mod rollback;
mod statements;

use std::ops::Range;

use zdm_core::Result;
use zdm_core::change::{Assembler, Begin, Commit, DateTime, Item, Xid};
use zdm_core::schema::Schema;

use super::aside::{Aside, Events};
use super::decoder::{Decoder, Step};
use super::event::{Event, Gtid, Header, MariaTransaction, XaId, kind};
use super::payload::Payload;
use super::place::{Name, Place};
use super::reader::{Reader, broken};
use super::statement::Tables;
use super::undo::{Moments, Ranges, Undone, Which};
use crate::position::{FilePoint, Point};

/// Turns the events of one stream into items.
#[derive(Debug)]
pub(super) struct Walk {
    decoder: Decoder,
    tables: Tables,
    place: Place,
    aside: Aside,
    undone: Undone,
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
    /// When it was written, in seconds since 1970.
    written: u32,
    /// Events of rows that the log has had for it.
    rows: u64,
    /// How many of these were put into batches, and not taken out again.
    added: u64,
    moments: Moments,
    /// Which of them do not count, as an earlier stream has learned.
    passed: Ranges,
    /// Which of them this one was told to take back.
    taken: Ranges,
    /// Some of those were handed over: what follows is read for what else is
    /// taken back.
    torn: bool,
}

impl Open {
    fn which(&self, server: u32) -> Which {
        Which { server, name: self.name.clone(), begins: self.begins.clone(), written: self.written }
    }
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
    pub(super) fn new(
        schema: &Schema,
        from: &Point,
        server: u32,
        checksums: bool,
        undecided: u64,
        undone: Undone,
    ) -> Self {
        Self {
            decoder: Decoder::new(schema, checksums),
            tables: Tables::new(schema),
            place: Place::new(from, server),
            aside: Aside::new(undecided),
            undone,
            open: None,
            idle: false,
            told: from.at.as_ref().map(|at| at.point.clone()),
        }
    }

    /// Whether there is something to be handed over.
    pub(super) fn has_news(&self, batch: &Assembler) -> bool {
        !batch.is_empty() || (self.idle && self.open.is_none())
    }

    /// Whether the batch has some of a transaction that may yet be rolled back:
    /// it is better handed over when more of that has come.
    pub(super) fn is_within(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.told)
    }

    /// The batch is taken from us, with what it has of the open transaction.
    pub(super) fn handed_over(&mut self) {
        if let Some(open) = &mut self.open {
            open.handed_over();
        }
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
        let nth = open.rows;
        open.rows += 1;
        if !self.decoder.concerns(buffer, range.clone())? {
            self.decoder.pass(buffer, range)?;
            return Ok(false);
        }
        if open.aside.is_some() {
            self.keep(buffer, range, from, true)?;
            return Ok(false);
        }
        if open.had || open.torn || open.passed.iter().any(|range| range.contains(&nth)) {
            return Ok(false);
        }
        open.added += 1;
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
        open.moments.begins_at(batch.mark());
        let xid = open.xid;
        // The place has moved into the transaction: what came before it is
        // told by its commit.
        self.idle = false;
        batch.item(Item::Begin(Begin { xid }));
    }

    fn meaning(&mut self, header: &Header, event: Event, batch: &mut Assembler) -> Result<Then> {
        match event {
            Event::Rotate { file, offset } => {
                self.cut_off(batch)?;
                self.place.rotate(&file, offset)?;
            }
            Event::Format { .. } => self.cut_off(batch)?,
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

    fn begin_mysql(&mut self, header: &Header, gtid: Gtid) -> Result<()> {
        let begins = self.begins(header)?;
        // By place: what a snapshot under a lock can be compared with.
        let xid = Xid(u128::from(begins.number()) << 64 | u128::from(begins.offset));
        let name = gtid.id.map_or(Name::None, |(uuid, tag, number)| Name::MySql(uuid, tag, number));
        self.begin(header, name, begins, xid)?;
        if let Some(open) = &mut self.open {
            open.committed = gtid.committed;
        }
        Ok(())
    }

    fn begin_maria(&mut self, header: &Header, transaction: MariaTransaction) -> Result<()> {
        let begins = self.begins(header)?;
        let id = transaction.id;
        let xid = Xid(u128::from(id.domain) << 96 | u128::from(id.server) << 64 | u128::from(id.number));
        self.begin(header, Name::Maria(id), begins, xid)?;
        if let Some(open) = &mut self.open {
            // There is no BEGIN: the flags say what follows.
            open.block = !transaction.standalone && transaction.completes.is_none();
            open.aside = transaction.prepares.is_some().then(Events::default);
            open.decides = transaction.completes;
        }
        Ok(())
    }

    fn begin(&mut self, header: &Header, name: Name, begins: FilePoint, xid: Xid) -> Result<()> {
        if self.open.is_some() {
            return Err(broken("a transaction begins within another"));
        }
        let had = self.place.has(&name, &begins);
        let mut open = Open {
            name,
            begins,
            xid,
            committed: None,
            block: false,
            had,
            told: false,
            aside: None,
            decides: None,
            written: header.timestamp,
            rows: 0,
            added: 0,
            moments: Moments::default(),
            passed: Ranges::new(),
            taken: Ranges::new(),
            torn: false,
        };
        open.passed = self.undone.of(|| open.which(self.place.server()));
        open.taken.clone_from(&open.passed);
        self.open = Some(open);
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
        if open.torn {
            return Err(self.undone.learn(open.which(self.place.server()), open.taken));
        }
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

#[cfg(test)]
#[cfg(feature = "failpoints")]
mod tests;
