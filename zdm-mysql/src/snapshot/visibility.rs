//! Which transactions a snapshot has seen.
//!
//! MariaDB tells the place of a consistent snapshot in its log, hence the last
//! transaction of each domain that it has seen. MySQL does not: there the
//! snapshot is opened while nobody can write to the table, and the end of the
//! log at that moment divides what it has seen of that table from the rest.
//! The stream numbers transactions in the same words: by domain, server and
//! number on MariaDB, by file and offset on MySQL.

use zdm_core::change::Xid;
use zdm_core::connect::Visibility;
use zdm_core::{Error, ErrorKind, Result};

use crate::position::{Coordinates, Domains};

/// What a snapshot has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// All of each domain up to these transactions.
    Domains(Domains),
    /// All that begins before that place.
    Place(Coordinates),
}

impl Seen {
    /// Whether it has seen a transaction of the stream.
    pub(super) fn has(&self, xid: Xid) -> bool {
        let lower = xid.0 & u128::from(u64::MAX);
        match self {
            Self::Domains(domains) => domains
                .iter()
                .any(|last| u128::from(last.domain) == xid.0 >> 96 && u128::from(last.number) >= lower),
            Self::Place(at) => {
                (xid.0 >> 64, lower) < (u128::from(at.point.number()), u128::from(at.point.offset))
            }
        }
    }
}

impl From<&Seen> for Visibility {
    fn from(seen: &Seen) -> Self {
        Self(match seen {
            Seen::Domains(domains) => domains.to_string(),
            Seen::Place(at) => at.to_string(),
        })
    }
}

/// Whether a chunk with that visibility has seen a transaction.
///
/// # Errors
/// `Protocol` when it is none of ours.
pub(super) fn saw(visibility: &Visibility, xid: Xid) -> Result<bool> {
    let text = &visibility.0;
    // Only coordinates have a slash.
    let seen =
        if text.contains('/') { text.parse().map(Seen::Place) } else { text.parse().map(Seen::Domains) };
    seen.map(|seen| seen.has(xid)).map_err(|error| {
        Error::new(ErrorKind::Protocol, "what a chunk has seen cannot be read: was the checkpoint edited?")
            .with("visibility", text)
            .caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sees(visibility: &str, xid: u128) -> bool {
        saw(&Visibility(visibility.to_owned()), Xid(xid)).unwrap()
    }

    #[test]
    fn places_divide_what_was_seen_from_what_comes() {
        let xid = |file: u128, offset: u128| file << 64 | offset;
        assert!(sees("1/binlog.000012:4711", xid(12, 4710)));
        assert!(!sees("1/binlog.000012:4711", xid(12, 4711)));
        assert!(sees("1/binlog.000012:4711", xid(11, 99_999)));
        assert!(!sees("1/binlog.000012:4711", xid(13, 4)));
    }

    #[test]
    fn numbers_count_within_a_domain_whichever_server_wrote_them() {
        let xid = |domain: u128, server: u128, number: u128| domain << 96 | server << 64 | number;
        assert!(sees("0-1-270,2-3-5", xid(0, 9, 270)));
        assert!(!sees("0-1-270,2-3-5", xid(0, 1, 271)));
        assert!(sees("0-1-270,2-3-5", xid(2, 3, 5)));
        assert!(!sees("0-1-270,2-3-5", xid(1, 1, 1)));
        assert!(!sees("", xid(0, 1, 1)));
    }

    #[test]
    fn rubbish_is_refused() {
        for text in ["x", "1:2:", "1/2", "0-1"] {
            let error = saw(&Visibility(text.to_owned()), Xid(1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{text}");
        }
    }
}
