//! The text of one scalar, read.

use std::borrow::Cow;

use zdm_core::change::Value;

use super::kind::Kind;
use super::{calendar, interval};

/// Reads the text of a scalar; `None` if it is no value of that kind.
pub(super) fn scalar(kind: Kind, text: &str) -> Option<Value<'_>> {
    Some(match kind {
        Kind::Bool => match text {
            "t" => Value::Bool(true),
            "f" => Value::Bool(false),
            _ => return None,
        },
        Kind::Int2 => Value::Int(text.parse::<i16>().ok()?.into()),
        Kind::Int4 => Value::Int(text.parse::<i32>().ok()?.into()),
        Kind::Int8 => Value::Int(text.parse().ok()?),
        Kind::Oid => Value::UInt(text.parse::<u32>().ok()?.into()),
        Kind::Float4 => Value::Float32(match text {
            "NaN" => f32::NAN,
            "Infinity" => f32::INFINITY,
            "-Infinity" => f32::NEG_INFINITY,
            _ => text.parse().ok().filter(|number: &f32| number.is_finite())?,
        }),
        Kind::Float8 => Value::Float64(match text {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ => text.parse().ok().filter(|number: &f64| number.is_finite())?,
        }),
        Kind::Numeric if is_decimal(text) => Value::Decimal(Cow::Borrowed(text)),
        Kind::Text => Value::Text(Cow::Borrowed(text)),
        Kind::Bytea => Value::Bytes(Cow::Owned(hex(text.strip_prefix("\\x")?.as_bytes())?)),
        Kind::Date => Value::Date(calendar::date(text)?),
        Kind::Time => Value::Time(calendar::time(text, false)?),
        Kind::TimeTz => Value::Time(calendar::time(text, true)?),
        Kind::Timestamp => Value::DateTime(calendar::timestamp(text, false)?),
        Kind::TimestampTz => Value::Moment(calendar::timestamp(text, true)?),
        Kind::Interval => Value::Interval(interval::interval(text)?),
        Kind::Uuid => Value::Uuid(uuid(text)?),
        Kind::Json | Kind::Jsonb => Value::Json(Cow::Borrowed(text)),
        Kind::Bits if text.bytes().all(|bit| matches!(bit, b'0' | b'1')) => Value::Bits(Cow::Borrowed(text)),
        Kind::Native => Value::Native(Cow::Borrowed(text)),
        Kind::Numeric | Kind::Bits => return None,
    })
}

/// `numeric_out` writes digits with one point between digits, and three words.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned) || unsigned == "Infinity" || text == "NaN",
    }
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut digits = [0; 32];
    let mut filled = 0;
    for (at, byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
        } else {
            // OK because 36 places less 4 hyphens are 32.
            digits[filled] = *byte;
            filled += 1;
        }
    }
    hex(&digits)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_numbers_are_read() {
        assert_eq!(scalar(Kind::Float4, "NaN"), Some(Value::Float32(f32::NAN)));
        assert_eq!(scalar(Kind::Float8, "-Infinity"), Some(Value::Float64(f64::NEG_INFINITY)));
        assert_eq!(scalar(Kind::Float8, "-0"), Some(Value::Float64(-0.0)));
        assert_eq!(scalar(Kind::Float8, "5e-324"), Some(Value::Float64(5e-324)));
        assert_eq!(scalar(Kind::Oid, "4294967295"), Some(Value::UInt(u32::MAX.into())));
        for good in ["0", "-0.10", "NaN", "Infinity", "-Infinity", "123456789012345678901234567890.5"] {
            assert_eq!(scalar(Kind::Numeric, good), Some(Value::Decimal(good.into())));
        }
        for bad in ["", "-", "1.", ".5", "1e5", "-NaN", "+1", "1.2.3", "--1"] {
            assert_eq!(scalar(Kind::Numeric, bad), None, "{bad}");
        }
        assert_eq!(scalar(Kind::Float8, "1e999"), None);
        assert_eq!(scalar(Kind::Int2, "32768"), None);
    }

    #[test]
    fn octets_and_uuids_are_hexadecimal() {
        assert_eq!(scalar(Kind::Bytea, "\\x00fFab"), Some(Value::Bytes(vec![0, 255, 171].into())));
        assert_eq!(scalar(Kind::Bytea, "\\x"), Some(Value::Bytes(vec![].into())));
        for bad in ["", "\\x0", "\\xgg", "00"] {
            assert_eq!(scalar(Kind::Bytea, bad), None, "{bad}");
        }
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        assert_eq!(scalar(Kind::Uuid, text).unwrap().to_string(), text);
        assert_eq!(scalar(Kind::Uuid, "00112233x4455-6677-8899-aabbccddeeff"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", which in 0..KINDS.len()) {
            let _ = scalar(KINDS[which], &text);
        }

        #[test]
        fn no_likely_text_makes_it_panic(text in "[-+0-9:. BCinfytmonsdaeyr\\\\x{}]*", which in 0..KINDS.len()) {
            let _ = scalar(KINDS[which], &text);
        }
    }

    const KINDS: [Kind; 21] = [
        Kind::Bool,
        Kind::Int2,
        Kind::Int4,
        Kind::Int8,
        Kind::Oid,
        Kind::Float4,
        Kind::Float8,
        Kind::Numeric,
        Kind::Text,
        Kind::Bytea,
        Kind::Date,
        Kind::Time,
        Kind::TimeTz,
        Kind::Timestamp,
        Kind::TimestampTz,
        Kind::Interval,
        Kind::Uuid,
        Kind::Json,
        Kind::Jsonb,
        Kind::Bits,
        Kind::Native,
    ];
}
