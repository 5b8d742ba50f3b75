//! A cutover that another process asks for.
//!
//! Whoever follows a run is the one that can cut it over. Asking is a record
//! in the source, `requested`, with a lease: no port, no file, and it works
//! from another machine. The one that follows takes it by writing its epoch
//! into it, and from there to the end there is always a record: `requested`
//! while it checks, `preparing`, `switched`. So a record that is gone means
//! that the cutover was given up, and is known as soon as it happens.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Migration, Plan};
use crate::connect::{Epoch, Fence, Phase, SwitchRecord, SwitchState};
use crate::{Error, ErrorKind, Result};

/// How often each side looks.
const LOOK: Duration = Duration::from_millis(250);

/// How long a follower has to take a request: it looks every [`LOOK`].
const TAKEN: Duration = Duration::from_secs(4);

/// How long a follower that has taken a request may be checking.
const CHECKS: Duration = Duration::from_secs(90);

/// A request's epoch before it is taken.
const NOBODY: Epoch = Epoch(0);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requested {
    /// No process follows the run; the request is withdrawn.
    Nobody,
    /// The one that follows has cut over.
    Switched(SwitchRecord),
}

impl Migration {
    /// Asks the process that follows this run, wherever it is, to cut over,
    /// and waits for the outcome. That process hears it by its
    /// [`Running::requests`](super::Running::requests).
    ///
    /// # Errors
    /// `Conflict` when a cutover is under way already, when the follower gave
    /// this one up (its own error says why), or fell silent; `Unsupported`
    /// where the source cannot keep writers out.
    pub async fn request_cutover(&self) -> Result<Requested> {
        self.plan.request_cutover().await
    }
}

/// What asks this process to cut over: see [`Running::requests`](super::Running::requests).
#[allow(missing_debug_implementations, reason = "nothing but the plan of its run")]
pub struct Requests(pub(super) Arc<Plan>);

impl Requests {
    /// Waits until somebody asks for a cutover while the run follows. Answer
    /// by [`Running::cutover`](super::Running::cutover), whose outcome the
    /// asking one sees. Trouble with the source makes it wait on: the run
    /// meets the same, and decides what it means.
    pub async fn next(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.0.status.subscribe().borrow().phase != Some(Phase::Following) {
                continue;
            }
            match self.0.take_request().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(run = %self.0.options.run, %error, "cannot look whether a cutover is asked for");
                }
            }
        }
    }
}

impl Plan {
    fn fence(&self) -> Result<&dyn Fence> {
        self.source.capabilities().fence.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the connector of the source cannot keep writers out")
        })
    }

    /// Takes a request, if there is one; one that has expired is removed.
    async fn take_request(&self) -> Result<bool> {
        let (fence, run) = (self.fence()?, &self.options.run);
        let Some(record) = fence.record(run).await? else { return Ok(false) };
        if record.state != SwitchState::Requested || record.epoch != NOBODY {
            return Ok(false);
        }
        let now = fence.now().await?;
        if record.lease_until <= now {
            return fence.swap(run, Some(&record), None).await.map(|()| false);
        }
        let Some(state) = self.checkpoint.load(run).await? else { return Ok(false) };
        let lease_until = after(now, CHECKS).max(record.lease_until + 1);
        let taken = SwitchRecord { epoch: state.record.epoch, lease_until, ..record.clone() };
        fence.swap(run, Some(&record), Some(&taken)).await.map(|()| true)
    }

    /// Removes the request that a cutover was the answer to, when it has
    /// failed before it put its own record there. If this fails too, the
    /// lease runs out.
    pub(super) async fn dismiss_request(&self) {
        let run = &self.options.run;
        let dismissed = async {
            let fence = self.fence()?;
            match fence.record(run).await? {
                Some(record) if record.state == SwitchState::Requested && record.epoch != NOBODY => {
                    fence.swap(run, Some(&record), None).await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = dismissed.await {
            tracing::warn!(%run, %error, "whoever asked for the cutover does not hear yet that it was given up");
        }
    }

    async fn request_cutover(&self) -> Result<Requested> {
        let (fence, run) = (self.fence()?, &self.options.run);
        let leg = self.due().await?.number;
        let now = fence.now().await?;
        let old = fence.record(run).await?;
        match &old {
            Some(record) if record.is_history(leg) => {}
            Some(record) if record.state == SwitchState::Switched => {
                return Ok(Requested::Switched(record.clone()));
            }
            Some(record) if record.lease_until > now => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "a cutover of this run is under way or asked for already: wait for it",
                )
                .with("run", run));
            }
            // Left by a process that died: the next start of the run undoes it.
            Some(record) if record.state != SwitchState::Requested => return Ok(Requested::Nobody),
            _ => {}
        }
        let asked = SwitchRecord {
            run: run.clone(),
            state: SwitchState::Requested,
            epoch: NOBODY,
            target: String::new(),
            position: None,
            leg,
            back: None,
            lease_until: after(now, TAKEN * 2),
        };
        fence.swap(run, old.as_ref(), Some(&asked)).await?;
        let until = Instant::now() + TAKEN;
        loop {
            tokio::time::sleep(LOOK).await;
            match fence.record(run).await? {
                Some(record) if record == asked => {
                    if Instant::now() >= until && withdraw(fence, &asked).await? {
                        return Ok(Requested::Nobody);
                    }
                }
                Some(record) if record.state == SwitchState::Switched => {
                    return Ok(Requested::Switched(record));
                }
                Some(record) if record.lease_until > fence.now().await? => {}
                Some(_) => {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        "the following process took the cutover up and fell silent: look whether it lives; the next \
                         start of the run undoes or finishes what it left",
                    )
                    .with("run", run));
                }
                None => {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        "the following process has given the cutover up, and its output says why; the source is \
                         still the active side",
                    )
                    .with("run", run));
                }
            }
        }
    }
}

/// Whether a request could be taken back; if not, somebody took it just now.
async fn withdraw(fence: &dyn Fence, asked: &SwitchRecord) -> Result<bool> {
    match fence.swap(&asked.run, Some(asked), None).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Fenced => Ok(false),
        Err(error) => Err(error),
    }
}

fn after(now: i64, length: Duration) -> i64 {
    now.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}
