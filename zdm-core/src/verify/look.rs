//! Some rows of one side, by their keys.

use std::sync::atomic::Ordering;

use foldhash::fast::RandomState;
use futures::TryStreamExt as _;
use hashbrown::HashMap;

use super::compare::images;
use super::rows::{KeyValues, Side};
use super::sides::Sides;
use super::unit::Unit;
use crate::change::Batch;
pub(super) use crate::run::Keys;
use crate::{ErrorKind, Result};

/// Keys that one statement names.
const PAGE: usize = 500;

/// A row as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The canonical digest of each column.
    pub(super) columns: Vec<u128>,
    /// How many rows are equal to it, in a table with no key.
    pub(super) times: u64,
}

/// Rows by the digests of their keys.
pub(super) type Rows = HashMap<u128, Found, RandomState>;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) rows: Rows,
    /// Keys of rows that nobody has asked for, and that the server found all
    /// the same: to it a key equals another spelling of it. Under the spelling
    /// that was asked for nothing is there; these are suspects of their own.
    pub(super) strays: Keys,
}

/// The rows that are there of those that the keys name.
///
/// # Errors
/// When the side fails.
pub(super) async fn look(sides: &Sides, unit: &Unit, side: Side, keys: &Keys) -> Result<Looked> {
    let mut looked = Looked::default();
    if scans(unit, side) {
        return scan(sides, unit, side, keys).await;
    }
    let all: Vec<(&u128, &KeyValues)> = keys.iter().collect();
    for page in all.chunks(PAGE) {
        match by_key(sides, unit, side, page, &mut looked).await {
            Ok(()) => {}
            // The stages cannot lead a key back to the source.
            Err(error) if side == Side::Source && error.kind() == ErrorKind::Unsupported => {
                unit.scans.store(true, Ordering::Relaxed);
                return scan(sides, unit, side, keys).await;
            }
            // A key that this side's type cannot hold: it has no such row.
            Err(error) if error.kind() == ErrorKind::Rejected && page.len() > 1 => {
                for one in page.chunks(1) {
                    match by_key(sides, unit, side, one, &mut looked).await {
                        Err(error) if error.kind() == ErrorKind::Rejected => {}
                        done => done?,
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::Rejected => {}
            Err(error) => return Err(error),
        }
    }
    Ok(looked)
}

fn scans(unit: &Unit, side: Side) -> bool {
    match side {
        Side::Source => {
            !unit.staged.has_key() || unit.sources.len() > 1 || unit.scans.load(Ordering::Relaxed)
        }
        Side::Target => !unit.keyed_there,
    }
}

async fn by_key(
    sides: &Sides,
    unit: &Unit,
    side: Side,
    keys: &[(&u128, &KeyValues)],
    looked: &mut Looked,
) -> Result<()> {
    let found = named(sides, unit, side, keys).await?;
    let mut scratch = Vec::new();
    for image in images(&found) {
        let canonical = unit.columns.canonical(&image, side, &mut scratch)?;
        if !keys.iter().any(|(key, _)| **key == canonical.key) {
            looked.strays.insert(canonical.key, unit.columns.key_of(&image, side)?);
        }
        looked.rows.insert(canonical.key, Found { columns: canonical.columns, times: 1 });
    }
    Ok(())
}

/// What the server has under some keys, behind the stages.
pub(super) async fn named(
    sides: &Sides,
    unit: &Unit,
    side: Side,
    keys: &[(&u128, &KeyValues)],
) -> Result<Batch> {
    let keys = keys.iter().map(|(_, key)| *key);
    match side {
        Side::Target => {
            let deletes = unit.columns.deletes(&unit.there, side, keys)?;
            sides.target.look(&unit.there, &deletes).await
        }
        Side::Source => {
            let deletes = unit.columns.deletes(&unit.staged, side, keys)?;
            let (table, deletes) = sides.stages.keys_back(&unit.staged, deletes)?;
            let rows = sides.source.look(&table, &deletes).await?;
            sides.staged(side, rows)
        }
    }
}

/// All rows of the table are read, for tables whose rows no key finds.
async fn scan(sides: &Sides, unit: &Unit, side: Side, keys: &Keys) -> Result<Looked> {
    let mut rows = Rows::default();
    let mut scratch = Vec::new();
    let ranges = sides.whole(side, unit)?;
    let mut batches = sides.rows(side, &ranges);
    while let Some(batch) = batches.try_next().await? {
        for image in images(&batch) {
            let canonical = unit.columns.canonical(&image, side, &mut scratch)?;
            if !keys.contains_key(&canonical.key) {
                continue;
            }
            let found = rows.entry(canonical.key);
            found
                .and_modify(|found| found.times += 1)
                .or_insert(Found { columns: canonical.columns, times: 1 });
        }
    }
    Ok(Looked { rows, ..Looked::default() })
}
