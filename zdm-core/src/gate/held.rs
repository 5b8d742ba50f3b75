//! A gate that is held: wait for those inside, then let the line go on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::line::{HoldId, Line};
use crate::{Error, ErrorKind, Result};

/// A gate that is held. Dropped, it opens to the old side: requests are
/// never left hanging, however a cutover ends.
#[must_use = "the gate opens again when this is dropped"]
pub struct HeldGate<T> {
    line: Arc<Line<T>>,
    id: HoldId,
}

impl<T: Send + Sync> HeldGate<T> {
    pub(super) fn new(line: Arc<Line<T>>, id: HoldId) -> Self {
        Self { line, id }
    }

    /// Waits until the requests that were inside have ended, at most that
    /// long. May be called again; dropping the future changes nothing.
    ///
    /// # Errors
    /// `Timeout` when some are still inside, or when the hold itself ended at
    /// its deadline (see [`is_up`](Self::is_up)).
    pub async fn drained(&mut self, within: Duration) -> Result<()> {
        if tokio::time::timeout(within, self.line.emptied()).await.is_err() {
            return Err(Error::new(
                ErrorKind::Timeout,
                "requests that entered before the gate was held are still inside: end the long \
                 ones, or give them more time",
            )
            .with("in_flight", self.line.stats().in_flight)
            .with("waited_ms", within.as_millis())
            .during("gate.drained"));
        }
        self.is_up().then_some(()).ok_or_else(overstayed)
    }

    /// Whether the gate is still held by this hold: its deadline may have
    /// ended it.
    pub fn is_up(&self) -> bool {
        self.line.is_held(self.id)
    }

    /// Takes the hold's deadline away. From here on the old side may be gone
    /// at any moment, and letting requests go to it would make them fail.
    /// Each request still has its own patience.
    ///
    /// # Errors
    /// `Timeout` when the deadline has passed already.
    pub fn pin(&mut self) -> Result<()> {
        self.line.pin(self.id).then_some(()).ok_or_else(overstayed)
    }

    /// Opens to `side`: first those who wait, in their order. When the hold
    /// has ended already, the side is still made the active one.
    pub fn release_to(self, side: T) {
        self.open_to(Arc::new(side));
    }

    pub(super) fn open_to(self, side: Arc<T>) {
        if !self.line.open(self.id, Some(Arc::clone(&side))) {
            self.line.set(side);
        }
    }

    /// Opens to the old side, as dropping does.
    pub fn release(self) {
        drop(self);
    }
}

fn overstayed() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the hold of the gate overstayed its deadline, and requests went on to the old side: \
         try again with a longer deadline",
    )
    .during("gate.hold")
}

impl<T> Drop for HeldGate<T> {
    fn drop(&mut self) {
        // Nothing happens when it is open, or held by somebody else.
        self.line.open(self.id, None);
    }
}

impl<T: Send + Sync> fmt::Debug for HeldGate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldGate").field("up", &self.is_up()).finish_non_exhaustive()
    }
}
