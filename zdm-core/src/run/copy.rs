//! The initial copy: chunks, several at once, each one target transaction.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::status::CopyClock;
use super::{StatusHandle, Throttle};
use crate::change::Budget;
use crate::connect::{
    Checkpoint, Chunk, ChunkDone, ChunkPart, ChunkRecord, ChunkSize, Epoch, Progress, Purpose, RunName, Sink,
    Snapshot, Writer, WriterOptions,
};
use crate::pipeline::Transform;
use crate::schema::{Key, Schema, Table};
use crate::{Error, ErrorKind, Result};

/// What the copy of one start needs.
pub(crate) struct Copy<'a> {
    pub(crate) run: &'a RunName,
    pub(crate) epoch: Epoch,
    pub(crate) source: &'a Schema,
    pub(crate) target: &'a Arc<Schema>,
    pub(crate) snapshot: &'a Arc<dyn Snapshot>,
    pub(crate) sink: &'a dyn Sink,
    pub(crate) checkpoint: &'a dyn Checkpoint,
    /// Whether the writers keep the checkpoint themselves.
    pub(crate) own_checkpoint: bool,
    pub(crate) stages: &'a Arc<dyn Transform>,
    pub(crate) size: ChunkSize,
    pub(crate) jobs: usize,
    pub(crate) budget: &'a Budget,
    pub(crate) throttle: &'a Throttle,
    pub(crate) status: &'a StatusHandle,
    pub(crate) cancel: &'a CancellationToken,
}

impl Copy<'_> {
    /// Plans what has no plan, copies what is not done, and gives all chunks
    /// as they are then. Killed anywhere, each chunk is in the target wholly
    /// or not at all.
    pub(crate) async fn run(&self, mut chunks: Vec<ChunkRecord>) -> Result<Vec<ChunkRecord>> {
        for table in &self.source.tables {
            if !chunks.iter().any(|chunk| chunk.id.table == table.origin.name) {
                chunks.extend(self.plan(table).await?);
            }
        }
        let clock = self.status.chunks(self.source, &chunks);
        let queue = Mutex::new(self.order(&chunks)?);
        let done = Mutex::new(Vec::new());
        // Workers of one attempt share its fate: the first error ends them
        // all, and dropping their futures drops their connections.
        let workers = (0..self.jobs.max(1)).map(|_| self.work(&queue, &done, clock));
        try_join_all(workers).await?;
        for (id, result) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if let Some(chunk) = chunks.iter_mut().find(|chunk| chunk.id == id) {
                chunk.done = Some(result);
            }
        }
        Ok(chunks)
    }

    async fn plan(&self, table: &Arc<Table>) -> Result<Vec<ChunkRecord>> {
        let plan = self.snapshot.plan(table, self.size).await?;
        let chunks: Vec<_> = (0u32..)
            .zip(plan.bounds)
            .map(|(number, bounds)| ChunkRecord {
                id: crate::connect::ChunkId { table: table.origin.name.clone(), number },
                bounds,
                done: None,
            })
            .collect();
        if chunks.len() > 1 && !table.has_key() {
            // Rows of such a table are told apart by nothing: changes that one
            // chunk has seen and another has not could not be sorted out.
            return Err(Error::new(ErrorKind::Unsupported, "a table with no key must be read as one chunk")
                .with("table", &table.name));
        }
        self.checkpoint.plan(self.run, self.epoch, &chunks).await?;
        fail::fail_point!("copy::planned");
        Ok(chunks)
    }

    /// The chunks to do: those of the largest tables first, so that the last
    /// worker is not left alone with one of them.
    fn order(&self, chunks: &[ChunkRecord]) -> Result<VecDeque<Chunk>> {
        let mut todo = Vec::new();
        for record in chunks.iter().filter(|chunk| chunk.done.is_none()) {
            let table = self.source.by_origin(&record.id.table).ok_or_else(|| {
                Error::new(
                    ErrorKind::SchemaChanged,
                    "a table of this run is no longer at the source: drop the run and start anew without it",
                )
                .with("table", &record.id.table)
            })?;
            todo.push(Chunk {
                id: record.id.clone(),
                table: Arc::clone(table),
                bounds: record.bounds.clone(),
            });
        }
        todo.sort_by_key(|chunk| std::cmp::Reverse(chunk.table.estimated_bytes));
        Ok(todo.into())
    }

    async fn work(
        &self,
        queue: &Mutex<VecDeque<Chunk>>,
        done: &Mutex<Vec<(crate::connect::ChunkId, ChunkDone)>>,
        clock: CopyClock,
    ) -> Result<()> {
        let mut writer: Option<Box<dyn Writer>> = None;
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(chunk) = next else { return Ok(()) };
            if writer.is_none() {
                let options =
                    WriterOptions::new(self.run.clone(), self.epoch, Purpose::Load, Arc::clone(self.target));
                writer = Some(self.sink.writer(options).await?);
            }
            if let Some(writer) = &mut writer {
                let (id, table) = (chunk.id.clone(), Arc::clone(&chunk.table));
                let result = self.copy(chunk, writer.as_mut()).await.map_err(|e| e.with("chunk", &id))?;
                self.status.chunk_done(&table.origin.name, result.rows, clock);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((id, result));
            }
        }
    }

    async fn copy(&self, chunk: Chunk, writer: &mut dyn Writer) -> Result<ChunkDone> {
        let (id, table) = (chunk.id.clone(), Arc::clone(&chunk.table));
        let mut parts = self.snapshot.read(chunk, self.budget.clone(), self.cancel.clone()).await?;
        let mut rows = 0;
        let after = loop {
            let part = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Error::cancelled().during("copy.chunk")),
                part = parts.next() => part,
            };
            match part.transpose()? {
                Some(ChunkPart::Rows(batch)) => {
                    let bytes = batch.bytes();
                    self.throttle.pass(bytes).await;
                    let batch = self.stages.batch(batch)?;
                    let written = batch.row_count() as u64;
                    writer.write(batch).await?;
                    rows += written;
                    self.status.copied_batch(&id.table, written, bytes);
                    fail::fail_point!("copy::batch");
                }
                Some(ChunkPart::End(after)) => break after,
                None => {
                    let broken =
                        "the read of a chunk ended without saying that it was whole: it will be read again";
                    return Err(Error::new(ErrorKind::Connection, broken));
                }
            }
        };
        if matches!(table.key, Key::FullRow | Key::Nothing) && after.visibility.is_none() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the source cannot say which changes a copy has seen of a table with no key: give it a key or leave it out",
            )
            .with("table", &table.name));
        }
        // Only what the source has flushed may be kept: a crash could take
        // back what this chunk has seen.
        self.snapshot.flushed(&after.position).await?;
        let done = ChunkDone { rows, after: after.position, visibility: after.visibility };
        let progress = Progress::Chunk { id: id.clone(), done: done.clone() };
        fail::fail_point!("copy::before_commit");
        writer.commit(progress.clone()).await?;
        fail::fail_point!("copy::after_commit");
        if !self.own_checkpoint {
            self.checkpoint.advance(self.run, self.epoch, &progress).await?;
        }
        tracing::debug!(run = %self.run, chunk = %id, rows, "chunk copied");
        Ok(done)
    }
}
