//! The unit that moves: many changes, one buffer.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, CoreEncoding, Encoding};
use super::{DateTime, Permit, RowRef};
use crate::Position;
use crate::schema::{Column, Table};

/// What a run of rows does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Rows that came to be: each has a new image.
    Insert,
    /// Rows that changed: each has a new image, and an old one where the log
    /// carried it.
    Update,
    /// Rows that ceased to be: each has an old image.
    Delete,
}

/// Rows of one table that did one thing, next to each other in the log.
///
/// Its cells lie together in the batch: row after row, and within a row the
/// old image before the new one, each image with one cell for each column of
/// the table.
#[derive(Debug, Clone)]
pub struct Run {
    /// The shape of the rows.
    pub table: Arc<Table>,
    /// What they did.
    pub op: Op,
    /// Whether each row of an update carries its old image. Always true for
    /// deletes and false for inserts.
    pub old: bool,
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Run {
    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn has_new(&self) -> bool {
        self.op != Op::Delete
    }

    /// Cells of one row.
    #[inline]
    pub(super) fn stride(&self) -> usize {
        self.table.columns.len() * (usize::from(self.old) + usize::from(self.has_new()))
    }
}

/// A transaction's number at its source, as far as the source's own rule of
/// visibility needs one. Opaque to the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Xid(pub u128);

/// A transaction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Which one.
    pub xid: Xid,
}

/// A transaction is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The point behind it: a stream from here begins with the next one.
    pub position: Position,
    /// When it was committed, by the source's clock.
    pub time: Option<DateTime>,
}

/// One thing in a batch. Sources hand over only committed transactions, one
/// after the other in commit order; so items read as
/// `(Begin (Rows | Schema | Truncate)* Commit | Schema | Idle)*`, cut into
/// batches anywhere.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Item {
    /// A transaction begins.
    Begin(Begin),
    /// Rows of the transaction that has begun. Batches of a snapshot hold
    /// nothing else.
    Rows(Run),
    /// A table has had another shape from here on.
    Schema {
        /// The shape until here; `None` for a table not seen before.
        old: Option<Arc<Table>>,
        /// The shape from here on.
        new: Arc<Table>,
    },
    /// All rows of these tables are gone, in one step.
    Truncate {
        /// The tables, all that one statement named.
        tables: Arc<[Arc<Table>]>,
    },
    /// The transaction is complete.
    Commit(Commit),
    /// Nothing happened up to here that concerns the run: a keep-alive with
    /// nothing in flight, or a transaction with nothing in it.
    Idle {
        /// A stream from here misses nothing.
        position: Position,
    },
}

impl Item {
    /// The position that it bears. Only [`Commit`] and [`Item::Idle`] bear
    /// one, so nobody can checkpoint the middle of a transaction.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Commit(commit) => Some(&commit.position),
            Self::Idle { position } => Some(position),
            _ => None,
        }
    }
}

pub(super) struct Inner {
    pub(super) native: Bytes,
    pub(super) core: Bytes,
    pub(super) cells: Vec<Cell>,
    pub(super) items: Vec<Item>,
    pub(super) encoding: Arc<dyn Encoding>,
    #[expect(dead_code, reason = "held for its drop, which gives the bytes back")]
    pub(super) permit: Option<Permit>,
    /// The batch that this one was made of, kept alive for its permit.
    #[expect(dead_code, reason = "held for its permit")]
    pub(super) parent: Option<Arc<Self>>,
}

/// Many changes in one allocation, in the order of the source's log.
///
/// Cloning and slicing share the buffers. A batch keeps its share of the
/// run's [`Budget`](super::Budget) until its last clone is dropped.
#[derive(Clone)]
pub struct Batch {
    pub(super) inner: Arc<Inner>,
    pub(super) range: Range<usize>,
}

impl Batch {
    /// A batch with nothing in it.
    pub fn empty() -> Self {
        super::BatchBuilder::new().finish()
    }

    /// Its items, in order.
    pub fn items(&self) -> &[Item] {
        // OK because `range` is always within `items`: it starts as the whole
        // and `slice` only narrows it.
        &self.inner.items[self.range.clone()]
    }

    /// The part of the batch with these items, sharing everything.
    ///
    /// # Panics
    /// If the range is not within [`items`](Self::items).
    #[must_use]
    pub fn slice(&self, items: Range<usize>) -> Self {
        assert!(
            items.start <= items.end && items.end <= self.range.len(),
            "items {items:?} of {}",
            self.range.len()
        );
        let start = self.range.start;
        Self { inner: Arc::clone(&self.inner), range: start + items.start..start + items.end }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// How many rows it holds.
    pub fn row_count(&self) -> usize {
        self.items().iter().map(|item| if let Item::Rows(run) = item { run.rows } else { 0 }).sum()
    }

    /// The rows of one of its runs.
    pub fn rows_of<'a>(&'a self, run: &'a Run) -> impl ExactSizeIterator<Item = RowRef<'a>> + Clone {
        (0..run.rows).map(move |row| RowRef::of(&self.inner, run, row))
    }

    /// One row of one of its runs, for who keeps its place instead of a
    /// borrow.
    ///
    /// # Panics
    /// If the run has no such row.
    pub fn row<'a>(&'a self, run: &'a Run, row: usize) -> RowRef<'a> {
        assert!(row < run.rows, "row {row} of {}", run.rows);
        RowRef::of(&self.inner, run, row)
    }

    /// Whether both are parts of one batch, sharing its memory.
    pub fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// All rows, in order, boundaries left out.
    pub fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        self.items()
            .iter()
            .filter_map(|item| if let Item::Rows(run) = item { Some(run) } else { None })
            .flat_map(|run| self.rows_of(run))
    }

    /// The index of the item behind the last one that bears a position: up to
    /// there the batch is whole transactions.
    pub fn complete(&self) -> usize {
        self.items().iter().rposition(|item| item.position().is_some()).map_or(0, |last| last + 1)
    }

    /// Memory that it keeps alive, in bytes: buffers and cells.
    pub fn bytes(&self) -> usize {
        let Inner { native, core, cells, items, .. } = &*self.inner;
        native.len() + core.len() + size_of_val(cells.as_slice()) + size_of_val(items.as_slice())
    }

    /// How its native cells are decoded.
    pub fn encoding(&self) -> &Arc<dyn Encoding> {
        &self.inner.encoding
    }

    /// The buffer of the native cells, for a sink that takes them as they
    /// are. Shared, not copied.
    pub fn native(&self) -> &Bytes {
        &self.inner.native
    }

    /// The cells of a run, flat: see [`Run`] for their order.
    pub fn cells_of(&self, run: &Run) -> &[Cell] {
        &self.inner.cells[run.first..run.first + run.rows * run.stride()]
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Inner {
    #[inline]
    pub(super) fn bytes_of(&self, offset: u32, len: u32, format: super::Format) -> &[u8] {
        let buffer = match format {
            super::Format::Core => &self.core,
            super::Format::Native(_) => &self.native,
        };
        // OK because the builder checks each cell against its buffer when the
        // batch is finished.
        &buffer[offset as usize..offset as usize + len as usize]
    }

    #[inline]
    pub(super) fn decode<'a>(&'a self, cell: Cell, column: &Column) -> crate::Result<super::Value<'a>> {
        match cell {
            Cell::Null => Ok(super::Value::Null),
            Cell::Unchanged => Err(not_carried(column)),
            Cell::Value { offset, len, format: super::Format::Core } => {
                super::decode_core(self.bytes_of(offset, len, super::Format::Core))
            }
            Cell::Value { offset, len, format: format @ super::Format::Native(number) } => {
                self.encoding.decode(column.decoded_by(), number, self.bytes_of(offset, len, format))
            }
        }
    }
}

#[cold]
pub(super) fn not_carried(column: &Column) -> crate::Error {
    crate::Error::new(
        crate::ErrorKind::Unsupported,
        "the log did not carry this cell: set the table's replica identity to full, or leave the column alone",
    )
    .with("column", &column.name)
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            native: Bytes::new(),
            core: Bytes::new(),
            cells: Vec::new(),
            items: Vec::new(),
            encoding: Arc::new(CoreEncoding),
            permit: None,
            parent: None,
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("items", &self.items().len()).field("rows", &self.row_count()).finish()
    }
}
