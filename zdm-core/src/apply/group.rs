//! The group: batches go in, steps come out.

use std::sync::Arc;

use hashbrown::HashMap;

use super::held::{Held, Place};
use super::keyed::Keyed;
use super::view::{InOrder, KeyedWork, Work};
use crate::change::{Batch, Item, Op};
use crate::schema::{Key, Table, TableName};
use crate::{Error, ErrorKind, Result};

/// Changes that are applied together. See [the module](super).
///
/// It keeps its batches alive and remembers where rows lie; watch
/// [`bytes`](Self::bytes), and apply what it holds when that is enough: a
/// group may end anywhere, also within a transaction that stays open at the
/// target.
#[derive(Debug, Default)]
pub struct Group {
    held: Held,
    parts: Vec<Part>,
    /// The rows behind the last barrier.
    open: Segment,
    /// Bytes of parts that take no more rows.
    closed: usize,
    rows: u64,
}

/// One thing to do, after all before it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step<'g> {
    /// Work on tables: in any order, or at once. No table comes twice.
    Rows(Vec<Work<'g>>),
    /// All rows of these tables are gone.
    Truncate(&'g Arc<[Arc<Table>]>),
    /// A table has another shape from here on.
    Schema {
        /// The shape until here.
        old: Option<&'g Arc<Table>>,
        /// The shape from here on.
        new: &'g Arc<Table>,
    },
}

#[derive(Debug)]
enum Part {
    Rows(Segment),
    Truncate(Arc<[Arc<Table>]>),
    Schema { old: Option<Arc<Table>>, new: Arc<Table> },
}

/// Rows between two barriers.
#[derive(Debug, Default)]
struct Segment {
    tables: Vec<Member>,
    by_name: HashMap<TableName, usize, foldhash::fast::RandomState>,
}

#[derive(Debug)]
enum Member {
    Keyed(Keyed),
    InOrder { table: Arc<Table>, rows: Vec<Place> },
}

impl Group {
    /// A group of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a batch in. Boundaries of transactions are passed over: where a
    /// group ends is for its owner to say.
    ///
    /// # Errors
    /// `Protocol` when a change does not carry its key; `Unsupported` for an
    /// update or a delete in a table that can only be appended to. The group
    /// is spoiled.
    pub fn push(&mut self, batch: Batch) -> Result<()> {
        // Kept for its rows alone: a batch of boundaries would hold its share
        // of the run's budget for nothing.
        if batch
            .items()
            .iter()
            .all(|item| matches!(item, Item::Begin(_) | Item::Commit(_) | Item::Idle { .. }))
        {
            return Ok(());
        }
        let number = self.held.keep(batch)?;
        for item in 0..self.held.items(number).len() {
            let part = match &self.held.items(number)[item] {
                Item::Rows(run) => {
                    let (table, rows) = (Arc::clone(&run.table), run.len());
                    self.rows += rows as u64;
                    self.push_run(&table, number, item, rows)?;
                    continue;
                }
                Item::Truncate { tables } => Part::Truncate(Arc::clone(tables)),
                Item::Schema { old, new } => Part::Schema { old: old.clone(), new: Arc::clone(new) },
                _ => continue,
            };
            self.barrier();
            self.parts.push(part);
        }
        Ok(())
    }

    /// Memory that it keeps alive, in bytes, about.
    pub fn bytes(&self) -> usize {
        self.held.bytes() + self.closed + self.open.bytes()
    }

    /// Rows taken in.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.open.tables.is_empty()
    }

    /// What is to be done, in this order.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let closed = self.parts.iter().map(|part| match part {
            Part::Rows(segment) => segment.step(&self.held),
            Part::Truncate(tables) => Step::Truncate(tables),
            Part::Schema { old, new } => Step::Schema { old: old.as_ref(), new },
        });
        closed.chain((!self.open.tables.is_empty()).then(|| self.open.step(&self.held)))
    }

    fn push_run(&mut self, table: &Arc<Table>, batch: u32, item: usize, rows: usize) -> Result<()> {
        let mut at = self.seat(table);
        for row in 0..rows {
            let place = Held::place(batch, item, row)?;
            // Bytes of two encodings say nothing about each other.
            if !self.open.tables[at].joins(&self.held, place) {
                self.barrier();
                at = self.seat(table);
                if !self.open.tables[at].joins(&self.held, place) {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        "the old and the new key of a row come in two encodings: map both images in one way",
                    )
                    .with("table", &table.name));
                }
            }
            self.open.tables[at].push(&self.held, place)?;
        }
        Ok(())
    }

    /// Where a table is in the open segment. Tables of one name are one table
    /// at the target, wherever they come from.
    fn seat(&mut self, table: &Arc<Table>) -> usize {
        match self.open.by_name.get(&table.name) {
            Some(&at) if alike(self.open.tables[at].table(), table) => return at,
            // Another shape of the same table: what came before it first.
            Some(_) => self.barrier(),
            None => {}
        }
        let at = self.open.tables.len();
        self.open.tables.push(Member::of(table));
        self.open.by_name.insert(table.name.clone(), at);
        at
    }

    /// Nothing joins what came so far.
    fn barrier(&mut self) {
        self.closed += self.open.bytes();
        let segment = std::mem::take(&mut self.open);
        if !segment.tables.is_empty() {
            self.parts.push(Part::Rows(segment));
        }
    }
}

impl Segment {
    fn step<'g>(&'g self, held: &'g Held) -> Step<'g> {
        Step::Rows(self.tables.iter().map(|member| member.work(held)).collect())
    }

    fn bytes(&self) -> usize {
        self.tables.iter().map(Member::bytes).sum()
    }
}

impl Member {
    fn of(table: &Arc<Table>) -> Self {
        let table = Arc::clone(table);
        match table.key {
            Key::Columns(_) => Self::Keyed(Keyed::new(table)),
            Key::FullRow | Key::Nothing => Self::InOrder { table, rows: Vec::new() },
        }
    }

    fn table(&self) -> &Arc<Table> {
        match self {
            Self::Keyed(keyed) => keyed.table(),
            Self::InOrder { table, .. } => table,
        }
    }

    /// Whether a row can be coalesced with those before it.
    fn joins(&mut self, held: &Held, place: Place) -> bool {
        match self {
            Self::Keyed(keyed) => keyed.comparable(held, place),
            Self::InOrder { .. } => true,
        }
    }

    fn push(&mut self, held: &Held, place: Place) -> Result<()> {
        match self {
            Self::Keyed(keyed) => keyed.apply(held, place),
            Self::InOrder { table, rows } => {
                let row = held.row(place);
                if row.op() != Op::Insert && (table.key == Key::Nothing || row.before().is_none()) {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        "a row changed in a table whose log does not say which row: set its replica identity to full",
                    )
                    .with("table", &table.name));
                }
                rows.push(place);
                Ok(())
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Keyed(keyed) => keyed.bytes(),
            Self::InOrder { rows, .. } => rows.capacity() * size_of::<Place>(),
        }
    }

    fn work<'g>(&'g self, held: &'g Held) -> Work<'g> {
        match self {
            Self::Keyed(keyed) => Work::Keyed(KeyedWork { held, keyed }),
            Self::InOrder { table, rows } => Work::InOrder(InOrder { held, table, rows }),
        }
    }
}

/// Whether rows of both can be taken for rows of one table.
fn alike(a: &Arc<Table>, b: &Arc<Table>) -> bool {
    Arc::ptr_eq(a, b) || (a.key == b.key && a.columns == b.columns)
}
