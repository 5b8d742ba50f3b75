//! What a cutover asks of whoever compares rows.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::TableScope;
use crate::Result;

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
}
