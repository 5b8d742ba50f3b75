//! What a cutover under way holds, and how all of it is given back.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::lease::Lease;
use super::report::Answer;
use super::report::{Pause, ms};
use super::{Cutover, Forecast, Moment, Reverse, Verification};
use crate::connect::{Hold, SequenceValue, Step};
use crate::gate::GateHold;
use crate::{Error, ErrorKind, Identity, Position, Result};

/// For how long undoing waits for one thing while writers wait for it.
const UNDO: Duration = Duration::from_secs(2);

/// A cutover between its record and its commit point.
///
/// Dropped, the hold falls and the gate opens to the source; the record
/// stays, for `recover` to find.
pub(super) struct Session {
    pub(super) plan: Cutover,
    pub(super) lease: Lease,
    pub(super) gate: Option<Box<dyn GateHold>>,
    pub(super) hold: Option<Box<dyn Hold>>,
    pub(super) marker: Option<Position>,
    /// Where the target was when it had passed the marker.
    pub(super) drained: Option<Position>,
    pub(super) sequences: Vec<SequenceValue>,
    pub(super) verification: Verification,
    pub(super) forecast: Forecast,
    pub(super) identities: Option<(Identity, Identity)>,
    /// Both sides as they are at the switch, for its certificate.
    pub(super) moment: Option<Box<dyn Moment>>,
    pub(super) reverse: Reverse,
    /// Whether the target was asked to enable triggers and foreign keys.
    pub(super) ready: bool,
    pub(super) clock: Clock,
}

impl Session {
    pub(super) fn new(
        plan: Cutover,
        lease: Lease,
        forecast: Forecast,
        identities: Option<(Identity, Identity)>,
    ) -> Self {
        let clock = Clock::new(plan.options.pause);
        Self {
            plan,
            lease,
            gate: None,
            hold: None,
            marker: None,
            drained: None,
            sequences: Vec::new(),
            verification: Verification::Skipped,
            forecast,
            identities,
            moment: None,
            reverse: Reverse::None,
            ready: false,
            clock,
        }
    }

    /// Makes sure that nobody has got past the fence or taken the record.
    pub(super) async fn check(&mut self) -> Result<()> {
        if let Some(hold) = &mut self.hold {
            let checked = bounded(self.clock.until(), "cutover.check", hold.check());
            self.lease.during(self.plan.source_fence()?, checked).await?;
        }
        Ok(())
    }

    /// Gives everything back to the source, and the error with what could
    /// not be undone.
    pub(super) async fn abort(self, error: Error) -> Error {
        tracing::warn!(run = %self.plan.run, %error, "the cutover is given up");
        let answer = Answer::GivenUp { kind: error.kind().to_string(), message: error.to_string() };
        match self.undo(Some(answer)).await {
            Ok(()) => error,
            Err(undo) => error.with(
                "not undone",
                format!("{undo}; the source is open, the next start of the run clears what is left"),
            ),
        }
    }

    /// The reverse of what was done, in the reverse order; whoever asked for it
    /// is answered.
    pub(super) async fn undo(mut self, answer: Option<Answer>) -> Result<()> {
        self.give_back().await?;
        self.end(answer).await
    }

    /// Undoes what writers feel, and what would be in the way of the stream.
    pub(super) async fn give_back(&mut self) -> Result<()> {
        // While nobody writes, if it is quick: until it has happened the
        // follower applies nothing. A lost target does not make the pause long.
        let first = if self.ready { bounded_for(UNDO, self.step_back()).await } else { Ok(()) };
        if let Some(hold) = self.hold.take() {
            // It has fallen either way.
            if let Err(error) = bounded_for(UNDO, hold.release()).await {
                tracing::debug!(%error, "the hold fell with an error");
            }
        }
        drop(self.gate.take());
        self.clock.end();
        match first {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Fenced => Err(error),
            // The record stays if this fails too, and says so to the next start.
            Err(_) => self.step_back().await,
        }
    }

    /// Removes the record, and what was made for the way back.
    pub(super) async fn end(self, answer: Option<Answer>) -> Result<()> {
        // OK because it is plain data with names for keys.
        let answer = answer.and_then(|answer| serde_json::to_string(&answer).ok());
        self.lease.end(self.plan.source_fence()?, answer).await?;
        if let Some(back) = &self.plan.way_back {
            back.release().await;
        }
        Ok(())
    }

    /// Takes triggers and foreign keys of the target back, if the cutover is
    /// still ours: whoever has taken it over may have opened the target.
    async fn step_back(&mut self) -> Result<()> {
        self.lease.renew(self.plan.source_fence()?).await?;
        self.plan.sink.prepare(&self.plan.run, &self.plan.target_schema, Step::Finished).await?;
        self.plan.follower.stepped_back();
        Ok(())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("plan", &self.plan)
            .field("record", &self.lease.record)
            .field("marker", &self.marker)
            .finish_non_exhaustive()
    }
}

/// Bounds a future by a moment.
pub(super) async fn bounded<T: Send>(
    until: Option<Instant>,
    operation: &'static str,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let Some(until) = until else { return work.await };
    match tokio::time::timeout_at(until, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            "the pause that the cutover may cost was used up: look at the lag, and try again or allow more",
        )
        .during(operation)),
    }
}

async fn bounded_for<T: Send>(limit: Duration, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    bounded(Instant::now().checked_add(limit), "cutover.undo", work).await
}

/// Counts the pause from the first moment at which a writer may wait.
#[derive(Debug)]
pub(super) struct Clock {
    budget: Duration,
    began: Option<Instant>,
    last: Instant,
    pub(super) pause: Pause,
}

impl Clock {
    fn new(budget: Duration) -> Self {
        Self { budget, began: None, last: Instant::now(), pause: Pause::default() }
    }

    /// Writers wait from here on.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        self.began.get_or_insert(now);
        self.last = now;
    }

    /// When the budget is used up; `None` for a budget without end.
    pub(super) fn until(&self) -> Option<Instant> {
        self.began.unwrap_or_else(Instant::now).checked_add(self.budget)
    }

    /// The milliseconds since the last lap.
    pub(super) fn lap(&mut self) -> f64 {
        let now = Instant::now();
        ms(now.duration_since(std::mem::replace(&mut self.last, now)))
    }

    /// Nobody waits any more.
    pub(super) fn end(&mut self) {
        self.pause.total_ms = self.began.map_or(0.0, |began| ms(began.elapsed()));
    }
}
