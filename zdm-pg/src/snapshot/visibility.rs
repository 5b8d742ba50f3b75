//! Which transactions a snapshot has seen.
//!
//! A commit is in the log before a SELECT can see it, so a place in the log
//! does not say what a SELECT has seen: only the snapshot's own list of
//! transactions does. <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT>

use zdm_core::change::Xid;
use zdm_core::connect::Visibility;
use zdm_core::{Error, ErrorKind, Result};

/// Whether a snapshot, written as `pg_current_snapshot()` writes it, has seen
/// a transaction of the log.
///
/// The snapshot's numbers have 64 bits. The log gives the lower 32 of a
/// transaction's; the upper ones are those that put it nearest to the
/// snapshot, since no two transactions that are both of use at one time lie
/// two thousand million apart.
pub(super) fn saw(visibility: &Visibility, xid: Xid) -> Result<bool> {
    let snapshot = Snapshot::parse(&visibility.0).ok_or_else(|| broken("visibility", &visibility.0))?;
    let xid = u64::try_from(xid.0).map_err(|_| broken("xid", xid.0))?;
    let xid = if xid > u64::from(u32::MAX) { xid } else { near(snapshot.xmax, xid) };
    Ok(xid < snapshot.xmin || (xid < snapshot.xmax && !snapshot.running(xid)))
}

fn broken(key: &'static str, value: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Protocol, "what a chunk has seen cannot be read: was the checkpoint edited?")
        .with(key, value)
}

/// The number nearest to `around` with these lower 32 bits.
fn near(around: u64, low: u64) -> u64 {
    const EPOCH: u64 = 1 << 32;
    let same = around & !(EPOCH - 1) | low;
    let (before, after) = (same.checked_sub(EPOCH), same.checked_add(EPOCH));
    [before, after]
        .into_iter()
        .flatten()
        .fold(same, |best, other| if other.abs_diff(around) < best.abs_diff(around) { other } else { best })
}

/// `xmin:xmax:xip,xip`.
struct Snapshot<'a> {
    /// All below had ended.
    xmin: u64,
    /// None from here on had ended.
    xmax: u64,
    /// Those between that were under way. Only of whole transactions: the
    /// log, too, names a transaction by its top.
    running: &'a str,
}

impl<'a> Snapshot<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (xmin, xmax, running) = (parts.next()?, parts.next()?, parts.next()?);
        let well = running.is_empty() || running.split(',').all(|xid| xid.parse::<u64>().is_ok());
        well.then_some(Self { xmin: xmin.parse().ok()?, xmax: xmax.parse().ok()?, running })
    }

    fn running(&self, xid: u64) -> bool {
        self.running.split(',').any(|running| running.parse() == Ok(xid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sees(snapshot: &str, xid: u128) -> bool {
        saw(&Visibility(snapshot.to_owned()), Xid(xid)).unwrap()
    }

    #[test]
    fn transactions_under_way_are_not_seen() {
        assert!(sees("10:20:10,15", 9));
        assert!(!sees("10:20:10,15", 10));
        assert!(sees("10:20:10,15", 11));
        assert!(!sees("10:20:10,15", 15));
        assert!(sees("10:20:10,15", 19));
        assert!(!sees("10:20:10,15", 20));
        assert!(!sees("10:10:", 10));
    }

    #[test]
    fn numbers_wrap_around() {
        const EPOCH: u128 = 1 << 32;
        // The snapshot lies just behind a wrap; the log's number before it.
        let snapshot = format!("{}:{}:{}", EPOCH + 3, EPOCH + 10, EPOCH + 5);
        assert!(sees(&snapshot, EPOCH - 1));
        assert!(sees(&snapshot, 4));
        assert!(!sees(&snapshot, 5));
        assert!(!sees(&snapshot, 10));
        // And just before one; the log's number lies behind it.
        let snapshot = format!("{0}:{0}:", 7 * EPOCH - 2);
        assert!(!sees(&snapshot, 3));
        assert!(sees(&snapshot, EPOCH - 3));
        // A number of 64 bits is taken as it is.
        assert!(!sees(&snapshot, 9 * EPOCH));
        assert!(sees(&snapshot, 2 * EPOCH));
    }

    #[test]
    fn rubbish_is_refused() {
        for text in ["", "1", "1:2", "a:2:", "1:2:x", "1:2:3,"] {
            let error = saw(&Visibility(text.to_owned()), Xid(1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{text}");
        }
        assert!(saw(&Visibility("1:2:".to_owned()), Xid(u128::MAX)).is_err());
    }

    proptest! {
        #[test]
        fn the_nearest_number_is_found(full: u64, apart in -0x7fff_ffff_i64..0x7fff_ffff) {
            if let Some(around) = full.checked_add_signed(apart) {
                prop_assert_eq!(near(around, full & 0xffff_ffff), full);
            }
        }
    }
}
