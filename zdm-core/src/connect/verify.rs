//! Reading tables once more, to compare what two databases hold.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use super::{Bounds, ChunkSize};
use crate::change::{Batch, Budget};
use crate::schema::{Table, TableName};
use crate::{Position, Result};

/// Says what tables hold, so that [`verify`](crate::verify) can compare two
/// databases.
///
/// A source and a sink of one engine offer the same: a target's rows are read
/// as a source's are, by the same types and the same encoding, and never by
/// what somebody believes to have written.
#[async_trait]
pub trait Verify: Send + Sync {
    /// The tables of these names as this database has them now, in their
    /// order.
    ///
    /// # Errors
    /// `NotFound` naming the table that is not there; others when the server
    /// fails.
    async fn tables(&self, names: &[TableName]) -> Result<Vec<Arc<Table>>>;

    /// Opens what rows are read with.
    ///
    /// # Errors
    /// When the server cannot be reached.
    async fn reader(&self) -> Result<Arc<dyn Reader>>;

    /// The same, for all tables as they are at this moment, whatever is written
    /// while they are read. Reads come one after the other. Between two of them
    /// no table is locked; but a snapshot stays open until it is dropped.
    ///
    /// # Errors
    /// When the server cannot be reached; later, `SchemaChanged` for a table
    /// that was truncated or rewritten since.
    async fn moment(&self) -> Result<Arc<dyn Reader>>;
}

/// Reads rows of tables as they are at that moment. Many tasks share one.
///
/// # Contract
///
/// *Tables* are as [`Verify::tables`] or
/// [`Source::describe`](super::Source::describe) gave them, and a table that
/// has changed since is `SchemaChanged`.
///
/// *Reads* take no lock that a writer would notice, and see what is committed
/// when they begin: a transaction wholly or not at all. Computed columns are
/// left out, as in a copy.
///
/// *Cancellation.* A future or a stream that is dropped takes its connection
/// with it.
#[async_trait]
pub trait Reader: Send + Sync {
    /// The keys at which a table can be divided into parts of about that size:
    /// deletes of the table, in the order in which the server has them. None
    /// for a small table, and for one with no key.
    ///
    /// # Errors
    /// When the server fails.
    async fn divide(&self, table: &Arc<Table>, size: ChunkSize) -> Result<Batch>;

    /// The rows whose keys lie above the one and up to the other, in the
    /// server's own order; without a key, all on that side. Keys are deletes
    /// of the table with one row each, in any encoding. Pure.
    ///
    /// # Errors
    /// `Unsupported` for a key that cannot be written as a bound.
    fn between(&self, table: &Table, above: Option<&Batch>, upto: Option<&Batch>) -> Result<Bounds>;

    /// Reads rows: batches of inserts, without boundaries. The stream ends
    /// when all were read, and else with an error; it is `'static`.
    ///
    /// # Errors
    /// When the server fails; see the contract.
    async fn read(
        &self,
        table: Arc<Table>,
        bounds: Bounds,
        budget: Budget,
        cancel: CancellationToken,
    ) -> Result<BoxStream<'static, Result<Batch>>>;

    /// The rows that are there of those that the deletes in `keys` name, in
    /// any order. What a key equals is for the server to say.
    ///
    /// # Errors
    /// When the server fails; `Unsupported` for a table with no key.
    async fn look(&self, table: &Arc<Table>, keys: &Batch) -> Result<Batch>;

    /// A point by which everything that was read before this call is in the
    /// log, and flushed, so that a stream from the log will come to it though
    /// nothing more is written. Asked of a source alone.
    ///
    /// # Errors
    /// When the server fails; `Config` where it keeps no log.
    async fn here(&self) -> Result<Position>;
}
