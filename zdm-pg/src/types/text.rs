//! Any value as text that an input function of PostgreSQL reads: for values
//! that a stage computed or another engine's source decoded.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};
use zdm_core::change::{Date, DateTime, Value};
use zdm_core::{Error, ErrorKind, Result};

use super::array::write_array;
use super::{calendar, interval};

/// Appends the text of a value; nothing for a null, which the caller writes
/// as its statement wants it.
///
/// # Errors
/// `Rejected` for a value that has no text: a moment beyond every calendar,
/// an array whose dimensions do not fit its elements.
pub(crate) fn write_value(value: &Value<'_>, out: &mut BytesMut) -> Result<()> {
    match value {
        Value::Null => {}
        Value::Bool(true) => out.put_u8(b't'),
        Value::Bool(false) => out.put_u8(b'f'),
        Value::Decimal(text)
        | Value::Text(text)
        | Value::Json(text)
        | Value::Bits(text)
        | Value::Native(text) => out.put_slice(text.as_bytes()),
        Value::Bytes(octets) => write_octets(octets, out),
        Value::Array(array) => write_array(array, out)?,
        // The one in-memory formatter of the rest writes strings.
        value => {
            let mut text = String::new();
            write_short(value, &mut text)?;
            out.put_slice(text.as_bytes());
        }
    }
    Ok(())
}

fn write_short(value: &Value<'_>, out: &mut String) -> Result<()> {
    match value {
        Value::Float32(number) => write_float(f64::from(*number), &format!("{number:?}"), out),
        Value::Float64(number) => write_float(*number, &format!("{number:?}"), out),
        Value::DateTime(at) => calendar::write_timestamp(*at, false, out).ok_or_else(|| beyond(*at))?,
        Value::Moment(at) => calendar::write_timestamp(*at, true, out).ok_or_else(|| beyond(*at))?,
        Value::Interval(span) => interval::write_interval(*span, out),
        // The core shows days, times, whole numbers and uuids as PostgreSQL
        // reads them.
        value => {
            // OK because writing to a string cannot fail.
            let _ = write!(out, "{value}");
        }
    }
    Ok(())
}

/// `shown` is the shortest decimal that reads back as the same number.
fn write_float(number: f64, shown: &str, out: &mut String) {
    out.push_str(match number {
        _ if number.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => shown.strip_suffix(".0").unwrap_or(shown),
    });
}

fn write_octets(octets: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(octets.len() * 2 + 2);
    out.put_slice(b"\\x");
    for octet in octets {
        // OK because a nibble is below 16.
        out.put_u8(DIGITS[usize::from(octet >> 4)]);
        out.put_u8(DIGITS[usize::from(octet & 15)]);
    }
}

fn beyond(at: DateTime) -> Error {
    Error::new(
        ErrorKind::Rejected,
        "a moment lies beyond the calendar: correct the row, or map the column to what the target can hold",
    )
    .with("moment", at)
    .with("last day", Date::from_days(i32::MAX - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zdm_core::change::Time;

    fn text(value: &Value<'_>) -> String {
        let mut out = BytesMut::new();
        write_value(value, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn values_are_written_as_postgresql_reads_them() {
        for (value, expected) in [
            (Value::Bool(true), "t"),
            (Value::UInt(u64::MAX), "18446744073709551615"),
            (Value::Float64(1.0), "1"),
            (Value::Float64(-0.0), "-0"),
            (Value::Float64(1e300), "1e300"),
            (Value::Float32(0.1), "0.1"),
            (Value::Float32(f32::NEG_INFINITY), "-Infinity"),
            (Value::Bytes((&[0, 255][..]).into()), "\\x00ff"),
            (Value::Date(Date::from_ymd(-43, 3, 15).unwrap()), "0044-03-15 BC"),
            (Value::Time(Time { nanos: 1, offset: Some(-12_600) }), "00:00:00.000000001-03:30"),
            (Value::Moment(DateTime { seconds: 0, nanos: 0 }), "1970-01-01 00:00:00+00"),
            (Value::DateTime(DateTime::NEG_INFINITY), "-infinity"),
            (Value::Uuid([0x11; 16]), "11111111-1111-1111-1111-111111111111"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn what_has_no_text_is_refused() {
        let beyond = Value::Moment(DateTime { seconds: i64::MAX - 1, nanos: 0 });
        let error = write_value(&beyond, &mut BytesMut::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
    }
}
