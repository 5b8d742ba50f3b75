//! The cutover: writers leave the source and arrive at the target, with
//! nothing lost, and at no moment are both open for writes.
//!
//! The record that decides lives in the database that is *left*, so that
//! sealing it and saying so is one local transaction. Before that
//! transaction every failure goes back to the source; behind it there is
//! only forward. Each step is a type that the next one consumes, so that a
//! step left out does not compile:
//!
//! | step | call | gives | if it fails |
//! |---|---|---|---|
//! | 0. checks; the fence is armed, the way back made | [`Cutover::check`] | [`Checked`] | nothing was done |
//! | 1. record, with a lease | [`Checked::prepare`] | [`Prepared`] | record deleted |
//! | 2. gate holds requests | [`Prepared::hold_gate`] | [`Held`] | gate opens to the source |
//! | 3. fence the source | [`Held::fence`] | [`Fenced`] | unfenced, gate opens |
//! | 4. marker; drain | [`Fenced::drain`] | [`Drained`] | the same |
//! | 5. compare what was touched last | [`Drained::verify`] | [`Verified`] | the same |
//! | 6. sequences, triggers, foreign keys | [`Verified::finish`] | [`Sequenced`] | the same, and the target steps back |
//! | 7. the reverse stream's start | [`Sequenced::arm`] | [`Armed`] | the same |
//! | 8. **commit point**: seal and record, one transaction | [`Armed::switch`] | [`Switched`] | the record is read again |
//! | 9. unseal the target, flip the gate | [`Switched::open`] | [`Switch`] | only forward: called again, or [`recover()`] |
//! | 10. the way back follows | [`Migration::back`](super::Migration::back) | | |
//!
//! [`Cutover::run`] does them all. Every state but the last two can be
//! [abandoned](Drained::abandon), which undoes it. A
//! [rehearsal](Cutover::rehearse) is a cutover that is given back when it is
//! [`Verified`], and reports the pause that it measured.
//!
//! # When it is killed, or its future dropped
//!
//! The hold falls with its session and the gate opens to the source. What
//! stays is the record. [`recover()`] reads it at the next start: before
//! SWITCHED it gives the source back, after it opens the target.
//!
//! # Verification under the fence
//!
//! With [`verify`](CutoverOptions::verify), step 0 sees to it that both sides
//! were found equal, while nobody waits, and step 5 compares what the stream has
//! touched since, under the fence, when both sides rest: what differs then does.
//! [`Evidence`] has what that shows and what it does not.

mod assess;
mod check;
mod evidence;
mod follower;
mod lease;
mod options;
mod recover;
mod report;
mod session;
mod settle;
mod steps;
mod way_back;

use std::sync::Arc;

pub use check::Forecast;
pub use evidence::{Evidence, Moment};
pub use follower::{Follower, Lag};
pub(crate) use lease::answered;
pub use options::CutoverOptions;
pub use recover::{Recover, Recovered, recover};
pub(crate) use report::{Answer, rfc3339};
pub use report::{Pause, Rehearsal, Reverse, Switch, TableScope, Verification};
pub use steps::{Armed, Checked, Drained, Fenced, Held, Prepared, Sequenced, Switched, Verified};

use self::way_back::WayBack;
use crate::connect::{Epoch, Finding, RunName, Sink, Source};
use crate::gate::{GateControl, NoGate};
use crate::schema::{Schema, Selection};
use crate::{Error, ErrorKind, Result};

/// A cutover that has not begun: whom it moves, and how.
#[derive(Clone)]
pub struct Cutover {
    run: RunName,
    epoch: Epoch,
    source: Arc<dyn Source>,
    source_schema: Arc<Schema>,
    sink: Arc<dyn Sink>,
    target_schema: Arc<Schema>,
    follower: Arc<dyn Follower>,
    gate: Arc<dyn GateControl>,
    tables: Option<Selection>,
    target: String,
    findings: Vec<Finding>,
    leg: u32,
    way_back: Option<WayBack>,
    evidence: Option<Arc<dyn Evidence>>,
    options: CutoverOptions,
}

impl Cutover {
    /// A cutover of a run that follows, in the process that holds `epoch`.
    ///
    /// `source_schema` is as the source describes it, `target_schema` as the
    /// stages made it.
    pub fn new(
        run: RunName,
        epoch: Epoch,
        (source, source_schema): (Arc<dyn Source>, Arc<Schema>),
        (sink, target_schema): (Arc<dyn Sink>, Arc<Schema>),
        follower: Arc<dyn Follower>,
    ) -> Self {
        Self {
            run,
            epoch,
            source,
            source_schema,
            sink,
            target_schema,
            follower,
            gate: Arc::new(NoGate),
            tables: None,
            target: "another database".to_owned(),
            findings: Vec::new(),
            leg: 1,
            way_back: None,
            evidence: None,
            options: CutoverOptions::default(),
        }
    }

    /// The gate that the application's requests pass. Default: none.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn GateControl>) -> Self {
        self.gate = gate;
        self
    }

    /// The run's own choice of tables: under the fence no other table may
    /// match it than those that were moved. Default: just those.
    #[must_use]
    pub fn tables(mut self, tables: Selection) -> Self {
        self.tables = Some(tables);
        self
    }

    /// Where the data goes, for the error that a stray writer gets: a host
    /// and database, never a password.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// What the caller has found beyond what both sides [say](crate::connect::Assess)
    /// when they are asked: a blocker among it stops the cutover before it begins.
    #[must_use]
    pub fn findings(mut self, findings: Vec<Finding>) -> Self {
        self.findings = findings;
        self
    }

    /// How often the pair of runs has been switched with this one. Default: 1.
    #[must_use]
    pub fn leg(mut self, leg: u32) -> Self {
        self.leg = leg;
        self
    }

    /// Fixes where `run` will follow from behind the switch: the target as a
    /// source, and the source of this cutover, as a target. Default: nothing
    /// leads back.
    #[must_use]
    pub fn way_back(mut self, run: RunName, target: Arc<dyn Source>, source: Arc<dyn Sink>) -> Self {
        self.way_back = Some(WayBack { run, target, source });
        self
    }

    /// Who compares rows. Default: nobody, and
    /// [`verify`](CutoverOptions::verify) is refused.
    #[must_use]
    pub fn evidence(mut self, evidence: Arc<dyn Evidence>) -> Self {
        self.evidence = Some(evidence);
        self
    }

    /// Budgets and deadlines.
    #[must_use]
    pub fn options(mut self, options: CutoverOptions) -> Self {
        self.options = options;
        self
    }

    /// All steps, one after the other. Drive it to its end: dropped before
    /// the commit point it leaves a record that [`recover()`] must clear.
    ///
    /// # Errors
    /// Those of the steps. Everything was undone and the source is open,
    /// unless the message says otherwise.
    pub async fn run(self) -> Result<Switch> {
        let (mut switched, mut switch) = self.switch().await?;
        switch.certificate = switched.certify().await;
        Ok(switch)
    }

    /// The same, without the certificate.
    pub(crate) async fn switch(self) -> Result<(Switched, Switch)> {
        let armed = self.verified().await?.finish().await?.arm().await?;
        let mut switched = armed.switch().await?;
        let switch = switched.open().await?;
        Ok((switched, switch))
    }

    /// Steps 0 to 5 against the live source, and everything given back: what a
    /// cutover would cost. Nothing is left behind but what
    /// [`arm`](crate::connect::Fence::arm) has made ready.
    ///
    /// # Errors
    /// Those of the steps, which a cutover would have met too.
    pub async fn rehearse(self) -> Result<Rehearsal> {
        self.verified().await?.rehearsed().await
    }

    async fn verified(self) -> Result<Verified> {
        let held = self.check().await?.prepare().await?.hold_gate().await?;
        held.fence().await?.drain().await?.verify().await
    }

    fn source_fence(&self) -> Result<&dyn crate::connect::Fence> {
        self.source.capabilities().fence.ok_or_else(|| lacks("source", "keep writers out"))
    }

    fn comparing(&self) -> Result<&dyn Evidence> {
        self.evidence.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "nobody compares rows in this cutover: give it who does, or do not verify",
            )
            .during("cutover.verify")
        })
    }

    fn target_fence(&self) -> Result<&dyn crate::connect::Fence> {
        self.sink.capabilities().fence.ok_or_else(|| lacks("target", "keep writers out until the switch"))
    }
}

fn lacks(side: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the connector of the {side} cannot {what}: stop the application, wait until the target has \
                 caught up, and point the application there by hand"
        ),
    )
    .during("cutover.check")
}

impl std::fmt::Debug for Cutover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cutover")
            .field("run", &self.run)
            .field("epoch", &self.epoch)
            .field("target", &self.target)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
