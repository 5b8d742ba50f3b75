//! What a cutover asks of the process that applies changes meanwhile.

use std::time::Duration;

use async_trait::async_trait;

use crate::connect::Phase;
use crate::{Position, Result};

/// The running follower of a run: the stream that is being applied.
#[async_trait]
pub trait Follower: Send + Sync {
    /// Waits until the run's durable progress, *read back from the target*,
    /// has [reached](crate::connect::Source::reached) `goal`. What was sent
    /// or applied is not enough: a drain that ends early loses commits. Gives
    /// where it is then.
    ///
    /// The caller bounds the wait; a dropped future changes nothing.
    ///
    /// # Errors
    /// When following has failed for good; not while it reconnects.
    async fn applied_past(&self, goal: &Position) -> Result<Position>;

    /// Waits until no change is being applied, and applies none from then on
    /// until [`stepped_back`](Self::stepped_back): the target's triggers and
    /// foreign keys come, which may not be switched off for changes. It holds
    /// on when the cutover ends without that call.
    ///
    /// The caller bounds the wait; a dropped future changes nothing.
    ///
    /// # Errors
    /// When an earlier cutover could not take the target back.
    async fn stand_still(&self) -> Result<()>;

    /// The target is again as it is while changes are applied.
    fn stepped_back(&self);

    /// How far the target is behind at this moment; `None` while that is not
    /// known, because no stream is open or the source has not said yet where
    /// its log ends.
    fn lag(&self) -> Option<Lag>;

    /// Where the source's log ends, as it has last said; `None` while that is
    /// not known.
    fn head(&self) -> Option<Position>;

    /// Where the migration stands: a cutover begins at [`Phase::Following`].
    fn phase(&self) -> Phase;
}

/// How far a target is behind its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Bytes of log that are not applied yet.
    pub bytes: u64,
    /// Bytes of log that were applied in a second when it last had work to
    /// do; `None` when it never had.
    pub bytes_per_second: Option<u64>,
}

impl Lag {
    /// How long the drain would take at the rate that was seen last.
    pub fn drain(&self) -> Option<Duration> {
        match (self.bytes, self.bytes_per_second) {
            (0, _) => Some(Duration::ZERO),
            (_, None) => None,
            (bytes, Some(rate)) => {
                // In whole milliseconds and without floats: `u64::MAX` bytes
                // at one a second saturate rather than wrap. One that stands
                // still does not come to an end either.
                Some(Duration::from_millis(bytes.saturating_mul(1000) / rate.max(1)))
            }
        }
    }
}
