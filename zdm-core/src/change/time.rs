//! Days and moments with the range of every engine, infinities included.
//!
//! Date libraries end where PostgreSQL does not: it goes from 4713 BC to the
//! year 5,874,897 and has two infinities; and `24:00:00` is a time. These
//! types are plain counts that hold all of that; they do no arithmetic.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A day of the proleptic Gregorian calendar, as days since 1970-01-01, or
/// one of two infinities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Date {
    days: i32,
}

impl Date {
    /// Later than every day.
    pub const INFINITY: Self = Self { days: i32::MAX };
    /// Earlier than every day.
    pub const NEG_INFINITY: Self = Self { days: i32::MIN };

    /// That many days after 1970-01-01; the two extremes are the infinities.
    pub const fn from_days(days: i32) -> Self {
        Self { days }
    }

    /// Days after 1970-01-01; the extremes of `i32` for the infinities.
    pub const fn days(self) -> i32 {
        self.days
    }

    /// Whether it is a day at all.
    pub const fn is_finite(self) -> bool {
        self.days != i32::MAX && self.days != i32::MIN
    }

    /// The day of that astronomical year (0 is 1 BC), month and day of month;
    /// `None` where the calendar has no such day or the count overflows.
    pub fn from_ymd(year: i32, month: u8, day: u8) -> Option<Self> {
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        // Days from a civil date, by eras of 400 years whose year begins in
        // March, so that the leap day is the last one.
        let shifted = i64::from(year) - i64::from(month <= 2);
        let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
        let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        i32::try_from(days).ok().map(Self::from_days).filter(|d| d.is_finite())
    }

    /// Astronomical year (0 is 1 BC), month and day of month of a finite day.
    pub fn ymd(self) -> (i32, u8, u8) {
        let days = i64::from(self.days) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        // OK because |days| < 2^31, so |year| < 6 million, and month and day
        // are at most 12 and 31.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (year as i32, month as u8, day as u8)
    }
}

fn days_in_month(year: i32, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// ISO 8601, with `BC` behind years before 1: `2024-02-29`, `0044-03-15 BC`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::INFINITY => f.write_str("infinity"),
            Self::NEG_INFINITY => f.write_str("-infinity"),
            _ => {
                let (year, month, day) = self.ymd();
                if year > 0 {
                    write!(f, "{year:04}-{month:02}-{day:02}")
                } else {
                    write!(f, "{:04}-{month:02}-{day:02} BC", 1 - year)
                }
            }
        }
    }
}

/// A time of day as nanoseconds since midnight, with the offset that a type
/// with a zone carries. `24:00:00` is one; MySQL's go beyond a day and below
/// zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time {
    /// Nanoseconds since midnight.
    pub nanos: i64,
    /// Seconds east of UTC, for a type that carries them.
    pub offset: Option<i32>,
}

/// `12:34:56.789+02`, the fraction as short as it can be.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, nanos) = (if self.nanos < 0 { "-" } else { "" }, self.nanos.unsigned_abs());
        f.write_str(sign)?;
        clock(f, nanos)?;
        self.offset.map_or(Ok(()), |offset| zone(f, offset))
    }
}

/// A day and a time: seconds since 1970-01-01 00:00:00 and nanoseconds
/// within the second, or one of two infinities.
///
/// As [`Value::DateTime`](super::Value::DateTime) it is the reading of a
/// clock with no zone; as [`Value::Moment`](super::Value::Moment) it is UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DateTime {
    /// Seconds since 1970-01-01 00:00:00, rounded down; the extremes of
    /// `i64` are the infinities.
    pub seconds: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

impl DateTime {
    /// Later than every moment.
    pub const INFINITY: Self = Self { seconds: i64::MAX, nanos: 0 };
    /// Earlier than every moment.
    pub const NEG_INFINITY: Self = Self { seconds: i64::MIN, nanos: 0 };

    /// From microseconds since 1970-01-01 00:00:00.
    pub fn from_micros(micros: i64) -> Self {
        Self::from_micros_since(micros, 0)
    }

    /// From microseconds since an epoch that lies `epoch` seconds after
    /// 1970-01-01 00:00:00.
    pub fn from_micros_since(micros: i64, epoch: i64) -> Self {
        // OK because a remainder of a million is not negative and below 2^32.
        #[expect(clippy::cast_possible_truncation)]
        let nanos = micros.rem_euclid(1_000_000) as u32 * 1_000;
        Self { seconds: micros.div_euclid(1_000_000).saturating_add(epoch), nanos }
    }

    /// The day that it lies in, and the nanoseconds into that day; `None`
    /// for the infinities and beyond the calendar of [`Date`].
    pub fn split(self) -> Option<(Date, i64)> {
        if self == Self::INFINITY || self == Self::NEG_INFINITY {
            return None;
        }
        let day = i32::try_from(self.seconds.div_euclid(86_400)).ok()?;
        let of_day = self.seconds.rem_euclid(86_400) * 1_000_000_000 + i64::from(self.nanos);
        Some((Date::from_days(day), of_day))
    }

    /// The inverse of [`split`](Self::split), for a finite day.
    pub fn join(date: Date, nanos_of_day: i64) -> Self {
        // OK because a remainder of a billion is not negative and below 2^32.
        #[expect(clippy::cast_possible_truncation)]
        let nanos = nanos_of_day.rem_euclid(1_000_000_000) as u32;
        Self { seconds: i64::from(date.days()) * 86_400 + nanos_of_day.div_euclid(1_000_000_000), nanos }
    }
}

/// `2024-02-29 12:34:56.789`, `BC` at the end for years before 1.
impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.split()) {
            (Self::INFINITY, _) => f.write_str("infinity"),
            (Self::NEG_INFINITY, _) => f.write_str("-infinity"),
            (_, None) => write!(f, "{} s since 1970", self.seconds),
            (_, Some((date, nanos))) => {
                let (year, month, day) = date.ymd();
                let shown = if year > 0 { year } else { 1 - year };
                write!(f, "{shown:04}-{month:02}-{day:02} ")?;
                clock(f, nanos.unsigned_abs())?;
                f.write_str(if year > 0 { "" } else { " BC" })
            }
        }
    }
}

/// A span whose parts do not convert into each other: a month is not a number
/// of days, nor a day one of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Nanoseconds, in 128 bits: PostgreSQL counts microseconds in 64.
    pub nanos: i128,
}

/// ISO 8601 as PostgreSQL writes it, each part with a sign of its own.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}M{}DT", self.months, self.days)?;
        let nanos = self.nanos.unsigned_abs();
        f.write_str(if self.nanos < 0 { "-" } else { "" })?;
        write!(f, "{}", nanos / 1_000_000_000)?;
        fraction(f, u64::try_from(nanos % 1_000_000_000).unwrap_or(0))?;
        f.write_str("S")
    }
}

fn clock(f: &mut fmt::Formatter<'_>, nanos: u64) -> fmt::Result {
    let seconds = nanos / 1_000_000_000;
    write!(f, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    fraction(f, nanos % 1_000_000_000)
}

fn fraction(f: &mut fmt::Formatter<'_>, nanos: u64) -> fmt::Result {
    if nanos == 0 {
        return Ok(());
    }
    let digits = format!("{nanos:09}");
    write!(f, ".{}", digits.trim_end_matches('0'))
}

fn zone(f: &mut fmt::Formatter<'_>, offset: i32) -> fmt::Result {
    let seconds = offset.unsigned_abs();
    write!(f, "{}{:02}", if offset < 0 { '-' } else { '+' }, seconds / 3600)?;
    match (seconds / 60 % 60, seconds % 60) {
        (0, 0) => Ok(()),
        (minutes, 0) => write!(f, ":{minutes:02}"),
        (minutes, seconds) => write!(f, ":{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_days() {
        for (text, ymd, days) in [
            ("1970-01-01", (1970, 1, 1), 0),
            ("2000-02-29", (2000, 2, 29), 11_016),
            ("0001-01-01", (1, 1, 1), -719_162),
            ("0001-12-31 BC", (0, 12, 31), -719_163),
            ("4714-11-24 BC", (-4713, 11, 24), -2_440_588),
            ("5874897-12-31", (5_874_897, 12, 31), 2_145_042_905),
        ] {
            let date = Date::from_ymd(ymd.0, ymd.1, ymd.2).unwrap();
            assert_eq!((date.to_string().as_str(), date.days()), (text, days));
        }
        assert_eq!(Date::from_ymd(2023, 2, 29), None);
    }

    #[test]
    fn times_and_moments_as_people_write_them() {
        assert_eq!(Time { nanos: 86_400_000_000_000, offset: None }.to_string(), "24:00:00");
        assert_eq!(Time { nanos: 1_500_000_000, offset: Some(-12_600) }.to_string(), "00:00:01.5-03:30");
        assert_eq!(DateTime::from_micros(-1).to_string(), "1969-12-31 23:59:59.999999");
        assert_eq!(DateTime::INFINITY.to_string(), "infinity");
    }

    proptest! {
        #[test]
        fn days_survive_the_calendar(days in -2_440_588..2_145_042_905i32) {
            let (y, m, d) = Date::from_days(days).ymd();
            prop_assert_eq!(Date::from_ymd(y, m, d), Some(Date::from_days(days)));
        }
    }
}
