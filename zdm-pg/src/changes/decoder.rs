//! From `pgoutput` messages to the items of a batch.
//!
//! Pure: it is given one message after the other, each as a range of the read
//! buffer, and adds to an [`Assembler`] whose cells point into that buffer.
//! What it cannot know (which table an unknown relation is a partition of) it
//! asks for by [`Step::LookUp`], and is given the same message again.
//!
//! A message that fails adds nothing, so what came before it can still be
//! handed over.
//!
//! Messages of streamed transactions are kept [`Aside`]. At such a one's commit
//! ([`Step::Streamed`]) the caller reads them back and gives each to
//! [`Decoder::decode_kept`], between `begin_streamed` and `end_streamed`.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use zdm_core::change::{Assembler, Cell, Item, Op};
use zdm_core::schema::{Schema, Table};
use zdm_core::spool::{Records, Spool};
use zdm_core::{Error, ErrorKind, Result};

use super::aside::{Aside, NUMBER};
use super::boundary::Boundary;
use super::message::{
    self, Reader, RelationMessage, StreamAbort, StreamCommit, StreamStart, Truncate, broken,
};
use super::partitions::{Belongs, Partitions};
use super::relation::{Old, Relation, schema_changed};
use super::relations::Relations;
use crate::position::Lsn;

/// Turns messages into items. One for each stream: relations are told once.
#[derive(Debug)]
pub(super) struct Decoder {
    tables: HashMap<u32, Arc<Table>>,
    partitions: Partitions,
    relations: Relations,
    aside: Aside,
    boundary: Boundary,
    /// Room for the images of a row, kept.
    old: Vec<Cell>,
    new: Vec<Cell>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It was read.
    Done,
    /// The [`Partitions`] must be read again, and then this message.
    LookUp,
    /// It is the commit of a streamed transaction, whose messages come next.
    Streamed(StreamCommit),
}

impl Decoder {
    /// A decoder of a stream from `from`. `newest` is the server's next
    /// transaction number, in 64 bits: the log tells the lower half only.
    pub(super) fn new(schema: &Schema, from: Lsn, newest: u64, spool: Spool) -> Self {
        Self {
            tables: schema.tables.iter().map(|table| (table.origin.id, Arc::clone(table))).collect(),
            partitions: Partitions::default(),
            relations: Relations::default(),
            aside: Aside::new(spool),
            boundary: Boundary::new(from, newest),
            old: Vec::new(),
            new: Vec::new(),
        }
    }

    /// Takes what the catalog says now about partitions.
    pub(super) fn learn(&mut self, partitions: Partitions) {
        self.partitions = partitions;
    }

    /// Everything before this was decoded.
    #[cfg(test)]
    pub(super) fn reached(&self) -> Lsn {
        self.boundary.reached()
    }

    /// The server has sent every transaction that ends before `end`.
    pub(super) fn keep_alive(&mut self, end: Lsn) {
        self.boundary.keep_alive(end);
    }

    /// Whether there is something to be handed over.
    pub(super) fn has_news(&self, batch: &Assembler) -> bool {
        self.boundary.is_idle() || !batch.is_empty()
    }

    /// Adds what is told only before a batch is handed over.
    pub(super) fn settle(&mut self, batch: &mut Assembler) {
        self.boundary.settle(batch);
    }

    /// What the catalog must be asked about, after [`Step::LookUp`].
    pub(super) fn wanted(&self) -> &HashSet<u32> {
        self.partitions.wanted()
    }

    /// The transactions that are streamed.
    pub(super) fn aside(&mut self) -> &mut Aside {
        &mut self.aside
    }

    /// Keeps a large message of a part that [is being sent](Aside::is_open).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub(super) fn keep_large(&mut self, message: Bytes) -> Result<()> {
        self.aside.keep_large(message, &mut self.relations)
    }

    /// A streamed transaction has committed: its messages, to be decoded next.
    ///
    /// # Errors
    /// `Protocol` for one that never began.
    pub(super) fn begin_streamed(&mut self, streamed: &StreamCommit) -> Result<Records> {
        let records = self.aside.take(streamed.xid)?;
        self.boundary.begin(streamed.xid)?;
        self.relations.begin_streamed();
        Ok(records)
    }

    /// All its messages were decoded.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub(super) fn end_streamed(&mut self, streamed: &StreamCommit, batch: &mut Assembler) -> Result<()> {
        self.relations.end_streamed();
        self.boundary.commit(streamed.commit.end, streamed.commit.time, batch)
    }

    /// Decodes a message that was kept, as [`decode`](Self::decode) does.
    ///
    /// # Errors
    /// The same.
    pub(super) fn decode_kept(
        &mut self,
        buffer: &[u8],
        mut range: Range<usize>,
        batch: &mut Assembler,
    ) -> Result<Step> {
        let message = buffer.get(range.clone()).ok_or_else(|| broken("it lies outside the buffer"))?;
        let mut number = 0;
        if message.first() == Some(&b'R')
            && let Some((_, last)) = message.split_last_chunk::<NUMBER>()
        {
            number = u64::from_be_bytes(*last);
            range.end -= NUMBER;
        }
        let mut message = Reader::new(buffer.get(range.clone()).unwrap_or_default(), range.start);
        let kind = message.byte()?;
        message.u32()?; // its subtransaction, which was not rolled back
        let fresh = self.partitions.take_fresh();
        self.change(kind, message, number, fresh, batch)
    }

    /// Decodes the message that lies at `range` of `buffer`.
    ///
    /// # Errors
    /// `Protocol` for what cannot be read, `SchemaChanged` for a table that is
    /// no longer as it was described, `Unsupported` for what we did not ask for.
    pub(super) fn decode(
        &mut self,
        buffer: &[u8],
        range: Range<usize>,
        batch: &mut Assembler,
    ) -> Result<Step> {
        let at = range.start;
        let message = buffer.get(range).ok_or_else(|| broken("it lies outside the buffer"))?;
        // What was looked up is fresh for the message that asked for it.
        let fresh = self.partitions.take_fresh();
        if self.aside.is_open() {
            self.aside.keep(message, &mut self.relations)?;
            return Ok(Step::Done);
        }
        let mut message = Reader::new(message, at);
        match message.byte()? {
            b'B' => self.boundary.begin(message::Begin::read(message)?.xid)?,
            b'C' => {
                let commit = message::Commit::read(message)?;
                self.boundary.commit(commit.end, commit.time, batch)?;
            }
            b'S' => {
                self.boundary.outside()?;
                self.aside.start(StreamStart::read(message)?)?;
            }
            b'A' => {
                self.boundary.outside()?;
                self.aside.abort(StreamAbort::read(message)?)?;
            }
            b'c' => {
                self.boundary.outside()?;
                return Ok(Step::Streamed(StreamCommit::read(message)?));
            }
            b'b' | b'P' | b'K' | b'r' | b'p' => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the server sends a prepared transaction before it is committed, which was not asked for",
                ));
            }
            kind => {
                let number = if kind == b'R' { self.relations.number() } else { 0 };
                return self.change(kind, message, number, fresh, batch);
            }
        }
        Ok(Step::Done)
    }

    /// Decodes what may lie within a transaction. `number` is that of a
    /// description; `fresh` says that the partitions were just looked up.
    fn change(
        &mut self,
        kind: u8,
        message: Reader<'_>,
        number: u64,
        fresh: bool,
        batch: &mut Assembler,
    ) -> Result<Step> {
        match kind {
            b'I' => self.insert(message, batch)?,
            b'U' => self.update(message, batch)?,
            b'D' => self.delete(message, batch)?,
            b'R' => return self.relation(&RelationMessage::read(message)?, number),
            b'T' => return self.truncate(&Truncate::read(message)?, fresh, batch),
            // Where a change first came from; a type's name; an application's
            // own message in the log: none makes a row.
            b'O' | b'Y' | b'M' => {}
            kind => return Err(broken("it is of an unknown kind").with("message", kind.escape_ascii())),
        }
        Ok(Step::Done)
    }

    fn insert(&mut self, mut message: Reader<'_>, batch: &mut Assembler) -> Result<()> {
        self.boundary.within()?;
        let id = message.u32()?;
        expect(&mut message, b'N')?;
        message.tuple(&mut self.new)?;
        message.end()?;
        let Some(relation) = self.relations.known(id)? else { return Ok(()) };
        let new = relation.new_image(&self.new, None)?;
        self.boundary.open(batch);
        batch.row(&relation.table, Op::Insert, false);
        new.for_each(|cell| batch.cell(cell));
        batch.end_image()
    }

    fn update(&mut self, mut message: Reader<'_>, batch: &mut Assembler) -> Result<()> {
        self.boundary.within()?;
        let id = message.u32()?;
        let old = match message.byte()? {
            b'K' => Some(Old::Key),
            b'O' => Some(Old::Full),
            b'N' => None,
            part => return Err(unknown_part(part)),
        };
        if old.is_some() {
            message.tuple(&mut self.old)?;
            expect(&mut message, b'N')?;
        }
        message.tuple(&mut self.new)?;
        message.end()?;
        let Some(relation) = self.relations.known(id)? else { return Ok(()) };
        relation.identifies(old)?;
        let full = (old == Some(Old::Full)).then_some(self.old.as_slice());
        let new = relation.new_image(&self.new, full)?;
        let before = old.map(|old| relation.old_image(&self.old, old)).transpose()?;
        self.boundary.open(batch);
        batch.row(&relation.table, Op::Update, before.is_some());
        if let Some(before) = before {
            before.for_each(|cell| batch.cell(cell));
            batch.end_image()?;
        }
        new.for_each(|cell| batch.cell(cell));
        batch.end_image()
    }

    fn delete(&mut self, mut message: Reader<'_>, batch: &mut Assembler) -> Result<()> {
        self.boundary.within()?;
        let id = message.u32()?;
        let old = match message.byte()? {
            b'K' => Old::Key,
            b'O' => Old::Full,
            part => return Err(unknown_part(part)),
        };
        message.tuple(&mut self.old)?;
        message.end()?;
        let Some(relation) = self.relations.known(id)? else { return Ok(()) };
        relation.identifies(Some(old))?;
        let before = relation.old_image(&self.old, old)?;
        self.boundary.open(batch);
        batch.row(&relation.table, Op::Delete, true);
        before.for_each(|cell| batch.cell(cell));
        batch.end_image()
    }

    fn relation(&mut self, wire: &RelationMessage<'_>, number: u64) -> Result<Step> {
        let root = match self.belongs(wire.id) {
            Some(Belongs::To(root)) => root,
            Some(Belongs::Elsewhere) => {
                self.relations.describe(wire.id, number, None);
                return Ok(Step::Done);
            }
            None if self.partitions.looked_for(wire.id) => {
                return Err(Error::new(
                    ErrorKind::SchemaChanged,
                    "the log has rows of a table that is neither one of the run nor a partition of one: was it \
                     detached or dropped? start the run anew",
                )
                .with("table", format_args!("{}.{}", wire.schema, wire.name)));
            }
            None => {
                self.partitions.look_for(wire.id);
                return Ok(Step::LookUp);
            }
        };
        let Some(table) = self.tables.get(&root) else {
            return Err(broken("a partition's root is unknown"));
        };
        self.relations.describe(wire.id, number, Some(Relation::new(table, wire)?));
        Ok(Step::Done)
    }

    fn belongs(&self, id: u32) -> Option<Belongs> {
        if self.tables.contains_key(&id) { Some(Belongs::To(id)) } else { self.partitions.belongs(id) }
    }

    /// The log names the partitions of a truncated root, and never the root.
    /// Some partitions alone cannot be followed: which of the target's rows
    /// were theirs, nobody says.
    fn truncate(&mut self, truncate: &Truncate, fresh: bool, batch: &mut Assembler) -> Result<Step> {
        self.boundary.within()?;
        let mut tables: Vec<Arc<Table>> = Vec::new();
        let mut parts: HashMap<u32, HashSet<u32>> = HashMap::new();
        for id in &truncate.relations {
            match self.belongs(*id) {
                Some(Belongs::To(root)) if root != *id => {
                    parts.entry(root).or_default().insert(*id);
                }
                Some(Belongs::To(root)) => tables.extend(self.tables.get(&root).map(Arc::clone)),
                Some(Belongs::Elsewhere) => {}
                None if self.partitions.looked_for(*id) => {
                    return Err(Error::new(
                        ErrorKind::SchemaChanged,
                        "a table was truncated that is neither one of the run nor a partition of one: was it \
                         detached or dropped? start the run anew",
                    )
                    .with("oid", id));
                }
                None => {
                    self.partitions.look_for(*id);
                    return Ok(Step::LookUp);
                }
            }
        }
        // Which partitions there are is asked now, not remembered: one that
        // was added since must not be emptied with the others.
        if !parts.is_empty() && !fresh {
            truncate.relations.iter().for_each(|id| self.partitions.look_for(*id));
            return Ok(Step::LookUp);
        }
        for (root, emptied) in parts {
            let Some(table) = self.tables.get(&root) else { continue };
            if tables.iter().any(|known| Arc::ptr_eq(known, table)) {
                continue;
            }
            if !self.partitions.leaves(root).all(|leaf| emptied.contains(&leaf)) {
                return Err(schema_changed(
                    table,
                    "some of its partitions were truncated, and not the others",
                ));
            }
            tables.push(Arc::clone(table));
        }
        if !tables.is_empty() {
            tables.sort_by(|a, b| a.origin.name.cmp(&b.origin.name));
            self.boundary.open(batch);
            batch.item(Item::Truncate { tables: tables.into() });
        }
        Ok(Step::Done)
    }
}

fn expect(message: &mut Reader<'_>, part: u8) -> Result<()> {
    match message.byte()? {
        found if found == part => Ok(()),
        found => Err(unknown_part(found)),
    }
}

fn unknown_part(part: u8) -> Error {
    broken("a part of a row is of an unknown kind").with("part", part.escape_ascii())
}

#[cfg(test)]
mod tests;
