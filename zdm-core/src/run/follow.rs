//! The stream: whole source transactions, grouped into target transactions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::repair::{Due, Mending};
use super::turn::Applying;
use super::{Durable, SourceReread, StatusHandle};
use crate::change::{Batch, BatchBuilder, Budget, DateTime, Item, Xid};
use crate::connect::{
    Ack, Changes, Checkpoint, Epoch, Head, Progress, RunName, Snapshot, Source, Visibility, Writer,
};
use crate::pipeline::Transform;
use crate::schema::{Table, TableName};
use crate::{Error, ErrorKind, Position, Result};

/// Why following ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The token was cancelled; everything received up to a boundary is
    /// durable.
    Cancelled,
    /// The target has passed every goal.
    Reached,
}

/// What following needs.
pub(crate) struct Follow<'a> {
    pub(crate) run: &'a RunName,
    pub(crate) epoch: Epoch,
    pub(crate) source: &'a dyn Source,
    pub(crate) checkpoint: &'a dyn Checkpoint,
    /// Whether the writer keeps the checkpoint itself.
    pub(crate) own_checkpoint: bool,
    pub(crate) stages: &'a Arc<dyn Transform>,
    /// Transactions that the copy of a table with no key has seen, by the
    /// table's name at the source.
    pub(crate) seen: HashMap<TableName, Visibility>,
    pub(crate) snapshot: Option<&'a Arc<dyn Snapshot>>,
    /// Stop once the target has passed all of these; rereads add to them.
    pub(crate) goals: Option<Vec<Position>>,
    /// What rereads rows, during catch-up.
    pub(crate) rereads: Option<Arc<SourceReread>>,
    /// A group is committed when it has this many bytes...
    pub(crate) group_bytes: usize,
    /// ... or has waited this long, or nothing more has arrived.
    pub(crate) linger: Duration,
    /// How often a position that bears no rows is made durable.
    pub(crate) idle_interval: Duration,
    /// What the stream was opened with.
    pub(crate) budget: Budget,
    pub(crate) durable: &'a Durable,
    pub(crate) status: &'a StatusHandle,
    pub(crate) cancel: &'a CancellationToken,
    /// The token that the stream was opened with.
    pub(crate) stream_cancel: CancellationToken,
}

/// What has been written since the last commit.
#[derive(Debug, Default)]
struct Group {
    bytes: usize,
    rows: u64,
    /// The last boundary in it.
    boundary: Option<(Position, Option<DateTime>)>,
    since: Option<Instant>,
    /// Rows were written behind the last boundary.
    open: bool,
    /// The transaction that is open, for the rule of visibility.
    xid: Option<Xid>,
    /// Held from the first row to the commit.
    turn: Option<Applying>,
}

impl Group {
    /// Whether it ends at a boundary, and so may be committed.
    fn is_whole(&self) -> bool {
        self.boundary.is_some() && !self.open
    }
}

/// A stream that is being applied.
struct Cursor {
    /// Durable in the target up to here.
    at: Position,
    group: Group,
    ack: Ack,
    head: watch::Receiver<Head>,
    mending: Mending,
}

/// How long a source may take to end its stream before it is dropped.
const CLOSING: Duration = Duration::from_secs(5);

fn ended() -> Error {
    Error::new(ErrorKind::Connection, "the stream of changes ended by itself")
}

impl Follow<'_> {
    /// Applies the stream from `from` until the goals are reached or the
    /// token is cancelled, and closes it. After an error the writer and the
    /// stream are spent.
    pub(crate) async fn run(
        mut self,
        from: Position,
        changes: Changes,
        writer: &mut dyn Writer,
    ) -> Result<(Stop, Position)> {
        let Changes { mut batches, ack, head } = changes;
        let mending = self.durable.repairs().mending().await;
        let mut cursor = Cursor { at: from, group: Group::default(), ack, head, mending };
        let _open = self.durable.open(cursor.head.clone(), self.budget.clone());
        self.durable.reached(cursor.at.clone());
        // All up to here is durable: it was read back from the target.
        cursor.ack.durable(cursor.at.clone());
        let stop = self.drive(&mut batches, &mut cursor, writer).await?;
        // Only now may the source end its stream: it reports the last
        // acknowledgement as it does, once nobody can make another. What it
        // still hands over comes again.
        let Cursor { at, ack, .. } = cursor;
        drop(ack);
        self.stream_cancel.cancel();
        let rest = async { while batches.next().await.is_some() {} };
        if tokio::time::timeout(CLOSING, rest).await.is_err() {
            tracing::warn!(run = %self.run, "the source did not end its stream in time; its connection is dropped");
        }
        Ok((stop, at))
    }

    async fn drive(
        &mut self,
        batches: &mut BoxStream<'static, Result<Batch>>,
        cursor: &mut Cursor,
        writer: &mut dyn Writer,
    ) -> Result<Stop> {
        let mut hurry = self.durable.hurried();
        let mut head = cursor.head.clone();
        let mut idle_due = Instant::now() + self.idle_interval;
        while !self.has_reached(&cursor.at)? {
            let whole = cursor.group.is_whole();
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    // A transaction that is open is aborted with the writer.
                    if whole {
                        self.commit(cursor, writer, false).await?;
                    }
                    return Ok(Stop::Cancelled);
                }
                next = batches.next() => {
                    let batch = next.transpose()?.ok_or_else(ended)?;
                    self.gather(batch, batches, cursor, writer).await?;
                    // Nothing more is there: rows are committed at once, a
                    // position alone only when somebody waits for it.
                    let waited_for = *hurry.borrow_and_update() > 0 || self.goals.is_some();
                    if cursor.group.is_whole() && (cursor.group.rows > 0 || waited_for) {
                        self.commit(cursor, writer, false).await?;
                        idle_due = Instant::now() + self.idle_interval;
                    }
                }
                // Only between two groups: at a boundary that is durable.
                () = cursor.mending.wait(), if cursor.group.since.is_none() => {
                    self.mend(cursor, writer).await?;
                }
                // With nothing to apply, the log may still grow.
                Ok(()) = head.changed() => {
                    self.status.behind(&head.borrow_and_update());
                    self.durable.looked();
                }
                Ok(()) = hurry.changed(), if whole => self.commit(cursor, writer, false).await?,
                () = sleep_until(idle_due), if whole => {
                    self.commit(cursor, writer, false).await?;
                    idle_due = Instant::now() + self.idle_interval;
                }
            }
        }
        Ok(Stop::Reached)
    }

    /// Writes a batch and all that is ready behind it, and commits each time
    /// that a group is full.
    async fn gather(
        &mut self,
        first: Batch,
        batches: &mut BoxStream<'static, Result<Batch>>,
        cursor: &mut Cursor,
        writer: &mut dyn Writer,
    ) -> Result<()> {
        let mut next = Some(first);
        while let Some(mut batch) = next {
            while let Some(end) = self.end_of_group(&batch, &cursor.group)? {
                self.write(batch.slice(0..end), &mut cursor.group, writer).await?;
                self.commit(cursor, writer, true).await?;
                if self.cancel.is_cancelled() || self.has_reached(&cursor.at)? {
                    return Ok(());
                }
                batch = batch.slice(end..batch.items().len());
            }
            let boundary = batch.complete();
            let (whole, rest) = (batch.slice(0..boundary), batch.slice(boundary..batch.items().len()));
            drop(batch);
            self.write(whole, &mut cursor.group, writer).await?;
            if cursor.group.is_whole() && self.is_full(&cursor.group) {
                self.commit(cursor, writer, true).await?;
                if self.cancel.is_cancelled() || self.has_reached(&cursor.at)? {
                    return Ok(());
                }
            }
            self.write(rest, &mut cursor.group, writer).await?;
            if self.cancel.is_cancelled() {
                // However large the transaction that is open.
                return Ok(());
            }
            next = match batches.next().now_or_never() {
                Some(next) => Some(next.transpose()?.ok_or_else(ended)?),
                None => None,
            };
        }
        Ok(())
    }

    /// Behind how many items of a batch the group must end, though more has
    /// arrived: where the last goal is reached, and where rereads want it.
    /// `None` if nowhere.
    fn end_of_group(&self, batch: &Batch, group: &Group) -> Result<Option<usize>> {
        let Some(goals) = &self.goals else { return Ok(None) };
        let mut whole = group.is_whole();
        let mut newest = self.rereads.as_ref().and_then(|rereads| rereads.newest());
        for (index, item) in batch.items().iter().enumerate() {
            if let (Item::Begin(begin), Some(rereads)) = (item, &self.rereads) {
                if let Some(newest) = newest
                    && whole
                    && rereads.part(newest, begin.xid)?
                {
                    return Ok(Some(index));
                }
                newest = Some(begin.xid);
            }
            let Some(at) = item.position() else { continue };
            if self.is_past(at, goals)? {
                return Ok(Some(index + 1));
            }
            whole = true;
        }
        Ok(None)
    }

    fn is_past(&self, at: &Position, goals: &[Position]) -> Result<bool> {
        for goal in goals {
            if !self.source.reached(at, goal)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_full(&self, group: &Group) -> bool {
        group.bytes >= self.group_bytes || group.since.is_some_and(|since| since.elapsed() >= self.linger)
    }

    /// Writes items, leaving out the rows that the copy has seen.
    async fn write(&self, batch: Batch, group: &mut Group, writer: &mut dyn Writer) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        group.since.get_or_insert_with(Instant::now);
        let mut start = 0;
        for (index, item) in batch.items().iter().enumerate() {
            match item {
                Item::Begin(begin) => {
                    group.xid = Some(begin.xid);
                    group.open = true;
                    if let Some(rereads) = &self.rereads {
                        rereads.joins(begin.xid);
                    }
                }
                Item::Rows(run)
                    if !self.seen.is_empty() && self.has_seen(&run.table.origin.name, group.xid)? =>
                {
                    self.pass_on(batch.slice(start..index), group, writer).await?;
                    start = index + 1;
                }
                Item::Truncate { tables } if self.any_seen(tables, group.xid)? => {
                    self.pass_on(batch.slice(start..index), group, writer).await?;
                    // What the copy has found is what came behind it.
                    let mut left = Vec::with_capacity(tables.len());
                    for table in tables.iter() {
                        if !self.has_seen(&table.origin.name, group.xid)? {
                            left.push(Arc::clone(table));
                        }
                    }
                    if !left.is_empty() {
                        let mut rest = BatchBuilder::new();
                        rest.truncate(left);
                        self.pass_on(rest.finish(), group, writer).await?;
                    }
                    start = index + 1;
                }
                Item::Commit(commit) => {
                    group.boundary = Some((commit.position.clone(), commit.time));
                    group.open = false;
                }
                Item::Idle { position } => {
                    group.boundary = Some((position.clone(), None));
                    group.open = false;
                }
                _ => {}
            }
        }
        let end = batch.items().len();
        self.pass_on(batch.slice(start..end), group, writer).await
    }

    async fn pass_on(&self, batch: Batch, group: &mut Group, writer: &mut dyn Writer) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let batch = self.stages.batch(batch)?;
        self.durable.repairs().note(&batch);
        self.durable.touched().note(&batch);
        group.bytes += batch.bytes();
        self.durable.applying(group.bytes as u64);
        group.rows += batch.row_count() as u64;
        if batch.items().iter().any(|item| matches!(item, Item::Truncate { .. } | Item::Schema { .. })) {
            group.rows += 1;
        }
        if group.rows > 0 && group.turn.is_none() {
            self.durable.begins();
            group.turn = Some(tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Error::cancelled()),
                turn = self.durable.turn().apply() => turn?,
            });
        }
        writer.write(batch).await?;
        fail::fail_point!("follow::written");
        Ok(())
    }

    /// Whether the copy of this table has seen the transaction.
    fn has_seen(&self, table: &TableName, xid: Option<Xid>) -> Result<bool> {
        match (self.seen.get(table), self.snapshot, xid) {
            (Some(visibility), Some(snapshot), Some(xid)) => snapshot.saw(visibility, xid),
            (Some(_), _, None) => {
                Err(Error::new(ErrorKind::Protocol, "rows came before their transaction had begun")
                    .with("table", table))
            }
            _ => Ok(false),
        }
    }

    fn any_seen(&self, tables: &[Arc<Table>], xid: Option<Xid>) -> Result<bool> {
        for table in tables {
            if self.has_seen(&table.origin.name, xid)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn commit(&mut self, cursor: &mut Cursor, writer: &mut dyn Writer, more: bool) -> Result<()> {
        let Some((to, time)) = cursor.group.boundary.take() else { return Ok(()) };
        let (rows, bytes) = (cursor.group.rows, cursor.group.bytes as u64);
        let mut goals = Vec::new();
        if let Some(rereads) = &self.rereads {
            // What it rereads adds goals, which must be in this commit: else
            // the run would take itself for consistent before it is.
            writer.flush().await?;
            goals = rereads.end_group();
        }
        if let Some(all) = &mut self.goals {
            all.extend(goals.iter().cloned());
        }
        let (xid, turn) = (cursor.group.xid, cursor.group.turn.take());
        cursor.group = Group { xid, ..Group::default() };
        if rows == 0 && to == cursor.at {
            return Ok(());
        }
        let progress = Progress::Stream { from: cursor.at.clone(), to: to.clone(), changes: rows, goals };
        fail::fail_point!("follow::before_commit");
        writer.commit(progress.clone()).await?;
        fail::fail_point!("follow::after_commit");
        if !self.own_checkpoint {
            self.checkpoint.advance(self.run, self.epoch, &progress).await?;
        }
        cursor.ack.durable(to.clone());
        fail::fail_point!("follow::after_ack");
        self.durable.reached(to.clone());
        self.durable.committed(bytes, rows > 0);
        self.status.applied(rows, to.clone(), time, &cursor.head.borrow(), more);
        cursor.at = to;
        // A repair takes a turn of its own.
        drop(turn);
        self.mend(cursor, writer).await
    }

    /// Does the repairs that are asked for. The group is empty, and what was
    /// applied is durable.
    async fn mend(&self, cursor: &mut Cursor, writer: &mut dyn Writer) -> Result<()> {
        while let Some(due) = cursor.mending.due() {
            match self.repair(&due, &cursor.at, writer).await {
                Ok(()) => due.done(),
                Err(error) => return Err(due.failed(error)),
            }
        }
        Ok(())
    }

    async fn repair(&self, due: &Due, at: &Position, writer: &mut dyn Writer) -> Result<()> {
        let _turn = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Error::cancelled()),
            turn = self.durable.turn().apply() => turn?,
        };
        writer.write(due.rows.clone()).await?;
        fail::fail_point!("follow::mended");
        let progress = Progress::Stream { from: at.clone(), to: at.clone(), changes: 0, goals: Vec::new() };
        writer.commit(progress.clone()).await?;
        if !self.own_checkpoint {
            self.checkpoint.advance(self.run, self.epoch, &progress).await?;
        }
        Ok(())
    }

    /// Whether all goals are passed; false where there are none to reach.
    fn has_reached(&mut self, at: &Position) -> Result<bool> {
        let Some(goals) = &mut self.goals else { return Ok(false) };
        let mut left = Vec::new();
        for goal in goals.drain(..) {
            if !self.source.reached(at, &goal)? {
                left.push(goal);
            }
        }
        *goals = left;
        Ok(goals.is_empty())
    }
}

#[cfg(test)]
mod tests;
