//! A source with tables, a run that has begun, and ways to read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;

use super::events::{self, Model, Reader, Transaction};
use super::{Broken, Database, Harness, ITEMS, PLAIN, Row, Statement, Verdict, ensure};
use crate::change::Budget;
use crate::connect::{
    After, Changes, Chunk, ChunkId, ChunkPart, ChunkSize, RunName, Snapshot, Source, StreamOptions,
};
use crate::schema::{Schema, Selection, Table};
use crate::{ErrorKind, Position};

/// A name that no other run of this process has.
pub(super) fn run_name() -> Verdict<RunName> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Ok(format!("conformance_{}_{number}", std::process::id()).parse()?)
}

/// The tables that the suite's runs move.
pub(super) fn selection() -> Verdict<Selection> {
    Ok(Selection::new(["*.items", "*.plain"])?)
}

pub(super) struct World {
    pub(super) db: Box<dyn Database>,
    pub(super) source: Arc<dyn Source>,
    pub(super) run: RunName,
    pub(super) schema: Arc<Schema>,
    pub(super) snapshot: Arc<dyn Snapshot>,
    marker: AtomicU64,
}

impl World {
    /// Tables with rows 0 to `rows`, and a run that has begun.
    pub(super) async fn new(harness: &dyn Harness, rows: i64) -> Verdict<Self> {
        let (db, schema) = Self::tables(harness, rows).await?;
        let (source, run) = (db.source(), run_name()?);
        let snapshot = source.snapshot(&run, &schema, None).await?;
        Ok(Self { db, source, run, schema, snapshot, marker: AtomicU64::new(0) })
    }

    /// Tables with rows, and no run.
    pub(super) async fn tables(
        harness: &dyn Harness,
        rows: i64,
    ) -> Verdict<(Box<dyn Database>, Arc<Schema>)> {
        let db = harness.database().await?;
        db.create_tables().await?;
        let inserts =
            |table| (0..rows).map(move |id| Statement::Insert(table, Row::new(id, format!("row {id}"))));
        db.run(&inserts(ITEMS).chain(inserts(PLAIN)).collect::<Vec<_>>()).await?;
        let schema = Arc::new(db.source().describe(&selection()?).await?);
        ensure!(schema.tables.len() == 2, "two tables were selected, but {} described", schema.tables.len());
        Ok((db, schema))
    }

    pub(super) fn table(&self, name: &str) -> Verdict<&Arc<Table>> {
        table(&self.schema, name)
    }

    pub(super) fn start(&self) -> &Position {
        self.snapshot.start()
    }

    /// Opens a stream; who read before may still be on the way out.
    pub(super) async fn open(&self, from: &Position, budget: Budget) -> Verdict<Changes> {
        let options =
            StreamOptions::new(self.run.clone(), from.clone(), Arc::clone(&self.schema)).budget(budget);
        Ok(self.open_with(options).await?)
    }

    pub(super) async fn open_with(&self, options: StreamOptions) -> crate::Result<Changes> {
        for _ in 0..100 {
            match self.source.changes(options.clone()).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                opened => return opened,
            }
        }
        self.source.changes(options).await
    }

    /// Commits a row that marks the present, and gives its id.
    pub(super) async fn mark(&self) -> Verdict<i64> {
        // OK because few marks are set.
        let id = 1_000_000_000 + i64::try_from(self.marker.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
        self.db.run(&[Statement::Insert(ITEMS, Row::new(id, "mark"))]).await?;
        Ok(id)
    }

    /// Everything behind `from` up to now.
    pub(super) async fn read_from(&self, from: &Position) -> Verdict<Vec<Transaction>> {
        let mark = self.mark().await?;
        let mut changes = self.open(from, Budget::new(1 << 20)).await?;
        read_until(&mut changes, mark).await
    }

    /// Reads a chunk.
    pub(super) async fn chunk(&self, chunk: Chunk) -> Verdict<(Vec<Row>, After)> {
        let mut parts = self.snapshot.read(chunk, Budget::new(64 << 10), Default::default()).await?;
        let mut rows = Vec::new();
        let mut after = None;
        while let Some(part) = parts.next().await {
            ensure!(after.is_none(), "a chunk gives something behind its end");
            match part? {
                ChunkPart::Rows(batch) => rows.extend(events::rows(&batch)?),
                ChunkPart::End(end) => after = Some(end),
            }
        }
        Ok((rows, after.ok_or_else(|| Broken("a chunk ended without its end".to_owned()))?))
    }

    /// The chunks of a table, about that large.
    pub(super) async fn chunks(&self, name: &str, bytes: u64) -> Verdict<Vec<Chunk>> {
        let table = self.table(name)?;
        let plan = self.snapshot.plan(table, ChunkSize { bytes }).await?;
        let numbered = (0_u32..).zip(plan.bounds);
        let chunks = numbered.map(|(number, bounds)| {
            let id = ChunkId { table: table.name.clone(), number };
            Chunk { id, table: Arc::clone(table), bounds }
        });
        Ok(chunks.collect())
    }

    /// Whether the model is what the database holds now.
    pub(super) async fn same(&self, model: &Model) -> Verdict {
        same(&*self.db, model).await
    }

    /// Gives back what the run keeps on the server.
    pub(super) async fn close(self) -> Verdict {
        for _ in 0..100 {
            match self.source.release(&self.run).await {
                Ok(()) => return Ok(()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        Ok(self.source.release(&self.run).await?)
    }
}

pub(super) fn table<'a>(schema: &'a Schema, name: &str) -> Verdict<&'a Arc<Table>> {
    let found = schema.tables.iter().find(|table| table.name.name == name);
    found.ok_or_else(|| Broken(format!("{name} was not described")))
}

/// Reads until the transaction that inserts a mark.
pub(super) async fn read_until(changes: &mut Changes, mark: i64) -> Verdict<Vec<Transaction>> {
    let mut reader = Reader::default();
    while !reader.has(mark) {
        let batch = changes.batches.next().await;
        reader.take(&batch.ok_or_else(|| Broken("the stream ended by itself".to_owned()))??)?;
    }
    Ok(reader.transactions)
}

/// Whether a database holds what the model does.
pub(super) async fn same(db: &dyn Database, model: &Model) -> Verdict {
    let wanted: [(&str, Vec<Row>); 2] =
        [(ITEMS, model.items.values().cloned().collect()), (PLAIN, model.plain.clone())];
    for (table, mut wanted) in wanted {
        let mut found = db.rows(table).await?;
        found.sort();
        wanted.sort();
        let missing: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).take(5).collect();
        let more: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).take(5).collect();
        ensure!(
            found == wanted,
            "{table} has {} rows, not {}; missing {missing:?}, too many {more:?}",
            found.len(),
            wanted.len()
        );
    }
    Ok(())
}
