//! Views of one row and one cell of a batch. They borrow; nothing is copied
//! and nothing decoded until [`CellRef::value`].

use std::fmt;

use super::batch::{Inner, Run};
use super::{Cell, Format, Op, Value};
use crate::Result;
use crate::schema::{Column, Table};

/// One changed row.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    batch: &'a Inner,
    run: &'a Run,
    first: usize,
}

impl<'a> RowRef<'a> {
    #[inline]
    pub(super) fn of(batch: &'a Inner, run: &'a Run, row: usize) -> Self {
        Self { batch, run, first: run.first + row * run.stride() }
    }

    /// What it did.
    pub fn op(&self) -> Op {
        self.run.op
    }

    /// Its shape.
    pub fn table(&self) -> &'a std::sync::Arc<Table> {
        &self.run.table
    }

    /// The row as it was, as far as the log carried it: all columns or the
    /// key's; `None` for an insert, and for an update whose key stayed.
    #[inline]
    pub fn before(&self) -> Option<Image<'a>> {
        self.run.old.then(|| self.image(self.first))
    }

    /// The row as it is; `None` for a delete.
    #[inline]
    pub fn after(&self) -> Option<Image<'a>> {
        let columns = self.run.table.columns.len();
        self.run.has_new().then(|| self.image(self.first + if self.run.old { columns } else { 0 }))
    }

    /// The image that carries the key under which the target holds the row
    /// before this change: the old one where there is one, else the new one.
    #[inline]
    pub fn key_image(&self) -> Image<'a> {
        self.image(self.first)
    }

    #[inline]
    fn image(&self, first: usize) -> Image<'a> {
        let columns = self.run.table.columns.len();
        Image { batch: self.batch, table: &self.run.table, cells: &self.batch.cells[first..first + columns] }
    }
}

impl fmt::Debug for RowRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("table", &self.run.table.name)
            .field("op", &self.run.op)
            .field("before", &self.before())
            .field("after", &self.after())
            .finish()
    }
}

/// One image of a row: a cell for each column.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    batch: &'a Inner,
    table: &'a Table,
    cells: &'a [Cell],
}

impl<'a> Image<'a> {
    /// The cell of a column.
    ///
    /// # Panics
    /// If the table has no such column.
    #[inline]
    pub fn cell(&self, column: usize) -> CellRef<'a> {
        CellRef { batch: self.batch, column: &self.table.columns[column], cell: self.cells[column] }
    }

    /// All cells, in the table's order.
    #[inline]
    pub fn cells(&self) -> impl ExactSizeIterator<Item = CellRef<'a>> + use<'a> {
        let (batch, columns, cells) = (self.batch, &self.table.columns, self.cells);
        cells.iter().zip(columns).map(move |(cell, column)| CellRef { batch, column, cell: *cell })
    }

    /// The cells as they lie in the batch.
    pub fn raw(&self) -> &'a [Cell] {
        self.cells
    }
}

impl fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.cells().map(|cell| (cell.column().name.as_str(), cell))).finish()
    }
}

/// One cell.
#[derive(Clone, Copy)]
pub struct CellRef<'a> {
    batch: &'a Inner,
    column: &'a Column,
    cell: Cell,
}

impl<'a> CellRef<'a> {
    /// The column that it belongs to.
    pub fn column(&self) -> &'a Column {
        self.column
    }

    /// Whether it is null.
    #[inline]
    pub fn is_null(&self) -> bool {
        self.cell == Cell::Null
    }

    /// Whether the log did not carry it.
    #[inline]
    pub fn is_unchanged(&self) -> bool {
        self.cell == Cell::Unchanged
    }

    /// Its bytes and their format; `None` for null and unchanged.
    #[inline]
    pub fn raw(&self) -> Option<(Format, &'a [u8])> {
        match self.cell {
            Cell::Value { offset, len, format } => Some((format, self.batch.bytes_of(offset, len, format))),
            Cell::Null | Cell::Unchanged => None,
        }
    }

    /// How the native cells of its batch are encoded, for who can take their
    /// bytes as they are.
    pub fn encoding(&self) -> &'a dyn super::Encoding {
        &*self.batch.encoding
    }

    /// Decodes it.
    ///
    /// # Errors
    /// `Protocol` when the bytes are not a value of the column's type,
    /// `Unsupported` when the log did not carry the cell.
    #[inline]
    pub fn value(&self) -> Result<Value<'a>> {
        self.batch.decode(self.cell, self.column)
    }
}

impl fmt::Debug for CellRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cell, self.value()) {
            (Cell::Unchanged, _) => f.write_str("unchanged"),
            (_, Ok(value)) => fmt::Display::fmt(&value, f),
            (_, Err(error)) => write!(f, "<{error}>"),
        }
    }
}
