//! `numeric` in binary: digits to the base of 10,000, as `numeric_send` writes
//! them, told as `numeric_out` would.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The bytes as decimal text; nothing where they are no `numeric`.
pub(super) fn numeric(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let (head, digits) = bytes.split_first_chunk::<8>()?;
    let field = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, weight, sign, scale) = (field(0), field(2).cast_signed(), field(4), field(6));
    let (digits, rest) = digits.as_chunks::<2>();
    if digits.len() != usize::from(count) || !rest.is_empty() {
        return None;
    }
    match sign {
        0xC000 => return Some("NaN".into()),
        0xD000 => return Some("Infinity".into()),
        0xF000 => return Some("-Infinity".into()),
        0x0000 | 0x4000 => {}
        _ => return None,
    }
    // What the type has room for: the server sends no more.
    if scale > 0x3FFF || digits.iter().any(|digit| u16::from_be_bytes(*digit) > 9_999) {
        return None;
    }
    // The digit at a power of 10,000; those that are not there are zeros.
    let digit = |power: i32| {
        let at = usize::try_from(i32::from(weight) - power).ok();
        at.and_then(|at| digits.get(at)).map_or(0, |digit| u16::from_be_bytes(*digit))
    };
    let mut text = String::new();
    if sign == 0x4000 {
        text.push('-');
    }
    // A String takes all that is written.
    let _ = write!(text, "{}", digit(i32::from(weight).max(0)));
    for power in (0..i32::from(weight).max(0)).rev() {
        let _ = write!(text, "{:04}", digit(power));
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + usize::from(scale);
        let mut power = -1;
        while text.len() < end {
            let _ = write!(text, "{:04}", digit(power));
            power -= 1;
        }
        text.truncate(end);
    }
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let count = u16::try_from(digits.len()).unwrap();
        let fields = [count, weight.cast_unsigned(), sign, scale];
        fields.iter().chain(digits).flat_map(|field| field.to_be_bytes()).collect()
    }

    #[test]
    fn digits_lie_around_the_point() {
        for (bytes, text) in [
            (sent(0, 0, 0, &[]), "0"),
            (sent(0, 0, 3, &[]), "0.000"),
            (sent(0, 0, 2, &[12, 5_000]), "12.50"),
            (sent(0, 0x4000, 1, &[12, 5_000]), "-12.5"),
            (sent(1, 0, 0, &[1]), "10000"),
            (sent(2, 0, 0, &[1, 0, 20]), "100000020"),
            (sent(-1, 0, 4, &[1]), "0.0001"),
            (sent(-2, 0, 8, &[1]), "0.00000001"),
            (sent(-2, 0x4000, 6, &[100]), "-0.000001"),
            (sent(0, 0, 0, &[9_999]), "9999"),
            (sent(0, 0xC000, 0, &[]), "NaN"),
            (sent(0, 0xD000, 0, &[]), "Infinity"),
            (sent(0, 0xF000, 0, &[]), "-Infinity"),
        ] {
            assert_eq!(numeric(&bytes).as_deref(), Some(text), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        let whole = sent(0, 0, 2, &[12, 5_000]);
        for end in 0..whole.len() {
            assert_eq!(numeric(&whole[..end]), None, "{end}");
        }
        assert_eq!(numeric(&[&whole[..], b"\0"].concat()), None);
        assert_eq!(numeric(&sent(0, 1, 0, &[1])), None, "a sign of no kind");
        assert_eq!(numeric(&sent(0, 0, 0, &[10_000])), None, "a digit beyond its base");
        assert_eq!(numeric(&sent(0, 0, 0x4000, &[1])), None, "a scale beyond the type's");
    }
}
