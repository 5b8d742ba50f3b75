//! One cell as a field of COPY's text format.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2>
//!
//! A cell that a PostgreSQL source sent as text is passed on as it is, only
//! escaped: no decoding, whatever its type.

use bytes::{BufMut as _, BytesMut};
use zdm_core::change::{CellRef, Format, Value};
use zdm_core::{Error, ErrorKind, Result};

use super::encoding::{NAME, TEXT};
use super::text::write_value;

/// Appends a cell as a COPY field, without the tab behind it.
///
/// # Errors
/// `Unsupported` for a cell that the log did not carry: leave its column out
/// of the COPY. `Protocol` for a cell that is not of its type, `Rejected` for
/// a value that has no text.
pub(crate) fn write_copy_cell(cell: CellRef<'_>, out: &mut BytesMut) -> Result<()> {
    match cell.raw() {
        Some((Format::Native(TEXT), text)) if cell.encoding().name() == NAME => {
            copy_escape(text, out);
            Ok(())
        }
        Some(_) => write_copy_value(&cell.value()?, out).map_err(|e| e.with("column", &cell.column().name)),
        None if cell.is_null() => {
            out.put_slice(b"\\N");
            Ok(())
        }
        None => Err(Error::new(ErrorKind::Unsupported, "a cell that the log did not carry cannot be copied")
            .with("column", &cell.column().name)),
    }
}

/// Appends a value as a COPY field.
///
/// # Errors
/// `Rejected` for a value that has no text.
pub(crate) fn write_copy_value(value: &Value<'_>, out: &mut BytesMut) -> Result<()> {
    match value {
        Value::Null => out.put_slice(b"\\N"),
        Value::Text(text) | Value::Json(text) | Value::Native(text) => copy_escape(text.as_bytes(), out),
        Value::Bytes(_) => {
            // Its one special byte is the backslash in front.
            out.put_u8(b'\\');
            write_value(value, out)?;
        }
        Value::Array(_) => {
            let mut text = BytesMut::new();
            write_value(value, &mut text)?;
            copy_escape(&text, out);
        }
        // Numbers, bits, dates and their like hold nothing to escape; a
        // decimal is a stage's own text, so it may.
        Value::Decimal(text) | Value::Bits(text) => copy_escape(text.as_bytes(), out),
        value => write_value(value, out)?,
    }
    Ok(())
}

/// Appends text with what COPY reads as something else escaped.
///
/// Of the bytes below 32 only those are escaped that must be: others are
/// themselves. UTF-8 has no such byte inside a character.
pub(crate) fn copy_escape(mut text: &[u8], out: &mut BytesMut) {
    out.reserve(text.len());
    while let Some(at) = text.iter().position(|byte| ESCAPES[usize::from(*byte)] != 0) {
        out.put_slice(&text[..at]);
        out.put_slice(&[b'\\', ESCAPES[usize::from(text[at])]]);
        text = &text[at + 1..];
    }
    out.put_slice(text);
}

/// For each byte the letter that stands for it behind a backslash, 0 for
/// itself.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    escapes[b'\\' as usize] = b'\\';
    escapes[b'\t' as usize] = b't';
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[0x08] = b'b';
    escapes[0x0c] = b'f';
    escapes[0x0b] = b'v';
    escapes
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use zdm_core::Engine;
    use zdm_core::change::{Assembler, Cell, Op};
    use zdm_core::schema::{Column, DataType, Key, Table, TableName};

    use super::*;
    use crate::types::ENCODING;

    #[test]
    fn text_of_postgresql_passes_undecoded_and_escaped() {
        let column = Column::new("c", DataType::text()).native("text", 25);
        let columns = vec![column.clone(), column.clone(), column];
        let engine = Engine::new("postgresql");
        let table = Arc::new(Table::new(engine, TableName::new("a", "b"), columns, Key::FullRow));
        let text = b"\\N\t\n\r\x08\x0b\x0c\xc3\xa9\\.\xff";
        let len = u32::try_from(text.len()).unwrap();
        let mut assembler = Assembler::new();
        assembler.row(&table, Op::Insert, false);
        // Not UTF-8: were it decoded, it would fail.
        assembler.cell(Cell::Value { offset: 0, len, format: Format::Native(TEXT) });
        assembler.cell(Cell::Null);
        assembler.value(&Value::Bytes((&[1][..]).into())).unwrap();
        assembler.end_image().unwrap();
        let batch = assembler.finish(Bytes::from_static(text), ENCODING.clone(), None).unwrap();
        let row = batch.rows().next().unwrap().after().unwrap();
        let mut out = BytesMut::new();
        for cell in row.cells() {
            write_copy_cell(cell, &mut out).unwrap();
            out.put_u8(b'|');
        }
        assert_eq!(&out[..], b"\\\\N\\t\\n\\r\\b\\v\\f\xc3\xa9\\\\.\xff|\\N|\\\\x01|");
    }
}
