//! The stream of changes: a task that follows the log and hands over batches.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::MemoryDatabase;
use super::faults::{Point, Safeguard};
use super::position::Lsn;
use super::row::{Place, Row};
use super::source::gap;
use super::state::{Entry, Op, State};
use crate::change::{Batch, BatchBuilder, Budget, Field};
use crate::connect::{Ack, Changes, Head, RunName, StreamOptions};
use crate::schema::{Key, Schema, Table, TableName};
use crate::{Error, ErrorKind, Position, Result};

/// A batch is handed over at this size even while more is there.
const LIMIT: usize = 64 << 10;

/// Opens a stream behind a position.
pub(super) fn open(db: &MemoryDatabase, options: StreamOptions) -> Result<Changes> {
    let from = Lsn::of(&options.from)?;
    let (reader, life) = claim(db, &options.run, from)?;
    let (ack, acked) = Ack::new();
    // Said at once: who waits for the end of an idle log has nothing else.
    let end = db.lock().flushed;
    let known =
        Head { position: Some(end.into()), bytes_behind: end.0.saturating_sub(from.0), ..Head::default() };
    let (head, seen) = watch::channel(known);
    let (batches, received) = mpsc::channel(64);
    let limit = LIMIT.min(options.budget.total() as usize / 4).max(1);
    let pump = Pump {
        db: db.clone(),
        life,
        reader: reader.clone(),
        at: from,
        limit,
        tables: by_origin(&options.schema),
        budget: options.budget,
        cancel: options.cancel,
        batches,
        head,
    };
    tokio::spawn(pump.run());
    tokio::spawn(release(db.clone(), reader.clone(), acked));
    // The slot is free again as soon as the stream has ended or is dropped.
    let guard = Guard { db: db.clone(), reader };
    let batches = stream::unfold((received, guard), |(mut received, guard)| async move {
        Some((received.recv().await?, (received, guard)))
    });
    Ok(Changes { batches: batches.fuse().boxed(), ack, head: seen })
}

/// Who reads a slot.
#[derive(Debug, Clone)]
struct Reader {
    run: RunName,
    slot: u64,
    reader: u64,
}

/// Makes us the one reader of the run's slot, if the log holds what is behind
/// `from`.
fn claim(db: &MemoryDatabase, run: &RunName, from: Lsn) -> Result<(Reader, u64)> {
    let guarded = db.faults().guards(Safeguard::Gap);
    let mut state = db.lock();
    let (life, trimmed, flushed, serial) = (state.life, state.trimmed, state.flushed, state.serial());
    let Some(slot) = state.slots.get_mut(run) else {
        return Err(gap("the source keeps nothing for this run any more").with("run", run));
    };
    if slot.reader.is_some() {
        return Err(Error::new(
            ErrorKind::Conflict,
            "another process reads this run's changes: end it first",
        )
        .with("run", run));
    }
    if guarded && (from < slot.released || from < trimmed) {
        let kept = slot.released.max(trimmed);
        return Err(gap("the changes behind this position were released or purged")
            .with("from", from.0)
            .with("kept", kept.0));
    }
    if guarded && from > flushed {
        return Err(gap("this position is ahead of the source's log: it was restored or lost its end")
            .with("from", from.0)
            .with("end", flushed.0));
    }
    slot.reader = Some(serial);
    Ok((Reader { run: run.clone(), slot: slot.serial, reader: serial }, life))
}

/// Frees the slot when the stream is no more.
struct Guard {
    db: MemoryDatabase,
    reader: Reader,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.db.lock();
        if let Some(slot) = state.slots.get_mut(&self.reader.run)
            && slot.reader == Some(self.reader.reader)
        {
            slot.reader = None;
        }
    }
}

/// Releases what the reader says is durable, as long as there is a handle to
/// say it with.
async fn release(db: MemoryDatabase, reader: Reader, mut acked: watch::Receiver<Option<Position>>) {
    while acked.changed().await.is_ok() {
        let position = acked.borrow_and_update().clone();
        let Some(Ok(durable)) = position.as_ref().map(Lsn::of) else { continue };
        let mut state = db.lock();
        let end = state.flushed;
        match state.slots.get_mut(&reader.run) {
            // A slot that was made anew is another run's start.
            Some(slot) if slot.serial == reader.slot => slot.released = slot.released.max(durable.min(end)),
            _ => return,
        }
    }
}

/// The task that follows the log.
struct Pump {
    db: MemoryDatabase,
    life: u64,
    reader: Reader,
    at: Lsn,
    limit: usize,
    tables: HashMap<TableName, Arc<Table>>,
    budget: Budget,
    cancel: CancellationToken,
    batches: mpsc::Sender<Result<Batch>>,
    head: watch::Sender<Head>,
}

impl Pump {
    async fn run(mut self) {
        let cancel = self.cancel.clone();
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            ended = self.follow() => ended,
        };
        if let Err(error) = ended {
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = self.batches.send(Err(error.during("source.changes"))) => {}
            }
        }
    }

    /// Ends only with an error, or when nobody reads any more.
    async fn follow(&mut self) -> Result<()> {
        loop {
            let (life, at, reader) = (self.life, self.at, self.reader.clone());
            let db = self.db.clone();
            let entries = tokio::select! {
                entries = db.until(|state| next(state, &db, life, &reader, at)) => entries?,
                () = self.batches.closed() => return Ok(()),
            };
            if !self.hand_over(entries).await? {
                return Ok(());
            }
        }
    }

    /// Gives whether anybody still reads.
    async fn hand_over(&mut self, entries: Vec<Entry>) -> Result<bool> {
        let mut builder = BatchBuilder::new();
        let mut skipped = false;
        for entry in entries {
            self.at = entry.end;
            let ops: Vec<&Op> = entry.ops.iter().filter(|op| self.concerns(op)).collect();
            skipped = ops.is_empty();
            if skipped {
                continue;
            }
            builder.begin(entry.xid.into());
            for op in ops {
                self.add(&mut builder, op)?;
                if builder.bytes() >= self.limit && !self.send(&mut builder).await? {
                    return Ok(false);
                }
            }
            builder.commit(entry.end.into(), Some(entry.time));
        }
        if skipped && self.db.faults().guards(Safeguard::Idle) {
            builder.idle(self.at.into());
        }
        self.send(&mut builder).await
    }

    async fn send(&mut self, builder: &mut BatchBuilder) -> Result<bool> {
        let builder = std::mem::take(builder);
        if builder.is_empty() {
            return Ok(true);
        }
        let permit = self.budget.acquire(builder.bytes()).await;
        let lost = self.db.hit(Point::Stream).await?;
        let (end, life) = {
            let state = self.db.lock();
            (state.flushed, state.life)
        };
        if life != self.life {
            return Err(Error::new(ErrorKind::Connection, "the server went down: connect again"));
        }
        self.head.send_replace(Head {
            position: Some(end.into()),
            bytes_behind: end.0.saturating_sub(self.at.0),
            ..Head::default()
        });
        let sent = self.batches.send(Ok(builder.finish_with(permit))).await.is_ok();
        lost.answer(sent)
    }

    fn concerns(&self, op: &Op) -> bool {
        match op {
            Op::Row { table, .. } => self.tables.contains_key(&table.origin.name),
            Op::Truncate { tables, .. } => tables.iter().any(|t| self.tables.contains_key(&t.origin.name)),
            Op::Alter { new, .. } => self.tables.contains_key(&new.table.origin.name),
        }
    }

    fn add(&mut self, builder: &mut BatchBuilder, op: &Op) -> Result<()> {
        match op {
            Op::Row { table, toasted, old, new } => {
                let table = self.shape(table);
                let (old, new) = (old.as_ref(), new.as_ref());
                match (old, new) {
                    (None, Some((_, new))) => builder.insert(&table, whole(new)),
                    (Some((_, old)), None) => builder.delete(&table, old_image(&table, old)),
                    (Some(old), Some(new)) => {
                        let image = carries_old(&table, old, new).then(|| old_image(&table, &old.1));
                        let unchanged = |i: usize| toasted.contains(&i) && old.1.get(i) == new.1.get(i);
                        let fields = new.1.iter().enumerate().map(|(i, value)| {
                            if unchanged(i) { Field::Unchanged } else { Field::Value(value.clone()) }
                        });
                        builder.update(&table, image, fields)
                    }
                    (None, None) => Ok(()),
                }
            }
            Op::Truncate { tables, .. } => {
                let ours = tables.iter().filter(|table| self.tables.contains_key(&table.origin.name));
                let ours: Vec<_> = ours.map(|table| self.shape(table)).collect();
                builder.truncate(ours);
                Ok(())
            }
            Op::Alter { old, new } => {
                let (old, new) = (self.shape(&old.table), self.shape(&new.table));
                builder.schema(Some(old), new);
                Ok(())
            }
        }
    }

    /// The table as the reader knows it, where it still has that shape.
    fn shape(&self, table: &Arc<Table>) -> Arc<Table> {
        match self.tables.get(&table.origin.name) {
            Some(known) if known.origin.fingerprint == table.origin.fingerprint => Arc::clone(known),
            _ => Arc::clone(table),
        }
    }
}

/// What is flushed behind `at`; waits for more.
fn next(
    state: &mut State,
    db: &MemoryDatabase,
    life: u64,
    reader: &Reader,
    at: Lsn,
) -> Result<Option<Vec<Entry>>> {
    state.alive(life)?;
    match state.slots.get(&reader.run) {
        Some(slot) if slot.serial == reader.slot => {}
        _ => return Err(gap("the source keeps nothing for this run any more").with("run", &reader.run)),
    }
    if at < state.trimmed && db.faults().guards(Safeguard::Gap) {
        return Err(gap("the log was purged before it was read").with("run", &reader.run));
    }
    let entries: Vec<Entry> = state
        .log
        .iter()
        .skip_while(|entry| entry.end <= at)
        .take_while(|entry| entry.end <= state.flushed)
        .take(256)
        .cloned()
        .collect();
    Ok((!entries.is_empty()).then_some(entries))
}

fn by_origin(schema: &Schema) -> HashMap<TableName, Arc<Table>> {
    schema.tables.iter().map(|table| (table.origin.name.clone(), Arc::clone(table))).collect()
}

fn whole(row: &Row) -> impl Iterator<Item = Field<'_>> {
    row.iter().map(|value| Field::Value(value.clone()))
}

/// The log carries the old image of an update where its key changed, and
/// always where the whole row is the key or the table says so.
fn carries_old(table: &Table, old: &(Place, Row), new: &(Place, Row)) -> bool {
    match &table.key {
        Key::Columns(_) => table.full_old_image || old.0 != new.0,
        Key::FullRow => true,
        Key::Nothing => false,
    }
}

/// The key's cells; all of them where the whole row is the key or the table
/// says so.
fn old_image<'a>(table: &Table, row: &'a Row) -> Vec<Field<'a>> {
    let carried = |i: usize| match &table.key {
        Key::Columns(columns) => table.full_old_image || columns.contains(&i),
        Key::FullRow => true,
        Key::Nothing => false,
    };
    let fields = row.iter().enumerate();
    fields.map(|(i, value)| if carried(i) { Field::Value(value.clone()) } else { Field::Unchanged }).collect()
}
