//! What the copy does not take from a source that breaks its contract, and
//! what a source is not told before it holds: between two databases in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Batch, Budget, Value, Xid};
use zdm_core::connect::{
    Ack, After, Bounds, Changes, Chunk, ChunkPart, ChunkPlan, ChunkSize, RunName, Snapshot, Source,
    SourceCapabilities, StreamOptions, Visibility,
};
use zdm_core::memory::{ENGINE, Fault, MemoryDatabase, MemorySource, Point, Row, Safeguard};
use zdm_core::migrate::{Migration, Until};
use zdm_core::schema::{Column, DataType, Key, Schema, Selection, Table, TableName};
use zdm_core::{Error, ErrorKind, Identity, Position, Result};

/// Longer than anything takes that does not wait for something.
const LONG: Duration = Duration::from_secs(100);

/// A source that plans each table as two chunks, or ends a read in its middle.
#[derive(Clone)]
struct Crooked {
    inner: MemorySource,
    halves: bool,
    /// So many reads end behind their first part.
    short: Arc<Mutex<usize>>,
    /// What the last stream was told.
    told: Arc<Mutex<Option<watch::Receiver<Option<Position>>>>>,
}

struct CrookedSnapshot {
    inner: Arc<dyn Snapshot>,
    of: Crooked,
}

impl Crooked {
    fn new(db: &MemoryDatabase) -> Self {
        Self { inner: db.source(), halves: false, short: Arc::default(), told: Arc::default() }
    }

    fn told(&self) -> Option<Position> {
        self.told.lock().unwrap().as_ref().and_then(|told| told.borrow().clone())
    }
}

#[async_trait]
impl Source for Crooked {
    async fn identity(&self) -> Result<Identity> {
        self.inner.identity().await
    }

    async fn describe(&self, selection: &Selection) -> Result<Schema> {
        self.inner.describe(selection).await
    }

    async fn snapshot(
        &self,
        run: &RunName,
        schema: &Schema,
        resume: Option<&Position>,
    ) -> Result<Arc<dyn Snapshot>> {
        let inner = self.inner.snapshot(run, schema, resume).await?;
        Ok(Arc::new(CrookedSnapshot { inner, of: self.clone() }))
    }

    async fn changes(&self, options: StreamOptions) -> Result<Changes> {
        let changes = self.inner.changes(options).await?;
        let (ack, told) = Ack::new();
        let (mut listens, forward) = (told.clone(), changes.ack);
        tokio::spawn(async move {
            while listens.changed().await.is_ok() {
                let position = listens.borrow_and_update().clone();
                position.into_iter().for_each(|position| forward.durable(position));
            }
        });
        *self.told.lock().unwrap() = Some(told);
        Ok(Changes { ack, ..changes })
    }

    fn reached(&self, at: &Position, goal: &Position) -> Result<bool> {
        self.inner.reached(at, goal)
    }

    async fn release(&self, run: &RunName) -> Result<()> {
        self.inner.release(run).await
    }

    fn capabilities(&self) -> SourceCapabilities<'_> {
        self.inner.capabilities()
    }
}

#[async_trait]
impl Snapshot for CrookedSnapshot {
    fn start(&self) -> &Position {
        self.inner.start()
    }

    async fn plan(&self, table: &Arc<Table>, size: ChunkSize) -> Result<ChunkPlan> {
        let mut plan = self.inner.plan(table, size).await?;
        if self.of.halves {
            plan.bounds = vec![Bounds("..80".to_owned()), Bounds("80..".to_owned())];
        }
        Ok(plan)
    }

    async fn read(
        &self,
        chunk: Chunk,
        budget: Budget,
        cancel: CancellationToken,
    ) -> Result<BoxStream<'static, Result<ChunkPart>>> {
        let parts = self.inner.read(chunk, budget, cancel).await?;
        let mut left = self.of.short.lock().unwrap();
        let short = *left > 0;
        *left = left.saturating_sub(1);
        Ok(if short { parts.take(1).boxed() } else { parts })
    }

    async fn reread(&self, table: &Arc<Table>, keys: &Batch, behind: &[Xid]) -> Result<(Batch, After)> {
        self.inner.reread(table, keys, behind).await
    }

    async fn flushed(&self, position: &Position) -> Result<()> {
        self.inner.flushed(position).await
    }

    fn saw(&self, visibility: &Visibility, xid: Xid) -> Result<bool> {
        self.inner.saw(visibility, xid)
    }
}

fn table() -> TableName {
    TableName::new("public", "t")
}

/// With one table of so many rows, each larger than a part of a chunk.
async fn database(key: Key, rows: i64) -> MemoryDatabase {
    let db = MemoryDatabase::new();
    let columns =
        vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("v", DataType::text())];
    db.create_table(Table::new(ENGINE, table(), columns, key)).unwrap();
    for id in 0..rows {
        insert(&db, id).await;
    }
    db
}

async fn insert(db: &MemoryDatabase, id: i64) {
    let mut transaction = db.begin();
    transaction.insert(&table(), vec![Value::Int(id), Value::from("v".repeat(70_000))]).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Moves all, and gives the error that it ends with.
async fn refused(source: Crooked, new: &MemoryDatabase) -> Error {
    let migration = Migration::between(source, new.sink()).build().unwrap();
    let error = migration.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(new.rows(&table()).unwrap(), [] as [Row; 0], "rows were kept all the same");
    error
}

/// Which changes it has seen would be a guess: rows doubled or lost.
#[tokio::test(start_paused = true)]
async fn a_table_with_no_key_whose_copy_cannot_say_what_it_saw_is_refused() {
    let (old, new) = (database(Key::FullRow, 2).await, MemoryDatabase::new());
    old.faults().take_out(Safeguard::Visibility);
    let error = refused(Crooked::new(&old), &new).await;
    assert!(error.message().contains("give it a key or leave it out"), "{error}");
}

/// Two chunks see two moments.
#[tokio::test(start_paused = true)]
async fn a_table_with_no_key_in_several_chunks_is_refused() {
    let (old, new) = (database(Key::FullRow, 2).await, MemoryDatabase::new());
    let error = refused(Crooked { halves: true, ..Crooked::new(&old) }, &new).await;
    assert!(error.message().contains("read as one chunk"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_ends_without_saying_that_it_was_whole_is_done_again() {
    let (old, new) = (database(Key::Columns(vec![0]), 3).await, MemoryDatabase::new());
    let source = Crooked::new(&old);
    *source.short.lock().unwrap() = 2;
    let migration = Migration::between(source, new.sink()).build().unwrap();
    migration.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    assert_eq!(old.faults().passed(Point::Read), 3);
    assert_eq!(new.rows(&table()).unwrap(), old.rows(&table()).unwrap());
}

/// Told before, a source forgets what the target may never have.
#[tokio::test(start_paused = true)]
async fn a_source_is_told_nothing_while_the_targets_commit_is_under_way() {
    let (old, new) = (database(Key::Columns(vec![0]), 0).await, MemoryDatabase::new());
    let source = Crooked::new(&old);
    let migration = Migration::between(source.clone(), new.sink()).build().unwrap();
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    tokio::time::sleep(LONG).await;
    let (before, commits) = (source.told(), new.faults().passed(Point::Commit));
    new.faults().plan(Point::Commit, 1, Fault::Delay(LONG));
    insert(&old, 1).await;
    tokio::time::sleep(LONG / 2).await;
    assert_eq!(new.faults().passed(Point::Commit), commits + 1, "no commit is under way");
    assert_eq!(new.rows(&table()).unwrap().len(), 0);
    assert_eq!(source.told(), before);
    tokio::time::sleep(LONG).await;
    assert_eq!(new.rows(&table()).unwrap().len(), 1);
    assert_eq!(source.told(), Some(old.head()));
    running.stop().await.unwrap();
}
