//! Rows that are taken back behind them in the log.
//!
//! What is rolled back is not logged, but where it was done beside something
//! that no engine takes back. MariaDB has all of it in the log then, and the
//! rollback behind it: a whole transaction in which a temporary table was made
//! or dropped, with `ROLLBACK` for its end; and what came since a savepoint,
//! with `ROLLBACK TO`, where the transaction had changed a MyISAM, Aria or
//! MEMORY table before. The rows of those tables stay: they are a group of
//! their own in the log, ahead of the one that is rolled back. Nothing at the
//! beginning of a group tells how it ends, its flags included.
//!
//! So a batch is not handed over within a transaction as long as it has room,
//! and rows are taken out of it again: [`Moments`] says where. Of a
//! transaction larger than a batch some have been handed over by then, never
//! with a commit. Such a stream reads on to the transaction's end, to learn
//! what of it counts, and fails: the next one of this source knows by
//! [`Undone`] what to pass over. A process that was started anew learns it
//! anew. So nothing is kept in memory or on disk, however large it is.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use smol_str::SmolStr;
use zdm_core::change::Mark;
use zdm_core::{Error, ErrorKind, Result};

use super::aside::Kept;
use super::place::Name;
use crate::position::FilePoint;

/// Transactions that are remembered. Who meets more of them before anything
/// becomes durable learns the oldest anew.
const REMEMBERED: usize = 1 << 10;

/// A moment of the open transaction, to which it can be taken back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    /// Events of rows that the log had for it by then.
    pub(super) rows: u64,
    /// How many of these were put into batches.
    pub(super) added: u64,
    /// Whether its begin was.
    pub(super) told: bool,
    /// What the batch held; `None` once some of what came since was handed over.
    pub(super) mark: Option<Mark>,
    /// What was kept aside of it.
    pub(super) kept: Kept,
}

/// The moments of the open transaction.
#[derive(Debug, Default)]
pub(super) struct Moments {
    begin: Moment,
    savepoints: Vec<(SmolStr, Moment)>,
    /// There are some whose name is not told apart from others here.
    unnamed: bool,
}

impl Moments {
    /// Its begin.
    pub(super) fn begin(&self) -> Moment {
        self.begin
    }

    /// Its begin is put into a batch, which holds that.
    pub(super) fn begins_at(&mut self, mark: Mark) {
        self.begin.mark = Some(mark);
    }

    /// A savepoint. One of the same name is gone: those of functions and
    /// triggers, which have a level of their own, are not logged.
    pub(super) fn save(&mut self, name: Option<SmolStr>, moment: Moment) {
        let Some(name) = name else {
            self.unnamed = true;
            return;
        };
        self.savepoints.retain(|(known, _)| *known != name);
        self.savepoints.push((name, moment));
    }

    /// The moment of that savepoint, which is the newest one from here on.
    /// Those that were released are still there; nobody goes back to them.
    ///
    /// # Errors
    /// `Unsupported` where it cannot be known which one is meant.
    pub(super) fn back_to(&mut self, name: Option<&SmolStr>) -> Result<Moment> {
        // The newest that may be meant, and only if that is sure.
        let found = name.and_then(|name| {
            let at = self.savepoints.iter().rposition(|(known, _)| may_be_one(known, name))?;
            (self.savepoints[at].0 == *name).then_some(at)
        });
        let Some(at) = found.filter(|_| !self.unnamed) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "rows were logged and then rolled back to a savepoint, and by its name it cannot be known which one: \
                 start the run anew, and give savepoints names of ASCII letters, or of unlike lengths",
            ));
        };
        self.savepoints.truncate(at + 1);
        // OK to index because it was just found.
        Ok(self.savepoints[at].1)
    }

    /// The batch is handed over, with so many of the transaction's events in
    /// it and those before it. A moment that nothing has followed is that of
    /// the next batch's beginning.
    pub(super) fn handed_over(&mut self, added: u64, told: bool) {
        let all = self.savepoints.iter_mut().map(|(_, moment)| moment).chain([&mut self.begin]);
        for moment in all {
            moment.mark = (moment.added == added && moment.told == told).then(Mark::default);
        }
    }
}

/// Whether a server may take two names of savepoints for one. It compares them
/// as texts, character by character: `é` may be `e`, but no two letters of ASCII
/// are one, and nothing is left out but blanks at the end.
/// <https://dev.mysql.com/doc/refman/en/charset-unicode-sets.html>
fn may_be_one(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.trim_end_matches(' ').chars(), b.trim_end_matches(' ').chars());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || !a.is_ascii() || !b.is_ascii() => {}
            _ => return false,
        }
    }
}

/// Which of the events of rows of a transaction do not count.
pub(super) type Ranges = Vec<Range<u64>>;

/// What streams of one source have learned of transactions that were too
/// large to be taken back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Undone(Arc<Mutex<VecDeque<(Which, Ranges)>>>);

/// A transaction in the log of one server, told apart from one that has the
/// same name and place in a log that was reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Which {
    pub(super) server: u32,
    pub(super) name: Name,
    pub(super) begins: FilePoint,
    /// Seconds since 1970.
    pub(super) written: u32,
}

impl Undone {
    /// What is known of that transaction.
    pub(super) fn of(&self, which: impl FnOnce() -> Which) -> Ranges {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return Ranges::new();
        }
        let which = which();
        known.iter().find(|(one, _)| *one == which).map(|(_, ranges)| ranges.clone()).unwrap_or_default()
    }

    /// Remembers it, and gives the error with which the stream ends.
    pub(super) fn learn(&self, which: Which, ranges: Ranges) -> Error {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(one, _)| *one != which);
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        let error = Error::new(
            ErrorKind::Connection,
            "a transaction larger than a batch was rolled back behind its rows in the log: it is read again, and they \
             are left out",
        )
        .with("position", &which.begins);
        known.push_back((which, ranges));
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_is_known_by_its_last_place() {
        let at = |rows| Moment { rows, ..Moment::default() };
        let mut moments = Moments::default();
        for (name, rows) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            moments.save(Some(name.into()), at(rows));
        }
        assert_eq!(moments.back_to(Some(&"a".into())).unwrap().rows, 3);
        // What came later is gone with it, what came before is not.
        assert!(moments.back_to(Some(&"c".into())).is_err());
        assert_eq!(moments.back_to(Some(&"a".into())).unwrap().rows, 3);
        assert_eq!(moments.back_to(Some(&"b".into())).unwrap().rows, 2);
        assert!(moments.back_to(None).is_err());
        moments.save(None, at(5));
        assert!(moments.back_to(Some(&"b".into())).is_err());
    }

    /// To a server `e` may be `é`, and `ss` is never `ß`.
    #[test]
    fn a_savepoint_of_any_letters_is_known_where_it_is_sure_which_one_is_meant() {
        let at = |rows| Moment { rows, ..Moment::default() };
        let back = |saved: &[&str], name: &str| {
            let mut moments = Moments::default();
            for (rows, name) in (1..).zip(saved) {
                moments.save(Some((*name).into()), at(rows));
            }
            moments.back_to(Some(&name.into())).ok().map(|moment| moment.rows)
        };
        assert_eq!(back(&["größe"], "größe"), Some(1));
        assert_eq!(back(&["größe", "größer", "grünes"], "größe"), Some(1));
        // What is newer may have taken its name.
        assert_eq!(back(&["größe", "gröse", "GRÖSSE"], "größe"), None);
        assert_eq!(back(&["größe", "größe "], "größe"), None);
        assert_eq!(back(&["e", "é"], "e"), None);
        assert_eq!(back(&["é", "e"], "e"), Some(2));
        assert_eq!(back(&["日本", "b"], "日本"), Some(1));
        assert_eq!(back(&["日本"], "本日"), None);
    }

    #[test]
    fn so_many_transactions_are_remembered() {
        let undone = Undone::default();
        let which = |number: usize| Which {
            server: 1,
            name: Name::None,
            begins: FilePoint::new("b.1", number as u64).unwrap(),
            written: 0,
        };
        for number in 0..=REMEMBERED {
            let _ = undone.learn(which(number), vec![0..1, 5..6]);
        }
        assert!(undone.of(|| which(0)).is_empty());
        assert_eq!(undone.of(|| which(1)), [0..1, 5..6]);
        assert_eq!(undone.0.lock().unwrap().len(), REMEMBERED);
    }
}
