//! The initial copy, chunk by chunk.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::ChunkId;
use crate::change::{Batch, Budget, Xid};
use crate::schema::Table;
use crate::{Position, Result};

/// Reads the tables of a run, chunk by chunk, without locks that a writer
/// would notice and without a snapshot that stays open for long.
///
/// Many chunks are read at once, by tasks that share one `Arc<dyn Snapshot>`.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// Where the stream must begin: every commit that some chunk may miss is
    /// behind this point.
    fn start(&self) -> &Position;

    /// Divides a table into chunks of about that size, by ranges of its key
    /// whose bounds the *source* has computed and will compare. A table with
    /// no key is one chunk.
    ///
    /// The ranges cover every possible key, not only those that are there
    /// now, and do not overlap. The caller makes the plan durable before it
    /// reads a chunk, and a resume never plans anew.
    ///
    /// # Errors
    /// When the server fails.
    async fn plan(&self, table: &Arc<Table>, size: ChunkSize) -> Result<ChunkPlan>;

    /// Reads one chunk, in a short transaction of its own.
    ///
    /// The parts are batches of inserts without boundaries, and at the end
    /// one [`ChunkPart::End`]. A table with no key must be given its exact
    /// [`Visibility`], or be refused by the assessment. A stream that fails
    /// or is dropped has read nothing: the chunk is read again from its
    /// beginning.
    ///
    /// # Errors
    /// `SchemaChanged` when the table is no longer as it was described,
    /// compared inside the chunk's own transaction; others when the server
    /// fails.
    async fn read(
        &self,
        chunk: Chunk,
        budget: Budget,
        cancel: CancellationToken,
    ) -> Result<BoxStream<'static, Result<ChunkPart>>>;

    /// Reads some rows again, by key.
    ///
    /// `keys` holds deletes of one table: their key cells name the rows.
    /// Gives the rows that are there as inserts, in any order, and the point
    /// by which all that was seen is in the log. A key that is gone gives no
    /// row: the stream will say why.
    ///
    /// What is read has seen every transaction of `behind`, those whose
    /// changes ask for it. A log may show a commit that no read sees yet: then
    /// this waits, or rows of that transaction would be taken for gone.
    ///
    /// Any moment that has seen them will do. An implementation should keep
    /// one for as long as it does, for some seconds at most, and tell its
    /// visibility: each new one moves the run's consistent point on.
    ///
    /// # Errors
    /// When the server fails or the table changed; `Timeout` when a
    /// transaction of `behind` does not become visible.
    async fn reread(&self, table: &Arc<Table>, keys: &Batch, behind: &[Xid]) -> Result<(Batch, After)>;

    /// Waits until the source has *flushed* its log past a point: until then
    /// a crash of the source could take back what a chunk has seen.
    ///
    /// # Errors
    /// When the server fails.
    async fn flushed(&self, position: &Position) -> Result<()>;

    /// Whether a chunk with that visibility has seen a transaction. Pure.
    ///
    /// # Errors
    /// `Protocol` when the visibility is not one of this engine.
    fn saw(&self, visibility: &Visibility, xid: Xid) -> Result<bool>;
}

/// How large a chunk should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSize {
    /// Bytes on the source's disk that a chunk should cover, about.
    pub bytes: u64,
}

impl Default for ChunkSize {
    /// 64 MiB: seconds to read, so little is read twice after a kill.
    fn default() -> Self {
        Self { bytes: 64 << 20 }
    }
}

/// The division of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkPlan {
    /// The chunks, in the order in which they should be read.
    pub bounds: Vec<Bounds>,
    /// Rows of the table, estimated.
    pub rows: u64,
    /// Bytes of the table, estimated.
    pub bytes: u64,
}

/// Which rows a chunk covers, in the source's own words. Durable: it is
/// written into the checkpoint, and given back as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bounds(pub String);

/// One chunk to read.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Which one.
    pub id: ChunkId,
    /// The table, as described.
    pub table: Arc<Table>,
    /// Which rows of it.
    pub bounds: Bounds,
}

/// A piece of a chunk that is being read.
#[derive(Debug)]
pub enum ChunkPart {
    /// Some of its rows.
    Rows(Batch),
    /// It has been read whole. The last part.
    End(After),
}

/// What a read of the source has seen, in terms of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// Taken after the read: everything that it saw is in the log by here.
    pub position: Position,
    /// Exactly which transactions it saw, where the engine can say.
    pub visibility: Option<Visibility>,
}

/// Exactly which transactions a read has seen, in the source's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Visibility(pub String);
