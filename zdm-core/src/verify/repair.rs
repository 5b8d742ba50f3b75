//! Differences made right: see [`run`](crate::run) for why that is safe while
//! the stream goes on.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

use super::compare::images;
use super::look::{Keys, named};
use super::passing::Passing;
use super::report::Repair;
use super::rows::Side;
use super::settle::Different;
use super::sides::Sides;
use super::unit::Unit;
use crate::change::{Batch, BatchBuilder, Field};
use crate::run::Repairs;
use crate::{ErrorKind, Result};

/// Rows that are repaired in one transaction: together, so that two that hold
/// each other's unique value can change places.
const PAGE: usize = 200;
/// How often a row that goes on changing is tried.
const ATTEMPTS: u32 = 10;

/// Repairs rows of a table with a key, and gives what became of each.
///
/// # Errors
/// When the source fails, or the run has ended.
pub(super) async fn repair(
    sides: &Sides,
    unit: &Arc<Unit>,
    passing: &Passing,
    patience: std::time::Duration,
    repairs: &Repairs,
    different: &[Different],
) -> Result<Vec<Option<Repair>>> {
    let mut became: HashMap<u128, Repair, RandomState> = HashMap::default();
    for page in different.chunks(PAGE) {
        let mut left: Keys =
            page.iter().map(|row| (unit.columns.key_digest(&row.key), row.key.clone())).collect();
        became.extend(left.keys().map(|key| (*key, Repair::Restless)));
        for attempt in 1..=ATTEMPTS {
            let changed = match once(sides, unit, passing, patience, repairs, &left).await {
                Ok(Tried::Done) => Changed::default(),
                Ok(Tried::Changed(changed)) => changed,
                Ok(Tried::Strays(strays)) => {
                    left.extend(strays);
                    continue;
                }
                Ok(Tried::StandsStill) => break,
                Err(error) if matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Unsupported) => {
                    tracing::warn!(table = unit.name(), %error, "the target refuses a repair");
                    became.extend(left.keys().map(|key| (*key, Repair::Failed)));
                    break;
                }
                Err(error) => return Err(error),
            };
            if changed.is_empty() {
                became.extend(left.keys().map(|key| (*key, Repair::Done)));
                break;
            }
            // One that does not rest must not keep the others waiting.
            if attempt > ATTEMPTS / 2 {
                left.retain(|key, _| !changed.contains(key));
            }
            if left.is_empty() {
                break;
            }
        }
    }
    Ok(different.iter().map(|row| became.get(&unit.columns.key_digest(&row.key)).copied()).collect())
}

type Changed = HashSet<u128, RandomState>;

/// How an attempt has ended.
enum Tried {
    Done,
    /// These keys have changed meanwhile, and nothing was written.
    Changed(Changed),
    /// To the source a key equals these other spellings: both are repaired
    /// together.
    Strays(Keys),
    /// The stream makes no headway.
    StandsStill,
}

async fn once(
    sides: &Sides,
    unit: &Arc<Unit>,
    passing: &Passing,
    patience: std::time::Duration,
    repairs: &Repairs,
    keys: &Keys,
) -> Result<Tried> {
    let key_of = {
        let unit = Arc::clone(unit);
        Box::new(move |image: &crate::change::Image<'_>| {
            unit.columns.image_key_digest(image, Side::Source, &mut Vec::new())
        })
    };
    let watching = repairs.watch(unit.staged.name.clone(), keys.keys().copied(), key_of);
    let pairs: Vec<_> = keys.iter().collect();
    let rows = named(sides, unit, Side::Source, &pairs).await?;
    let mut strays = Keys::default();
    for image in images(&rows) {
        let digest = unit.columns.image_key_digest(&image, Side::Source, &mut Vec::new())?;
        if !keys.contains_key(&digest) {
            strays.insert(digest, unit.columns.key_of(&image, Side::Source)?);
        }
    }
    if !strays.is_empty() {
        return Ok(Tried::Strays(strays));
    }
    let here = sides.source.here().await?;
    if !passing.wait(&here, patience).await? {
        return Ok(Tried::StandsStill);
    }
    let rows = right(unit, keys, &rows)?;
    let changed: Changed = watching.repair(rows).await?.into_iter().collect();
    Ok(if changed.is_empty() { Tried::Done } else { Tried::Changed(changed) })
}

/// Deletes of the keys that the source has not, and its rows for the others.
fn right(unit: &Unit, keys: &Keys, rows: &Batch) -> Result<Batch> {
    let mut there = HashSet::<u128, RandomState>::default();
    let mut batch = BatchBuilder::new();
    batch.begin(0);
    let mut scratch = Vec::new();
    for image in images(rows) {
        there.insert(unit.columns.image_key_digest(&image, Side::Source, &mut scratch)?);
        let mut fields = Vec::with_capacity(unit.staged.columns.len());
        for cell in image.cells() {
            fields.push(if cell.is_unchanged() { Field::Unchanged } else { Field::Value(cell.value()?) });
        }
        batch.insert(&unit.staged, fields)?;
    }
    for (_, key) in keys.iter().filter(|(digest, _)| !there.contains(*digest)) {
        batch.delete(&unit.staged, unit.columns.fields(&unit.staged, Side::Source, key))?;
    }
    Ok(batch.finish())
}
