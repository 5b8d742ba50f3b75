//! Rows that the stream does not carry whole, read again from the source.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::change::Batch;
use crate::connect::{Reread, Snapshot};
use crate::pipeline::Transform;
use crate::schema::Table;
use crate::{Position, Result};

/// Reads through the stages, and remembers behind which points the consistent
/// point has moved by that.
pub(crate) struct SourceReread {
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) stages: Arc<dyn Transform>,
    pub(crate) goals: Arc<Mutex<Vec<Position>>>,
}

#[async_trait]
impl Reread for SourceReread {
    async fn reread(&self, table: &Arc<Table>, keys: Batch) -> Result<Batch> {
        let (source_table, keys) = self.stages.keys_back(table, keys)?;
        let (rows, after) = self.snapshot.reread(&source_table, &keys).await?;
        self.snapshot.flushed(&after.position).await?;
        self.goals.lock().unwrap_or_else(PoisonError::into_inner).push(after.position);
        self.stages.batch(rows)
    }
}
