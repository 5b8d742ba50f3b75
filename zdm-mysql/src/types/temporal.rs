//! Days and times, in the three forms that a server gives them: packed as the
//! log has them since MySQL 5.6, the older decimal numbers, and text.
//!
//! A day that no calendar has (`0000-00-00`, `2024-00-10`, `2024-02-31`, the
//! year 0) is legal on these servers and has no neutral value. It becomes
//! [`Value::Native`] in the server's own text: it moves to a server of this
//! family as it is, and what another engine makes of it is for the schema's
//! conversion to say.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/my__time_8cc.html>

use std::borrow::Cow;

use zdm_core::change::{Date, DateTime, Time, Value};

/// The parts of a calendar and a clock, as they were stored: perhaps of no
/// real day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Parts {
    year: u32,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

impl Parts {
    /// The day, if the calendar of every engine has it.
    fn date(self) -> Option<Date> {
        let year = i32::try_from(self.year).ok().filter(|year| *year > 0)?;
        Date::from_ymd(year, self.month, self.day)
    }

    /// Whether the clock's part is possible at all.
    fn has_clock(self) -> bool {
        self.hour < 24 && self.minute < 60 && self.second < 60 && self.micros < 1_000_000
    }

    fn date_value(self) -> Option<Value<'static>> {
        let plausible = self.year <= 9999 && self.month <= 12 && self.day <= 31;
        plausible.then(|| match self.date() {
            Some(date) => Value::Date(date),
            None => Value::Native(Cow::Owned(format!("{:04}-{:02}-{:02}", self.year, self.month, self.day))),
        })
    }

    fn date_time(self) -> Option<DateTime> {
        let seconds = (i64::from(self.hour) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second);
        Some(DateTime::join(self.date()?, (seconds * 1_000_000 + i64::from(self.micros)) * 1_000))
    }

    fn date_time_value(self, digits: u8, moment: bool) -> Option<Value<'static>> {
        let plausible = self.year <= 9999 && self.month <= 12 && self.day <= 31 && self.has_clock();
        plausible.then(|| match self.date_time() {
            Some(at) if moment => Value::Moment(at),
            Some(at) => Value::DateTime(at),
            None => Value::Native(Cow::Owned(self.text(digits))),
        })
    }

    fn text(self, digits: u8) -> String {
        let Self { year, month, day, hour, minute, second, micros } = self;
        let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
        if digits > 0 {
            text.push_str(&format!(".{micros:06}"));
            text.truncate(20 + usize::from(digits.min(6)));
        }
        text
    }
}

/// `DATE`: 15 bits of year, 4 of month, 5 of day.
pub(super) fn date(bytes: &[u8]) -> Option<Value<'static>> {
    let [a, b, c] = <[u8; 3]>::try_from(bytes).ok()?;
    let packed = u32::from_le_bytes([a, b, c, 0]);
    Parts { year: packed >> 9, month: low(packed >> 5 & 15), day: low(packed & 31), ..Parts::default() }
        .date_value()
}

/// `DATETIME` since 5.6: 40 bits (sign, 17 of year and month, 5, 5, 6, 6),
/// then the fraction.
pub(super) fn date_time(bytes: &[u8], digits: u8) -> Option<Value<'static>> {
    let (head, rest) = bytes.split_first_chunk::<5>()?;
    let [a, b, c, d, e] = *head;
    let packed = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]).checked_sub(1 << 39)?;
    let year_month = u32::try_from(packed >> 22).ok()?;
    let part = |shift: u32, mask: u64| u8::try_from(packed >> shift & mask).ok();
    let parts = Parts {
        year: year_month / 13,
        month: low(year_month % 13),
        day: part(17, 31)?,
        hour: part(12, 31)?,
        minute: part(6, 63)?,
        second: part(0, 63)?,
        micros: fraction(rest, digits)?,
    };
    parts.date_time_value(digits, false)
}

/// `TIMESTAMP` since 5.6: seconds since 1970 in UTC, then the fraction. Zero
/// is the zero date.
pub(super) fn timestamp(bytes: &[u8], digits: u8) -> Option<Value<'static>> {
    let (seconds, rest) = bytes.split_first_chunk::<4>()?;
    moment(u32::from_be_bytes(*seconds), fraction(rest, digits)?, digits)
}

/// `TIME` since 5.6: sign, 10 bits of hours (which go to 838), 6 and 6, then
/// the fraction, all of it one signed number.
pub(super) fn time(bytes: &[u8], digits: u8) -> Option<Value<'static>> {
    let fraction_bits = fraction_len(digits)? * 8;
    if bytes.len() != 3 + fraction_len(digits)? {
        return None;
    }
    let stored = bytes.iter().fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
    let packed = stored - (1 << (23 + fraction_bits));
    let magnitude = packed.unsigned_abs();
    let clock = magnitude >> fraction_bits;
    let scale = scale(digits)?;
    let micros = (magnitude & ((1 << fraction_bits) - 1)) * u64::from(scale);
    clock_value(packed < 0, clock >> 12 & 1023, clock >> 6 & 63, clock & 63, micros)
}

/// `TIME` before 5.6: the decimal number `HHMMSS` in three bytes with a sign.
pub(super) fn old_time(bytes: &[u8]) -> Option<Value<'static>> {
    let [a, b, c] = <[u8; 3]>::try_from(bytes).ok()?;
    let number = i32::from_le_bytes([0, a, b, c]) >> 8;
    let size = u64::from(number.unsigned_abs());
    clock_value(number < 0, size / 10_000, size / 100 % 100, size % 100, 0)
}

/// `DATETIME` before 5.6: the decimal number `YYYYMMDDHHMMSS`.
pub(super) fn old_date_time(bytes: &[u8]) -> Option<Value<'static>> {
    let number = u64::from_le_bytes(bytes.try_into().ok()?);
    let part = |divisor: u64| u8::try_from(number / divisor % 100).ok();
    let parts = Parts {
        year: u32::try_from(number / 10_000_000_000).ok()?,
        month: part(100_000_000)?,
        day: part(1_000_000)?,
        hour: part(10_000)?,
        minute: part(100)?,
        second: part(1)?,
        micros: 0,
    };
    parts.date_time_value(0, false)
}

/// `TIMESTAMP` before 5.6: seconds since 1970 in UTC.
pub(super) fn old_timestamp(bytes: &[u8]) -> Option<Value<'static>> {
    moment(u32::from_le_bytes(bytes.try_into().ok()?), 0, 0)
}

/// `YEAR`: years since 1900, and 0 for the year 0000.
pub(super) fn year(bytes: &[u8]) -> Option<Value<'static>> {
    let [year] = <[u8; 1]>::try_from(bytes).ok()?;
    Some(Value::Int(if year == 0 { 0 } else { 1900 + i64::from(year) }))
}

/// `2024-02-29`.
pub(super) fn date_text(text: &str) -> Option<Value<'static>> {
    let (parts, rest) = take_date(text)?;
    rest.is_empty().then(|| parts.date_value())?
}

/// `2024-02-29 12:34:56.789`; a moment when the session's zone is UTC.
pub(super) fn date_time_text(text: &str, digits: u8, is_moment: bool) -> Option<Value<'static>> {
    let (mut parts, rest) = take_date(text)?;
    let mut clock = rest.strip_prefix(' ')?.splitn(3, ':');
    parts.hour = number(clock.next()?, 2)?.try_into().ok()?;
    parts.minute = number(clock.next()?, 2)?.try_into().ok()?;
    let (second, micros) = take_second(clock.next()?)?;
    (parts.second, parts.micros) = (second, micros);
    parts.date_time_value(digits, is_moment)
}

/// `-838:59:59.000000`.
pub(super) fn time_text(text: &str) -> Option<Value<'static>> {
    let clock = text.strip_prefix('-');
    let mut parts = clock.unwrap_or(text).splitn(3, ':');
    let hours = parts.next()?;
    let hours = number(hours, hours.len().clamp(2, 3))?;
    let minutes = number(parts.next()?, 2)?;
    let (seconds, micros) = take_second(parts.next()?)?;
    clock_value(clock.is_some(), hours.into(), minutes.into(), seconds.into(), micros.into())
}

fn moment(seconds: u32, micros: u32, digits: u8) -> Option<Value<'static>> {
    if seconds == 0 && micros == 0 {
        return Some(Value::Native(Cow::Owned(Parts::default().text(digits))));
    }
    Some(Value::Moment(DateTime { seconds: seconds.into(), nanos: micros * 1_000 }))
}

fn clock_value(
    negative: bool,
    hours: u64,
    minutes: u64,
    seconds: u64,
    micros: u64,
) -> Option<Value<'static>> {
    if hours > 838 || minutes > 59 || seconds > 59 || micros > 999_999 {
        return None;
    }
    let nanos = (((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros) * 1_000;
    let nanos = i64::try_from(nanos).ok()?;
    Some(Value::Time(Time { nanos: if negative { -nanos } else { nanos }, offset: None }))
}

/// Bytes of a fraction with so many digits.
pub(crate) fn fraction_len(digits: u8) -> Option<usize> {
    (digits <= 6).then(|| usize::from(digits).div_ceil(2))
}

/// Microseconds in one unit of a fraction with so many digits.
fn scale(digits: u8) -> Option<u32> {
    Some(match digits {
        0 => 0,
        1 | 2 => 10_000,
        3 | 4 => 100,
        5 | 6 => 1,
        _ => return None,
    })
}

fn fraction(bytes: &[u8], digits: u8) -> Option<u32> {
    if bytes.len() != fraction_len(digits)? {
        return None;
    }
    let units = bytes.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
    units.checked_mul(scale(digits)?).filter(|micros| *micros < 1_000_000)
}

/// Of a number that a mask has made smaller than 256.
fn low(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn take_date(text: &str) -> Option<(Parts, &str)> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2)?.try_into().ok()?;
    let day = number(parts.next()?, 2)?.try_into().ok()?;
    Some((Parts { year, month, day, ..Parts::default() }, rest))
}

/// Seconds with up to six digits of a fraction.
fn take_second(text: &str) -> Option<(u8, u32)> {
    let (second, digits) = text.split_once('.').unwrap_or((text, "0"));
    let len = u32::try_from(digits.len()).ok().filter(|len| (1..=6).contains(len))?;
    let micros = number(digits, digits.len())? * 10_u32.pow(6 - len);
    Some((number(second, 2)?.try_into().ok()?, micros))
}

/// A number of exactly so many digits, at most nine.
fn number(text: &str, len: usize) -> Option<u32> {
    let is_number = text.len() == len && len <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(value: Option<Value<'_>>) -> String {
        value.map_or("none".to_owned(), |value| value.to_string())
    }

    /// As `HEX` of the log's bytes and the server's own text go together.
    #[test]
    fn packed_forms() {
        assert_eq!(shown(date(&[0x5d, 0xd0, 0x0f])), "2024-02-29");
        assert_eq!(date(&[0, 0, 0]), Some(Value::Native("0000-00-00".into())));
        assert_eq!(date(&[0x0a, 0xd0, 0x0f]), Some(Value::Native("2024-00-10".into())));
        assert_eq!(shown(time(&[0x7f, 0xff, 0xff], 0)), "-00:00:01");
        assert_eq!(shown(time(&[0x4b, 0x91, 0x05], 0)), "-838:59:59");
        assert_eq!(shown(time(&[0xb4, 0x6e, 0xfb], 0)), "838:59:59");
        // -00:00:00.01 in two digits, -00:00:01.000001 in six.
        assert_eq!(shown(time(&[0x7f, 0xff, 0xff, 0xff], 2)), "-00:00:00.01");
        assert_eq!(shown(time(&[0x7f, 0xff, 0xfe, 0xff, 0xff, 0xff], 6)), "-00:00:01.000001");
        assert_eq!(shown(date_time(&[0x80, 0, 0, 0, 0, 0, 0], 3)), "0000-00-00 00:00:00.000");
        assert_eq!(shown(timestamp(&[0, 0, 0, 0], 0)), "0000-00-00 00:00:00");
        assert_eq!(shown(timestamp(&[0, 0, 0, 1, 0x63], 1)), "1970-01-01 00:00:01.99Z");
        assert_eq!((year(&[0]), year(&[255])), (Some(Value::Int(0)), Some(Value::Int(2155))));
        assert_eq!(shown(old_time(&(-8_385_959_i32).to_le_bytes()[..3])), "-838:59:59");
        assert_eq!(shown(old_date_time(&20_240_229_123_456_u64.to_le_bytes())), "2024-02-29 12:34:56");
    }

    #[test]
    fn texts() {
        assert_eq!(shown(time_text("-00:00:00.000001")), "-00:00:00.000001");
        assert_eq!(shown(time_text("838:59:59")), "838:59:59");
        assert_eq!(shown(date_time_text("2024-02-31 01:02:03.5", 1, false)), "2024-02-31 01:02:03.5");
        assert_eq!(shown(date_time_text("2024-02-29 01:02:03.50", 2, true)), "2024-02-29 01:02:03.5Z");
        assert_eq!(shown(date_text("0000-12-31")), "0000-12-31");
        for broken in ["", "2024-1-1", "2024-01-01 ", "20240101", "é024-01-01"] {
            assert_eq!(date_text(broken), None, "{broken}");
        }
        for broken in
            ["1:2:3", "00:60:00", "839:00:00", "00:00:00.", "00:00:00.1234567", "00:00", "--1:00:00"]
        {
            assert_eq!(time_text(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text: String, digits: u8) {
            let _ = (date(&bytes), date_time(&bytes, digits), timestamp(&bytes, digits), time(&bytes, digits));
            let _ = (old_time(&bytes), old_date_time(&bytes), old_timestamp(&bytes), year(&bytes));
            let _ = (date_text(&text), date_time_text(&text, digits, true), time_text(&text));
        }

        #[test]
        fn every_time_is_read_as_it_was_packed(micros in -3_020_399_000_000_i64..=3_020_399_000_000) {
            let size = micros.unsigned_abs();
            let (seconds, fraction) = (size / 1_000_000, size % 1_000_000);
            let clock = (seconds / 3600) << 12 | (seconds / 60 % 60) << 6 | (seconds % 60);
            let packed = i64::try_from(clock << 24 | fraction).unwrap();
            let stored = (1_i64 << 47) + if micros < 0 { -packed } else { packed };
            let value = time(&stored.to_be_bytes()[2..], 6);
            prop_assert_eq!(value, Some(Value::Time(Time { nanos: micros * 1_000, offset: None })));
        }
    }
}
