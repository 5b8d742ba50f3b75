//! Which target a run of a source belongs to.

use async_trait::async_trait;

use super::RunName;
use crate::Result;

/// Notes at the source which target a run serves, so that a second process
/// with another target cannot take over (or take away) what the first one's
/// run keeps on the server.
///
/// A source that keeps nothing for a run has no need of it.
#[async_trait]
pub trait Claim: Send + Sync {
    /// The target that the run was claimed for, as it was given to
    /// [`claim`](Self::claim); `None` if it is free or not kept.
    ///
    /// # Errors
    /// When the server cannot be reached.
    async fn claimed(&self, run: &RunName) -> Result<Option<String>>;

    /// Claims the run for that target, if it is free, and gives whose it is
    /// then: of two processes that claim at once, one gets the other's target
    /// as its answer. Durable, atomic, and before anything else that the run
    /// makes at the source. [`Source::release`](super::Source::release) frees it.
    ///
    /// # Errors
    /// When the server cannot be reached or a right is missing.
    async fn claim(&self, run: &RunName, target: &str) -> Result<String>;
}
