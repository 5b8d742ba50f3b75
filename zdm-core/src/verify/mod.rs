//! Whether two databases hold the same, asked of both while both change.
//!
//! Rows are compared as what they are, not as how their engine writes them:
//! see the canonical form below. Begin at
//! [`Migration::verify`](crate::migrate::Migration::verify).
//!
//! # How rows meet
//!
//! Two servers need not order keys alike: collations differ, a uuid is 16
//! octets here and a type with an order of its own there. So nothing here
//! goes by order.
//!
//! * *Division.* The source picks keys that divide its table; where the types
//!   of the key say that the target orders it alike, the target's table is
//!   divided at the same keys, led through the stages. Each side compares its
//!   own keys with the bounds, by its own order. Every row of the source lies
//!   in one range then, since the server's own order is total; and every row
//!   of the target lies in at least one: take the first bound that it is not
//!   above. So if all pairs of ranges hold the same rows, both tables do,
//!   *whatever the orders are*. Where they differ after all, a row may be
//!   looked for in the wrong range; then it is a suspect, is looked for by its
//!   key, and found. A wrong guess costs time and hides nothing.
//! * Where the orders are not alike, all ranges of the one side belong to all
//!   ranges of the other: the table is one part.
//! * *Digest.* Of each part both sides are read once, and added up in buckets
//!   by the digest of each row's key (`digest`), which needs no order either.
//!   Memory is some hundred thousand sums, whatever the table.
//! * *Keys.* Buckets that differ are read a second time: the target's rows in
//!   them are remembered by digest and key, the source's meet them. However
//!   many rows differ, so many buckets are taken at once as have some hundred
//!   thousand rows.
//! * *Settling.* Rows that differ are no more than suspects: in a live system
//!   they were mostly written between the two reads. Each is looked at again
//!   by its key, behind the stream, until it is certain (`settle`).
//!
//! Where both servers are of one engine and a column's types are the same, the
//! bytes of a cell stand for its value in a digest, and nothing is decoded:
//! equal bytes are equal values. Unequal ones make a suspect, and suspects are
//! compared by the canonical form alone.
//!
//! # Who applies changes meanwhile
//!
//! | the run | a suspect is settled |
//! |---|---|
//! | follows in this process | once the target's durable progress, read back, has passed the point behind the source's read |
//! | follows in another process | the same, by the run's record, which is read again and again |
//! | is followed by nobody | not at all, if the source was written to since: it is *unsettled*, after [`patience`](VerifyOptions::patience). Follow the run while you verify |
//! | was cut over | at once. The target is the application's: what it has written since is different, and is told so |
//! | is not there | at once: two databases are compared that are taken to rest |
//!
//! # What was touched since
//!
//! Where the run follows in this process, its stream keeps from the beginning of
//! a verification on which keys it touches. A
//! [cutover](crate::migrate::cutover::CutoverOptions::verify) goes on from there:
//! it compares those again, and no others, behind the stream first and then under
//! its fence, where both sides rest and one look decides (`touched`).
//!
//! # Tables with no key
//!
//! Rows are counted by all their columns. A suspect is looked for by reading
//! the whole table again on both sides, all suspects at once. So it is, on the
//! source's side, for tables that stages merge into one, and where a stage
//! computes a key and has no inverse.
//!
//! # What a difference is not
//!
//! Columns that are computed, and columns of the target that the run does not
//! write, are not compared. The order of rows, sequences, indexes and
//! constraints are none of it either. A commit that is in the log and waits
//! for a synchronous standby is not seen by reads: while the standby is away,
//! its rows are different.
//!
//! # The canonical form
//!
#![doc = include_str!("canonical/table.md")]

mod canonical;
mod compare;
mod count;
mod digest;
mod look;
mod options;
mod order;
mod passing;
mod plan;
mod repair;
mod report;
mod rows;
mod settle;
mod sides;
mod state;
mod touched;
mod unit;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

pub use count::Count;
pub(crate) use count::counted_alone;
pub use options::VerifyOptions;
pub use report::{Difference, Kind, Repair, Report, TableReport};
pub(crate) use touched::{Again, LOOKS, now};

use self::passing::Passing;
use self::sides::Sides;
use self::state::Kept;
use self::unit::Unit;
use self::work::Work;
use crate::connect::{Checkpoint, Phase, Reader, RunName, Sink, Source, Verify};
use crate::migrate::certificate::TableEvidence;
use crate::migrate::cutover::Follower;
use crate::pipeline::Transform;
use crate::run::{Repairs, Retry, StatusHandle, Throttle, Touched};
use crate::schema::{Schema, Selection};
use crate::{Error, ErrorKind, Result};

/// What a run gives to its verification.
pub(crate) struct Verification<'a> {
    pub(crate) run: &'a RunName,
    pub(crate) phase: Option<Phase>,
    pub(crate) source: &'a Arc<dyn Source>,
    pub(crate) source_schema: &'a Schema,
    pub(crate) sink: &'a Arc<dyn Sink>,
    pub(crate) target_schema: &'a Schema,
    pub(crate) stages: &'a Arc<dyn Transform>,
    pub(crate) checkpoint: &'a Arc<dyn Checkpoint>,
    /// This process, if it follows the run.
    pub(crate) follower: Option<Arc<dyn Follower>>,
    pub(crate) repairs: Option<Repairs>,
    pub(crate) touched: &'a Touched,
    pub(crate) throttle: &'a Throttle,
    pub(crate) retry: &'a Retry,
    pub(crate) budget: u32,
    pub(crate) status: &'a StatusHandle,
}

impl Verification<'_> {
    /// Compares, and tells each difference as it is certain.
    ///
    /// # Errors
    /// `Unsupported` when a side cannot say what it holds; the first error
    /// that no retry could help; `Cancelled`.
    pub(crate) async fn run(
        self,
        options: VerifyOptions,
        cancel: CancellationToken,
        found: &mut (dyn FnMut(&Difference) + Send),
    ) -> Result<Report> {
        let (of_source, of_target) = futures::try_join!(self.source.identity(), self.sink.identity())?;
        let units = self.units(&options.tables).await?;
        let sides = self.sides(&cancel).await?;
        let _ends = sides.cancel.clone().drop_guard();
        // What went before is not known to whoever goes on from a file.
        let records = self.follower.is_some() && options.state.is_none();
        if records {
            touched::record(self.touched, &units);
        }
        let mut kept = Kept::open(options.state.clone(), self.run, of_source, of_target)?;
        let work = Work {
            sides: Arc::new(sides),
            units: units.clone(),
            passing: self.passing(),
            options,
            retry: self.retry.clone(),
            status: self.status.clone(),
            repairs: self.repairs,
        };
        work.run(&mut kept, found).await?;
        kept.finish()?;
        let tables = kept.state.tables.into_iter().map(|(name, table)| (name, table.report)).collect();
        let report = Report { run: self.run.clone(), phase: self.phase, tables };
        if records {
            touched::found(self.touched, &units, &report);
        }
        Ok(report)
    }

    /// Both sides of what was touched since, to be compared again.
    ///
    /// # Errors
    /// As [`run`](Self::run), which comes first.
    pub(crate) async fn again(self, options: VerifyOptions, cancel: &CancellationToken) -> Result<Again> {
        let units = self.units(&options.tables).await?;
        let sides = self.sides(cancel).await?;
        Ok(Again::new(sides, units, self.passing(), options, self.touched.clone()))
    }

    /// Counts and digests all rows that these readers find.
    ///
    /// # Errors
    /// When a side fails.
    pub(crate) async fn count(
        self,
        (source, target): (Arc<dyn Reader>, Arc<dyn Reader>),
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, TableEvidence>> {
        let units = self.units(&Selection::all()).await?;
        count::both(&self.sides_of(source, target, cancel), &units).await
    }

    async fn units(&self, chosen: &Selection) -> Result<Vec<Arc<Unit>>> {
        let target = capability(self.sink.capabilities().verify, "target")?;
        let (here, there, stages) = (self.source_schema, self.target_schema, &**self.stages);
        let units = self.retry.run(|| unit::units(here, there, stages, target, chosen)).await?;
        Ok(units.into_iter().map(Arc::new).collect())
    }

    async fn sides(&self, cancel: &CancellationToken) -> Result<Sides> {
        let source = capability(self.source.capabilities().verify, "source")?.reader().await?;
        let target = capability(self.sink.capabilities().verify, "target")?.reader().await?;
        Ok(self.sides_of(source, target, cancel))
    }

    fn sides_of(
        &self,
        source: Arc<dyn Reader>,
        target: Arc<dyn Reader>,
        cancel: &CancellationToken,
    ) -> Sides {
        Sides {
            source,
            target,
            stages: Arc::clone(self.stages),
            throttle: self.throttle.clone(),
            budget: self.budget / 4,
            cancel: cancel.child_token(),
        }
    }

    fn passing(&self) -> Passing {
        match self.phase {
            None | Some(Phase::Switched) => Passing::Rest,
            Some(_) => Passing::Followed {
                source: Arc::clone(self.source),
                checkpoint: Arc::clone(self.checkpoint),
                run: self.run.clone(),
                follower: self.follower.clone(),
                stuck: Mutex::default(),
            },
        }
    }
}

fn capability<'a>(verify: Option<&'a dyn Verify>, side: &str) -> Result<&'a dyn Verify> {
    verify.ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("the connector of the {side} cannot say what its tables hold: compare by SQL"),
        )
        .during("verify")
    })
}
