//! One part: digests of both sides first, and keys only of what differs.

use foldhash::fast::RandomState;
use futures::TryStreamExt as _;
use hashbrown::HashMap;
use tokio::sync::mpsc;

use super::digest::{Buckets, Chosen, Digest};
use super::rows::{KeyValues, Side};
use super::sides::{Ranges, Sides};
use super::unit::Unit;
use crate::change::{Batch, Image};
use crate::{Error, Result};

/// Rows of one side, at most about, of which keys are kept at once.
const KEPT: u64 = 100_000;

/// Rows that go together, on both sides.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) source: Ranges,
    pub(super) target: Ranges,
    /// Rows that it has, about.
    pub(super) rows: u64,
}

/// Rows that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) source: u64,
    pub(super) target: u64,
}

/// What a row of the target that is not met yet is known by.
struct Unmet {
    row: u128,
    /// Rows of the target less those of the source.
    balance: i64,
    key: KeyValues,
}

/// What whoever settles suspects is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Rows of a unit that differ at first sight, by their keys.
    Suspects { unit: usize, keys: Vec<KeyValues> },
    /// All suspects of a part were told before.
    Done { unit: usize, number: usize, counted: Counted },
}

/// Suspects that are told at once, at most.
const TOLD: usize = 5_000;

/// Tells the suspects of a unit, and waits for room.
#[derive(Debug)]
pub(super) struct Suspects<'a> {
    pub(super) unit: usize,
    pub(super) messages: &'a mpsc::Sender<Message>,
}

impl Suspects<'_> {
    async fn tell(&self, mut keys: Vec<KeyValues>) -> Result<()> {
        while !keys.is_empty() {
            let rest = keys.split_off(keys.len().min(TOLD));
            let keys = std::mem::replace(&mut keys, rest);
            // Nobody is there when the verification was given up.
            let told = self.messages.send(Message::Suspects { unit: self.unit, keys }).await;
            told.map_err(|_| Error::cancelled())?;
        }
        Ok(())
    }
}

/// Compares a part, and tells the keys of rows that differ.
///
/// # Errors
/// When a side fails: the part is compared again from its beginning.
pub(super) async fn compare(
    sides: &Sides,
    unit: &Unit,
    part: &Part,
    suspects: &Suspects<'_>,
) -> Result<Counted> {
    let mut source = Buckets::for_rows(part.rows);
    let mut target = source.clone();
    futures::try_join!(
        sum(sides, unit, Side::Source, &part.source, &mut source),
        sum(sides, unit, Side::Target, &part.target, &mut target),
    )?;
    for chosen in source.differing(&target, KEPT) {
        single_out(sides, unit, part, &chosen, suspects).await?;
    }
    Ok(Counted { source: source.rows(), target: target.rows() })
}

/// The first pass over a side.
async fn sum(sides: &Sides, unit: &Unit, side: Side, ranges: &Ranges, sums: &mut Buckets) -> Result<()> {
    let mut rows = sides.rows(side, ranges);
    let mut scratch = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        for image in images(&batch) {
            sums.add(unit.columns.digest(&image, side, &mut scratch)?);
        }
    }
    Ok(())
}

/// The second pass over both, for the rows of some buckets: the target's are
/// remembered, and the source's meet them.
async fn single_out(
    sides: &Sides,
    unit: &Unit,
    part: &Part,
    chosen: &Chosen,
    suspects: &Suspects<'_>,
) -> Result<()> {
    let keyed = unit.staged.has_key();
    let mut unmet: HashMap<u128, Unmet, RandomState> = HashMap::default();
    let mut scratch = Vec::new();
    let columns = &unit.columns;
    let mut rows = sides.rows(Side::Target, &part.target);
    while let Some(batch) = rows.try_next().await? {
        for image in images(&batch) {
            let Digest { key, row } = columns.digest(&image, Side::Target, &mut scratch)?;
            if !chosen.has(key) {
                continue;
            }
            match unmet.get_mut(&key) {
                Some(known) => known.balance += 1,
                None => {
                    let key_values = columns.key_of(&image, Side::Target)?;
                    unmet.insert(key, Unmet { row, balance: 1, key: key_values });
                }
            }
        }
    }
    let mut rows = sides.rows(Side::Source, &part.source);
    while let Some(batch) = rows.try_next().await? {
        let mut found = Vec::new();
        for image in images(&batch) {
            let Digest { key, row } = columns.digest(&image, Side::Source, &mut scratch)?;
            if !chosen.has(key) {
                continue;
            }
            match unmet.get_mut(&key) {
                // Equal rows of a table with no key are counted.
                Some(known) if !keyed => known.balance -= 1,
                Some(known) => {
                    if known.row != row || known.balance != 1 {
                        found.push(columns.key_of(&image, Side::Source)?);
                    }
                    unmet.remove(&key);
                }
                None => {
                    let key_values = columns.key_of(&image, Side::Source)?;
                    if keyed {
                        found.push(key_values);
                    } else {
                        unmet.insert(key, Unmet { row, balance: -1, key: key_values });
                    }
                }
            }
        }
        if !found.is_empty() {
            suspects.tell(found).await?;
        }
    }
    let left = unmet.into_values().filter(|row| row.balance != 0).map(|row| row.key).collect();
    suspects.tell(left).await
}

/// The rows of a batch, as they are.
pub(super) fn images(batch: &Batch) -> impl Iterator<Item = Image<'_>> {
    batch.rows().filter_map(|row| row.after())
}
