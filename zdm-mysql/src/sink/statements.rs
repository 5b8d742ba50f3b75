//! The SQL that rows become.

use bytes::{BufMut as _, BytesMut};
use zdm_core::apply::Merged;
use zdm_core::change::CellRef;
use zdm_core::{Error, ErrorKind, Result};

use super::carried::Carried;
use super::pack::Pack;
use super::shape::Shape;
use crate::connect::quote::quote_ident;
use crate::types::write_literal;

/// An INSERT of all the columns that are written.
pub(super) fn insert(shape: &Shape) -> Pack {
    Pack::inserting(format!("INSERT INTO {} ({}) VALUES ", shape.name, shape.names()))
}

/// A DELETE by keys. `IN` for one column, and conditions for several, which
/// both servers read as ranges of an index in every version.
pub(super) fn delete(shape: &Shape) -> Pack {
    match shape.table.key_columns() {
        // OK to index because a table's key names its own columns.
        [at] => {
            let name = quote_ident(&shape.table.columns[*at].name);
            Pack::deleting(format!("DELETE FROM {} WHERE {name} IN (", shape.name), ", ", ")")
        }
        _ => Pack::deleting(format!("DELETE FROM {} WHERE (", shape.name), ") OR (", ")"),
    }
}

/// What a DELETE by keys names a row by.
pub(super) fn deleted(shape: &Shape, key: zdm_core::apply::KeyRef<'_>, out: &mut BytesMut) -> Result<()> {
    match shape.table.key_columns() {
        [at] => write_literal(key.cell(*at), &shape.table.columns[*at], out),
        _ => shape.matches(key, out),
    }
}

/// One row of an INSERT, from cells.
pub(super) fn inserted<'a>(
    shape: &Shape,
    cell: impl Fn(usize) -> CellRef<'a>,
    out: &mut BytesMut,
) -> Result<()> {
    for (number, column) in shape.columns.iter().enumerate() {
        out.put_slice(if number == 0 { b"(" } else { b"," });
        write_literal(cell(column.at), &shape.table.columns[column.at], out)?;
    }
    out.put_u8(b')');
    Ok(())
}

/// One row of an INSERT, from what its changes have come to and what was
/// carried.
pub(super) fn put(
    shape: &Shape,
    row: Merged<'_>,
    carried: Option<&Carried>,
    out: &mut BytesMut,
) -> Result<()> {
    for (number, column) in shape.columns.iter().enumerate() {
        out.put_slice(if number == 0 { b"(" } else { b"," });
        match (row.cell(column.at), carried.and_then(|carried| carried.literal(number))) {
            (Some(cell), _) => write_literal(cell, &shape.table.columns[column.at], out)?,
            (None, Some(literal)) => out.put_slice(literal),
            (None, None) => {
                return Err(Error::new(ErrorKind::Protocol, "a row is put without one of its cells")
                    .with("column", &column.name));
            }
        }
    }
    out.put_u8(b')');
    Ok(())
}

/// An UPDATE of one row, in the cells that are known. It finds the row also
/// when it sets nothing.
pub(super) fn update(shape: &Shape, row: Merged<'_>, out: &mut BytesMut) -> Result<()> {
    out.put_slice(b"UPDATE ");
    out.put_slice(shape.name.as_bytes());
    let mut between: &[u8] = b" SET ";
    for column in &shape.columns {
        let cell = row.cell(column.at).filter(|_| !column.in_key || shape.respelled);
        // What the server would set by itself keeps its value.
        if cell.is_none() && !column.moves && !column.in_key {
            continue;
        }
        out.put_slice(std::mem::replace(&mut between, b", "));
        out.put_slice(column.name.as_bytes());
        out.put_slice(b" = ");
        match cell {
            Some(cell) => write_literal(cell, &shape.table.columns[column.at], out)?,
            None => out.put_slice(column.name.as_bytes()),
        }
    }
    out.put_slice(b" WHERE ");
    shape.matches(row.key(), out)
}
