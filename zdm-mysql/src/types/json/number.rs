//! A double as the server prints it within JSON: the fewest digits that read
//! back the same (`my_gcvt` in its `dtoa.cc`), plain up to fifteen digits
//! before the point and with an exponent beyond, and never without a sign
//! that it is a double: `1.0`, `1e20`.

use std::fmt::Write as _;

/// Digits before the point, or zeros behind it, from which on an exponent is
/// written.
const PLAIN: i32 = 15;

/// Appends the number; `None` for one that JSON has not.
pub(super) fn write(number: f64, out: &mut String) -> Option<()> {
    if !number.is_finite() {
        return None;
    }
    // `d.ddde±x`, the shortest that reads back.
    let shortest = format!("{:e}", number.abs());
    let (digits, exponent) = shortest.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if number.is_sign_negative() {
        out.push('-');
    }
    // The point lies behind so many digits.
    let point = exponent + 1;
    if !(1 - PLAIN..=PLAIN).contains(&point) && number != 0.0 {
        return write!(out, "{digits}e{exponent}").ok();
    }
    let start = out.len();
    write!(out, "{}", number.abs()).ok()?;
    if !out[start..].contains('.') {
        out.push_str(".0");
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_server_prints_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e14, "100000000000000.0"),
            (123_456_789_012_345_680.0, "1.2345678901234568e17"),
            (1e20, "1e20"),
            (1.5e-20, "1.5e-20"),
            (1e-5, "0.00001"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        ] {
            let mut out = String::new();
            write(number, &mut out).unwrap();
            assert_eq!(out, text);
        }
        assert_eq!(write(f64::NAN, &mut String::new()), None);
    }
}
