//! A server, and the snapshot of a run on it.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio_util::sync::CancellationToken;
use zdm_core::Result;
use zdm_core::change::{Batch, Budget};
use zdm_core::connect::{
    After, Bounds, Chunk, ChunkId, ChunkPart, ChunkSize, RunName, Snapshot, Source as _,
};
use zdm_core::schema::{Schema, Selection, Table, TableName};
use zdm_mysql::config::MySqlConfigBuilder;
use zdm_mysql::{MySqlConfig, MySqlSource};
use zdm_servers::mysql::{Database, MySql, MySqlOptions};

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Both kinds of server.
pub(crate) fn each() -> [MySqlOptions; 2] {
    [MySqlOptions::mariadb().version("10.11"), MySqlOptions::mysql().version("9")]
}

pub(crate) fn config(server: &MySql) -> MySqlConfigBuilder {
    MySqlConfig::builder().host(server.host()).port(server.port()).user(server.user())
}

pub(crate) fn shop() -> Selection {
    Selection::new(["shop.*"]).unwrap()
}

/// A run on the database `shop` of a server of its own.
pub(crate) struct Fixture {
    pub(crate) server: MySql,
    pub(crate) shop: Database,
    pub(crate) source: MySqlSource,
    pub(crate) schema: Arc<Schema>,
    pub(crate) snapshot: Arc<dyn Snapshot>,
}

impl Fixture {
    /// A database made by these statements, and the snapshot of a run that has
    /// just begun on it.
    pub(crate) async fn new(options: MySqlOptions, sql: &str) -> Self {
        let server = MySql::start(options.database("shop")).await.unwrap();
        let shop = server.database("shop");
        shop.execute(sql).await.unwrap();
        let source = MySqlSource::new(config(&server).build().unwrap());
        let schema = Arc::new(source.describe(&self::shop()).await.unwrap());
        let run: RunName = "run".parse().unwrap();
        let snapshot = source.snapshot(&run, &schema, None).await.unwrap();
        Self { server, shop, source, schema, snapshot }
    }

    pub(crate) fn table(&self, name: &str) -> &Arc<Table> {
        self.schema.by_origin(&TableName::new("shop", name)).unwrap()
    }

    pub(crate) async fn plan(&self, table: &str, bytes: u64) -> Vec<Bounds> {
        self.snapshot.plan(self.table(table), ChunkSize { bytes }).await.unwrap().bounds
    }

    pub(crate) fn chunk(&self, table: &str, bounds: Bounds) -> Chunk {
        let table = Arc::clone(self.table(table));
        Chunk { id: ChunkId { table: table.origin.name.clone(), number: 0 }, table, bounds }
    }

    pub(crate) async fn read(&self, chunk: Chunk) -> Result<(Vec<Batch>, After)> {
        let budget = Budget::new(u32::MAX >> 4);
        let mut parts = self.snapshot.read(chunk, budget, CancellationToken::new()).await?;
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
}

/// A column of each row of the batches, as it is shown.
pub(crate) fn column(batches: &[Batch], at: usize) -> Vec<String> {
    let rows = batches.iter().flat_map(|batch| batch.rows());
    rows.map(|row| row.after().unwrap().cell(at).value().unwrap().to_string()).collect()
}
