//! DDL makes no rows: what it does to the run's tables is found by comparing
//! their shapes, at each start, from time to time while the run follows, and
//! under the fence.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::Plan;
use crate::connect::Epoch;
use crate::schema::{Fate, Schema, Shape};
use crate::{Error, ErrorKind, Result};

/// The shape of each table, by its name at the source, as a record keeps it.
pub(super) type Kept = BTreeMap<String, String>;

impl Plan {
    /// Compares the source's tables with `kept` every
    /// [`shape_interval`](super::Options::shape_interval), and keeps the
    /// partitions that come. Ends when something has changed that the run
    /// cannot go on with.
    pub(super) async fn watch_shapes(&self, epoch: Epoch, mut kept: Kept) -> Error {
        let interval = self.options.shape_interval;
        if interval.is_zero() {
            return std::future::pending().await;
        }
        let run = &self.options.run;
        loop {
            tokio::time::sleep(interval).await;
            let now = match self.shapes().await {
                Ok(now) => now,
                // The stream meets the same trouble, and decides what it means.
                Err(error) => {
                    tracing::debug!(%run, %error, "cannot ask whether tables have changed");
                    continue;
                }
            };
            match compare(&kept, &now) {
                Err(error) => return error,
                Ok(None) => {}
                Ok(Some(grown)) => match self.keep_shapes(epoch, &grown).await {
                    Ok(()) => kept = grown,
                    Err(error) => tracing::debug!(%run, %error, "new partitions are not noted yet"),
                },
            }
        }
    }

    /// The shapes of the selected tables, now.
    async fn shapes(&self) -> Result<BTreeMap<String, Shape>> {
        let Some(shapes) = self.source.capabilities().shapes else {
            return Ok(of(&self.source.describe(&self.tables()).await?));
        };
        let shapes = shapes.shapes(&self.tables()).await?;
        Ok(shapes.into_iter().map(|(name, shape)| (name.to_string(), shape)).collect())
    }

    /// Keeps shapes in the run's record: a partition that goes while no
    /// process runs is missed only if it is known to have been there.
    async fn keep_shapes(&self, epoch: Epoch, shapes: &Kept) -> Result<()> {
        let run = &self.options.run;
        // The stream's commits move the record on: look again, a few times.
        let mut last = Error::new(ErrorKind::Fenced, "another process has taken over this run");
        for _ in 0..5 {
            let Some(state) = self.checkpoint.load(run).await?.filter(|state| state.record.epoch == epoch)
            else {
                break;
            };
            let mut record = state.record.clone();
            record.tables.clone_from(shapes);
            match self.checkpoint.swap(&state.record, &record).await {
                Err(error) if error.kind() == ErrorKind::Fenced => last = error,
                swapped => return swapped,
            }
        }
        Err(last)
    }
}

/// The shapes of tables that were described.
fn of(schema: &Schema) -> BTreeMap<String, Shape> {
    schema.tables.iter().map(|table| (table.origin.name.to_string(), Shape::of(table))).collect()
}

/// The same, as a record keeps them.
pub(super) fn kept(schema: &Schema) -> Kept {
    texts(&of(schema))
}

fn texts(shapes: &BTreeMap<String, Shape>) -> Kept {
    shapes.iter().map(|(table, shape)| (table.clone(), shape.to_string())).collect()
}

/// Refuses tables that are not those the run began with. What to keep from
/// now on, where partitions have come.
pub(super) fn unchanged(was: &Kept, schema: &Schema) -> Result<Option<Kept>> {
    compare(was, &of(schema))
}

fn compare(was: &Kept, is: &BTreeMap<String, Shape>) -> Result<Option<Kept>> {
    let tell = |message: &str, table: &str| {
        Err(Error::new(ErrorKind::SchemaChanged, format!("{message}: drop the run and start anew"))
            .with("table", table))
    };
    let mut grown = false;
    for (table, shape) in was {
        let Some(now) = is.get(table) else {
            return tell("a table of this run is gone from the source, or from the selection", table);
        };
        let Ok(shape) = shape.parse::<Shape>().map_err(|never: Infallible| match never {});
        match shape.fate(now) {
            Fate::Same => {}
            Fate::Grown => grown = true,
            Fate::Shrunk => {
                return tell(
                    "a partition of this table was detached or dropped since the run began, and the log does not \
                     say which rows went with it",
                    table,
                );
            }
            Fate::Changed => return tell("a table has changed its shape since the run began", table),
        }
    }
    match is.keys().find(|table| !was.contains_key(*table)) {
        Some(table) => tell("a table has been added to the selection since the run began", table),
        None => Ok(grown.then(|| texts(is))),
    }
}
