//! Days, times and moments in the ISO style.
//!
//! <https://www.postgresql.org/docs/current/datatype-datetime.html>: years of
//! four digits or more, ` BC` at the very end, `infinity`, `24:00:00`, and
//! zones that may have seconds.

use std::fmt::Write as _;

use zdm_core::change::{Date, DateTime, Time, Value};

use super::cursor::Cursor;

/// Reads a `date`.
pub(super) fn date(text: &str) -> Option<Date> {
    match text {
        "infinity" => return Some(Date::INFINITY),
        "-infinity" => return Some(Date::NEG_INFINITY),
        _ => {}
    }
    let (rest, bc) = era(text);
    let mut cursor = Cursor(rest.as_bytes());
    let date = day(&mut cursor, bc)?;
    cursor.is_done().then_some(date)
}

/// Reads a `time` or, with `zoned`, a `timetz`.
pub(super) fn time(text: &str, zoned: bool) -> Option<Time> {
    let mut cursor = Cursor(text.as_bytes());
    let nanos = clock(&mut cursor)?;
    let offset = if zoned { Some(zone(&mut cursor)?) } else { None };
    cursor.is_done().then_some(Time { nanos, offset })
}

/// Reads a `timestamp` or, with `zoned`, a `timestamptz`, which is turned to
/// UTC.
pub(super) fn timestamp(text: &str, zoned: bool) -> Option<DateTime> {
    match text {
        "infinity" => return Some(DateTime::INFINITY),
        "-infinity" => return Some(DateTime::NEG_INFINITY),
        _ => {}
    }
    let (rest, bc) = era(text);
    let mut cursor = Cursor(rest.as_bytes());
    let date = day(&mut cursor, bc)?;
    if !cursor.eat(b' ') {
        return None;
    }
    let nanos = clock(&mut cursor)?;
    let mut at = DateTime::join(date, nanos);
    if zoned {
        at.seconds -= i64::from(zone(&mut cursor)?);
    }
    cursor.is_done().then_some(at)
}

fn era(text: &str) -> (&str, bool) {
    text.strip_suffix(" BC").map_or((text, false), |rest| (rest, true))
}

fn day(cursor: &mut Cursor<'_>, bc: bool) -> Option<Date> {
    let year = i32::try_from(cursor.digits(4)?).ok()?;
    let dashed = cursor.eat(b'-');
    let month = u8::try_from(cursor.digits(2)?).ok()?;
    let dashed = dashed && cursor.eat(b'-');
    let day = u8::try_from(cursor.digits(2)?).ok()?;
    if !dashed || year == 0 {
        return None;
    }
    Date::from_ymd(if bc { 1 - year } else { year }, month, day)
}

fn clock(cursor: &mut Cursor<'_>) -> Option<i64> {
    let hours = cursor.digits(2)?;
    let dotted = cursor.eat(b':');
    let minutes = cursor.digits(2)?;
    let dotted = dotted && cursor.eat(b':');
    let seconds = cursor.digits(2)?;
    let nanos = cursor.fraction()?;
    if !dotted || hours > 24 || minutes > 59 || seconds > 60 {
        return None;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + nanos)
}

/// Seconds east of UTC, of `+02`, `-03:30` or `+00:19:32`.
fn zone(cursor: &mut Cursor<'_>) -> Option<i32> {
    let west = cursor.eat(b'-');
    if !west && !cursor.eat(b'+') {
        return None;
    }
    let hours = cursor.digits(2)?;
    let minutes = if cursor.eat(b':') { cursor.digits(2)? } else { 0 };
    let seconds = if cursor.eat(b':') { cursor.digits(2)? } else { 0 };
    if hours > 24 || minutes > 59 || seconds > 59 {
        return None;
    }
    let east = i32::try_from((hours * 60 + minutes) * 60 + seconds).ok()?;
    Some(if west { -east } else { east })
}

/// Writes a [`Value::Moment`] with the zone before the era, where
/// PostgreSQL reads it. `None` beyond the calendar.
pub(super) fn write_timestamp(at: DateTime, zoned: bool, out: &mut String) -> Option<()> {
    if at == DateTime::INFINITY || at == DateTime::NEG_INFINITY {
        return write!(out, "{at}").ok();
    }
    let (date, nanos) = at.split().filter(|(date, _)| date.is_finite())?;
    let (year, month, day) = date.ymd();
    let shown = if year > 0 { year } else { 1 - year };
    write!(out, "{shown:04}-{month:02}-{day:02} ").ok()?;
    write!(out, "{}", Value::Time(Time { nanos, offset: zoned.then_some(0) })).ok()?;
    out.push_str(if year > 0 { "" } else { " BC" });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_calendar_are_read() {
        for (text, days) in
            [("4714-11-24 BC", -2_440_588), ("5874897-12-31", 2_145_042_905), ("1970-01-01", 0)]
        {
            assert_eq!(date(text), Some(Date::from_days(days)), "{text}");
        }
        assert_eq!(date("-infinity"), Some(Date::NEG_INFINITY));
        assert_eq!(timestamp("294276-12-31 23:59:59.999999", false).unwrap().nanos, 999_999_000);
        assert_eq!(timestamp("infinity", true), Some(DateTime::INFINITY));
    }

    #[test]
    fn zones_may_have_seconds_and_stand_before_the_era() {
        assert_eq!(time("24:00:00", false).unwrap().nanos, 86_400_000_000_000);
        assert_eq!(time("12:00:00.5-15:59:59", true).unwrap().offset, Some(-57_599));
        let utc = timestamp("0044-03-15 12:00:00+00 BC", true).unwrap();
        assert_eq!(timestamp("0044-03-15 12:19:32+00:19:32 BC", true), Some(utc));
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in ["", "2024-02-30", "0000-01-01", "24-01-01", "2024-1-1", "2024-01-01 BC ", "today"] {
            assert_eq!(date(text), None, "{text}");
        }
        for text in ["25:00:00", "1:2:3", "12:00", "12:00:61", "12:00:00.1234567890", "12:00:00+02"] {
            assert_eq!(time(text, false), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn moments_come_back(
            seconds in -210_866_803_200_i64..9_224_318_016_000,
            micros in 0..1_000_000_u32,
            zoned: bool,
        ) {
            let at = DateTime { seconds, nanos: micros * 1_000 };
            let mut text = String::new();
            write_timestamp(at, zoned, &mut text).unwrap();
            prop_assert_eq!(timestamp(&text, zoned), Some(at), "{}", text);
        }
    }
}
