//! A memory database as a sink.

use std::sync::Arc;

use async_trait::async_trait;

use super::MemoryDatabase;
use super::faults::Point;
use super::prepare;
use super::writer::MemoryWriter;
use crate::connect::{
    Checkpoint, ChunkRecord, Epoch, Progress, Record, RunName, Sink, SinkCapabilities, State, Step, Writer,
    WriterOptions,
};
use crate::schema::Schema;
use crate::{Identity, Result};

/// A [`MemoryDatabase`] as a sink.
#[derive(Debug, Clone)]
pub struct MemorySink {
    db: MemoryDatabase,
}

impl MemorySink {
    pub(super) fn new(db: MemoryDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn identity(&self) -> Result<Identity> {
        Ok(self.db.facts())
    }

    async fn prepare(&self, _: &RunName, schema: &Schema, step: Step) -> Result<()> {
        let outcome = self.db.hit(Point::Prepare).await?;
        let done = prepare::prepare(&mut self.db.lock(), schema, step);
        self.db.notify();
        done?;
        outcome.answer(())
    }

    async fn adopt(&self, _: &RunName, schema: &Schema) -> Result<()> {
        let outcome = self.db.hit(Point::Prepare).await?;
        let state = self.db.lock();
        for table in &schema.tables {
            prepare::check_columns(&state.stored(&table.name)?.table, table)?;
        }
        drop(state);
        outcome.answer(())
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn Writer>> {
        self.db.hit(Point::Writer).await?.answer(())?;
        Ok(Box::new(MemoryWriter::open(&self.db, options)?))
    }

    fn checkpoint(&self) -> Option<Arc<dyn Checkpoint>> {
        Some(Arc::new(self.db.clone()))
    }

    fn capabilities(&self) -> SinkCapabilities<'_> {
        SinkCapabilities {
            assess: Some(&self.db),
            fence: Some(&self.db),
            sequences: Some(&self.db),
            verify: Some(&self.db),
            ..SinkCapabilities::default()
        }
    }
}

/// Progress lies beside the rows, and is always durable.
#[async_trait]
impl Checkpoint for MemoryDatabase {
    async fn load(&self, run: &RunName) -> Result<Option<State>> {
        let outcome = self.hit(Point::Checkpoint).await?;
        let state = self.lock().runs.load(run)?;
        outcome.answer(state)
    }

    async fn create(&self, record: &Record) -> Result<()> {
        let outcome = self.hit(Point::Checkpoint).await?;
        self.lock().runs.create(record)?;
        outcome.answer(())
    }

    async fn raise(&self, run: &RunName) -> Result<State> {
        let outcome = self.hit(Point::Checkpoint).await?;
        let raised = {
            let mut state = self.lock();
            let raised = state.runs.raise(run)?;
            // Writers of older epochs end here. One that is in the log has
            // committed, and ends by itself.
            let logged: Vec<u64> = state.log.iter().filter(|e| !e.visible).map(|e| e.xid).collect();
            state.active.retain(|xid, active| {
                logged.contains(xid) || active.run.as_ref().is_none_or(|(of, _)| of != run)
            });
            raised
        };
        self.notify();
        outcome.answer(raised)
    }

    async fn swap(&self, old: &Record, new: &Record) -> Result<()> {
        let outcome = self.hit(Point::Checkpoint).await?;
        self.lock().runs.change(&old.run, |state| state.swap(old, new))?;
        outcome.answer(())
    }

    async fn plan(&self, run: &RunName, epoch: Epoch, chunks: &[ChunkRecord]) -> Result<()> {
        let outcome = self.hit(Point::Checkpoint).await?;
        self.lock().runs.change(run, |state| state.plan(epoch, chunks))?;
        outcome.answer(())
    }

    async fn advance(&self, run: &RunName, epoch: Epoch, progress: &Progress) -> Result<()> {
        let outcome = self.hit(Point::Checkpoint).await?;
        self.lock().runs.change(run, |state| state.advance(epoch, progress))?;
        outcome.answer(())
    }

    async fn remove(&self, run: &RunName) -> Result<()> {
        let outcome = self.hit(Point::Checkpoint).await?;
        self.lock().runs.remove(run);
        outcome.answer(())
    }
}
