//! Points in the write-ahead log. Nothing else reads a position of this engine.

use std::fmt;
use std::str::FromStr;

use zdm_core::{Engine, Error, ErrorKind, Position, Result};

/// The name that is written into checkpoints.
pub(crate) const ENGINE: Engine = Engine::new("postgresql");

/// A byte of the write-ahead log, counted from its beginning.
///
/// As the position of a commit it is the *end* of the commit record, so that a
/// stream from there begins with the next transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    /// Reads a position of this engine.
    ///
    /// # Errors
    /// `Config` for another engine's, `Protocol` for what is no LSN.
    pub(crate) fn of(position: &Position) -> Result<Self> {
        position.of(&ENGINE)?.parse()
    }
}

impl FromStr for Lsn {
    type Err = Error;

    /// `16/B374D848`: two halves in hexadecimal, as the server writes them.
    fn from_str(text: &str) -> Result<Self> {
        let half = |half: &str| {
            // `from_str_radix` would take a sign as well.
            let digits = matches!(half.len(), 1..=8) && half.bytes().all(|b| b.is_ascii_hexdigit());
            if digits { u32::from_str_radix(half, 16).ok() } else { None }
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?))))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Protocol,
                    "not a point in the write-ahead log: one looks like 16/B374D848",
                )
                .with("got", text)
            })
    }
}

impl From<Lsn> for Position {
    fn from(lsn: Lsn) -> Self {
        Self::new(ENGINE, lsn.to_string())
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_lsn_is_refused() {
        for text in ["", "/", "0", "0/", "+1/0", "1/123456789", "g/0", "0/0/0", " 0/0"] {
            assert_eq!(text.parse::<Lsn>().unwrap_err().kind(), ErrorKind::Protocol, "{text}");
        }
        let other = Position::new(Engine::new("mysql"), "0/0");
        assert_eq!(Lsn::of(&other).unwrap_err().kind(), ErrorKind::Config);
    }

    proptest! {
        #[test]
        fn a_position_comes_back(lsn: u64) {
            let position = Position::from(Lsn(lsn));
            prop_assert_eq!(Lsn::of(&position).unwrap(), Lsn(lsn));
        }
    }

    #[test]
    fn shown_as_the_server_shows_it() {
        assert_eq!("16/b374d848".parse::<Lsn>().unwrap().to_string(), "16/B374D848");
        assert_eq!(Lsn(0).to_string(), "0/0");
    }
}
