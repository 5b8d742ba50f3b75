//! What a cutover asks of whoever compares rows.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::TableScope;
use crate::Result;
use crate::migrate::certificate::TableEvidence;

/// Compares rows of both sides, before a cutover and under its fence.
///
/// What was found equal once is compared again only where the stream has
/// touched it since: that is little enough for a pause. It shows that what
/// arrived was applied rightly up to the last write. A change that never
/// arrived touches nothing; it shows where all rows are compared.
#[async_trait]
pub trait Evidence: Send + Sync {
    /// Step 0, while nobody waits: sees to it that all rows have been compared
    /// and are equal, and that few are left that were touched since. It takes
    /// as long as that takes.
    ///
    /// # Errors
    /// `Conflict` when the sides differ, with the tables and keys; `Timeout`
    /// when rows are touched faster than they can be compared.
    async fn ready(&self) -> Result<()>;

    /// Step 5, under the fence, when neither side changes: compares what was
    /// touched since, and says what was compared of each table.
    ///
    /// The caller bounds it; a dropped future changes nothing.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    async fn compare(&self) -> Result<BTreeMap<String, TableScope>>;

    /// Step 7, under the fence: keeps both sides as they are.
    ///
    /// # Errors
    /// When a side cannot be reached, or cannot do so.
    async fn moment(&self) -> Result<Box<dyn Moment>>;
}

/// Both sides as they were at one moment, for as long as it is not dropped.
#[async_trait]
pub trait Moment: Send + Sync {
    /// Counts and digests of each table, by its name at the target.
    ///
    /// # Errors
    /// When a side fails, or a table was rewritten or truncated since.
    async fn tables(&self) -> Result<BTreeMap<String, TableEvidence>>;
}
