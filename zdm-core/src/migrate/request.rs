//! A cutover, or a rehearsal of one, that another process asks for.
//!
//! Whoever follows a run is the one that can cut it over. Asking is a record
//! in the source, `requested`, with a lease: no port, no file, and it works
//! from another machine. What is asked for is its note. The one that follows
//! takes it by writing its epoch into it, and from there to the end there is
//! always a record: `requested` while it checks, `preparing`, and `switched` or
//! `answered`, with what became of it in its note. Whoever asked removes the
//! answer; if nobody does, its lease runs out.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::certificate::Certificate;
use super::cutover::{Answer, CutoverOptions, Rehearsal, answered};
use super::{Migration, Plan};
use crate::connect::{Epoch, Fence, Phase, SwitchRecord, SwitchState};
use crate::{Error, ErrorKind, Result};

/// How often each side looks.
const LOOK: Duration = Duration::from_millis(250);

/// How long a follower has to take a request: it looks every [`LOOK`].
const TAKEN: Duration = Duration::from_secs(4);

/// For how long a follower that has taken a request may be checking before it
/// says so again.
pub(super) const CHECKS: Duration = Duration::from_secs(90);

/// A request's epoch before it is taken.
const NOBODY: Epoch = Epoch(0);

/// What a process that follows is asked for: a cutover or its rehearsal, and
/// how. What is left out that process goes by its own options for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Ask {
    /// Whether it is only rehearsed.
    pub rehearse: bool,
    /// For how long writers may wait in all, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// Whether rows are compared: see [`CutoverOptions::verify`].
    pub verify: bool,
    /// Whether the switch is certified: see [`CutoverOptions::certificate`].
    pub certificate: bool,
}

impl Ask {
    /// For a cutover.
    pub fn cutover() -> Self {
        Self::default()
    }

    /// For a rehearsal.
    pub fn rehearsal() -> Self {
        Self { rehearse: true, ..Self::default() }
    }

    /// Within that time.
    #[must_use]
    pub fn deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline_ms = deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Comparing rows or not.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// With a certificate or without.
    #[must_use]
    pub fn certificate(mut self, certificate: bool) -> Self {
        self.certificate = certificate;
        self
    }

    /// The options of whoever is asked, with what is asked for.
    #[must_use]
    pub fn options(&self, own: CutoverOptions) -> CutoverOptions {
        let options = match self.deadline_ms.map(Duration::from_millis) {
            Some(deadline) => own.within(deadline),
            None => own,
        };
        let (verify, certificate) = (own.verify || self.verify, own.certificate || self.certificate);
        options.verify(verify).certificate(certificate)
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Requested {
    /// No process follows the run; the request is withdrawn.
    Nobody,
    /// The one that follows has cut over.
    Switched(SwitchRecord),
    /// It has rehearsed it.
    Rehearsed(Box<Rehearsal>),
}

impl Migration {
    /// Asks the process that follows this run, wherever it is, to cut over or
    /// to rehearse that, and waits for the outcome. That process hears it by its
    /// [`Running::requests`](super::Running::requests).
    ///
    /// # Errors
    /// `Conflict` when a cutover is under way already, when the follower gave
    /// this one up, in its words, or fell silent; `Unsupported` where the source
    /// cannot keep writers out.
    pub async fn request(&self, ask: Ask) -> Result<Requested> {
        self.plan.request(ask).await
    }

    /// The certificate of the last switch in this direction, as its record in
    /// the source keeps it; `None` where there is none, or not yet.
    ///
    /// # Errors
    /// When the source cannot be asked.
    pub async fn certificate(&self) -> Result<Option<Certificate>> {
        let record = self.plan.fence()?.record(&self.plan.options.run).await?;
        let switched = record.filter(|record| record.state == SwitchState::Switched);
        switched.and_then(|record| record.note).map(|note| Certificate::parse(&note)).transpose()
    }
}

/// What asks this process for a cutover: see [`Running::requests`](super::Running::requests).
#[allow(missing_debug_implementations, reason = "nothing but the plan of its run")]
pub struct Requests(pub(super) Arc<Plan>);

impl Requests {
    /// Waits until somebody asks for something while the run follows. Answer
    /// by [`Running::cutover`](super::Running::cutover) or
    /// [`Running::rehearse`](super::Running::rehearse), whose outcome the asking
    /// one sees. Trouble with the source makes it wait on: the run
    /// meets the same, and decides what it means.
    pub async fn next(&self) -> Ask {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.0.status.subscribe().borrow().phase != Some(Phase::Following) {
                continue;
            }
            match self.0.take_request().await {
                Ok(Some(ask)) => return ask,
                Ok(None) => {}
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

    /// Takes a request, if there is one; one that has expired is removed, and so
    /// is an answer that nobody fetches.
    async fn take_request(&self) -> Result<Option<Ask>> {
        let (fence, run) = (self.fence()?, &self.options.run);
        let Some(record) = fence.record(run).await? else { return Ok(None) };
        if !record.is_asked() {
            return Ok(None);
        }
        let now = fence.now().await?;
        if record.lease_until <= now {
            return fence.swap(run, Some(&record), None).await.map(|()| None);
        }
        if record.state != SwitchState::Requested || record.epoch != NOBODY {
            return Ok(None);
        }
        let Some(state) = self.checkpoint.load(run).await? else { return Ok(None) };
        let lease_until = after(now, CHECKS).max(record.lease_until + 1);
        let taken = SwitchRecord { epoch: state.record.epoch, lease_until, ..record.clone() };
        fence.swap(run, Some(&record), Some(&taken)).await?;
        match serde_json::from_str(taken.note.as_deref().unwrap_or("{}")) {
            Ok(ask) => Ok(Some(ask)),
            Err(error) => {
                let unknown = Error::new(
                    ErrorKind::Unsupported,
                    "what is asked for the process that follows does not understand: use its release",
                );
                self.dismiss_request(&unknown.caused_by(error)).await;
                Ok(None)
            }
        }
    }

    /// Says for another while that a request which was taken is being checked. If
    /// that fails, whoever asked takes this process for silent, and no more.
    pub(super) async fn renew_request(&self) {
        let run = &self.options.run;
        let renewed = async {
            let fence = self.fence()?;
            match fence.record(run).await? {
                Some(record) if record.state == SwitchState::Requested && record.epoch != NOBODY => {
                    let lease_until = after(fence.now().await?, CHECKS).max(record.lease_until + 1);
                    fence
                        .swap(run, Some(&record), Some(&SwitchRecord { lease_until, ..record.clone() }))
                        .await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = renewed.await {
            tracing::debug!(%run, %error, "a request that is being checked is not renewed");
        }
    }

    /// Keeps the certificate with the record of its switch. Without it nothing is
    /// lost but that others can fetch it.
    pub(super) async fn publish(&self, certificate: &Certificate) {
        let run = &self.options.run;
        let published = async {
            let fence = self.fence()?;
            match fence.record(run).await? {
                Some(record) if record.state == SwitchState::Switched && record.leg == certificate.leg => {
                    let with = SwitchRecord { note: Some(certificate.to_json()), ..record.clone() };
                    fence.swap(run, Some(&record), Some(&with)).await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = published.await {
            tracing::warn!(%run, %error, "the certificate is not kept with the record of the switch");
        }
    }

    /// Answers the request that a cutover was to be the answer to, when that has
    /// failed before it put its own record there. If this fails too, the
    /// lease runs out.
    pub(super) async fn dismiss_request(&self, why: &Error) {
        let run = &self.options.run;
        let dismissed = async {
            let fence = self.fence()?;
            match fence.record(run).await? {
                Some(record) if record.state == SwitchState::Requested && record.epoch != NOBODY => {
                    let answer = Answer::GivenUp { kind: why.kind().to_string(), message: why.to_string() };
                    // OK because it is plain text.
                    let note = serde_json::to_string(&answer).unwrap_or_default();
                    let answer = answered(&record, note, fence.now().await?);
                    fence.swap(run, Some(&record), Some(&answer)).await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = dismissed.await {
            tracing::warn!(%run, %error, "whoever asked for the cutover does not hear yet that it was given up");
        }
    }

    async fn request(&self, ask: Ask) -> Result<Requested> {
        let (fence, run) = (self.fence()?, &self.options.run);
        let leg = self.due().await?.number;
        let now = fence.now().await?;
        let old = fence.record(run).await?;
        match &old {
            Some(record) if record.is_history(leg) => {}
            Some(record) if record.state == SwitchState::Switched => {
                return Ok(Requested::Switched(record.clone()));
            }
            Some(record) if record.state != SwitchState::Answered && record.lease_until > now => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "a cutover of this run is under way or asked for already: wait for it",
                )
                .with("run", run));
            }
            // Left by a process that died: the next start of the run undoes it.
            Some(record) if !record.is_asked() => return Ok(Requested::Nobody),
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
            // OK because it is numbers.
            note: serde_json::to_string(&ask).ok(),
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
                Some(record) if record.state == SwitchState::Answered => {
                    return self.answer(fence, record).await;
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
                        "the following process has given it up, and its output says why; the source is still the \
                         active side",
                    )
                    .with("run", run));
                }
            }
        }
    }
}

impl Plan {
    /// Takes an answer away, and reads it.
    async fn answer(&self, fence: &dyn Fence, record: SwitchRecord) -> Result<Requested> {
        match fence.swap(&record.run, Some(&record), None).await {
            // Somebody else has, since its time was over.
            Err(error) if error.kind() == ErrorKind::Fenced => {}
            removed => removed?,
        }
        match serde_json::from_str(record.note.as_deref().unwrap_or_default()) {
            Ok(Answer::Rehearsed(rehearsal)) => Ok(Requested::Rehearsed(rehearsal)),
            Ok(Answer::GivenUp { kind, message }) => Err(Error::new(
                ErrorKind::Conflict,
                format!("the following process has given it up, and the source is still the active side: {message}"),
            )
            .with("kind", kind)
            .with("run", &record.run)),
            Err(error) => Err(Error::new(
                ErrorKind::Protocol,
                "the following process has answered what this one does not understand: use its release",
            )
            .caused_by(error)),
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
