//! The initial copy: tables divided into ranges of their key, and each range
//! read in a short transaction of its own.
//!
//! Nothing here decides how keys are ordered. The server picks the bounds, is
//! given them back as it wrote them, typed exactly as the columns, and
//! compares them by the operators of the key's own index.
//!
//! ```text
//! order       by which operators the server orders a key
//! range       the bounds of a chunk, and the condition that they make
//! plan        bounds of a whole table, from quantiles of its key
//! moment      a transaction: lock, then snapshot, then is the table as described
//! rows        COPY's text, row by row -> batches
//! read        one chunk as a stream
//! reread      some rows by key
//! held        the moment in which they are read, kept for as long as it will do
//! point       where the log ends, and until where it is flushed
//! visibility  which transactions a snapshot has seen
//! pool        idle connections
//! ```

#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod held;
pub(crate) mod moment;
pub(crate) mod order;
pub(crate) mod plan;
pub(crate) mod point;
pub(crate) mod pool;
pub(crate) mod range;
pub(crate) mod read;
pub(crate) mod reread;
pub(crate) mod rows;
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

use self::pool::Pool;
use self::reread::Rereads;
use self::rows::Form;
use crate::changes::slot;
use crate::config::PgConfig;
use crate::position::Lsn;

/// Begins a run at the source, or with `resume` checks that its stream can
/// still go on from there, and gives what its chunks are read with.
///
/// # Errors
/// As [`Source::snapshot`](zdm_core::connect::Source::snapshot).
pub(crate) async fn open(
    config: &Arc<PgConfig>,
    run: &RunName,
    schema: &Schema,
    resume: Option<&Position>,
) -> Result<Arc<dyn Snapshot>> {
    let start = match resume {
        None => slot::begin(config, run, schema).await?,
        Some(position) => {
            slot::check(config, run, schema, position).await?;
            position.clone()
        }
    };
    let pool = Arc::new(Pool::new(config));
    Ok(Arc::new(PgSnapshot { start, rereads: Rereads::new(Arc::clone(&pool)), pool }))
}

/// Reads the tables of a run that has begun: the stream begins at `start`, and
/// whatever was in progress then has ended.
#[derive(Debug)]
struct PgSnapshot {
    start: Position,
    pool: Arc<Pool>,
    rereads: Rereads,
}

#[async_trait]
impl Snapshot for PgSnapshot {
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
        let form = Form::of(&table);
        let stream = read::open(Arc::clone(&self.pool), chunk, form, budget, cancel)
            .await
            .map_err(|e| about(e, &table, "snapshot.read"))?;
        Ok(stream.map(move |part| part.map_err(|e| about(e, &table, "snapshot.read"))).boxed())
    }

    async fn reread(&self, table: &Arc<Table>, keys: &Batch, behind: &[Xid]) -> Result<(Batch, After)> {
        self.rereads.reread(table, keys, behind).await.map_err(|e| about(e, table, "snapshot.reread"))
    }

    async fn flushed(&self, position: &Position) -> Result<()> {
        let goal = Lsn::of(position)?;
        let control = self.pool.take().await?;
        point::flushed(&control, goal).await.map_err(|e| e.during("snapshot.flushed"))?;
        self.pool.give(control);
        Ok(())
    }

    fn saw(&self, visibility: &Visibility, xid: Xid) -> Result<bool> {
        visibility::saw(visibility, xid)
    }
}

fn about(error: zdm_core::Error, table: &Table, operation: &'static str) -> zdm_core::Error {
    error.with("table", &table.origin.name).during(operation)
}
