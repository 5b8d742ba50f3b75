//! What a stack of stages is once its types are erased.

use std::sync::Arc;

use crate::change::Batch;
use crate::connect::Finding;
use crate::schema::{Schema, Table};
use crate::{Error, ErrorKind, Result};

/// A stack of stages: what the copy, the stream, a reread and the
/// verification all pass through, so that they cannot diverge.
///
/// # Contract
///
/// *Purity.* The same batch always gives the same rows; no order between
/// batches is relied on. Many tasks call it at once.
///
/// *Boundaries.* Rows are added, changed and dropped; boundaries never. A
/// transaction of which no row is left still begins and commits.
///
/// *Tables.* A table of the source always maps to the same `Arc<Table>`, the
/// one that [`schema`](Self::schema) gave.
pub trait Transform: Send + Sync {
    /// Maps the source's schema to the target's. Called first, once for each
    /// (re)start.
    ///
    /// # Errors
    /// `Config` when a stage names what is not there.
    fn schema(&self, schema: &Schema) -> Result<Schema>;

    /// What the stages cannot do with this schema, said before the start.
    fn check(&self, schema: &Schema) -> Vec<Finding>;

    /// Maps a batch.
    ///
    /// # Errors
    /// Whatever a closure of a stage fails with, and `Unsupported` when a
    /// stage needs a cell that the log did not carry.
    fn batch(&self, batch: Batch) -> Result<Batch>;

    /// Maps keys of a target table back to its source table, so that rows can
    /// be read again: `keys` holds deletes, and so does the answer.
    ///
    /// # Errors
    /// `Unsupported` when a stage computes the key and has no inverse.
    fn keys_back(&self, table: &Arc<Table>, keys: Batch) -> Result<(Arc<Table>, Batch)>;

    /// Why changes of the target could not be carried back through these
    /// stages; empty where they could.
    fn irreversible(&self, schema: &Schema) -> Vec<Finding>;
}

/// No stages: everything passes as it is, untouched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity;

impl Transform for Identity {
    fn schema(&self, schema: &Schema) -> Result<Schema> {
        Ok(schema.clone())
    }

    fn check(&self, _: &Schema) -> Vec<Finding> {
        Vec::new()
    }

    fn batch(&self, batch: Batch) -> Result<Batch> {
        Ok(batch)
    }

    fn irreversible(&self, _: &Schema) -> Vec<Finding> {
        Vec::new()
    }

    fn keys_back(&self, table: &Arc<Table>, keys: Batch) -> Result<(Arc<Table>, Batch)> {
        if table.name == table.origin.name {
            return Ok((Arc::clone(table), keys));
        }
        Err(Error::new(ErrorKind::Config, "a renamed table reached a pipeline with no stages")
            .with("table", &table.name))
    }
}
