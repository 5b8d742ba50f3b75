//! The traffic gate: what an application passes through to reach whichever
//! database is active, so that a cutover makes its requests wait some
//! milliseconds and makes none of them fail.
//!
//! A request [enters](Gate::enter) and holds the [`Guard`] for as long as it
//! uses the database. A cutover [holds](Gate::hold) the gate: requests that
//! come now wait in line, those inside are waited for
//! ([`drained`](HeldGate::drained)), and then all go on, in the order in which
//! they came, to the side that the cutover names.
//!
//! ```
//! use std::time::Duration;
//! use zdm_core::gate::Gate;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> zdm_core::Result<()> {
//! let gate = Gate::new("old database"); // a connection pool, in life
//!
//! // A request. Its guard must live as long as it uses the database.
//! let request = gate.enter().await?;
//! assert_eq!(*request, "old database");
//! drop(request);
//!
//! // A cutover, and a request that comes in the middle of it.
//! let mut held = gate.hold(Duration::from_secs(5))?;
//! held.drained(Duration::from_secs(1)).await?;
//! let waiting = tokio::spawn({
//!     let gate = gate.clone();
//!     async move { gate.enter().await.map(|side| *side) }
//! });
//! held.release_to("new database");
//! assert_eq!(waiting.await.expect("not cancelled")?, "new database");
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! * *In order.* Requests that wait go on in the order in which they came,
//!   and none that comes later overtakes them.
//! * *Nobody waits for ever.* A request waits as long as
//!   [`GateOptions::patience`] and then fails with `Timeout`. A hold ends at
//!   its own deadline, or when it is dropped: to the old side.
//! * *Cancel-safe.* A request that is dropped while it waits leaves the line;
//!   one that is dropped just as it is let in gives its place back.
//!
//! # What it does not do
//!
//! * It does not know what a request does with the database. A guard dropped
//!   while its transaction is still open (returned to a pool, say) is not in
//!   flight for the gate: the fence of the database waits for it, or stops it.
//! * A transaction that is open for longer than the cutover waits
//!   ([`drained`](HeldGate::drained)'s bound) makes that cutover give up. It
//!   is never cut off.
//! * A request that enters twice (the guard is held across another `enter`)
//!   waits for itself while the gate is held, until one of the two deadlines.
//!   Enter once for each request.
//! * It is a gate of one process. An application of many processes needs one
//!   in each, and a [`GateControl`] that moves them all.

mod control;
mod held;
mod line;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

pub use control::{GateControl, GateHold, NoGate, Toward};
pub use held::HeldGate;
use tokio::time::Instant;

use self::line::{Entry, Line, Ticket};
use crate::{Error, ErrorKind, Result};

/// How a gate treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateOptions {
    /// For how long a request waits while the gate is held.
    pub patience: Duration,
}

impl Default for GateOptions {
    /// Ten seconds.
    fn default() -> Self {
        Self { patience: Duration::from_secs(10) }
    }
}

impl GateOptions {
    /// The same, with requests that wait that long.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Where requests pass to reach the active side: `T` is a pool, a client, or
/// an enum of the two. Clones are the same gate.
pub struct Gate<T> {
    line: Arc<Line<T>>,
    options: GateOptions,
}

impl<T: Send + Sync> Gate<T> {
    /// A gate that is open to that side.
    pub fn new(side: T) -> Self {
        Self::with(side, GateOptions::default())
    }

    /// A gate that is open to that side, with options.
    pub fn with(side: T, options: GateOptions) -> Self {
        Self { line: Arc::new(Line::new(side)), options }
    }

    /// Lets a request in; waits in line while the gate is held.
    ///
    /// Dropping the future leaves the line and changes nothing else.
    ///
    /// # Errors
    /// `Timeout` after [`GateOptions::patience`]: the request did nothing and
    /// may be made again.
    pub async fn enter(&self) -> Result<Guard<T>> {
        let ticket = match self.line.enter() {
            Entry::In(guard) => return Ok(guard),
            Entry::Wait(ticket) => ticket,
        };
        let patience = Instant::now().checked_add(self.options.patience);
        self.wait(ticket, patience).await
    }

    async fn wait(&self, mut ticket: Ticket<T>, patience: Option<Instant>) -> Result<Guard<T>> {
        // The end of a hold lets everybody in, so one ticket meets one hold.
        let mut hold_ends = ticket.hold_ends();
        loop {
            tokio::select! {
                biased;
                guard = ticket.admitted() => return guard.ok_or_else(impatient),
                () = at(patience) => return ticket.leave().ok_or_else(impatient),
                () = at(hold_ends) => {
                    // The hold overstayed: whoever sees it first ends it,
                    // which lets in this request and all others; or it was
                    // pinned since, and has no end any more.
                    self.line.expire(ticket.hold());
                    hold_ends = None;
                }
            }
        }
    }

    /// Holds the gate: from here on requests wait. After `deadline` the hold
    /// ends by itself, to the old side, unless it is
    /// [pinned](HeldGate::pin).
    ///
    /// # Errors
    /// `Conflict` when it is held already.
    pub fn hold(&self, deadline: Duration) -> Result<HeldGate<T>> {
        let id = self.line.hold(Instant::now().checked_add(deadline)).ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                "the gate is held already: one cutover at a time, wait for it or end it",
            )
            .during("gate.hold")
        })?;
        Ok(HeldGate::new(Arc::clone(&self.line), id))
    }

    /// Makes `side` the active one at once, whether the gate is held or not;
    /// a hold stays. Requests inside stay where they are.
    pub fn set(&self, side: T) {
        self.line.set(Arc::new(side));
    }

    /// The active side, past the line: to look at it, not to use it.
    pub fn side(&self) -> Arc<T> {
        self.line.side()
    }

    /// What has passed so far.
    pub fn stats(&self) -> GateStats {
        self.line.stats()
    }
}

fn impatient() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the gate is held for a cutover and did not open in time: make the request again, \
         or give the gate more patience",
    )
    .during("gate.enter")
}

/// Waits until then; for ever when there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl<T> Clone for Gate<T> {
    fn clone(&self) -> Self {
        Self { line: Arc::clone(&self.line), options: self.options }
    }
}

impl<T: Send + Sync> fmt::Debug for Gate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("options", &self.options)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A request that is inside. Derefs to the side that it was let in to, which
/// stays the same for as long as the guard lives.
#[must_use = "the request is over when its guard is dropped"]
pub struct Guard<T> {
    side: Arc<T>,
    line: Arc<Line<T>>,
}

impl<T> Guard<T> {
    /// The side, to keep a clone of its handle; the request is over when the
    /// guard is dropped all the same.
    pub fn side(&self) -> &Arc<T> {
        &self.side
    }
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.side
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        self.line.leave();
    }
}

impl<T: fmt::Debug> fmt::Debug for Guard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.side).finish()
    }
}

/// What has passed through a gate since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateStats {
    /// Requests that were let in.
    pub requests: u64,
    /// Those of them that had to wait.
    pub waited: u64,
    /// Requests that gave up: their patience ended, or they were dropped.
    pub gave_up: u64,
    /// Requests that are inside now.
    pub in_flight: usize,
    /// Requests that wait now.
    pub waiting: usize,
    /// The longest that a request has waited, those that gave up included.
    pub longest_wait: Duration,
    /// Whether the gate is held now.
    pub held: bool,
}

#[cfg(test)]
mod tests;
