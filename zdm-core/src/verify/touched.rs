//! What was touched since a verification, compared again: behind the stream
//! while both sides change, and for good under a fence, when neither does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::look::{Keys, Looked, look};
use super::passing::Passing;
use super::rows::{KeyValues, Side};
use super::settle::{Seen, Suspected, settle};
use super::sides::Sides;
use super::unit::Unit;
use super::work::tell;
use super::{Difference, Report, VerifyOptions};
use crate::Result;
use crate::change::DateTime;
use crate::run::{Equal, Keyed, Touched};
use crate::schema::TableName;

/// Tables that are looked at side by side: each takes a connection to either
/// side, and pools keep eight.
const SIDE_BY_SIDE: usize = 4;
/// Keys that are looked for at once.
const AT_ONCE: usize = 500;
/// How often a row must be found to differ, while both sides change.
pub(crate) const LOOKS: u32 = 3;

/// Records from here on what the stream touches of these.
pub(super) fn record(touched: &Touched, units: &[Arc<Unit>]) {
    touched.begin(units.iter().map(|unit| {
        let keyed: Option<Box<Keyed>> = unit.is_keyed().then(|| {
            let unit = Arc::clone(unit);
            let key_of = move |image: &crate::change::Image<'_>| {
                let key = unit.columns.key_of(image, Side::Source)?;
                Ok((unit.columns.key_digest(&key), key))
            };
            Box::new(key_of) as Box<Keyed>
        });
        (unit.staged.name.clone(), keyed)
    }));
}

/// Notes which of them were found equal.
pub(super) fn found(touched: &Touched, units: &[Arc<Unit>], report: &Report) {
    for unit in units {
        let Some(table) = report.tables.get(&unit.name()) else { continue };
        if table.missing + table.extra + table.changed == table.repaired && table.unsettled == 0 {
            let rows = table.source_rows.max(table.target_rows);
            touched.equal(&unit.staged.name, Equal { at: now(), rows });
        }
    }
}

/// The time, by this machine's clock.
pub(crate) fn now() -> DateTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    DateTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Both sides, open, and what is to be compared again on them.
pub(crate) struct Again {
    sides: Sides,
    units: Vec<Arc<Unit>>,
    passing: Passing,
    options: VerifyOptions,
    touched: Touched,
}

/// A table, and what of it has been compared.
#[derive(Debug)]
pub(crate) struct Extent {
    /// Its name at the target.
    pub(crate) table: String,
    /// Its names at the source.
    pub(crate) sources: Vec<TableName>,
    /// When all its rows were compared, if its keys lead on from there.
    pub(crate) equal: Option<Equal>,
    /// Whether what was touched since is compared by its keys.
    pub(crate) is_keyed: bool,
}

/// Keys that are being compared. Dropped before they are, they are touched
/// again.
struct Taken<'a> {
    touched: &'a Touched,
    keys: BTreeMap<TableName, Keys>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.touched.again(std::mem::take(&mut self.keys));
    }
}

impl Again {
    pub(super) fn new(
        sides: Sides,
        units: Vec<Arc<Unit>>,
        passing: Passing,
        options: VerifyOptions,
        touched: Touched,
    ) -> Self {
        let options = options.rounds(LOOKS);
        Self { sides, units, passing, options, touched }
    }

    /// All tables, and from where their keys lead on.
    pub(crate) fn tables(&self) -> Vec<Extent> {
        let extent = |unit: &Arc<Unit>| Extent {
            table: unit.name(),
            sources: unit.sources.iter().map(|table| table.origin.name.clone()).collect(),
            equal: self.touched.since(&unit.staged.name),
            is_keyed: unit.is_keyed(),
        };
        self.units.iter().map(extent).collect()
    }

    /// How many rows there are to be compared.
    pub(crate) fn count(&self) -> usize {
        self.touched.count()
    }

    /// Compares them behind the stream, while both sides change, so often at the
    /// most, and gives what differs for certain, for which it takes three looks.
    /// What is not found equal is touched again.
    ///
    /// # Errors
    /// When a side fails; all of them are touched again then.
    pub(crate) async fn pass(&self, looks: u32) -> Result<Vec<Difference>> {
        let mut taken = self.taken();
        let place = |name: &TableName| {
            self.units.iter().position(|unit| unit.staged.name == *name && unit.is_keyed())
        };
        let (mut suspects, mut left) = (Suspected::new(), BTreeMap::new());
        for (name, keys) in &taken.keys {
            match place(name) {
                Some(at) => drop(suspects.insert(at, keys.clone())),
                // Found only now to be looked for by all rows: not compared.
                None => drop(left.insert(name.clone(), keys.clone())),
            }
        }
        let settled = settle(&self.sides, &self.units, &self.passing, &self.options, looks, suspects).await?;
        let mut differences = Vec::new();
        for (at, settled) in settled {
            let unit = &self.units[at];
            let mut again = settled.unsettled;
            for different in settled.different {
                again.insert(unit.columns.key_digest(&different.key), different.key.clone());
                differences.push(tell(unit, different, None));
            }
            left.insert(unit.staged.name.clone(), again);
        }
        taken.keys = left;
        Ok(differences)
    }

    /// Compares them while neither side changes: what is found differs. Gives
    /// how many rows of each table were compared, too.
    ///
    /// # Errors
    /// When a side fails; all of them are touched again then, and so they are
    /// where one differs.
    pub(crate) async fn rest(&self) -> Result<(BTreeMap<String, u64>, Vec<Difference>)> {
        let mut taken = self.taken();
        let mut compared = Vec::with_capacity(taken.keys.len());
        for unit in self.units.iter().filter(|unit| unit.is_keyed()) {
            for keys in taken.keys.get(&unit.staged.name).into_iter().flat_map(portions) {
                compared.push(async move { self.compare(unit, &keys).await }.boxed());
            }
        }
        let compared: Vec<_> = stream::iter(compared).buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
        let (mut counts, mut differences) = (BTreeMap::new(), Vec::new());
        for (table, count, found) in compared {
            *counts.entry(table).or_insert(0) += count;
            differences.extend(found);
        }
        if differences.is_empty() {
            // A table that was found to have no such key was not compared.
            let keyed = |name: &TableName| self.units.iter().any(|u| u.staged.name == *name && u.is_keyed());
            taken.keys.retain(|name, _| !keyed(name));
        }
        Ok((counts, differences))
    }

    /// Opens the connections that [`rest`](Self::rest) will use, and finds out
    /// which tables it cannot compare.
    ///
    /// # Errors
    /// When a side fails.
    pub(crate) async fn warm(&self) -> Result<()> {
        let taken = self.taken();
        let mut looks = Vec::new();
        for unit in self.units.iter().filter(|unit| unit.is_keyed()) {
            let one: Keys =
                taken.keys.get(&unit.staged.name).into_iter().flatten().take(1).map(copied).collect();
            looks.push(async move { self.compare(unit, &one).await.map(drop) }.boxed());
        }
        stream::iter(looks).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }

    async fn compare(&self, unit: &Arc<Unit>, keys: &Keys) -> Result<(String, u64, Vec<Difference>)> {
        let at = |side| look(&self.sides, unit, side, keys);
        let looked = futures::try_join!(at(Side::Source), at(Side::Target));
        let (source, target) = looked.map_err(|error| error.with("table", unit.name()))?;
        Ok((unit.name(), keys.len() as u64, differences(unit, keys, source, target)))
    }

    fn taken(&self) -> Taken<'_> {
        Taken { touched: &self.touched, keys: self.touched.take() }
    }
}

/// Keys in portions that can be looked for side by side.
fn portions(keys: &Keys) -> Vec<Keys> {
    let all: Vec<_> = keys.iter().collect();
    all.chunks(AT_ONCE).map(|portion| portion.iter().copied().map(copied).collect()).collect()
}

fn copied((digest, key): (&u128, &KeyValues)) -> (u128, KeyValues) {
    (*digest, key.clone())
}

fn differences(unit: &Unit, keys: &Keys, mut source: Looked, mut target: Looked) -> Vec<Difference> {
    let found: BTreeSet<u128> = source.rows.keys().chain(target.rows.keys()).copied().collect();
    let mut differences = Vec::new();
    for digest in found {
        let (here, there) = (source.rows.remove(&digest), target.rows.remove(&digest));
        let strays = || source.strays.get(&digest).or_else(|| target.strays.get(&digest));
        if here != there
            && let Some(key) = keys.get(&digest).or_else(strays)
        {
            differences.push(tell(unit, Seen::next(None, here, there).verdict(key.clone()), None));
        }
    }
    differences
}
