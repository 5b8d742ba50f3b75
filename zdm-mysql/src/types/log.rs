//! One cell as the log carries it -> its value.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Table__map__event.html>
//! tells the form of each type.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use zdm_core::change::{Array, Value};
use zdm_core::schema::Column;

use super::labels::labels;
use super::native::Kind;
use super::{decimal, json, temporal};

/// The value; `None` if the bytes are none of that kind.
pub(super) fn value<'a>(kind: Kind, column: &Column, bytes: &'a [u8]) -> Option<Value<'a>> {
    Some(match kind {
        Kind::Integer { bytes: len, unsigned } if bytes.len() == usize::from(len) => {
            integer(bytes, unsigned)?
        }
        Kind::Integer { .. } => return None,
        Kind::Float => Value::Float32(f32::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Double => Value::Float64(f64::from_le_bytes(bytes.try_into().ok()?)),
        Kind::Decimal { precision, scale } => Value::Decimal(decimal::text(bytes, precision, scale)?.into()),
        Kind::Bit { bits } => Value::Bits(bit_text(bytes, bits)?.into()),
        Kind::Year => temporal::year(bytes)?,
        Kind::Date => temporal::date(bytes)?,
        Kind::Time(digits) => temporal::time(bytes, digits)?,
        Kind::DateTime(digits) => temporal::date_time(bytes, digits)?,
        Kind::Timestamp(digits) => temporal::timestamp(bytes, digits)?,
        Kind::Char(charset) | Kind::Varchar(charset) | Kind::Text(charset, _) => {
            Value::Text(charset.decode(bytes)?)
        }
        Kind::Binary(length) => Value::Bytes(padded(bytes, length)?),
        Kind::Varbinary | Kind::Blob(_) | Kind::Geometry => Value::Bytes(bytes.into()),
        Kind::Enum(_) => Value::Text(enum_label(column, number(bytes)?)?),
        Kind::Set(_) => Value::Text(set_labels(column, number(bytes)?)?),
        Kind::Json => Value::Json(json::text(bytes)?.into()),
        Kind::Vector => vector(bytes)?,
        Kind::Uuid => Value::Uuid(<[u8; 16]>::try_from(&*padded(bytes, 16)?).ok()?),
        Kind::Inet4 => {
            Value::Native(Ipv4Addr::from(<[u8; 4]>::try_from(&*padded(bytes, 4)?).ok()?).to_string().into())
        }
        Kind::Inet6 => {
            Value::Native(inet6(Ipv6Addr::from(<[u8; 16]>::try_from(&*padded(bytes, 16)?).ok()?)).into())
        }
    })
}

/// The value of a day or time in the form before MySQL 5.6.
pub(super) fn old_value(kind: Kind, bytes: &[u8]) -> Option<Value<'static>> {
    match kind {
        Kind::Time(0) => temporal::old_time(bytes),
        Kind::DateTime(0) => temporal::old_date_time(bytes),
        Kind::Timestamp(0) => temporal::old_timestamp(bytes),
        _ => None,
    }
}

/// A whole number in little-endian order, of 1 to 8 bytes.
fn integer(bytes: &[u8], unsigned: bool) -> Option<Value<'static>> {
    let number = number(bytes)?;
    if unsigned {
        return Some(Value::UInt(number));
    }
    // OK because `number` has seen that there are 1 to 8 bytes.
    let spare = 64 - u32::try_from(bytes.len()).ok()? * 8;
    Some(Value::Int((number << spare).cast_signed() >> spare))
}

fn number(bytes: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    (!bytes.is_empty()).then(|| u64::from_le_bytes(wide))
}

/// Bits in big-endian order, the first byte holding the odd ones.
pub(super) fn bit_text(bytes: &[u8], bits: u8) -> Option<String> {
    if bytes.len() != usize::from(bits).div_ceil(8) || bits > 64 {
        return None;
    }
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let text = format!("{number:0width$b}", width = usize::from(bits));
    (text.len() == usize::from(bits)).then_some(text)
}

/// The log leaves out trailing zero bytes of a column of fixed length.
fn padded(bytes: &[u8], length: u8) -> Option<Cow<'_, [u8]>> {
    let length = usize::from(length);
    match bytes.len() {
        len if len == length => Some(Cow::Borrowed(bytes)),
        len if len < length => {
            let mut padded = bytes.to_vec();
            padded.resize(length, 0);
            Some(Cow::Owned(padded))
        }
        _ => None,
    }
}

/// Number 0 is what the server puts for a label that it refused.
fn enum_label(column: &Column, number: u64) -> Option<Cow<'static, str>> {
    let Some(index) = number.checked_sub(1) else { return Some(Cow::Borrowed("")) };
    let label = labels(&column.native.name).nth(usize::try_from(index).ok()?)?;
    Some(Cow::Owned(label.into_owned()))
}

fn set_labels(column: &Column, mut number: u64) -> Option<Cow<'static, str>> {
    let mut text = String::new();
    for label in labels(&column.native.name).take(64) {
        if number & 1 == 1 {
            text.push_str(if text.is_empty() { "" } else { "," });
            text.push_str(&label);
        }
        number >>= 1;
    }
    (number == 0).then_some(Cow::Owned(text))
}

/// As the server shows it: the first longest run of zeros is left out, be it a
/// single one, and what is an address of IPv4 in the last 32 bits is shown as
/// such. <https://mariadb.com/kb/en/inet6/>
fn inet6(address: Ipv6Addr) -> String {
    let words = address.segments();
    let run = |from: usize| words[from..].iter().take_while(|word| **word == 0).count();
    let (gap, length) =
        (0..8).map(|from| (from, run(from))).rev().max_by_key(|(_, length)| *length).unwrap_or_default();
    let is_old = gap == 0 && (length == 6 || (length == 5 && words[5] == 0xffff));
    let mut text = String::new();
    for (at, word) in words.iter().enumerate().take(if is_old { 6 } else { 8 }) {
        match length {
            1.. if at == gap => text.push_str(if at == 0 { "::" } else { ":" }),
            1.. if (gap..gap + length).contains(&at) => {}
            _ => {
                // OK because writing to a string cannot fail.
                let _ = write!(text, "{word:x}{}", if at == 7 { "" } else { ":" });
            }
        }
    }
    if is_old {
        let [.., a, b, c, d] = address.octets();
        let _ = write!(text, "{}", Ipv4Addr::new(a, b, c, d));
    }
    text
}

/// Four bytes for each element.
pub(super) fn vector(bytes: &[u8]) -> Option<Value<'static>> {
    let (elements, rest) = bytes.as_chunks::<4>();
    let len = u32::try_from(elements.len()).ok().filter(|_| rest.is_empty())?;
    let elements = elements.iter().map(|bytes| Value::Float32(f32::from_le_bytes(*bytes))).collect();
    let dimensions = if len == 0 { Vec::new() } else { vec![(len, 1)] };
    Some(Value::Array(Box::new(Array { dimensions, elements })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As MariaDB 10.11 shows them.
    #[test]
    fn addresses_are_shown_as_the_server_does() {
        for shown in [
            "::",
            "::1",
            "::2",
            "::0.1.0.0",
            "::1.2.3.4",
            "::ffff:1.2.3.4",
            "::ffff:0.0.0.1",
            "1::2:3:4:5:6:7",
            "0:0:1::",
            "::1:0:0:1:0:0",
            "1::",
            "1:0:0:2::3",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
        ] {
            assert_eq!(inet6(shown.parse().unwrap()), shown);
        }
    }
}
