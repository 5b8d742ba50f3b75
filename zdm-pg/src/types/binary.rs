//! The binary form of the types for which it is simple and the same in all
//! versions. What is not here is asked for as text.

use std::borrow::Cow;

use zdm_core::change::{Date, DateTime, Interval, Time, Value};
use zdm_core::schema::{Column, DataType};

use super::kind::Kind;

mod numeric;

/// Seconds and days from 1970-01-01 to 2000-01-01, from where PostgreSQL
/// counts.
const EPOCH_SECONDS: i64 = 946_684_800;
const EPOCH_DAYS: i32 = 10_957;

/// What COPY's binary format begins with: its signature, no flags and nothing
/// more of a head.
pub(crate) const COPY_HEAD: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Whether the binary form of a column's values passes from server to server:
/// the same in every version from 12 on, and read here for who wants the
/// value. Of an enum it is the label.
pub(crate) fn passes(column: &Column) -> bool {
    // bool, bytea, bigint, smallint, integer, text, json, real, double
    // precision, char(n), varchar(n), date, time, timestamp, timestamptz,
    // interval, timetz, numeric, uuid, jsonb.
    let known = [
        16, 17, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950,
        3802,
    ];
    known.contains(&column.native.id) || is_enum(column)
}

/// Whether its type is an enum of the database's own: their numbers differ
/// between servers.
pub(crate) fn is_enum(column: &Column) -> bool {
    matches!(column.data_type, DataType::Enum { .. })
}

/// Reads a scalar's binary form. `None`: this kind is not read; `Some(None)`:
/// the bytes are no value of it.
pub(super) fn binary(kind: Kind, bytes: &[u8]) -> Option<Option<Value<'_>>> {
    Some(match kind {
        Kind::Bool => match bytes {
            [0] => Some(Value::Bool(false)),
            [1] => Some(Value::Bool(true)),
            _ => None,
        },
        Kind::Int2 => bytes.try_into().ok().map(|b| Value::Int(i16::from_be_bytes(b).into())),
        Kind::Int4 => bytes.try_into().ok().map(|b| Value::Int(i32::from_be_bytes(b).into())),
        Kind::Int8 => bytes.try_into().ok().map(|b| Value::Int(i64::from_be_bytes(b))),
        Kind::Oid => bytes.try_into().ok().map(|b| Value::UInt(u32::from_be_bytes(b).into())),
        Kind::Float4 => bytes.try_into().ok().map(|b| Value::Float32(f32::from_be_bytes(b))),
        Kind::Float8 => bytes.try_into().ok().map(|b| Value::Float64(f64::from_be_bytes(b))),
        Kind::Text => text(bytes).map(Value::Text),
        Kind::Json => text(bytes).map(Value::Json),
        Kind::Jsonb => bytes.strip_prefix(&[1]).and_then(text).map(Value::Json),
        Kind::Bytea => Some(Value::Bytes(Cow::Borrowed(bytes))),
        Kind::Uuid => bytes.try_into().ok().map(Value::Uuid),
        Kind::Date => bytes.try_into().ok().and_then(|b| date(i32::from_be_bytes(b))).map(Value::Date),
        Kind::Timestamp => bytes.try_into().ok().map(|b| Value::DateTime(moment(i64::from_be_bytes(b)))),
        Kind::TimestampTz => bytes.try_into().ok().map(|b| Value::Moment(moment(i64::from_be_bytes(b)))),
        Kind::Numeric => numeric::numeric(bytes).map(Value::Decimal),
        Kind::Time => bytes.try_into().ok().and_then(|b| time(i64::from_be_bytes(b), None)),
        Kind::TimeTz => bytes.split_first_chunk().and_then(|(micros, west)| {
            let west = i32::from_be_bytes(west.try_into().ok()?);
            time(i64::from_be_bytes(*micros), Some(west.checked_neg()?))
        }),
        Kind::Interval => interval(bytes),
        Kind::Bits | Kind::Native => return None,
    })
}

fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
}

fn date(days: i32) -> Option<Date> {
    match days {
        i32::MAX => Some(Date::INFINITY),
        i32::MIN => Some(Date::NEG_INFINITY),
        days => days.checked_add(EPOCH_DAYS).map(Date::from_days).filter(|date| date.is_finite()),
    }
}

fn time(micros: i64, offset: Option<i32>) -> Option<Value<'static>> {
    Some(Value::Time(Time { nanos: micros.checked_mul(1_000)?, offset }))
}

fn interval(bytes: &[u8]) -> Option<Value<'static>> {
    let (micros, rest) = bytes.split_first_chunk()?;
    let (days, months) = rest.split_first_chunk()?;
    Some(Value::Interval(Interval {
        months: i32::from_be_bytes(months.try_into().ok()?),
        days: i32::from_be_bytes(*days),
        nanos: i128::from(i64::from_be_bytes(*micros)) * 1_000,
    }))
}

fn moment(micros: i64) -> DateTime {
    match micros {
        i64::MAX => DateTime::INFINITY,
        i64::MIN => DateTime::NEG_INFINITY,
        micros => DateTime::from_micros_since(micros, EPOCH_SECONDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, bytes: &[u8]) -> String {
        binary(kind, bytes).unwrap().unwrap().to_string()
    }

    /// Bytes as PostgreSQL 15's send functions give them.
    #[test]
    fn known_bytes_are_read() {
        assert_eq!(read(Kind::Int4, &[255, 255, 255, 254]), "-2");
        assert_eq!(read(Kind::Date, &[0, 0, 0, 0]), "2000-01-01");
        assert_eq!(read(Kind::Date, &[0x7f, 255, 255, 255]), "infinity");
        assert_eq!(read(Kind::Timestamp, &[255; 8]), "1999-12-31 23:59:59.999999");
        assert_eq!(read(Kind::TimestampTz, &i64::MIN.to_be_bytes()), "-infinity");
        assert_eq!(read(Kind::Jsonb, b"\x01{}"), "{}");
        assert_eq!(read(Kind::Float4, &[0x7f, 0xc0, 0, 0]), "NaN");
        assert_eq!(read(Kind::Time, &[0, 0, 0, 0x14, 0x1d, 0xd7, 0x5f, 0xff]), "23:59:59.999999");
        assert_eq!(
            read(Kind::TimeTz, &[0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xf1, 0xf0]),
            "00:00:00.000001+01"
        );
        assert_eq!(
            binary(Kind::Interval, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xfd]),
            Some(Some(Value::Interval(Interval { months: -3, days: 2, nanos: 1_000 })))
        );
        for kind in [Kind::Int4, Kind::Numeric, Kind::Time, Kind::TimeTz, Kind::Interval] {
            assert_eq!(binary(kind, &[1]), Some(None));
        }
        assert_eq!(binary(Kind::Native, &[1]), None);
    }
}
