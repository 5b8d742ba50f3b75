//! The core's own encoding of a value: one tag byte, then the payload in
//! little-endian order. Self-describing, so that no schema is needed to read
//! a computed cell.

use std::borrow::Cow;

use bytes::BufMut;

use super::{Array, Date, DateTime, Interval, Time, Value};
use crate::{Error, ErrorKind, Result};

/// How deep arrays may nest before the bytes are refused.
const DEPTH: u8 = 8;

/// Appends a value.
pub fn encode(value: &Value<'_>, out: &mut impl BufMut) {
    match value {
        Value::Null => out.put_u8(0),
        Value::Bool(v) => {
            out.put_u8(1);
            out.put_u8(u8::from(*v));
        }
        Value::Int(v) => {
            out.put_u8(2);
            out.put_i64_le(*v);
        }
        Value::UInt(v) => {
            out.put_u8(3);
            out.put_u64_le(*v);
        }
        Value::Float32(v) => {
            out.put_u8(4);
            out.put_f32_le(*v);
        }
        Value::Float64(v) => {
            out.put_u8(5);
            out.put_f64_le(*v);
        }
        Value::Decimal(v) => tail(out, 6, v.as_bytes()),
        Value::Text(v) => tail(out, 7, v.as_bytes()),
        Value::Bytes(v) => tail(out, 8, v),
        Value::Date(v) => {
            out.put_u8(9);
            out.put_i32_le(v.days());
        }
        Value::Time(v) => {
            out.put_u8(if v.offset.is_some() { 11 } else { 10 });
            out.put_i64_le(v.nanos);
            if let Some(offset) = v.offset {
                out.put_i32_le(offset);
            }
        }
        Value::DateTime(v) => moment(out, 12, *v),
        Value::Moment(v) => moment(out, 13, *v),
        Value::Interval(v) => {
            out.put_u8(14);
            out.put_i32_le(v.months);
            out.put_i32_le(v.days);
            out.put_i128_le(v.nanos);
        }
        Value::Uuid(v) => tail(out, 15, v),
        Value::Json(v) => tail(out, 16, v.as_bytes()),
        Value::Bits(v) => tail(out, 17, v.as_bytes()),
        Value::Native(v) => tail(out, 18, v.as_bytes()),
        Value::Array(v) => array(out, v),
    }
}

fn tail(out: &mut impl BufMut, tag: u8, bytes: &[u8]) {
    out.put_u8(tag);
    out.put_slice(bytes);
}

fn moment(out: &mut impl BufMut, tag: u8, v: DateTime) {
    out.put_u8(tag);
    out.put_i64_le(v.seconds);
    out.put_u32_le(v.nanos);
}

fn array(out: &mut impl BufMut, v: &Array<'_>) {
    out.put_u8(19);
    put_len(out, v.dimensions.len());
    for (len, lower) in &v.dimensions {
        out.put_u32_le(*len);
        out.put_i32_le(*lower);
    }
    put_len(out, v.elements.len());
    let mut element = Vec::new();
    for value in &v.elements {
        element.clear();
        encode(value, &mut element);
        put_len(out, element.len());
        out.put_slice(&element);
    }
}

/// Lengths inside a cell are 32 bits, as the cell's own is.
fn put_len(out: &mut impl BufMut, len: usize) {
    out.put_u32_le(u32::try_from(len).expect("a cell is under 4 GiB, so each of its parts is"));
}

/// Reads a value that [`encode`] wrote, borrowing text and octets.
///
/// # Errors
/// `Protocol` for bytes that `encode` does not write.
pub fn decode(bytes: &[u8]) -> Result<Value<'_>> {
    decode_at(bytes, 0)
}

fn decode_at(bytes: &[u8], depth: u8) -> Result<Value<'_>> {
    let (tag, mut rest) = bytes.split_first().ok_or_else(broken)?;
    let rest = &mut rest;
    let value = match tag {
        0 => Value::Null,
        1 => match take::<1>(rest)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return Err(broken()),
        },
        2 => Value::Int(i64::from_le_bytes(take(rest)?)),
        3 => Value::UInt(u64::from_le_bytes(take(rest)?)),
        4 => Value::Float32(f32::from_le_bytes(take(rest)?)),
        5 => Value::Float64(f64::from_le_bytes(take(rest)?)),
        6 => Value::Decimal(text(rest)?),
        7 => Value::Text(text(rest)?),
        8 => Value::Bytes(Cow::Borrowed(std::mem::take(rest))),
        9 => Value::Date(Date::from_days(i32::from_le_bytes(take(rest)?))),
        10 => Value::Time(Time { nanos: i64::from_le_bytes(take(rest)?), offset: None }),
        11 => Value::Time(Time {
            nanos: i64::from_le_bytes(take(rest)?),
            offset: Some(i32::from_le_bytes(take(rest)?)),
        }),
        12 => Value::DateTime(take_moment(rest)?),
        13 => Value::Moment(take_moment(rest)?),
        14 => Value::Interval(Interval {
            months: i32::from_le_bytes(take(rest)?),
            days: i32::from_le_bytes(take(rest)?),
            nanos: i128::from_le_bytes(take(rest)?),
        }),
        15 => Value::Uuid(take(rest)?),
        16 => Value::Json(text(rest)?),
        17 => Value::Bits(text(rest)?),
        18 => Value::Native(text(rest)?),
        19 if depth < DEPTH => take_array(rest, depth)?,
        _ => return Err(broken()),
    };
    if rest.is_empty() { Ok(value) } else { Err(broken()) }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or_else(broken)?;
    *bytes = rest;
    Ok(*head)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Result<Cow<'a, str>> {
    std::str::from_utf8(std::mem::take(bytes)).map(Cow::Borrowed).map_err(|_| broken())
}

fn take_moment(bytes: &mut &[u8]) -> Result<DateTime> {
    Ok(DateTime { seconds: i64::from_le_bytes(take(bytes)?), nanos: u32::from_le_bytes(take(bytes)?) })
}

fn take_len(bytes: &mut &[u8]) -> Result<usize> {
    usize::try_from(u32::from_le_bytes(take(bytes)?)).map_err(|_| broken())
}

fn take_array<'a>(bytes: &mut &'a [u8], depth: u8) -> Result<Value<'a>> {
    let mut dimensions = Vec::new();
    for _ in 0..take_len(bytes)? {
        dimensions.push((u32::from_le_bytes(take(bytes)?), i32::from_le_bytes(take(bytes)?)));
    }
    let mut elements = Vec::new();
    for _ in 0..take_len(bytes)? {
        let len = take_len(bytes)?;
        let element = bytes.get(..len).ok_or_else(broken)?;
        *bytes = &bytes[len..];
        elements.push(decode_at(element, depth + 1)?);
    }
    Ok(Value::Array(Box::new(Array { dimensions, elements })))
}

fn broken() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "a computed cell is not in the core's encoding: this is a bug, please report it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scalar() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::UInt),
            any::<f32>().prop_map(Value::Float32),
            any::<f64>().prop_map(Value::Float64),
            ".*".prop_map(|s| Value::Decimal(s.into())),
            ".*".prop_map(Value::from),
            any::<Vec<u8>>().prop_map(|b| Value::Bytes(b.into())),
            any::<i32>().prop_map(|d| Value::Date(Date::from_days(d))),
            (any::<i64>(), any::<Option<i32>>())
                .prop_map(|(nanos, offset)| Value::Time(Time { nanos, offset })),
            (any::<i64>(), any::<u32>()).prop_map(|(s, nanos)| Value::Moment(DateTime { seconds: s, nanos })),
            (any::<i64>(), any::<u32>())
                .prop_map(|(s, nanos)| Value::DateTime(DateTime { seconds: s, nanos })),
            (any::<i32>(), any::<i32>(), any::<i128>())
                .prop_map(|(months, days, nanos)| Value::Interval(Interval { months, days, nanos })),
            any::<[u8; 16]>().prop_map(Value::Uuid),
            ".*".prop_map(|s| Value::Json(s.into())),
            "[01]*".prop_map(|s| Value::Bits(s.into())),
            ".*".prop_map(|s| Value::Native(s.into())),
        ]
    }

    fn value() -> impl Strategy<Value = Value<'static>> {
        scalar().prop_recursive(2, 16, 4, |inner| {
            (any::<Vec<(u32, i32)>>(), prop::collection::vec(inner, 0..4))
                .prop_map(|(dimensions, elements)| Value::Array(Box::new(Array { dimensions, elements })))
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value in value()) {
            let mut bytes = Vec::new();
            encode(&value, &mut bytes);
            prop_assert_eq!(decode(&bytes).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }
}
