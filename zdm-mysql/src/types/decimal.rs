//! `DECIMAL` as the log packs it: nine digits in four bytes, the sign in the
//! first bit, so that the bytes sort as the numbers do.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/decimal_8cc.html>
//! (`decimal2bin`)

use std::fmt::Write as _;

/// Bytes of a group with so many digits.
const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// How many bytes such a column has in the log.
pub(crate) fn packed_len(precision: u8, scale: u8) -> Option<usize> {
    let whole = usize::from(precision.checked_sub(scale)?);
    let scale = usize::from(scale);
    // OK because a remainder of nine is below ten.
    Some(whole / 9 * 4 + BYTES[whole % 9] + scale / 9 * 4 + BYTES[scale % 9])
}

/// The digits as a SELECT shows them: `-12.340`.
pub(super) fn text(bytes: &[u8], precision: u8, scale: u8) -> Option<String> {
    if bytes.len() != packed_len(precision, scale)? {
        return None;
    }
    let (whole, scale) = (usize::from(precision - scale), usize::from(scale));
    let mut groups = Groups { bytes, first: true, mask: 0 };
    let negative = bytes.first()? & 0x80 == 0;
    groups.mask = if negative { 0xff } else { 0 };
    let mut digits = String::with_capacity(precision.into());
    groups.take(whole % 9, &mut digits)?;
    for _ in 0..whole / 9 {
        groups.take(9, &mut digits)?;
    }
    let mut out = String::with_capacity(digits.len() + scale + 3);
    if negative {
        out.push('-');
    }
    let significant = digits.trim_start_matches('0');
    out.push_str(if significant.is_empty() { "0" } else { significant });
    if scale > 0 {
        out.push('.');
        for _ in 0..scale / 9 {
            groups.take(9, &mut out)?;
        }
        groups.take(scale % 9, &mut out)?;
    }
    Some(out)
}

struct Groups<'a> {
    bytes: &'a [u8],
    /// Whether the next byte is the first, whose upper bit is the sign.
    first: bool,
    mask: u8,
}

impl Groups<'_> {
    /// Appends the next group, of so many digits.
    fn take(&mut self, digits: usize, out: &mut String) -> Option<()> {
        let (group, rest) = self.bytes.split_at_checked(*BYTES.get(digits)?)?;
        self.bytes = rest;
        if group.is_empty() {
            return Some(());
        }
        let mut number = 0_u32;
        for byte in group {
            let byte = if std::mem::take(&mut self.first) { byte ^ 0x80 } else { *byte };
            number = number << 8 | u32::from(byte ^ self.mask);
        }
        // More digits than the group has: not written by a server.
        if number >= 10_u32.pow(u32::try_from(digits).ok()?) {
            return None;
        }
        write!(out, "{number:0digits$}").ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first is the example in the server's own source.
    #[test]
    fn numbers_as_the_server_packs_them() {
        let bytes = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(text(&bytes, 14, 4).as_deref(), Some("1234567890.1234"));
        let negative = bytes.map(|byte| !byte);
        assert_eq!(text(&negative, 14, 4).as_deref(), Some("-1234567890.1234"));
        assert_eq!(text(&[0x80, 0], 3, 2).as_deref(), Some("0.00"));
        assert_eq!(text(&[0x80], 1, 1).as_deref(), Some("0.0"));
        assert_eq!(text(&[0x8a], 1, 0), None);
        assert_eq!(text(&[0x80, 0, 0], 3, 2), None);
        assert_eq!(text(&[], 0, 0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, precision: u8, scale: u8) {
            let _ = text(&bytes, precision, scale);
        }
    }
}
