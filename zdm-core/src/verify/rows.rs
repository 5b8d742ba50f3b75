//! What of a table's rows is compared, and how a row becomes bytes.

use std::sync::Arc;

use super::canonical::Form;
use super::digest::{Digest, digest};
use crate::change::{Batch, BatchBuilder, CellRef, Field, Format, Image, Value};
use crate::schema::{Column, Table};
use crate::{Error, ErrorKind, Result};

/// Which side a row is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Behind the stages: its table is as they made it.
    Source,
    /// As the target describes it.
    Target,
}

/// One column that both sides have.
#[derive(Debug)]
struct Compared {
    /// Its name at the target.
    name: String,
    /// Where it is in the table that the stages made.
    staged: usize,
    /// Where it is in the table that the target described.
    there: usize,
    form: Form,
    /// Whether both servers write it in one way: then equal bytes are equal
    /// values, and nothing is decoded while there is no difference.
    alike: bool,
}

/// The columns of a table that are compared, those of the key first.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Compared>,
    /// How many of them are the key; all of them, for a table with no key.
    key: usize,
}

/// The canonical digests of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canonical {
    /// Of its key.
    pub(super) key: u128,
    /// Of each column, in the order in which they are compared.
    pub(super) columns: Vec<u128>,
}

/// The value of each key column.
pub(super) type KeyValues = Vec<Value<'static>>;

impl Columns {
    /// Pairs the columns of two tables by their names.
    ///
    /// # Errors
    /// `Conflict` when the target's table lacks one.
    pub(super) fn pair(staged: &Table, there: &Table, one_engine: bool) -> Result<Self> {
        let key = staged.key_columns();
        let rest = (0..staged.columns.len()).filter(|at| !key.contains(at));
        let mut columns = Vec::new();
        for at in key.iter().copied().chain(rest) {
            let column = &staged.columns[at];
            let found = there.position(&column.name).ok_or_else(|| {
                Error::new(
                    ErrorKind::Conflict,
                    "a table of the target lacks a column of the run: it was altered since it was made",
                )
                .with("table", &there.name)
                .with("column", &column.name)
            })?;
            let other = &there.columns[found];
            // What is computed is written by nobody and read by nobody.
            if column.is_written() && other.is_written() {
                columns.push(Compared {
                    name: column.name.to_string(),
                    staged: at,
                    there: found,
                    form: Form::of(&other.data_type, one_engine),
                    alike: one_engine && written_alike(column.decoded_by(), other),
                });
            }
        }
        let key = if key.is_empty() { columns.len() } else { key.len() };
        Ok(Self { columns, key })
    }

    /// Appends a row's digests in the cheapest way: bytes that both sides
    /// write alike as they lie there. Equal digests are equal rows; digests
    /// that differ may yet be of rows that are [canonically](Self::canonical)
    /// equal.
    pub(super) fn digest(&self, image: &Image<'_>, side: Side, scratch: &mut Vec<u8>) -> Result<Digest> {
        scratch.clear();
        let mut key_end = 0;
        for (at, column) in self.columns.iter().enumerate() {
            if at == self.key {
                key_end = scratch.len();
            }
            let cell = image.cell(column.at(side));
            match cell.raw() {
                None => self.null(&cell, scratch)?,
                Some((Format::Native(_), bytes)) if column.alike => {
                    length(bytes.len(), scratch);
                    scratch.extend_from_slice(bytes);
                }
                Some(_) => sized(scratch, |out| column.write(&cell, out))?,
            }
        }
        if self.key == self.columns.len() {
            key_end = scratch.len();
        }
        let row = digest(scratch);
        let key = if key_end == scratch.len() { row } else { digest(&scratch[..key_end]) };
        Ok(Digest { key, row })
    }

    fn null(&self, cell: &CellRef<'_>, scratch: &mut Vec<u8>) -> Result<()> {
        if cell.is_unchanged() {
            // What a read left out although somebody writes it.
            return cell.value().map(drop);
        }
        length(usize::MAX, scratch);
        Ok(())
    }

    /// The canonical digests of a row.
    pub(super) fn canonical(
        &self,
        image: &Image<'_>,
        side: Side,
        scratch: &mut Vec<u8>,
    ) -> Result<Canonical> {
        let mut key = Vec::new();
        let mut columns = Vec::with_capacity(self.columns.len());
        for (at, column) in self.columns.iter().enumerate() {
            scratch.clear();
            column.form.write(&image.cell(column.at(side)).value()?, scratch);
            if at < self.key {
                sized(&mut key, |out| {
                    out.extend_from_slice(scratch);
                    Ok(())
                })?;
            }
            columns.push(digest(scratch));
        }
        Ok(Canonical { key: digest(&key), columns })
    }

    /// The digest of a row by the canonical form alone, whichever server it is
    /// read from.
    pub(super) fn whole(&self, image: &Image<'_>, side: Side, scratch: &mut Vec<u8>) -> Result<u128> {
        scratch.clear();
        for column in &self.columns {
            sized(scratch, |out| column.write(&image.cell(column.at(side)), out))?;
        }
        Ok(digest(scratch))
    }

    /// The names of the compared columns, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Some columns of one table that is read alone.
    ///
    /// # Errors
    /// `Conflict` when it lacks one.
    pub(super) fn alone(table: &Table, names: &[String], one_engine: bool) -> Result<Self> {
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let at = table.position(name).filter(|at| table.columns[*at].is_written()).ok_or_else(|| {
                Error::new(
                    ErrorKind::Conflict,
                    "the table lacks a column: it was altered, or a stage names it otherwise",
                )
                .with("table", &table.name)
                .with("column", name)
            })?;
            let form = Form::of(&table.columns[at].data_type, one_engine);
            columns.push(Compared { name: name.clone(), staged: at, there: at, form, alike: false });
        }
        let key = columns.len();
        Ok(Self { columns, key })
    }

    /// The digest of a row's key alone, of which no other cell is needed.
    pub(super) fn image_key_digest(
        &self,
        image: &Image<'_>,
        side: Side,
        scratch: &mut Vec<u8>,
    ) -> Result<u128> {
        scratch.clear();
        for column in &self.columns[..self.key] {
            sized(scratch, |out| column.write(&image.cell(column.at(side)), out))?;
        }
        Ok(digest(scratch))
    }

    /// The digest of a key's values, as [`canonical`](Self::canonical) has it.
    pub(super) fn key_digest(&self, values: &[Value<'_>]) -> u128 {
        let mut key = Vec::new();
        for (column, value) in self.columns.iter().zip(values) {
            // OK because nothing in it fails.
            let _ = sized(&mut key, |out| {
                column.form.write(value, out);
                Ok(())
            });
        }
        digest(&key)
    }

    /// The values of a row's key.
    pub(super) fn key_of(&self, image: &Image<'_>, side: Side) -> Result<KeyValues> {
        let key = &self.columns[..self.key];
        key.iter().map(|column| Ok(image.cell(column.at(side)).value()?.into_owned())).collect()
    }

    /// Deletes that name these keys, of the table of one side.
    pub(super) fn deletes<'k>(
        &self,
        table: &Arc<Table>,
        side: Side,
        keys: impl IntoIterator<Item = &'k KeyValues>,
    ) -> Result<Batch> {
        let mut batch = BatchBuilder::new();
        for key in keys {
            batch.delete(table, self.fields(table, side, key))?;
        }
        Ok(batch.finish())
    }

    /// The fields of a delete that names a key.
    pub(super) fn fields<'k>(&self, table: &Table, side: Side, key: &'k [Value<'static>]) -> Vec<Field<'k>> {
        let mut fields = vec![Field::Unchanged; table.columns.len()];
        for (column, value) in self.columns.iter().zip(key) {
            fields[column.at(side)] = Field::Value(value.clone());
        }
        fields
    }

    /// The names of the key's columns.
    pub(super) fn key_names(&self) -> impl Iterator<Item = &str> {
        self.columns[..self.key].iter().map(|column| column.name.as_str())
    }

    /// The name of a compared column.
    pub(super) fn name(&self, at: usize) -> &str {
        &self.columns[at].name
    }
}

impl Compared {
    #[inline]
    fn at(&self, side: Side) -> usize {
        match side {
            Side::Source => self.staged,
            Side::Target => self.there,
        }
    }

    fn write(&self, cell: &CellRef<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.form.write(&cell.value()?, out);
        Ok(())
    }
}

/// Whether two servers of one engine write a column's values alike: then the
/// same bytes are the same value.
fn written_alike(one: &Column, other: &Column) -> bool {
    one.native.name == other.native.name && one.data_type == other.data_type && one.charset == other.charset
}

fn length(of: usize, out: &mut Vec<u8>) {
    // 32 bits do: a cell is under 4 GiB, and the largest stands for null.
    out.extend(u32::try_from(of).unwrap_or(u32::MAX).to_le_bytes());
}

/// What `write` appends, with its length before it.
fn sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.extend([0; 4]);
    write(out)?;
    let len = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX - 1);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    Ok(())
}
