//! Any value as a field of `LOAD DATA`, for
//! `CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES
//! TERMINATED BY '\n'`. The session is as for a [literal](super::literal).
//!
//! A field is text. What text does not say to a column goes by a variable and
//! an expression: octets as hexadecimal digits (others would have to be
//! characters), bits as a number.
//!
//! <https://dev.mysql.com/doc/refman/en/load-data.html>

use bytes::{BufMut as _, BytesMut};
use zdm_core::change::{CellRef, Value};
use zdm_core::schema::Column;
use zdm_core::{Error, ErrorKind, Result};

use super::native::Kind;
use super::plain;

/// The expression by which a column is set from the variable that its field
/// was read into; `None` where the field is read into the column itself.
pub(crate) fn load_expression(column: &Column, variable: &str) -> Option<String> {
    let kind = Kind::of(column)?;
    if is_octets(kind) {
        return Some(format!("UNHEX({variable})"));
    }
    match kind {
        Kind::Bit { .. } => Some(format!("CAST({variable} AS UNSIGNED)")),
        // Into the column itself, a 0 would become the next number wherever
        // the table has a trigger or the statement a SET: MariaDB forgets
        // there that it was given (`NO_AUTO_VALUE_ON_ZERO`).
        _ if column.identity.is_some() => Some(variable.to_owned()),
        _ => None,
    }
}

fn is_octets(kind: Kind) -> bool {
    matches!(kind, Kind::Binary(_) | Kind::Varbinary | Kind::Blob(_) | Kind::Geometry | Kind::Vector)
}

/// Appends the field of a cell for a column of the target, without the tab
/// behind it.
///
/// # Errors
/// As [`write_literal`](super::write_literal).
pub(crate) fn write_field(cell: CellRef<'_>, column: &Column, out: &mut BytesMut) -> Result<()> {
    if cell.is_unchanged() {
        return Err(Error::new(ErrorKind::Unsupported, "a cell that the log did not carry cannot be loaded")
            .with("column", &column.name));
    }
    write_value(&cell.value()?, column, out)
}

fn write_value(value: &Value<'_>, column: &Column, out: &mut BytesMut) -> Result<()> {
    let kind = Kind::of(column);
    match (value, kind) {
        (Value::Null, _) => out.put_slice(b"\\N"),
        (Value::Bool(yes), _) => out.put_u8(if *yes { b'1' } else { b'0' }),
        // As text, 0 and 1 to 99 would be years of this century or the last.
        (Value::Int(year), Some(Kind::Year)) => plain::write(out, format_args!("{year:04}")),
        (Value::Int(number), _) => plain::write(out, format_args!("{number}")),
        (Value::UInt(number), _) => plain::write(out, format_args!("{number}")),
        (Value::Float32(number), _) => plain::float(f64::from(*number), column, out)?,
        (Value::Float64(number), _) => plain::float(*number, column, out)?,
        (Value::Decimal(text), Some(Kind::Decimal { .. })) if plain::is_number(text) => {
            out.put_slice(text.as_bytes());
        }
        (Value::Bits(bits), Some(Kind::Bit { .. })) => {
            let number = u64::from_str_radix(plain::bits(bits, column)?, 2);
            let number = number.map_err(|_| plain::unfit(column, "it is not made of 1 to 64 bits"))?;
            plain::write(out, format_args!("{number}"));
        }
        (value, kind) => match plain::octets(value, kind) {
            Some(octets) => plain::hex(&octets, out),
            // Text for a column of octets: its own ones.
            None if kind.is_some_and(is_octets) => {
                plain::hex(plain::text(value, column)?.as_bytes(), out);
            }
            None => escape(plain::text(value, column)?.as_bytes(), out),
        },
    }
    Ok(())
}

fn escape(mut text: &[u8], out: &mut BytesMut) {
    out.reserve(text.len());
    while let Some(at) = text.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | 0)) {
        out.put_slice(&text[..at]);
        // OK to index because a byte was found there.
        out.put_slice(match text[at] {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            0 => b"\\0",
            _ => b"\\\\",
        });
        text = &text[at + 1..];
    }
    out.put_slice(text);
}

#[cfg(test)]
mod tests {
    use zdm_core::schema::DataType;

    use super::*;
    use crate::types::column_type;

    #[test]
    fn fields_as_the_server_reads_them() {
        for (value, native, field, expression) in [
            (Value::Null, "int", "\\N", None),
            (Value::Int(0), "year", "0000", None),
            (Value::from("\\N\t\n\0é\r"), "varchar(9)", "\\\\N\\t\\n\\0é\r", None),
            (Value::Bytes((&[0, 255][..]).into()), "blob", "00ff", Some("UNHEX(@a)")),
            (Value::from("ab"), "blob", "6162", Some("UNHEX(@a)")),
            (Value::Bits("101".into()), "bit(3)", "5", Some("CAST(@a AS UNSIGNED)")),
            (Value::Float64(1e300), "double", "1e300", None),
        ] {
            let charset = native.starts_with("varchar").then_some("utf8mb4");
            let (native, _) = column_type(native, charset).unwrap();
            let column = Column::new("c", DataType::Native).native(native.name, native.id);
            let mut out = BytesMut::new();
            write_value(&value, &column, &mut out).unwrap();
            assert_eq!(&out[..], field.as_bytes());
            assert_eq!(load_expression(&column, "@a").as_deref(), expression);
        }
    }
}
