//! One row on its way through the stages.

use std::borrow::Cow;

use super::fit;
use crate::change::{Assembler, Cell, Op, RowRef, Value, encode_core};
use crate::schema::{Column, Table};
use crate::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Columns that a stage reads: where they are, and what decodes them.
pub(super) type Reads = Vec<(usize, Column)>;

/// Which image of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The row as it was.
    Old,
    /// The row as it is.
    New,
}

/// What a closure sees of one image of a row: the columns that its stage
/// named, in that order.
///
/// Values decode when they are asked for. A closure must be pure: the same
/// values always give the same answer, since rows are read again after a kill.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    out: &'a Assembler,
    cells: &'a [Cell],
    reads: &'a Reads,
}

impl<'a> Row<'a> {
    /// The value of the `at`-th column that the stage named.
    ///
    /// # Errors
    /// `Config` if the stage named fewer; `Protocol` if the cell cannot be
    /// decoded.
    pub fn value(&self, at: usize) -> Result<Value<'a>> {
        let Some((column, shape)) = self.reads.get(at) else {
            return Err(Error::new(ErrorKind::Config, "a stage reads more columns than it named")
                .with("named", self.reads.len())
                .with("read", at + 1));
        };
        self.out.decode(self.cells[*column], shape)
    }

    /// The text of a column of characters (or of another kind that is text:
    /// decimal, JSON, native); `None` for null.
    ///
    /// # Errors
    /// As [`value`](Self::value); `Config` if it is not text.
    pub fn text(&self, at: usize) -> Result<Option<Cow<'a, str>>> {
        match self.value(at)? {
            Value::Null => Ok(None),
            Value::Text(v) | Value::Decimal(v) | Value::Json(v) | Value::Bits(v) | Value::Native(v) => {
                Ok(Some(v))
            }
            other => Err(self.not_a("text", at, &other)),
        }
    }

    /// The number of a column of whole numbers; `None` for null.
    ///
    /// # Errors
    /// As [`value`](Self::value); `Config` if it is not a whole number that
    /// fits.
    pub fn integer(&self, at: usize) -> Result<Option<i64>> {
        match self.value(at)? {
            Value::Null => Ok(None),
            value => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.not_a("whole number of 64 bits", at, &value)),
            },
        }
    }

    /// The truth of a column of truths; `None` for null.
    ///
    /// # Errors
    /// As [`value`](Self::value); `Config` if it is not a truth.
    pub fn boolean(&self, at: usize) -> Result<Option<bool>> {
        match self.value(at)? {
            Value::Null => Ok(None),
            Value::Bool(yes) => Ok(Some(yes)),
            other => Err(self.not_a("truth", at, &other)),
        }
    }

    /// Whether a column is null. Decodes nothing.
    pub fn is_null(&self, at: usize) -> bool {
        self.reads.get(at).is_some_and(|(column, _)| self.cells[*column] == Cell::Null)
    }

    fn not_a(&self, wanted: &str, at: usize, value: &Value<'_>) -> Error {
        let column = self.reads.get(at).map_or("", |(_, column)| &column.name);
        Error::new(ErrorKind::Config, format!("a stage reads a {} as a {wanted}", fit::kind(value)))
            .with("column", column)
    }
}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.reads.iter().enumerate().map(|(at, (_, column))| (&column.name, self.value(at))))
            .finish()
    }
}

/// The row that is being worked on, and the batch that it goes into.
#[derive(Debug)]
pub struct Work {
    pub(super) out: Assembler,
    pub(super) op: Op,
    /// The old image; meaningful while [`has_old`](Self::has_old).
    pub(super) old: Vec<Cell>,
    /// The new image; meaningful unless it is a delete.
    pub(super) new: Vec<Cell>,
    pub(super) has_old: bool,
    pub(super) dropped: bool,
    scratch: Vec<u8>,
    spare: Vec<Cell>,
}

/// How much of what a stage reads is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// All of it.
    All,
    /// None of it, and it was not nothing that was asked for.
    Nothing,
    /// Some of it.
    Some,
}

impl Work {
    pub(super) fn into(out: Assembler) -> Self {
        Self {
            out,
            op: Op::Insert,
            old: Vec::new(),
            new: Vec::new(),
            has_old: false,
            dropped: false,
            scratch: Vec::new(),
            spare: Vec::new(),
        }
    }

    pub(super) fn load(&mut self, row: &RowRef<'_>) {
        self.op = row.op();
        self.dropped = false;
        self.old.clear();
        self.new.clear();
        self.has_old = row.before().inspect(|old| self.old.extend_from_slice(old.raw())).is_some();
        if let Some(new) = row.after() {
            self.new.extend_from_slice(new.raw());
        }
    }

    /// Puts the row into the batch, unless a stage dropped it.
    pub(super) fn emit(&mut self, table: &Arc<Table>) -> Result<()> {
        if self.dropped {
            return Ok(());
        }
        self.out.row(table, self.op, self.has_old);
        if self.has_old {
            self.old.iter().for_each(|cell| self.out.cell(*cell));
            self.out.end_image()?;
        }
        if self.has_new() {
            self.new.iter().for_each(|cell| self.out.cell(*cell));
            self.out.end_image()?;
        }
        Ok(())
    }

    pub(super) fn has_new(&self) -> bool {
        self.op != Op::Delete
    }

    pub(super) fn has(&self, side: Side) -> bool {
        match side {
            Side::Old => self.has_old,
            Side::New => self.has_new(),
        }
    }

    pub(super) fn image(&mut self, side: Side) -> &mut Vec<Cell> {
        match side {
            Side::Old => &mut self.old,
            Side::New => &mut self.new,
        }
    }

    /// Keeps these cells of an image, in this order.
    pub(super) fn choose(&mut self, side: Side, kept: &[usize]) {
        let mut spare = std::mem::take(&mut self.spare);
        let image = self.image(side);
        spare.clear();
        spare.extend(kept.iter().map(|at| image[*at]));
        self.spare = std::mem::replace(image, spare);
    }

    /// Takes a cell that the new image lacks from the old one: unchanged is
    /// what it says.
    pub(super) fn fill(&mut self, column: usize) {
        if self.has_old && self.has_new() && self.new[column] == Cell::Unchanged {
            self.new[column] = self.old[column];
        }
    }

    /// How much of these columns an image carries, after filling it.
    pub(super) fn carried(&mut self, side: Side, reads: &Reads) -> Carried {
        if side == Side::New {
            reads.iter().for_each(|(column, _)| self.fill(*column));
        }
        let image = self.image(side);
        match reads.iter().filter(|(column, _)| image[*column] == Cell::Unchanged).count() {
            0 => Carried::All,
            missing if missing == reads.len() => Carried::Nothing,
            _ => Carried::Some,
        }
    }

    /// The view that a closure gets.
    pub(super) fn row<'a>(&'a self, side: Side, reads: &'a Reads) -> Row<'a> {
        let cells = if side == Side::Old { &self.old } else { &self.new };
        Row { out: &self.out, cells, reads }
    }

    /// Computes a cell. The value may borrow from the batch, which is also
    /// what it is written to: hence by way of a scratch buffer.
    pub(super) fn compute(
        &mut self,
        side: Side,
        reads: &Reads,
        into: &Column,
        f: impl for<'a> FnOnce(Row<'a>) -> Result<Value<'a>>,
    ) -> Result<Cell> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let null = f(self.row(side, reads)).and_then(|value| {
            fit::check(&value, into)?;
            encode_core(&value, &mut scratch);
            Ok(value.is_null())
        });
        let cell = match null {
            Ok(true) => Ok(Cell::Null),
            Ok(false) => self.out.encoded(&scratch),
            Err(error) => Err(error.with("column", &into.name)),
        };
        self.scratch = scratch;
        cell
    }
}
