//! Where a log ends.

use async_trait::async_trait;

use crate::{Position, Result};

/// Says where the log of a database ends: the way back from a switch begins
/// there.
#[async_trait]
pub trait LogEnd: Send + Sync {
    /// A position that durably lies behind each commit that was acknowledged
    /// before it was asked for, and before each commit that begins after it
    /// has answered. A stream from it has none of the first and all of the
    /// second.
    ///
    /// # Errors
    /// When the server cannot be reached.
    async fn log_end(&self) -> Result<Position>;
}
