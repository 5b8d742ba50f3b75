//! A memory database as a source.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::MemoryDatabase;
use super::faults::{Point, Safeguard};
use super::position::Lsn;
use super::row::weight;
use super::snapshot::MemorySnapshot;
use super::state::Slot;
use super::stream;
use crate::connect::{Changes, Claim, LogEnd, RunName, Snapshot, Source, SourceCapabilities, StreamOptions};
use crate::schema::{Schema, Selection, Sequence, Table};
use crate::{Error, ErrorKind, Identity, Position, Result};

/// A [`MemoryDatabase`] as a source.
#[derive(Debug, Clone)]
pub struct MemorySource {
    db: MemoryDatabase,
}

impl MemorySource {
    pub(super) fn new(db: MemoryDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn identity(&self) -> Result<Identity> {
        Ok(self.db.facts())
    }

    async fn describe(&self, selection: &Selection) -> Result<Schema> {
        let state = self.db.lock();
        let chosen = state.tables.values().filter(|stored| selection.matches(&stored.table.name));
        let tables: Vec<Arc<Table>> = chosen
            .map(|stored| {
                let mut table = (*stored.table).clone();
                table.estimated_rows = stored.rows.len() as u64;
                table.estimated_bytes = stored.rows.values().map(|row| weight(row)).sum();
                Arc::new(table)
            })
            .collect();
        let ours = |owner: &Option<(crate::schema::TableName, String)>| match owner {
            Some((table, _)) => tables.iter().any(|t| t.name == *table),
            None => true,
        };
        let sequences = state.sequences.values().filter(|sequence| ours(&sequence.owner));
        let sequences = sequences
            .map(|sequence| Sequence {
                origin: None,
                increment: sequence.value.increment,
                name: sequence.value.name.clone(),
                owner: sequence.owner.clone(),
                identity: false,
                range: None,
                definition: sequence.end.to_string(),
            })
            .collect();
        Ok(Schema { tables, sequences, ..Schema::default() })
    }

    async fn snapshot(
        &self,
        run: &RunName,
        _: &Schema,
        resume: Option<&Position>,
    ) -> Result<Arc<dyn Snapshot>> {
        let outcome = self.db.hit(Point::Snapshot).await?;
        let snapshot = match resume {
            Some(start) => {
                check_kept(&self.db, run)?;
                Lsn::of(start)?;
                MemorySnapshot::new(self.db.clone(), start.clone())
            }
            None => self.begin(run).await?,
        };
        outcome.answer(Arc::new(snapshot))
    }

    async fn changes(&self, options: StreamOptions) -> Result<Changes> {
        self.db.hit(Point::Open).await?.answer(())?;
        stream::open(&self.db, options)
    }

    fn reached(&self, at: &Position, goal: &Position) -> Result<bool> {
        Ok(Lsn::of(at)? >= Lsn::of(goal)?)
    }

    async fn release(&self, run: &RunName) -> Result<()> {
        let mut state = self.db.lock();
        state.slots.remove(run);
        state.claims.remove(run);
        drop(state);
        self.db.notify();
        Ok(())
    }

    fn capabilities(&self) -> SourceCapabilities<'_> {
        SourceCapabilities {
            assess: Some(&self.db),
            fence: Some(&self.db),
            sequences: Some(&self.db),
            shapes: None,
            claim: Some(self),
            log_end: Some(self),
            verify: Some(&self.db),
        }
    }
}

#[async_trait]
impl Claim for MemorySource {
    async fn claimed(&self, run: &RunName) -> Result<Option<String>> {
        Ok(self.db.lock().claims.get(run).cloned())
    }

    async fn claim(&self, run: &RunName, target: &str) -> Result<String> {
        Ok(self.db.lock().claims.entry(run.clone()).or_insert_with(|| target.to_owned()).clone())
    }
}

#[async_trait]
impl LogEnd for MemorySource {
    async fn log_end(&self) -> Result<Position> {
        let outcome = self.db.hit(Point::Fence).await?;
        let end = {
            let mut state = self.db.lock();
            state.flushed = state.end;
            state.end
        };
        self.db.notify();
        outcome.answer(end.into())
    }
}

impl MemorySource {
    /// Fixes the start, and then waits for all that was in progress.
    async fn begin(&self, run: &RunName) -> Result<MemorySnapshot> {
        let (life, start, in_progress) = {
            let mut state = self.db.lock();
            let serial = state.serial();
            let start = state.end;
            // A slot that an earlier start of this run left is replaced.
            state.slots.insert(run.clone(), Slot { serial, released: start, reader: None });
            let in_progress: BTreeSet<u64> = state.active.keys().copied().collect();
            (state.life, start, in_progress)
        };
        let waits = self.db.faults().guards(Safeguard::WaitForInProgress);
        self.db
            .until(|state| {
                state.alive(life)?;
                let ended = !state.active.keys().any(|xid| in_progress.contains(xid));
                Ok((state.flushed >= start && (ended || !waits)).then_some(()))
            })
            .await?;
        Ok(MemorySnapshot::new(self.db.clone(), start.into()))
    }
}

/// Whether the log still holds what the run has not released.
fn check_kept(db: &MemoryDatabase, run: &RunName) -> Result<()> {
    let state = db.lock();
    let guarded = db.faults().guards(Safeguard::Gap);
    match state.slots.get(run) {
        Some(slot) if state.trimmed <= slot.released || !guarded => Ok(()),
        Some(_) => Err(gap("the log that the run still needs was purged")),
        None => Err(gap("the source keeps nothing for this run any more")),
    }
}

/// Changes are lost: the run cannot go on.
pub(super) fn gap(message: &str) -> Error {
    Error::new(ErrorKind::Gap, format!("{message}: drop the run and start anew"))
}
