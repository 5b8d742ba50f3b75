//! Values of the server's other types within JSON: a decimal is a number, a
//! day or time is its text, anything else is its octets in base64.

use std::fmt::Write as _;

use super::super::{code, decimal};

/// Appends the value of that type byte; `None` if the data is none.
pub(super) fn write(kind: u8, data: &[u8], out: &mut String) -> Option<()> {
    match kind {
        code::NEWDECIMAL => {
            let ([precision, scale], digits) = data.split_first_chunk()?;
            out.push_str(&decimal::text(digits, *precision, *scale)?);
        }
        code::DATE | code::DATETIME | code::TIMESTAMP | code::TIME => {
            out.push('"');
            packed(kind, i64::from_le_bytes(data.try_into().ok()?), out)?;
            out.push('"');
        }
        _ => {
            write!(out, "\"base64:type{kind}:").ok()?;
            base64(data, out);
            out.push('"');
        }
    }
    Some(())
}

/// A day and a time in one number: 17 bits of year and month, 5 of day, 5, 6
/// and 6 of the time, 24 of microseconds; a time alone has 10 bits of hours.
fn packed(kind: u8, number: i64, out: &mut String) -> Option<()> {
    let (size, micros) = (number.unsigned_abs() >> 24, number.unsigned_abs() & 0x00ff_ffff);
    let (minute, second) = (size >> 6 & 63, size & 63);
    if kind == code::TIME {
        let sign = if number < 0 { "-" } else { "" };
        return write!(out, "{sign}{:02}:{minute:02}:{second:02}.{micros:06}", size >> 12 & 1023).ok();
    }
    let (day, year_month) = (size >> 17 & 31, size >> 22);
    write!(out, "{:04}-{:02}-{day:02}", year_month / 13, year_month % 13).ok()?;
    if kind == code::DATE {
        return Some(());
    }
    write!(out, " {:02}:{minute:02}:{second:02}.{micros:06}", size >> 12 & 31).ok()
}

/// In lines of 76 characters, as the server's own encoder has them; the line
/// feeds are escaped, since they lie within a string.
fn base64(data: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (nth, group) in data.chunks(3).enumerate() {
        if nth > 0 && nth % 19 == 0 {
            out.push_str("\\n");
        }
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at > group.len() { '=' } else { char::from(digit) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_types_have_a_text() {
        let of = |kind, data: &[u8]| {
            let mut out = String::new();
            write(kind, data, &mut out).map(|()| out)
        };
        assert_eq!(of(code::NEWDECIMAL, &[3, 2, 0x81, 50]).as_deref(), Some("1.50"));
        assert_eq!(of(16, &[1]).as_deref(), Some("\"base64:type16:AQ==\""));
        assert_eq!(of(252, b"hello").as_deref(), Some("\"base64:type252:aGVsbG8=\""));
        assert_eq!(
            of(code::TIME, &(-(1_i64 << 36 | 5)).to_le_bytes()).as_deref(),
            Some("\"-01:00:00.000005\"")
        );
        assert_eq!(of(code::DATE, &[0; 7]), None);
    }
}
