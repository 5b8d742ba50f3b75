//! A value as the kind of value that a type has.

use std::borrow::Cow;

use super::text::{self, text_of};
use super::{Misfit, MisfitKind, json};
use crate::change::{Array, Date, DateTime, Interval, Time, Value};
use crate::schema::DataType;

const DAY: i64 = 86_400_000_000_000;

type Coerced<'a> = Result<Option<Value<'a>>, Misfit>;

/// The value in the type's kind; `None` where it is of that kind as it is.
pub(crate) fn coerce<'a>(value: &Value<'a>, to: &DataType) -> Coerced<'a> {
    if value.is_null() {
        return Ok(None);
    }
    match to {
        DataType::Bool => truth(value),
        DataType::Integer { bits, unsigned } => integer(value, *bits, *unsigned),
        DataType::Year => year(value),
        DataType::Float32 | DataType::Float64 => float(value, *to == DataType::Float32),
        DataType::Decimal { precision, scale } => decimal(value, precision.map(|p| (p, scale.unwrap_or(0)))),
        DataType::Text { length, .. } => characters(value, *length),
        DataType::Bytes { length, .. } => octets(value, *length),
        DataType::Date => date(value),
        DataType::Time { zone, .. } => time(value, *zone),
        DataType::Timestamp { precision, zone } => timestamp(value, *precision, *zone),
        DataType::Interval => interval(value),
        DataType::Uuid => uuid(value),
        DataType::Json => json::json(value),
        DataType::Bits { length, fixed } => bits(value, *length, *fixed),
        DataType::Enum { labels } => label(value, labels),
        DataType::Set { .. } => set(value),
        DataType::Geometry => match value {
            Value::Bytes(_) => Ok(None),
            other => Err(not_a(other, "shape")),
        },
        DataType::Array(of) => json::array(value, of),
        DataType::Native => match value {
            Value::Native(_) => Ok(None),
            other => Ok(Some(Value::Native(text_of(other)?))),
        },
    }
}

/// What cannot be read as what it must become.
pub(super) fn not_a(value: &Value<'_>, what: &str) -> Misfit {
    match value {
        // Texts and octets are users' data, and not shown.
        Value::Text(_) | Value::Bytes(_) | Value::Json(_) | Value::Native(_) => {
            Misfit::kind(format!("it is not a {what}"))
        }
        other => Misfit::kind(format!("{other} is not a {what}")),
    }
}

fn truth<'a>(value: &Value<'a>) -> Coerced<'a> {
    let yes = match value {
        Value::Bool(_) => return Ok(None),
        Value::Int(0) | Value::UInt(0) => false,
        Value::Int(1) | Value::UInt(1) => true,
        Value::Int(_) | Value::UInt(_) => return Err(Misfit::range(format!("{value} is neither 0 nor 1"))),
        other => match text_of(other)?.as_ref() {
            "0" | "f" | "false" => false,
            "1" | "t" | "true" => true,
            _ => return Err(not_a(value, "truth")),
        },
    };
    Ok(Some(Value::Bool(yes)))
}

/// The least and the largest number of a width.
pub(super) const fn range_of(bits: u8, unsigned: bool) -> (i128, i128) {
    let bits = if bits > 64 { 64 } else { bits };
    if unsigned { (0, (1 << bits) - 1) } else { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) }
}

fn whole(value: &Value<'_>) -> Result<i128, Misfit> {
    match value {
        Value::Int(v) => Ok((*v).into()),
        Value::UInt(v) => Ok((*v).into()),
        Value::Bool(v) => Ok((*v).into()),
        Value::Bits(v) => {
            i128::from_str_radix(v, 2).map_err(|_| Misfit::range("it has more bits than a whole number"))
        }
        Value::Decimal(v) | Value::Text(v) => {
            let (whole, fraction) = v.split_once('.').unwrap_or((v, ""));
            if !fraction.bytes().all(|b| b == b'0') {
                return Err(Misfit::range("it is not whole"));
            }
            whole.parse().map_err(|_| not_a(value, "whole number"))
        }
        other => Err(not_a(other, "whole number")),
    }
}

fn integer<'a>(value: &Value<'a>, bits: u8, unsigned: bool) -> Coerced<'a> {
    let (least, most) = range_of(bits, unsigned);
    let number = whole(value)?;
    if number < least || number > most {
        return Err(Misfit::range(format!("{number} is not between {least} and {most}")));
    }
    // OK to fall back: the number is between the bounds of its kind.
    Ok(match value {
        Value::Int(_) if !unsigned => None,
        Value::UInt(_) if unsigned => None,
        _ if unsigned => Some(Value::UInt(u64::try_from(number).unwrap_or(u64::MAX))),
        _ => Some(Value::Int(i64::try_from(number).unwrap_or(i64::MAX))),
    })
}

fn year<'a>(value: &Value<'a>) -> Coerced<'a> {
    match whole(value)? {
        0 | 1901..=2155 if matches!(value, Value::Int(_) | Value::UInt(_)) => Ok(None),
        year @ (0 | 1901..=2155) => Ok(Some(Value::Int(i64::try_from(year).unwrap_or(0)))),
        other => Err(Misfit::range(format!("{other} is not 0 and not between 1901 and 2155"))),
    }
}

fn float<'a>(value: &Value<'a>, single: bool) -> Coerced<'a> {
    match value {
        Value::Float32(_) if single => Ok(None),
        Value::Float64(_) if !single => Ok(None),
        Value::Float32(v) => Ok(Some(Value::Float64((*v).into()))),
        other => {
            let text = text_of(other)?;
            let parsed: f64 = text.parse().map_err(|_| not_a(other, "number"))?;
            if !single {
                return Ok(Some(Value::Float64(parsed)));
            }
            // OK because a float saturates when it is cast.
            #[expect(clippy::cast_possible_truncation)]
            let small = parsed as f32;
            if parsed.is_finite() && f64::from(small) != parsed {
                return Err(Misfit::range("it has more digits than a float of 32 bits"));
            }
            Ok(Some(Value::Float32(small)))
        }
    }
}

/// Digits in front of the point and behind it, without zeros at either end.
fn digits(text: &str) -> Option<(usize, usize)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let all = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    all.then(|| (whole.trim_start_matches('0').len(), fraction.trim_end_matches('0').len()))
}

fn decimal<'a>(value: &Value<'a>, limit: Option<(u32, i32)>) -> Coerced<'a> {
    let text = match value {
        Value::Decimal(v) => v.clone(),
        Value::Bool(v) => Cow::Borrowed(if *v { "1" } else { "0" }),
        Value::Int(_) | Value::UInt(_) | Value::Bits(_) => Cow::Owned(whole(value)?.to_string()),
        other => text_of(other)?,
    };
    let Some((whole, fraction)) = digits(&text) else {
        return match text.as_ref() {
            "NaN" | "Infinity" | "-Infinity" if limit.is_none() => as_decimal(value, text),
            // A limit leaves no room for infinities; of NaN the bounds say.
            "NaN" => as_decimal(value, text),
            "Infinity" | "-Infinity" => Err(Misfit::range("the target holds no infinity")),
            _ => Err(not_a(value, "decimal")),
        };
    };
    if let Some((precision, scale)) = limit {
        let room = i64::from(precision) - i64::from(scale);
        let fits = i64::try_from(whole).is_ok_and(|n| n <= room.max(0))
            && i64::try_from(fraction).is_ok_and(|n| n <= i64::from(scale.max(0)));
        if !fits {
            return Err(Misfit::range(format!(
                "{text} does not fit {precision} digits, {scale} behind the point"
            )));
        }
    }
    as_decimal(value, text)
}

fn as_decimal<'a>(value: &Value<'a>, text: Cow<'a, str>) -> Coerced<'a> {
    Ok(if matches!(value, Value::Decimal(_)) { None } else { Some(Value::Decimal(text)) })
}

fn characters<'a>(value: &Value<'a>, length: Option<u32>) -> Coerced<'a> {
    let text = match value {
        Value::Text(v) => v.clone(),
        Value::Bytes(v) => match v {
            Cow::Borrowed(octets) => std::str::from_utf8(octets).map(Cow::Borrowed),
            Cow::Owned(octets) => std::str::from_utf8(octets).map(|text| Cow::Owned(text.to_owned())),
        }
        .map_err(|_| Misfit::range("its octets are not UTF-8"))?,
        other => text_of(other)?,
    };
    if let Some(length) = length
        && text.len() > length as usize
        && text.chars().count() > length as usize
    {
        return Err(Misfit::range(format!("it is longer than {length} characters")));
    }
    Ok(if matches!(value, Value::Text(_)) { None } else { Some(Value::Text(text)) })
}

fn octets<'a>(value: &Value<'a>, length: Option<u32>) -> Coerced<'a> {
    let octets: Cow<'a, [u8]> = match value {
        Value::Bytes(v) => v.clone(),
        Value::Uuid(v) => Cow::Owned(v.to_vec()),
        Value::Bits(v) => Cow::Owned(text::packed(v).ok_or_else(|| not_a(value, "string of bits"))?),
        Value::Text(Cow::Borrowed(v)) => Cow::Borrowed(v.as_bytes()),
        other => Cow::Owned(text_of(other)?.into_owned().into_bytes()),
    };
    if let Some(length) = length
        && octets.len() > length as usize
    {
        return Err(Misfit::range(format!("it is longer than {length} octets")));
    }
    Ok(if matches!(value, Value::Bytes(_)) { None } else { Some(Value::Bytes(octets)) })
}

/// What stands for a day of no calendar where the nearest is asked for.
pub(super) fn zero_date(to: &DataType) -> Option<Value<'static>> {
    let epoch = DateTime { seconds: 0, nanos: 0 };
    Some(match to {
        DataType::Date => Value::Date(Date::from_days(0)),
        DataType::Timestamp { zone: false, .. } => Value::DateTime(epoch),
        // The first moment that every engine's type for them has.
        DataType::Timestamp { zone: true, .. } => Value::Moment(DateTime { seconds: 1, nanos: 0 }),
        _ => return None,
    })
}

fn no_day(text: &str) -> Misfit {
    Misfit::new(MisfitKind::ZeroDate, format!("{text} is a day of no calendar"))
}

fn date<'a>(value: &Value<'a>) -> Coerced<'a> {
    match value {
        Value::Date(_) => Ok(None),
        Value::DateTime(at) | Value::Moment(at) => match at.split() {
            Some((day, 0)) => Ok(Some(Value::Date(day))),
            Some(_) => Err(Misfit::range("it has a time of day")),
            None => Err(Misfit::range("it is no day")),
        },
        Value::Native(v) => text::date(v).map(|day| Some(Value::Date(day))).ok_or_else(|| no_day(v)),
        Value::Text(v) => text::date(v).map(|day| Some(Value::Date(day))).ok_or_else(|| not_a(value, "day")),
        other => Err(not_a(other, "day")),
    }
}

fn time<'a>(value: &Value<'a>, zone: bool) -> Coerced<'a> {
    match value {
        Value::Time(v) if v.offset.is_some() == zone => Ok(None),
        Value::Time(v) if zone => Ok(Some(Value::Time(Time { nanos: v.nanos, offset: Some(0) }))),
        Value::Time(_) => Err(Misfit::range("the target has no offset from UTC")),
        Value::Interval(Interval { months: 0, days, nanos }) if !zone => {
            let all = i128::from(*days) * i128::from(DAY) + nanos;
            let nanos = i64::try_from(all).map_err(|_| Misfit::range("it is longer than any time"))?;
            Ok(Some(Value::Time(Time { nanos, offset: None })))
        }
        Value::Interval(_) => Err(Misfit::range("a month is no number of hours")),
        Value::Text(v) | Value::Native(v) => text::time(v)
            .filter(|time| time.offset.is_some() == zone)
            .map(|time| Some(Value::Time(time)))
            .ok_or_else(|| not_a(value, "time of day")),
        other => Err(not_a(other, "time of day")),
    }
}

fn timestamp<'a>(value: &Value<'a>, precision: Option<u8>, zone: bool) -> Coerced<'a> {
    let (at, same) = match value {
        Value::DateTime(at) => (*at, !zone),
        Value::Moment(at) => (*at, zone),
        Value::Date(day) => (
            match *day {
                Date::INFINITY => DateTime::INFINITY,
                Date::NEG_INFINITY => DateTime::NEG_INFINITY,
                day => DateTime::join(day, 0),
            },
            false,
        ),
        Value::Native(v) => (text::timestamp(v).ok_or_else(|| no_day(v))?, false),
        Value::Text(v) => (text::timestamp(v).ok_or_else(|| not_a(value, "timestamp"))?, false),
        other => return Err(not_a(other, "timestamp")),
    };
    let unit = 10_u32.pow(9 - u32::from(precision.unwrap_or(6).min(9)));
    if at.nanos % unit != 0 {
        return Err(Misfit::range(format!("{at} has more digits than the target keeps")));
    }
    if same {
        return Ok(None);
    }
    Ok(Some(if zone { Value::Moment(at) } else { Value::DateTime(at) }))
}

fn interval<'a>(value: &Value<'a>) -> Coerced<'a> {
    let span = match value {
        Value::Interval(_) => return Ok(None),
        Value::Time(Time { nanos, offset: None }) => {
            Interval { months: 0, days: 0, nanos: i128::from(*nanos) }
        }
        Value::Text(v) => text::interval(v).ok_or_else(|| not_a(value, "span of time"))?,
        other => return Err(not_a(other, "span of time")),
    };
    Ok(Some(Value::Interval(span)))
}

fn uuid<'a>(value: &Value<'a>) -> Coerced<'a> {
    let parsed = match value {
        Value::Uuid(_) => return Ok(None),
        Value::Bytes(v) => v.as_ref().try_into().ok(),
        Value::Text(v) => text::uuid(v),
        _ => None,
    };
    parsed.map(|uuid| Some(Value::Uuid(uuid))).ok_or_else(|| not_a(value, "uuid"))
}

fn bits<'a>(value: &Value<'a>, length: Option<u32>, fixed: bool) -> Coerced<'a> {
    let text: Cow<'a, str> = match value {
        Value::Bits(v) | Value::Text(v) => v.clone(),
        Value::Bytes(v) => v.iter().map(|octet| format!("{octet:08b}")).collect(),
        other => {
            let number = whole(other)?;
            let width = length.unwrap_or(1) as usize;
            Cow::Owned(if number < 0 { format!("{number}") } else { format!("{number:0width$b}") })
        }
    };
    if !text.bytes().all(|b| matches!(b, b'0' | b'1')) {
        return Err(not_a(value, "string of bits"));
    }
    match length.map(|n| n as usize) {
        Some(n) if text.len() > n || (fixed && text.len() < n) => {
            Err(Misfit::range(format!("it has {} bits and not {n}", text.len())))
        }
        _ if matches!(value, Value::Bits(_)) => Ok(None),
        _ => Ok(Some(Value::Bits(text))),
    }
}

fn label<'a>(value: &Value<'a>, labels: &[String]) -> Coerced<'a> {
    let text = text_of(value)?;
    if !labels.iter().any(|label| *label == text) {
        return Err(Misfit::range("it is none of the enumeration's labels"));
    }
    Ok(if matches!(value, Value::Text(_)) { None } else { Some(Value::Text(text)) })
}

fn set<'a>(value: &Value<'a>) -> Coerced<'a> {
    match value {
        Value::Text(_) => Ok(None),
        Value::Array(of) => Ok(Some(Value::Text(joined(of)?.into()))),
        other => Ok(Some(Value::Text(text_of(other)?))),
    }
}

fn joined(of: &Array<'_>) -> Result<String, Misfit> {
    let mut labels = Vec::with_capacity(of.elements.len());
    for element in &of.elements {
        let label = text_of(element)?;
        if element.is_null() || label.contains(',') {
            return Err(Misfit::range("a set has no null, and no label with a comma"));
        }
        labels.push(label);
    }
    Ok(labels.join(","))
}
