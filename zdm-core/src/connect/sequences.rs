//! Counters that logs do not carry: sequences, identities, AUTO_INCREMENT.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::schema::{Schema, TableName};

/// The state of one sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceValue {
    /// The sequence, as [`Schema::sequences`] names it.
    pub name: TableName,
    /// The value that it gave last, or gives first if it was never called.
    pub last: i64,
    /// Whether `last` was given out.
    pub called: bool,
    /// What it adds each time.
    pub increment: i64,
}

/// Reads live values and sets them.
#[async_trait]
pub trait Sequences: Send + Sync {
    /// The live values of the schema's sequences.
    ///
    /// # Errors
    /// When the database fails or a right is missing.
    async fn read(&self, schema: &Schema) -> Result<Vec<SequenceValue>>;

    /// Sets each sequence so that the next value is at least `margin` steps
    /// behind the given one: a table's locks do not stop `nextval`, and a
    /// number may have been taken that no row shows yet. Never sets one back.
    ///
    /// # Errors
    /// `Rejected` when a sequence would pass its end.
    async fn set(&self, schema: &Schema, values: &[SequenceValue], margin: u32) -> Result<()>;
}
