//! A place in a text that is being read, byte by byte.

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl Cursor<'_> {
    /// Takes that byte, if it comes next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.0 = &self.0[1..];
        }
        there
    }

    /// Takes these bytes, if they come next.
    pub(super) fn eat_all(&mut self, bytes: &[u8]) -> bool {
        let rest = self.0.strip_prefix(bytes);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// A whole number of at least `least` digits and at most 18, so that it
    /// fits.
    pub(super) fn digits(&mut self, least: usize) -> Option<i64> {
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len < least || len > 18 || len == 0 {
            return None;
        }
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// Nanoseconds of a fraction such as `.789`, 0 where there is none.
    pub(super) fn fraction(&mut self) -> Option<i64> {
        if !self.eat(b'.') {
            return Some(0);
        }
        let before = self.0.len();
        let number = self.digits(1)?;
        // OK because `digits` takes at most 18 of them.
        let len = u32::try_from(before - self.0.len()).ok()?;
        if len > 9 {
            return None;
        }
        Some(number * 10_i64.pow(9 - len))
    }

    /// Whether everything has been read.
    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
