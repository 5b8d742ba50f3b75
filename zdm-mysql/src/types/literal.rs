//! Any value as SQL that puts it into a column, to the bit.
//!
//! The session must speak `utf8mb4`, have `time_zone = '+00:00'`, and no
//! `NO_BACKSLASH_ESCAPES` in its `sql_mode`. A day of no calendar
//! ([`Value::Native`]) needs a mode that takes it: no `NO_ZERO_DATE`, no
//! `NO_ZERO_IN_DATE`, and `ALLOW_INVALID_DATES` where days such as 31 February
//! are to be kept.

use bytes::{BufMut as _, BytesMut};
use zdm_core::change::{CellRef, Value};
use zdm_core::schema::Column;
use zdm_core::{Error, ErrorKind, Result};

use super::native::Kind;
use super::plain;

/// Appends the literal of a cell for a column of the target.
///
/// # Errors
/// `Unsupported` for a cell that the log did not carry: leave its column out
/// of the statement. `Protocol` for a cell that is not of its type,
/// `Rejected` for a value that this engine cannot hold.
pub(crate) fn write_literal(cell: CellRef<'_>, column: &Column, out: &mut BytesMut) -> Result<()> {
    if cell.is_unchanged() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a cell that the log did not carry cannot be written",
        )
        .with("column", &column.name));
    }
    write_value(&cell.value()?, column, out)
}

/// Appends the literal of a value for a column of the target.
///
/// # Errors
/// `Rejected` for a value that this engine cannot hold.
pub(crate) fn write_value(value: &Value<'_>, column: &Column, out: &mut BytesMut) -> Result<()> {
    let kind = Kind::of(column);
    match (value, kind) {
        (Value::Null, _) => out.put_slice(b"NULL"),
        (Value::Bool(yes), _) => out.put_u8(if *yes { b'1' } else { b'0' }),
        (Value::Int(number), _) => plain::write(out, format_args!("{number}")),
        (Value::UInt(number), _) => plain::write(out, format_args!("{number}")),
        (Value::Float32(number), _) => plain::float(f64::from(*number), column, out)?,
        (Value::Float64(number), _) => plain::float(*number, column, out)?,
        // A decimal is a stage's own text, so it may be anything.
        (
            Value::Decimal(text),
            Some(Kind::Decimal { .. } | Kind::Integer { .. } | Kind::Float | Kind::Double),
        ) if plain::is_number(text) => {
            out.put_slice(text.as_bytes());
        }
        (Value::Bits(bits), Some(Kind::Bit { .. })) => {
            out.put_slice(b"b'");
            out.put_slice(plain::bits(bits, column)?.as_bytes());
            out.put_u8(b'\'');
        }
        (value, _) => match plain::octets(value, kind) {
            Some(octets) => write_hex(&octets, out),
            None => write_quoted(&plain::text(value, column)?, out),
        },
    }
    Ok(())
}

/// Appends text in quotes, for a literal.
pub(crate) fn write_quoted(text: &str, out: &mut BytesMut) {
    out.reserve(text.len() + 2);
    out.put_u8(b'\'');
    let mut text = text.as_bytes();
    while let Some(at) = text.iter().position(|byte| ESCAPES[usize::from(*byte)] != 0) {
        out.put_slice(&text[..at]);
        // OK to index because a byte was found there.
        out.put_slice(&[b'\\', ESCAPES[usize::from(text[at])]]);
        text = &text[at + 1..];
    }
    out.put_slice(text);
    out.put_u8(b'\'');
}

/// For each byte the letter that stands for it behind a backslash, 0 for
/// itself. Of the bytes of a character beyond ASCII none is here.
///
/// <https://dev.mysql.com/doc/refman/en/string-literals.html>
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    escapes[0] = b'0';
    escapes[b'\'' as usize] = b'\'';
    escapes[b'\\' as usize] = b'\\';
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[0x1a] = b'Z';
    escapes
};

fn write_hex(octets: &[u8], out: &mut BytesMut) {
    out.put_slice(b"x'");
    plain::hex(octets, out);
    out.put_u8(b'\'');
}

#[cfg(test)]
mod tests {
    use zdm_core::change::{Array, Date, DateTime, Time};
    use zdm_core::schema::DataType;

    use super::*;
    use crate::types::column_type;

    fn literal(value: &Value<'_>, native: &str) -> Result<String> {
        let charset = native.starts_with("varchar").then_some("utf8mb4");
        let (native, _) = column_type(native, charset)?;
        let column = Column::new("c", DataType::Native).native(native.name, native.id);
        let mut out = BytesMut::new();
        write_value(value, &column, &mut out)?;
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn values_are_written_as_the_server_reads_them() {
        let vector = Value::Array(Box::new(Array {
            dimensions: vec![(2, 1)],
            elements: vec![Value::Float32(1.0), Value::Float32(-2.5)],
        }));
        for (value, native, expected) in [
            (Value::Null, "int", "NULL"),
            (Value::UInt(u64::MAX), "bigint unsigned", "18446744073709551615"),
            (Value::Float32(0.1), "float", "1.0000000149011612e-1"),
            (Value::Float64(-0.0), "double", "-0e0"),
            (Value::Decimal("-1.50".into()), "decimal(10,2)", "-1.50"),
            (Value::Decimal("1.50".into()), "varchar(9)", "'1.50'"),
            (Value::from("a'b\\c\0\n\r\u{1a}\té"), "varchar(9)", "'a\\'b\\\\c\\0\\n\\r\\Z\té'"),
            (Value::Bytes((&[0, 255][..]).into()), "blob", "x'00ff'"),
            (Value::Bytes((&[][..]).into()), "blob", "x''"),
            (Value::Bits("0101".into()), "bit(4)", "b'0101'"),
            (Value::Bits("0101".into()), "varchar(9)", "'0101'"),
            (Value::Date(Date::from_ymd(2024, 2, 29).unwrap()), "date", "'2024-02-29'"),
            (Value::Native("0000-00-00".into()), "date", "'0000-00-00'"),
            (
                Value::Moment(DateTime { seconds: 1, nanos: 5_000 }),
                "timestamp(6)",
                "'1970-01-01 00:00:01.000005'",
            ),
            (Value::Time(Time { nanos: -3_020_399_000_000_000, offset: None }), "time", "'-838:59:59'"),
            (Value::Uuid([0x11; 16]), "varchar(36)", "'11111111-1111-1111-1111-111111111111'"),
            (Value::Uuid([0x11; 16]), "binary(16)", "x'11111111111111111111111111111111'"),
            (vector, "vector(2)", "x'0000803f000020c0'"),
        ] {
            assert_eq!(literal(&value, native).unwrap(), expected, "{native}");
        }
    }

    #[test]
    fn what_the_engine_cannot_hold_is_refused() {
        let lists = Value::Array(Box::new(Array { dimensions: vec![], elements: vec![] }));
        for (value, native) in [
            (Value::Float64(f64::NAN), "double"),
            (Value::Decimal("NaN".into()), "decimal(10,2)"),
            (Value::Decimal("1; DROP TABLE t".into()), "decimal(10,2)"),
            (Value::Date(Date::INFINITY), "date"),
            (Value::Date(Date::from_ymd(10_000, 1, 1).unwrap()), "date"),
            (Value::DateTime(DateTime { seconds: 0, nanos: 1 }), "datetime(6)"),
            (Value::Time(Time { nanos: 3_020_400_000_000_000, offset: None }), "time"),
            (Value::Bits("01'".into()), "bit(4)"),
            (lists, "varchar(9)"),
        ] {
            assert_eq!(literal(&value, native).unwrap_err().kind(), ErrorKind::Rejected, "{value}");
        }
    }
}
