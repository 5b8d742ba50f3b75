//! One text for each value, where SQL has several.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::kind::Kind;

/// The one text of a value. What cannot be read as its kind is itself, so that
/// it differs from everything but itself.
pub(super) fn canonical(kind: Kind, text: String) -> String {
    let made = match kind {
        Kind::Number => number(&text),
        Kind::Float => text.parse::<f64>().ok().map(|value| value.to_string()),
        Kind::Moment => Some(without_zeros(&text)),
        Kind::Seconds => seconds(&text),
        Kind::Bits => Some(match text.trim_start_matches('0') {
            "" => "0".into(),
            bits => bits.to_owned(),
        }),
        Kind::Set => {
            let mut words: Vec<&str> = text.split(',').collect();
            words.sort_unstable();
            Some(words.join(","))
        }
        Kind::Json => json(&text),
        Kind::Uuid => Some(text.replace('-', "").to_lowercase()),
        Kind::Text | Kind::Bytes | Kind::Geometry | Kind::Wkb => None,
    };
    made.unwrap_or(text)
}

/// A decimal number without exponent, zeros in front, or zeros at its end.
fn number(text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let negative = mantissa.starts_with('-');
    let digits = mantissa.trim_start_matches(['-', '+']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = [whole, fraction].concat();
    // A number in JSON can ask for more zeros than there is memory.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || exponent.abs() > 10_000 {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let (whole, fraction) = match usize::try_from(point) {
        Err(_) => (String::new(), "0".repeat(point.unsigned_abs() as usize) + &digits),
        Ok(point) if point >= digits.len() => {
            (digits.clone() + &"0".repeat(point - digits.len()), String::new())
        }
        Ok(point) => (digits[..point].to_owned(), digits[point..].to_owned()),
    };
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let sign = if negative && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A fraction without the zeros at its end.
fn without_zeros(text: &str) -> String {
    match text.rsplit_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            let fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
        }
        _ => text.to_owned(),
    }
}

/// `-838:59:59.5`, or a number of seconds, as the latter.
fn seconds(text: &str) -> Option<String> {
    let mut parts = text.trim_start_matches('-').split(':');
    let (Some(hours), Some(minutes), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return number(text);
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let part = |text: &str| text.parse::<u64>().ok();
    let whole = part(hours)?.checked_mul(3600)? + part(minutes)?.checked_mul(60)? + part(whole)?;
    let sign = if text.starts_with('-') { "-" } else { "" };
    number(&format!("{sign}{whole}.{fraction}"))
}

/// JSON with sorted keys, exact numbers, one way of escaping, and no blanks.
fn json(text: &str) -> Option<String> {
    match text.trim_start().bytes().next()? {
        b'{' => {
            let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
            let members = members.iter().map(|(key, value)| {
                Some(format!("{}:{}", serde_json::to_string(key).ok()?, json(value.get())?))
            });
            Some(format!("{{{}}}", members.collect::<Option<Vec<_>>>()?.join(",")))
        }
        b'[' => {
            let values: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
            let values = values.iter().map(|value| json(value.get()));
            Some(format!("[{}]", values.collect::<Option<Vec<_>>>()?.join(",")))
        }
        b'"' => serde_json::to_string(&serde_json::from_str::<String>(text).ok()?).ok(),
        b'-' | b'0'..=b'9' => number(text.trim()),
        _ => Some(text.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use crate::compare::Kind;

    #[test]
    fn one_value_has_one_text() {
        for (kind, same) in [
            (Kind::Number, &["1.5", "1.50", "01.5", "15e-1", "0.15E1", "+1.5"][..]),
            (Kind::Number, &["0", "-0.00", "0e5", "00"]),
            (Kind::Number, &["-1200", "-1200.0", "-1.2e3"]),
            (Kind::Number, &["0.001", "1e-3", ".0010"]),
            (Kind::Float, &["1e+20", "100000000000000000000", "1e20"]),
            (Kind::Float, &["0.1", "0.10000000000000001"]),
            (Kind::Moment, &["2024-01-02 03:04:05", "2024-01-02 03:04:05.000000"]),
            (Kind::Moment, &["2024-01-02 03:04:05.12", "2024-01-02 03:04:05.120000"]),
            (Kind::Seconds, &["-838:59:59.500", "-3020399.5", "-3020399.500000"]),
            (Kind::Seconds, &["00:00:00", "0.000000", "-00:00:00.0"]),
            (Kind::Bits, &["00101", "101"]),
            (Kind::Bits, &["", "0", "00"]),
            (Kind::Set, &["a,b", "b,a"]),
            (Kind::Json, &[r#"{"b": [1.0, "é"], "a": null}"#, r#"{"a":null,"b":[1,"\u00e9"]}"#]),
            (Kind::Uuid, &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"]),
        ] {
            for text in same {
                let is = canonical(kind, (*text).into());
                assert_eq!(is, canonical(kind, same[0].into()), "{kind:?} {text}");
            }
        }
    }

    #[test]
    fn two_values_have_two_texts() {
        for (kind, left, right) in [
            (Kind::Number, "1", "-1"),
            (Kind::Number, "10", "1"),
            (Kind::Number, "12345678901234567890.1", "12345678901234567890.2"),
            (Kind::Number, "NaN", "0"),
            (Kind::Float, "0.1", "0.10000000000000002"),
            (Kind::Moment, "2024-01-02 03:04:05.1", "2024-01-02 03:04:05.01"),
            (Kind::Moment, "0000-00-00 00:00:00", "1970-01-01 00:00:00"),
            (Kind::Seconds, "-00:00:01", "00:00:01"),
            (Kind::Seconds, "24:00:00", "00:00:00"),
            (Kind::Bits, "10", "1"),
            (Kind::Set, "a", "a,b"),
            (Kind::Json, "[12345678901234567890123]", "[12345678901234567890124]"),
            (Kind::Json, "[1, 2]", "[2, 1]"),
            (Kind::Json, r#""1""#, "1"),
            (Kind::Json, "null", r#""null""#),
            (Kind::Text, "a", "a "),
        ] {
            assert_ne!(
                canonical(kind, left.into()),
                canonical(kind, right.into()),
                "{kind:?} {left} {right}"
            );
        }
    }
}
