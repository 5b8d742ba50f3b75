//! Which suspects really differ: each is looked at again by its key, behind
//! the stream, until it is equal, or different for certain.
//!
//! A round reads a row at the source, waits until the target has everything
//! up to the point behind that read, and then reads the row at the target. A
//! row that nobody has written meanwhile is then the same on both sides, or
//! has been moved wrongly. That somebody has written it meanwhile shows in
//! the next round: a row is called different when several rounds in a row
//! have found the *same* cells to differ in the *same* values, or the same
//! side to lack it. What changes all the time in some columns and stands still
//! in a wrong one is found by that one. What never rests is
//! [unsettled](super::TableReport::unsettled), which is neither equal nor
//! different.
//!
//! A writer that wrote a row to and fro, and was at one value each time that
//! the source was read and at the other each time that the target was, would
//! be called different: rounds lie a random while apart, lest anybody keeps
//! their time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::VerifyOptions;
use super::look::{Found, Keys, Looked, look};
use super::passing::Passing;
use super::report::Kind;
use super::rows::{KeyValues, Side};
use super::sides::Sides;
use super::unit::Unit;
use crate::Result;

/// A row that differs.
#[derive(Debug)]
pub(super) struct Different {
    pub(super) key: KeyValues,
    pub(super) kind: Kind,
    /// The columns, as places among the compared ones.
    pub(super) columns: Vec<usize>,
    pub(super) rows: u64,
}

/// What has become of suspects.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) different: Vec<Different>,
    /// Those that never rested.
    pub(super) unsettled: Keys,
}

/// What the rounds so far have found of one row.
#[derive(Debug)]
pub(super) struct Seen {
    source: Option<Found>,
    target: Option<Found>,
    /// The columns that have differed in the same values ever since.
    columns: Vec<usize>,
    rounds: u32,
}

/// Suspects by the places of their units.
pub(super) type Suspected = BTreeMap<usize, Keys>;

/// Settles suspects, all tables at once: the stream is waited for once in a
/// round, of which there are as many as `looks` at most.
///
/// # Errors
/// When a side fails.
pub(super) async fn settle(
    sides: &Sides,
    units: &[Arc<Unit>],
    passing: &Passing,
    options: &VerifyOptions,
    looks: u32,
    mut suspects: Suspected,
) -> Result<BTreeMap<usize, Settled>> {
    let mut settled: BTreeMap<usize, Settled> =
        suspects.keys().map(|unit| (*unit, Settled::default())).collect();
    let mut seen: HashMap<(usize, u128), Seen, RandomState> = HashMap::default();
    let rounds = passing.rounds(options.rounds).max(1);
    for attempt in 1..=looks {
        let mut source = looked(sides, units, Side::Source, &suspects).await?;
        let here = match passing {
            Passing::Rest => None,
            Passing::Followed { .. } => Some(sides.source.here().await?),
        };
        if let Some(here) = &here
            && !passing.wait(here, options.patience).await?
        {
            tracing::warn!(
                point = %here,
                "the target does not come to where the source was read: does anybody follow the run?"
            );
            break;
        }
        let mut target = looked(sides, units, Side::Target, &suspects).await?;
        for (unit, suspects) in &mut suspects {
            let (source, target) =
                (source.remove(unit).unwrap_or_default(), target.remove(unit).unwrap_or_default());
            let strays = source.strays.into_iter().chain(target.strays);
            let (mut source, mut target) = (source.rows, target.rows);
            let different = &mut settled.entry(*unit).or_default().different;
            suspects.retain(|digest, key| {
                let (source, target) = (source.remove(digest), target.remove(digest));
                if source == target {
                    return false;
                }
                let now = Seen::next(seen.remove(&(*unit, *digest)), source, target);
                if now.rounds >= rounds {
                    different.push(now.verdict(std::mem::take(key)));
                    return false;
                }
                seen.insert((*unit, *digest), now);
                true
            });
            for (digest, key) in strays {
                suspects.entry(digest).or_insert(key);
            }
        }
        suspects.retain(|_, suspects| !suspects.is_empty());
        if suspects.is_empty() {
            break;
        }
        if attempt < looks {
            tokio::time::sleep(pause(attempt)).await;
        }
    }
    for (unit, suspects) in suspects {
        settled.entry(unit).or_default().unsettled = suspects;
    }
    Ok(settled)
}

async fn looked(
    sides: &Sides,
    units: &[Arc<Unit>],
    side: Side,
    suspects: &Suspected,
) -> Result<BTreeMap<usize, Looked>> {
    let mut rows = BTreeMap::new();
    for (unit, keys) in suspects {
        let found = look(sides, &units[*unit], side, keys).await;
        rows.insert(*unit, found.map_err(|error| error.with("table", units[*unit].name()))?);
    }
    Ok(rows)
}

/// Longer from round to round: a row that is written often rests at some time.
fn pause(attempt: u32) -> Duration {
    Duration::from_millis(fastrand::u64(10..40 * u64::from(attempt.min(10)) + 11))
}

impl Seen {
    /// What this round adds, for a row that differs in it.
    pub(super) fn next(before: Option<Self>, source: Option<Found>, target: Option<Found>) -> Self {
        let differ = differing(source.as_ref(), target.as_ref());
        let fresh = |source, target, columns| Self { source, target, columns, rounds: 1 };
        let Some(before) = before else { return fresh(source, target, differ) };
        let goes_on = match (&before.source, &before.target, &source, &target) {
            // Absent on one side, as before: what the other one has may change.
            (Some(_), None, Some(_), None) | (None, Some(_), None, Some(_)) => {
                return Self { source, target, columns: Vec::new(), rounds: before.rounds + 1 };
            }
            (Some(s), Some(t), Some(now_s), Some(now_t)) => {
                let same =
                    |at: &usize| s.columns[*at] == now_s.columns[*at] && t.columns[*at] == now_t.columns[*at];
                let counts = (s.times, t.times) == (now_s.times, now_t.times);
                let columns: Vec<usize> =
                    before.columns.iter().copied().filter(|at| differ.contains(at) && same(at)).collect();
                (!columns.is_empty() || (differ.is_empty() && counts)).then_some(columns)
            }
            _ => None,
        };
        match goes_on {
            Some(columns) => Self { source, target, columns, rounds: before.rounds + 1 },
            None => fresh(source, target, differ),
        }
    }

    pub(super) fn verdict(self, key: KeyValues) -> Different {
        let times = |found: &Option<Found>| found.as_ref().map_or(0, |found| found.times);
        let (source, target) = (times(&self.source), times(&self.target));
        let kind = match source.cmp(&target) {
            std::cmp::Ordering::Greater => Kind::Missing,
            std::cmp::Ordering::Less => Kind::Extra,
            std::cmp::Ordering::Equal => Kind::Changed,
        };
        let rows = if kind == Kind::Changed { 1 } else { source.abs_diff(target) };
        Different { key, kind, columns: self.columns, rows }
    }
}

/// The columns in which two rows that are there differ.
fn differing(source: Option<&Found>, target: Option<&Found>) -> Vec<usize> {
    match (source, target) {
        (Some(source), Some(target)) => {
            let pairs = source.columns.iter().zip(&target.columns).enumerate();
            pairs.filter(|(_, (source, target))| source != target).map(|(at, _)| at).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(columns: &[u128]) -> Option<Found> {
        Some(Found { columns: columns.to_vec(), times: 1 })
    }

    /// Rounds of a row, each the source's columns and the target's.
    fn rounds(rounds: &[(Option<Found>, Option<Found>)]) -> Seen {
        let mut seen = None;
        for (source, target) in rounds.iter().cloned() {
            seen = Some(Seen::next(seen, source, target));
        }
        seen.unwrap()
    }

    #[test]
    fn only_what_stands_still_counts() {
        let still = rounds(&[(found(&[1, 5]), found(&[2, 5])), (found(&[1, 5]), found(&[2, 5]))]);
        assert_eq!((still.rounds, still.columns.as_slice()), (2, &[0][..]));
        // A counter that goes on, and a wrong column beside it.
        let beside = rounds(&[
            (found(&[1, 5]), found(&[2, 4])),
            (found(&[1, 7]), found(&[2, 6])),
            (found(&[1, 9]), found(&[2, 8])),
        ]);
        assert_eq!((beside.rounds, beside.columns.as_slice()), (3, &[0][..]));
        let counter = rounds(&[(found(&[5]), found(&[4])), (found(&[7]), found(&[6]))]);
        assert_eq!(counter.rounds, 1, "it only goes on");
        let changing = rounds(&[(found(&[5]), None), (found(&[7]), None)]);
        assert_eq!((changing.rounds, changing.verdict(Vec::new()).kind), (2, Kind::Missing));
        let turned = rounds(&[(found(&[5]), None), (None, found(&[5]))]);
        assert_eq!(turned.rounds, 1, "it came and went");
    }

    #[test]
    fn equal_rows_are_counted() {
        let times = |times| Some(Found { columns: vec![1], times });
        let more = rounds(&[(times(3), times(1)), (times(3), times(1))]);
        assert_eq!(more.rounds, 2);
        let verdict = more.verdict(Vec::new());
        assert_eq!((verdict.kind, verdict.rows), (Kind::Missing, 2));
        let moving = rounds(&[(times(3), times(1)), (times(4), times(2))]);
        assert_eq!(moving.rounds, 1);
    }
}
