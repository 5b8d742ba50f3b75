//! A run that is under way: attempts, one after the other, until it ends.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cutover::{CutoverOptions, Rehearsal, Switch};
use super::{Plan, Requests};
use crate::connect::Phase;
use crate::gate::GateControl;
use crate::run::Status;
use crate::{Error, ErrorKind, Position, Result};

/// How long a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until its token is cancelled.
    Cancelled,
    /// Until the target has everything that the source's log held when the
    /// copy was complete and the stream was opened for good.
    CaughtUp,
}

/// How a run ended without an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum Outcome {
    /// The token was cancelled; the same call resumes here.
    Stopped {
        /// Durable up to here; `None` before the stream has a start.
        position: Option<Position>,
    },
    /// The target has caught up.
    CaughtUp {
        /// Durable up to here.
        position: Position,
    },
    /// The run was cut over already: the target is the active side.
    Switched {
        /// The last position of the source.
        position: Option<Position>,
    },
}

/// A run in a task of its own. Dropping it cancels the run and does not wait:
/// [`stop`](Self::stop) does.
pub struct Running {
    plan: Arc<Plan>,
    task: JoinHandle<Result<Outcome>>,
    /// How the task ended, when [`followed`](Self::followed) was the one to see it.
    outcome: Option<Outcome>,
    cancel: CancellationToken,
    status: watch::Receiver<Status>,
}

impl Running {
    pub(crate) fn start(plan: Arc<Plan>, until: Until, cancel: CancellationToken) -> Self {
        // Another process may have followed the run since.
        plan.durable.touched().forget();
        let cancel = cancel.child_token();
        let status = plan.status.subscribe();
        let token = cancel.clone();
        let ours = Arc::clone(&plan);
        let task = tokio::spawn(async move { ours.run(until, token).await });
        Self { plan, task, outcome: None, cancel, status }
    }

    /// How far it is, now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// How far it is, now and from now on.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Waits until the target shows true states of the source and has its
    /// indexes and constraints. Cancel-safe.
    ///
    /// # Errors
    /// The run's own error if it ends before.
    pub async fn followed(&mut self) -> Result<()> {
        let followed = |status: &Status| status.phase >= Some(Phase::Following);
        let outcome = tokio::select! {
            biased;
            seen = self.status.wait_for(followed) => match seen {
                Ok(_) => return Ok(()),
                Err(_) => return Err(gone()),
            },
            ended = &mut self.task => ended.map_err(|_| gone())??,
        };
        self.outcome = Some(outcome);
        if followed(&self.status.borrow()) {
            return Ok(());
        }
        Err(Error::cancelled().during("migrate.follow"))
    }

    /// Ends it at a durable position, and waits for that.
    ///
    /// # Errors
    /// The run's own error.
    pub async fn stop(self) -> Result<Outcome> {
        self.cancel.cancel();
        self.wait().await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// The run's own error.
    pub async fn wait(mut self) -> Result<Outcome> {
        self.ended().await
    }

    /// The same, for who also waits for other things. Cancel-safe; once it
    /// has answered, it must not be called again.
    ///
    /// # Errors
    /// The run's own error.
    pub async fn ended(&mut self) -> Result<Outcome> {
        match self.outcome.take() {
            Some(outcome) => Ok(outcome),
            None => (&mut self.task).await.map_err(|_| gone())?,
        }
    }

    /// The cutovers and rehearsals that other processes
    /// [ask for](super::Migration::request).
    pub fn requests(&self) -> Requests {
        Requests(Arc::clone(&self.plan))
    }

    /// Makes the target the active side, while the application goes on behind
    /// its gate. With `Ok` the run has ended; with an error everything was
    /// undone, the source is the active side, and the run goes on, unless the
    /// message says otherwise. With a
    /// [certificate](CutoverOptions::certificate) it answers only when all rows
    /// are counted, long after the application is at work on the target.
    ///
    /// Drive it to its end: dropped, it leaves a record that the next start
    /// clears.
    ///
    /// # Errors
    /// Those of the steps of a [cutover](super::cutover).
    pub async fn cutover(&mut self, gate: Arc<dyn GateControl>, options: CutoverOptions) -> Result<Switch> {
        let (mut switched, mut switch) = match Arc::clone(&self.plan).cutover(gate, options).await {
            Ok(switched) => switched,
            Err(error) => {
                self.plan.dismiss_request(&error).await;
                return Err(error);
            }
        };
        self.cancel.cancel();
        // The stream has nothing left to bring; how it ended does not matter.
        if let Err(error) = self.ended().await {
            tracing::warn!(%error, "the stream of a run that has switched ended with an error");
        }
        self.plan.record_switch(&switch).await;
        // For who waits for its end once more.
        self.outcome = Some(Outcome::Switched { position: Some(switch.position.clone()) });
        switch.certificate = switched.certify().await;
        if let Some(certificate) = &switch.certificate {
            self.plan.publish(certificate).await;
        }
        Ok(switch)
    }

    /// Goes through a cutover up to step 5, against the live source, and gives
    /// everything back: what it would cost, and whether anything is in its way.
    /// Writers wait for as long as [reported](Rehearsal::pause), at most
    /// [`pause`](CutoverOptions::pause). The run goes on; nothing is left behind
    /// but what [`Fence::arm`](crate::connect::Fence::arm) has made ready.
    ///
    /// Drive it to its end, as a [cutover](Self::cutover).
    ///
    /// # Errors
    /// Those of the steps, which a cutover would have met too.
    pub async fn rehearse(
        &mut self,
        gate: Arc<dyn GateControl>,
        options: CutoverOptions,
    ) -> Result<Rehearsal> {
        let rehearsed = Arc::clone(&self.plan).rehearse(gate, options).await;
        if let Err(error) = &rehearsed {
            self.plan.dismiss_request(error).await;
        }
        rehearsed
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Other, "the task of the run is gone: it panicked or its runtime was shut down")
}

impl Plan {
    /// Attempts until one ends without an error, or with one that no retry
    /// can help. Each attempt begins by raising the run's epoch, so whatever
    /// the one before left open is settled first.
    pub(crate) async fn run(&self, until: Until, cancel: CancellationToken) -> Result<Outcome> {
        self.durable.set_ended(false);
        let outcome = self.attempts(until, cancel).await;
        self.durable.set_ended(true);
        outcome
    }

    async fn attempts(&self, until: Until, cancel: CancellationToken) -> Result<Outcome> {
        let mut delays = self.options.retry.delays();
        let mut durable_at = None;
        loop {
            let error = match self.attempt(until, &cancel).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) if cancel.is_cancelled() && error.kind() == ErrorKind::Cancelled => {
                    return Ok(self.stopped());
                }
                Err(error) => error,
            };
            let now_at = self.progress_mark();
            if durable_at.as_ref() != Some(&now_at) {
                delays = self.options.retry.delays();
                durable_at = Some(now_at);
            }
            let Some(delay) = (if error.is_retryable() { delays.next() } else { None }) else {
                return Err(error);
            };
            self.status.retrying(&error, delay);
            tokio::select! {
                () = cancel.cancelled() => {
                    return Ok(self.stopped());
                }
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// Stopped where this start stands, or, before its stream has begun, where
    /// the last one stopped.
    fn stopped(&self) -> Outcome {
        let applied = self.durable.position().borrow().clone();
        Outcome::Stopped { position: applied.or_else(|| self.progress_mark().0) }
    }

    /// Changes whenever something has become durable.
    fn progress_mark(&self) -> (Option<Position>, u64) {
        let status = self.status.subscribe();
        let status = status.borrow();
        (status.position.clone(), status.rows_copied)
    }
}
