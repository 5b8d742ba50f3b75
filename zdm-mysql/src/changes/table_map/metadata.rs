//! What a table map tells beyond types: signs always on MySQL, and names and
//! labels with `binlog_row_metadata = FULL`. All of it is compared with the
//! catalog's description where it is there, and nothing is needed.

use zdm_core::Result;
use zdm_core::schema::Table;

use super::super::reader::Reader;
use super::schema_changed;
use crate::types::{Kind, code, labels};

const SIGNEDNESS: u8 = 1;
const COLUMN_NAME: u8 = 4;
const SET_STR_VALUE: u8 = 5;
const ENUM_STR_VALUE: u8 = 6;

/// Compares the optional metadata: fields of a kind, a length and a value.
pub(super) fn check(mut event: Reader<'_>, types: &[u8], table: &Table) -> Result<()> {
    while !event.is_empty() {
        let field = event.u8()?;
        let len = event.packed_len()?;
        let value = Reader::new(event.take(len)?, 0);
        match field {
            SIGNEDNESS => signs(value.rest(), types, table)?,
            COLUMN_NAME => names(value, table)?,
            SET_STR_VALUE => all_labels(value, table, |kind| matches!(kind, Kind::Set(_)))?,
            ENUM_STR_VALUE => all_labels(value, table, |kind| matches!(kind, Kind::Enum(_)))?,
            // Collations, kinds of geometry, prefixes of keys, visibility:
            // none changes how a cell is read, but for collations of another
            // character set, and those come with a statement that changes the
            // table.
            _ => {}
        }
    }
    Ok(())
}

/// One bit for each column of a number, from the highest.
fn signs(bits: &[u8], types: &[u8], table: &Table) -> Result<()> {
    let is_number = |wire: u8| {
        matches!(
            wire,
            code::TINY
                | code::SHORT
                | code::INT24
                | code::LONG
                | code::LONGLONG
                | code::NEWDECIMAL
                | code::YEAR
                | code::FLOAT
                | code::DOUBLE
        )
    };
    let numbers = table.columns.iter().zip(types).filter(|(_, wire)| is_number(**wire));
    for (at, (column, _)) in numbers.enumerate() {
        let Some(byte) = bits.get(at / 8) else { break };
        let now = byte >> (7 - at % 8) & 1 == 1;
        if let Some(Kind::Integer { unsigned, .. }) = Kind::of(column)
            && unsigned != now
        {
            let now = if now { "unsigned" } else { "signed" };
            return Err(schema_changed(table, &format!("column {} is {now} now", column.name)));
        }
    }
    Ok(())
}

fn names(mut value: Reader<'_>, table: &Table) -> Result<()> {
    for column in &table.columns {
        let len = value.packed_len()?;
        let name = value.take(len)?;
        if name != column.name.as_bytes() {
            let now = String::from_utf8_lossy(name);
            return Err(schema_changed(table, &format!("column {} is {now} now", column.name)));
        }
    }
    Ok(())
}

/// For each such column the number of its labels, and the labels, in the
/// column's character set.
fn all_labels(mut value: Reader<'_>, table: &Table, of: impl Fn(Kind) -> bool) -> Result<()> {
    for column in &table.columns {
        let Some(kind @ (Kind::Enum(charset) | Kind::Set(charset))) = Kind::of(column) else { continue };
        if !of(kind) {
            continue;
        }
        let mut known = labels(&column.native.name);
        let mut same = true;
        for _ in 0..value.packed()? {
            let len = value.packed_len()?;
            let label = charset.decode(value.take(len)?);
            same &= label.is_some() && known.next() == label;
        }
        if !same || known.next().is_some() {
            return Err(schema_changed(table, &format!("column {} has other labels now", column.name)));
        }
    }
    Ok(())
}
