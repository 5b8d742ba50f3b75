//! The one text of each value, and what is read from it again.

use std::borrow::Cow;

use super::{Misfit, json};
use crate::change::{Date, DateTime, Interval, Time, Value};

/// The text of a value: of the kinds that are text themselves as it is, of
/// octets as UTF-8, of others as they are shown.
pub(super) fn text_of<'a>(value: &Value<'a>) -> Result<Cow<'a, str>, Misfit> {
    Ok(match value {
        Value::Decimal(v) | Value::Text(v) | Value::Json(v) | Value::Bits(v) | Value::Native(v) => v.clone(),
        Value::Float32(v) => float(f64::from(*v), &format!("{v:?}")),
        Value::Float64(v) => float(*v, &format!("{v:?}")),
        Value::Bytes(v) => match std::str::from_utf8(v) {
            Ok(text) => Cow::Owned(text.to_owned()),
            Err(_) => return Err(Misfit::range("its octets are not UTF-8")),
        },
        Value::Array(of) => Cow::Owned(json::text(of)?),
        other => Cow::Owned(other.to_string()),
    })
}

/// `shown` is the shortest that reads back as the same number.
pub(super) fn float(number: f64, shown: &str) -> Cow<'static, str> {
    match number {
        _ if number.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        _ => shown.strip_suffix(".0").unwrap_or(shown).to_owned().into(),
    }
}

/// Bits in octets, the first bit the highest; the last octet is filled with
/// zeros.
pub(super) fn packed(bits: &str) -> Option<Vec<u8>> {
    let bits = bits.as_bytes();
    bits.chunks(8)
        .map(|chunk| {
            chunk.iter().enumerate().try_fold(0_u8, |octet, (at, bit)| match bit {
                b'0' => Some(octet),
                b'1' => Some(octet | 0x80 >> at),
                _ => None,
            })
        })
        .collect()
}

/// `2024-02-29`, `0044-03-15 BC`, `infinity`.
pub(super) fn date(text: &str) -> Option<Date> {
    match text {
        "infinity" => return Some(Date::INFINITY),
        "-infinity" => return Some(Date::NEG_INFINITY),
        _ => {}
    }
    let (text, before) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let mut parts = text.splitn(3, '-');
    let year: i32 = digits(parts.next()?)?.try_into().ok()?;
    let (month, day) = (digits(parts.next()?)?, digits(parts.next()?)?);
    if year == 0 {
        return None;
    }
    let year = if before { 1 - year } else { year };
    Date::from_ymd(year, month.try_into().ok()?, day.try_into().ok()?)
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// `[-]12:34:56[.789][+02[:30[:15]]]`.
pub(super) fn time(text: &str) -> Option<Time> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (clock, offset) = match text.find(['+', '-']) {
        Some(at) => (&text[..at], Some(offset(&text[at..])?)),
        None => (text, None),
    };
    let nanos = clock_nanos(clock)?;
    Some(Time { nanos: if negative { -nanos } else { nanos }, offset })
}

fn offset(text: &str) -> Option<i32> {
    let (sign, text) = text.split_at(1);
    let mut seconds = 0;
    let mut unit = 3600;
    for part in text.splitn(3, ':') {
        seconds += i32::try_from(digits(part)?).ok()?.checked_mul(unit)?;
        unit /= 60;
    }
    Some(if sign == "-" { -seconds } else { seconds })
}

/// `12:34:56.789`.
fn clock_nanos(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let (hours, minutes) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let nanos = seconds_nanos(parts.next()?)?;
    if minutes > 59 || nanos >= 60_000_000_000 {
        return None;
    }
    let minutes = i64::try_from(hours).ok()?.checked_mul(60)?.checked_add(i64::try_from(minutes).ok()?)?;
    minutes.checked_mul(60_000_000_000)?.checked_add(i64::try_from(nanos).ok()?)
}

/// `56.789`.
fn seconds_nanos(text: &str) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 9 {
        return None;
    }
    let nanos = digits(&format!("{fraction:0<9}"))?;
    Some(u128::from(digits(whole)?) * 1_000_000_000 + u128::from(nanos))
}

/// `2024-02-29 12:34:56.789[ BC][Z]`, `infinity`.
pub(super) fn timestamp(text: &str) -> Option<DateTime> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    match text {
        "infinity" => return Some(DateTime::INFINITY),
        "-infinity" => return Some(DateTime::NEG_INFINITY),
        _ => {}
    }
    let (text, before) = match text.strip_suffix(" BC") {
        Some(text) => (text, " BC"),
        None => (text, ""),
    };
    let (day, clock) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let nanos = clock_nanos(clock).filter(|nanos| *nanos <= 86_400_000_000_000)?;
    Some(DateTime::join(date(&format!("{day}{before}"))?, nanos))
}

/// `P14M3DT-2.5S`: ISO 8601, each part with a sign of its own.
pub(super) fn interval(text: &str) -> Option<Interval> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    let mut span = Interval::default();
    for (number, unit) in parts(date)? {
        let number: i32 = number.parse().ok()?;
        match unit {
            'Y' => span.months = span.months.checked_add(number.checked_mul(12)?)?,
            'M' => span.months = span.months.checked_add(number)?,
            'W' => span.days = span.days.checked_add(number.checked_mul(7)?)?,
            'D' => span.days = span.days.checked_add(number)?,
            _ => return None,
        }
    }
    for (number, unit) in parts(time)? {
        let (negative, size) = match number.strip_prefix('-') {
            Some(size) => (true, size),
            None => (false, number),
        };
        let nanos = i128::try_from(seconds_nanos(size)?).ok()?;
        let nanos = nanos.checked_mul(match unit {
            'H' => 3600,
            'M' => 60,
            'S' => 1,
            _ => return None,
        })?;
        span.nanos = span.nanos.checked_add(if negative { -nanos } else { nanos })?;
    }
    Some(span)
}

fn parts(mut text: &str) -> Option<Vec<(&str, char)>> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let at = text.find(|c: char| c.is_ascii_alphabetic())?;
        parts.push((&text[..at], char::from(text.as_bytes()[at])));
        text = &text[at + 1..];
    }
    Some(parts)
}

/// 32 hexadecimal digits, with hyphens anywhere between them.
pub(super) fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut octets = [0; 16];
    let mut count = 0_usize;
    for c in text.bytes().filter(|c| *c != b'-') {
        // OK because a hexadecimal digit is below 16.
        let digit = u8::try_from(char::from(c).to_digit(16)?).ok()?;
        *octets.get_mut(count / 2)? |= if count.is_multiple_of(2) { digit << 4 } else { digit };
        count += 1;
    }
    (count == 32).then_some(octets)
}
