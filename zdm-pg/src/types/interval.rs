//! Intervals in the `postgres` style: `1 year 2 mons -3 days +04:05:06.789`.
//!
//! Each field has a sign of its own. Servers from 17 on know two infinities,
//! which they keep as the extremes of all three fields; so do we.

use std::fmt::Write as _;

use zdm_core::change::Interval;

use super::cursor::Cursor;

const INFINITY: Interval = Interval { months: i32::MAX, days: i32::MAX, nanos: i64::MAX as i128 * 1_000 };
const NEG_INFINITY: Interval = Interval { months: i32::MIN, days: i32::MIN, nanos: i64::MIN as i128 * 1_000 };

/// Reads an `interval`.
pub(super) fn interval(text: &str) -> Option<Interval> {
    match text {
        "infinity" => return Some(INFINITY),
        "-infinity" => return Some(NEG_INFINITY),
        _ => {}
    }
    let mut cursor = Cursor(text.as_bytes());
    let (mut months, mut days) = (0_i64, 0_i64);
    loop {
        let negative = cursor.eat(b'-');
        if !negative {
            cursor.eat(b'+');
        }
        let number = cursor.digits(1)?;
        let signed = if negative { -number } else { number };
        if cursor.eat(b':') {
            let nanos = clock(&mut cursor, number)?;
            let nanos = if negative { -nanos } else { nanos };
            return cursor.is_done().then_some(Interval {
                months: i32::try_from(months).ok()?,
                days: i32::try_from(days).ok()?,
                nanos,
            });
        }
        if cursor.eat_all(b" year") {
            months = months.checked_add(signed.checked_mul(12)?)?;
        } else if cursor.eat_all(b" mon") {
            months = months.checked_add(signed)?;
        } else if cursor.eat_all(b" day") {
            days = days.checked_add(signed)?;
        } else {
            return None;
        }
        cursor.eat(b's');
        if cursor.is_done() {
            return Some(Interval {
                months: i32::try_from(months).ok()?,
                days: i32::try_from(days).ok()?,
                nanos: 0,
            });
        }
        if !cursor.eat(b' ') {
            return None;
        }
    }
}

fn clock(cursor: &mut Cursor<'_>, hours: i64) -> Option<i128> {
    let minutes = cursor.digits(2).filter(|minutes| *minutes < 60)?;
    if !cursor.eat(b':') {
        return None;
    }
    let seconds = cursor.digits(2).filter(|seconds| *seconds < 61)?;
    let nanos = cursor.fraction()?;
    let seconds = (i128::from(hours) * 60 + i128::from(minutes)) * 60 + i128::from(seconds);
    Some(seconds * 1_000_000_000 + i128::from(nanos))
}

/// Writes an interval for PostgreSQL to read.
pub(super) fn write_interval(interval: Interval, out: &mut String) {
    match interval {
        INFINITY => out.push_str("infinity"),
        NEG_INFINITY => out.push_str("-infinity"),
        Interval { months, days, nanos } => {
            let sign = if nanos < 0 { "-" } else { "" };
            let nanos = nanos.unsigned_abs();
            let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            // OK because writing to a string cannot fail.
            let _ = write!(out, "{months} mons {days} days {sign}{hours:02}:{minutes:02}:{seconds:02}");
            if fraction != 0 {
                let digits = format!("{fraction:09}");
                let _ = write!(out, ".{}", digits.trim_end_matches('0'));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_server_writes_is_read() {
        for (text, months, days, micros) in [
            ("00:00:00", 0, 0, 0_i128),
            ("1 year 2 mons 3 days 04:05:06.789", 14, 3, 14_706_789_000),
            ("-1 years -2 mons +3 days -04:05:06.000001", -14, 3, -14_706_000_001),
            ("1 mon -1 days", 1, -1, 0),
            ("-1 days +02:03:00", 0, -1, 7_380_000_000),
            ("-178956970 years -8 mons", i32::MIN, 0, 0),
            ("2562047788:00:54.775807", 0, 0, i64::MAX.into()),
            ("-2562047788:00:54.775808", 0, 0, i64::MIN.into()),
        ] {
            let expected = Interval { months, days, nanos: micros * 1_000 };
            assert_eq!(interval(text), Some(expected), "{text}");
        }
        assert_eq!(interval("infinity"), Some(INFINITY));
        for bad in ["", "1", "1 week", "1 day ", "1:2:3", "- days", "9999999999 years", "P1D"] {
            assert_eq!(interval(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn intervals_come_back(months: i32, days: i32, micros: i64) {
            let value = Interval { months, days, nanos: i128::from(micros) * 1_000 };
            let mut text = String::new();
            write_interval(value, &mut text);
            prop_assert_eq!(interval(&text), Some(value), "{}", text);
        }
    }
}
