//! Both databases, as streams of rows.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio_util::sync::CancellationToken;

use super::rows::Side;
use super::unit::Unit;
use crate::Result;
use crate::change::{Batch, Budget};
use crate::connect::{Bounds, Reader};
use crate::pipeline::Transform;
use crate::run::Throttle;
use crate::schema::Table;

/// What rows of both sides are read with.
pub(super) struct Sides {
    pub(super) source: Arc<dyn Reader>,
    pub(super) target: Arc<dyn Reader>,
    pub(super) stages: Arc<dyn Transform>,
    pub(super) throttle: Throttle,
    /// Bytes that each read may have under way.
    pub(super) budget: u32,
    pub(super) cancel: CancellationToken,
}

/// Ranges of tables of one side, whose rows belong together.
pub(super) type Ranges = Vec<(Arc<Table>, Bounds)>;

impl Sides {
    pub(super) fn reader(&self, side: Side) -> &Arc<dyn Reader> {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// All rows of these ranges, one after the other: those of the source
    /// behind the stages, those of the target as they are.
    pub(super) fn rows(&self, side: Side, ranges: &Ranges) -> BoxStream<'_, Result<Batch>> {
        let left: VecDeque<_> = ranges.iter().cloned().collect();
        let budget = Budget::new(self.budget);
        let chained = stream::try_unfold(left, move |mut left| {
            let budget = budget.clone();
            async move {
                let Some((table, bounds)) = left.pop_front() else { return Ok(None) };
                let rows = self.reader(side).read(table, bounds, budget, self.cancel.child_token()).await?;
                Ok::<_, crate::Error>(Some((rows, left)))
            }
        });
        let batches = chained.try_flatten();
        batches
            .and_then(move |batch| async move {
                self.throttle.pass(batch.bytes()).await;
                self.staged(side, batch)
            })
            .boxed()
    }

    /// Rows of the source behind the stages.
    pub(super) fn staged(&self, side: Side, batch: Batch) -> Result<Batch> {
        match side {
            Side::Source => self.stages.batch(batch),
            Side::Target => Ok(batch),
        }
    }

    /// The ranges that are a whole table.
    pub(super) fn whole(&self, side: Side, unit: &Unit) -> Result<Ranges> {
        let all = |table: &Arc<Table>| Ok((Arc::clone(table), self.reader(side).between(table, None, None)?));
        match side {
            Side::Source => unit.sources.iter().map(all).collect(),
            Side::Target => Ok(vec![all(&unit.there)?]),
        }
    }
}
