//! The initial copy: tables divided into ranges of their key, and each range
//! read in a short transaction of its own.
//!
//! Nothing here decides how keys are ordered. The server picks the bounds, is
//! given them back as it wrote them, typed exactly as the columns, and
//! compares them.
//!
//! ```text
//! begin       the start of the stream, and who is in progress then
//! key         how a key is ordered, shown and written
//! range       the bounds of a chunk, and the condition that they make
//! plan        bounds of a whole table, by walking its key
//! split       the same for one whole number, by what its index tells
//! session     a connection that reads rows in their text form
//! moment      a transaction: lock, then snapshot, then is the table as described
//! rows        the text protocol's rows -> batches
//! read        one chunk as a stream
//! reread      some rows by key
//! visibility  which transactions a snapshot has seen
//! ```

mod begin;
pub(crate) mod key;
pub(crate) mod moment;
pub(crate) mod plan;
pub(crate) mod range;
mod read;
pub(crate) mod reread;
pub(crate) mod rows;
pub(crate) mod session;
pub(crate) mod split;
mod visibility;

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Batch, Budget, Xid};
use zdm_core::connect::{After, Chunk, ChunkPart, ChunkPlan, ChunkSize, RunName, Snapshot, Visibility};
use zdm_core::schema::{Schema, Table};
use zdm_core::{Position, Result};

pub(crate) use self::begin::prepared;
use self::session::Pool;
use crate::changes::start;
use crate::config::MySqlConfig;
use crate::position::Point;

/// Begins a run at the source, or with `resume` checks that its stream can
/// still go on from there, and gives what its chunks are read with.
///
/// # Errors
/// As [`Source::snapshot`](zdm_core::connect::Source::snapshot).
pub(crate) async fn open(
    config: &Arc<MySqlConfig>,
    run: &RunName,
    schema: &Schema,
    resume: Option<&Position>,
) -> Result<Arc<dyn Snapshot>> {
    let start = match resume {
        None => begin::begin(config, schema).await?,
        Some(position) => {
            start::can_resume(config, run, position).await?;
            position.clone()
        }
    };
    Ok(Arc::new(MySqlSnapshot { start, pool: Arc::new(Pool::new(config)) }))
}

/// Reads the tables of a run that has begun: the stream begins at `start`, and
/// whatever was in progress then has ended.
#[derive(Debug)]
struct MySqlSnapshot {
    start: Position,
    pool: Arc<Pool>,
}

#[async_trait]
impl Snapshot for MySqlSnapshot {
    fn start(&self) -> &Position {
        &self.start
    }

    async fn plan(&self, table: &Arc<Table>, size: ChunkSize) -> Result<ChunkPlan> {
        plan::plan(&self.pool, table, size).await.map_err(|e| about(e, table, "snapshot.plan"))
    }

    async fn read(
        &self,
        chunk: Chunk,
        budget: Budget,
        cancel: CancellationToken,
    ) -> Result<BoxStream<'static, Result<ChunkPart>>> {
        let table = Arc::clone(&chunk.table);
        let stream = read::open(Arc::clone(&self.pool), chunk, budget, cancel)
            .await
            .map_err(|e| about(e, &table, "snapshot.read"))?;
        Ok(stream.map(move |part| part.map_err(|e| about(e, &table, "snapshot.read"))).boxed())
    }

    async fn reread(&self, table: &Arc<Table>, keys: &Batch, behind: &[Xid]) -> Result<(Batch, After)> {
        reread::reread(&self.pool, table, keys, behind).await.map_err(|e| about(e, table, "snapshot.reread"))
    }

    /// At once: with `sync_binlog = 1` a transaction is on disk before any
    /// SELECT sees it, and without it no statement tells how far the log is
    /// flushed. The assessment warns of the latter.
    async fn flushed(&self, position: &Position) -> Result<()> {
        Point::of(position).map(drop)
    }

    fn saw(&self, visibility: &Visibility, xid: Xid) -> Result<bool> {
        visibility::saw(visibility, xid)
    }
}

fn about(error: zdm_core::Error, table: &Table, operation: &'static str) -> zdm_core::Error {
    error.with("table", &table.origin.name).during(operation)
}
