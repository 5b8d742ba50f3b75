//! A database of one shared server, and the snapshot of a run on it.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Batch, Budget};
use zdm_core::connect::{
    After, Bounds, Chunk, ChunkId, ChunkPart, ChunkSize, RunName, Snapshot, Source as _, StreamOptions,
};
use zdm_core::schema::{Schema, Selection, Table, TableName};
use zdm_core::{Position, Result};
use zdm_pg::PgSource;
use zdm_pg::config::PgConfig;
use zdm_servers::postgres::{Database, PgOptions, Postgres};

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One server for nearly all. Nobody flushes an asynchronous commit for it.
pub(crate) async fn server() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    let options = PgOptions::new().setting("wal_writer_delay", "10s").setting("autovacuum", "off");
    SERVER.get_or_init(|| async { Postgres::start(options).await.unwrap() }).await
}

/// A run on a database of its own.
pub(crate) struct Fixture {
    pub(crate) db: Database,
    pub(crate) source: PgSource,
    pub(crate) run: RunName,
    pub(crate) schema: Arc<Schema>,
    pub(crate) snapshot: Arc<dyn Snapshot>,
}

impl Fixture {
    /// A database made by these statements, and the snapshot of a run that
    /// has just begun on it.
    pub(crate) async fn new(name: &str, sql: &str) -> Self {
        Self::on(server().await, name, sql).await
    }

    /// The same on a server of the test's own: to begin a run waits for every
    /// transaction of its server.
    pub(crate) async fn on(server: &Postgres, name: &str, sql: &str) -> Self {
        let db = server.create_database(name).await.unwrap();
        db.execute(sql).await.unwrap();
        let source = PgSource::new(PgConfig::parse(&db.url()).unwrap());
        let schema = Arc::new(source.describe(&Selection::all()).await.unwrap());
        let run: RunName = name.parse().unwrap();
        let snapshot = source.snapshot(&run, &schema, None).await.unwrap();
        Self { db, source, run, schema, snapshot }
    }

    pub(crate) fn table(&self, name: &str) -> &Arc<Table> {
        self.schema.by_origin(&TableName::new("public", name)).unwrap()
    }

    pub(crate) async fn plan(&self, table: &str, bytes: u64) -> Vec<Bounds> {
        self.snapshot.plan(self.table(table), ChunkSize { bytes }).await.unwrap().bounds
    }

    pub(crate) fn chunk(&self, table: &str, bounds: Bounds) -> Chunk {
        let table = Arc::clone(self.table(table));
        Chunk { id: ChunkId { table: table.origin.name.clone(), number: 0 }, table, bounds }
    }

    /// The only chunk of a small table.
    pub(crate) async fn whole(&self, table: &str) -> Chunk {
        let mut bounds = self.plan(table, u64::MAX).await;
        assert_eq!(bounds.len(), 1);
        self.chunk(table, bounds.remove(0))
    }

    pub(crate) async fn read(&self, chunk: Chunk) -> Result<(Vec<Batch>, After)> {
        self.read_until(chunk, CancellationToken::new()).await
    }

    pub(crate) async fn read_until(
        &self,
        chunk: Chunk,
        cancel: CancellationToken,
    ) -> Result<(Vec<Batch>, After)> {
        let mut parts = self.snapshot.read(chunk, Budget::new(u32::MAX >> 4), cancel).await?;
        let mut batches = Vec::new();
        while let Some(part) = parts.try_next().await? {
            match part {
                ChunkPart::Rows(batch) => batches.push(batch),
                ChunkPart::End(after) => {
                    assert!(parts.try_next().await?.is_none(), "the end is the last part");
                    return Ok((batches, after));
                }
            }
        }
        panic!("a chunk ended without its end");
    }

    /// What the log has from the start on, until it has passed a point.
    pub(crate) async fn log_until(&self, goal: &Position) -> Vec<Batch> {
        let options =
            StreamOptions::new(self.run.clone(), self.snapshot.start().clone(), Arc::clone(&self.schema));
        let mut changes = self.source.changes(options).await.unwrap();
        let mut batches = Vec::new();
        let reading = async {
            loop {
                let batch = changes.batches.try_next().await.unwrap().expect("the stream goes on");
                let last = batch.items().iter().filter_map(|item| item.position()).next_back().cloned();
                batches.push(batch);
                if last.is_some_and(|last| lsn(&last) >= lsn(goal)) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the stream passes the goal");
        batches
    }

    /// Waits until a query gives `t`.
    pub(crate) async fn until(&self, sql: &str) {
        let wait = async {
            while self.db.value(sql).await.unwrap() != "t" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it comes true");
    }
}

pub(crate) fn lsn(position: &Position) -> u64 {
    let (high, low) = position.as_str().split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}
