//! What a value is for this engine, before it is quoted or escaped: a number,
//! octets, or text.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut as _, BytesMut};
use zdm_core::change::{Array, Date, DateTime, Time, Value};
use zdm_core::schema::Column;
use zdm_core::{Error, ErrorKind, Result};

use super::native::Kind;

/// The octets of a value that is written as such; `None` if it is text.
pub(super) fn octets<'a>(value: &'a Value<'_>, kind: Option<Kind>) -> Option<Cow<'a, [u8]>> {
    let binary = matches!(kind, Some(Kind::Binary(_) | Kind::Varbinary | Kind::Blob(_)));
    match value {
        Value::Bytes(octets) => Some(Cow::Borrowed(octets)),
        Value::Uuid(octets) if binary => Some(Cow::Borrowed(octets)),
        Value::Array(array) if kind == Some(Kind::Vector) => vector(array).map(Cow::Owned),
        _ => None,
    }
}

/// Each element in four bytes.
fn vector(array: &Array<'_>) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(array.elements.len() * 4);
    for element in &array.elements {
        let Value::Float32(number) = element else { return None };
        octets.extend_from_slice(&number.to_le_bytes());
    }
    Some(octets)
}

/// The text of a value, as this engine reads it.
///
/// # Errors
/// `Rejected` for what it cannot hold.
pub(super) fn text<'a>(value: &'a Value<'_>, column: &Column) -> Result<Cow<'a, str>> {
    let is_decimal = matches!(Kind::of(column), Some(Kind::Decimal { .. }));
    Ok(match value {
        Value::Text(text) | Value::Json(text) | Value::Native(text) | Value::Bits(text) => {
            Cow::Borrowed(text)
        }
        Value::Decimal(_) if is_decimal => return Err(unfit(column, "it is no number that ends")),
        Value::Decimal(text) => Cow::Borrowed(text),
        Value::Date(date) => {
            calendar(*date, column)?;
            Cow::Owned(date.to_string())
        }
        Value::DateTime(at) | Value::Moment(at) => Cow::Owned(date_time(*at, column)?),
        Value::Time(time) => Cow::Owned(clock(*time, column)?),
        Value::Interval(_) | Value::Uuid(_) => Cow::Owned(value.to_string()),
        Value::Array(_) => return Err(unfit(column, "it is an array: map the column to json")),
        _ => return Err(unfit(column, "it is of a kind that this engine does not have")),
    })
}

/// Bits as `0` and `1`, and nothing else.
pub(super) fn bits<'a>(bits: &'a str, column: &Column) -> Result<&'a str> {
    let are_bits = bits.bytes().all(|bit| matches!(bit, b'0' | b'1'));
    if are_bits { Ok(bits) } else { Err(unfit(column, "it is not made of bits")) }
}

/// Whether that is digits with at most one sign in front and one point.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Appends a float with the digits that read back as the same double. A float
/// of 32 bits is written as the double that it is, so that the server rounds
/// it but once.
///
/// # Errors
/// `Rejected` for what is no number, or without end.
pub(super) fn float(number: f64, column: &Column, out: &mut BytesMut) -> Result<()> {
    if !number.is_finite() {
        return Err(unfit(column, "it is not a finite number"));
    }
    write(out, format_args!("{number:e}"));
    Ok(())
}

/// Appends octets as hexadecimal digits.
pub(super) fn hex(octets: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(octets.len() * 2);
    for octet in octets {
        // OK because a nibble is below 16.
        out.put_u8(DIGITS[usize::from(octet >> 4)]);
        out.put_u8(DIGITS[usize::from(octet & 15)]);
    }
}

/// Appends what is formatted.
pub(super) fn write(out: &mut BytesMut, text: fmt::Arguments<'_>) {
    // OK because a buffer grows as it must.
    let _ = fmt::Write::write_fmt(out, text);
}

/// A value that a column of this engine cannot hold.
pub(super) fn unfit(column: &Column, why: &str) -> Error {
    Error::new(
        ErrorKind::Rejected,
        format!("a value cannot be written to this column ({why}): correct the row, or map the column to another type"),
    )
    .with("column", &column.name)
    .with("type", &column.native.name)
}

fn calendar(date: Date, column: &Column) -> Result<()> {
    let year = if date.is_finite() { date.ymd().0 } else { i32::MAX };
    if (1..=9999).contains(&year) {
        return Ok(());
    }
    Err(unfit(column, "it lies before the year 1 or after the year 9999"))
}

fn date_time(at: DateTime, column: &Column) -> Result<String> {
    let date = at.split().map_or(Date::INFINITY, |(date, _)| date);
    calendar(date, column)?;
    micros(at.nanos.into(), column)?;
    Ok(at.to_string())
}

fn clock(time: Time, column: &Column) -> Result<String> {
    /// 838:59:59.999999
    const LONGEST: u64 = 3_020_399_999_999_000;
    micros(time.nanos.unsigned_abs(), column)?;
    if time.nanos.unsigned_abs() > LONGEST {
        return Err(unfit(column, "it lies beyond 838 hours"));
    }
    Ok(time.to_string())
}

/// The server would round what is finer.
fn micros(nanos: u64, column: &Column) -> Result<()> {
    if nanos.is_multiple_of(1_000) { Ok(()) } else { Err(unfit(column, "it is finer than a microsecond")) }
}
