//! Cells as array literals, one for each column: what a statement is given
//! that works on a set of rows without a staging table.
//!
//! An element is the text of a cell, read by the input function of its type,
//! as COPY does it. So what is refused or rounded there is so here.
//! <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>

use bytes::BytesMut;
use zdm_core::apply::{KeyRef, Merged};
use zdm_core::change::{CellRef, Format};
use zdm_core::{Error, ErrorKind, Result};

use super::shape::Shape;
use crate::types::text::write_value;
use crate::types::{ENCODING, TEXT};

/// Rows on their way into a statement, column by column.
#[derive(Debug)]
pub(super) struct Arrays {
    columns: Vec<String>,
    rows: usize,
}

impl Arrays {
    pub(super) fn new(columns: usize) -> Self {
        Self { columns: vec![String::new(); columns], rows: 0 }
    }

    /// A row of a number in front and some cells of a key.
    pub(super) fn key(&mut self, shape: &Shape, number: Option<usize>, key: KeyRef<'_>) -> Result<()> {
        self.row(number, shape.key.iter().map(|&column| Some(key.cell(shape.columns[column].at))))
    }

    /// A row of a number in front and the cells of some written columns.
    pub(super) fn cells(
        &mut self,
        shape: &Shape,
        number: Option<usize>,
        columns: &[usize],
        row: &Merged<'_>,
    ) -> Result<()> {
        let cell = |&column: &usize| {
            let at = shape.columns[column].at;
            if shape.key.contains(&column) { Some(row.key().cell(at)) } else { row.cell(at) }
        };
        self.row(number, columns.iter().map(cell))
    }

    fn row<'a>(
        &mut self,
        number: Option<usize>,
        cells: impl Iterator<Item = Option<CellRef<'a>>>,
    ) -> Result<()> {
        let mut columns = self.columns.iter_mut();
        let first = self.rows == 0;
        let mut next = || {
            let column = columns.next()?;
            column.push(if first { '{' } else { ',' });
            Some(column)
        };
        if let (Some(number), Some(column)) = (number, number.and_then(|_| next())) {
            column.push_str(&number.to_string());
        }
        for cell in cells {
            let Some(column) = next() else { break };
            element(cell, column)?;
        }
        self.rows += 1;
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(String::len).sum()
    }

    /// Takes the rows out, as literals with commas between them.
    pub(super) fn take(&mut self) -> String {
        self.rows = 0;
        let mut literals = String::with_capacity(self.bytes() + 4 * self.columns.len());
        for column in &mut self.columns {
            if !literals.is_empty() {
                literals.push(',');
            }
            literals.push('\'');
            literals.push_str(column);
            literals.push_str("}'");
            column.clear();
        }
        literals
    }
}

/// A cell as text that needs no further care; `None` for null.
fn element(cell: Option<CellRef<'_>>, out: &mut String) -> Result<()> {
    let Some(cell) = cell else {
        out.push_str("NULL");
        return Ok(());
    };
    match cell.raw() {
        None if cell.is_null() => {
            out.push_str("NULL");
            Ok(())
        }
        Some((Format::Native(TEXT), text)) if cell.encoding().name() == ENCODING.name() => {
            quoted(text, out).map_err(|e| e.with("column", &cell.column().name))
        }
        // An error for a cell that was not carried, too.
        _ => {
            let mut text = BytesMut::new();
            write_value(&cell.value()?, &mut text).map_err(|e| e.with("column", &cell.column().name))?;
            quoted(&text, out).map_err(|e| e.with("column", &cell.column().name))
        }
    }
}

/// In the quotes of an array within those of a string.
fn quoted(text: &[u8], out: &mut String) -> Result<()> {
    let text = std::str::from_utf8(text).map_err(|error| {
        Error::new(ErrorKind::Rejected, "a text is not UTF-8: the source's encoding must be known")
            .caused_by(error)
    })?;
    if text.contains('\0') {
        return Err(Error::new(ErrorKind::Rejected, "a text with a zero byte has no place in PostgreSQL"));
    }
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\', '\'']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        out.push_str(match special.as_bytes()[0] {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            _ => "''",
        });
        rest = &special[1..];
    }
    out.push_str(rest);
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_an_element_or_a_string_is_escaped() {
        let mut out = String::new();
        quoted("a'b\"c\\d,{NULL}\n".as_bytes(), &mut out).unwrap();
        assert_eq!(out, "\"a''b\\\"c\\\\d,{NULL}\n\"");
        assert!(quoted(b"\xff", &mut out).is_err());
        assert!(quoted(b"a\0", &mut out).is_err());
    }
}
