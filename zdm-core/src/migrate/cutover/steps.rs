//! The states of a cutover. Each is consumed by the step that leaves it.

use tokio::time::Instant;

use super::lease::Lease;
use super::report::{Answer, ms};
use super::session::{Session, bounded};
use super::settle::{Outcome, settle};
use super::{Cutover, Forecast, Rehearsal, Reverse, Switch, Verification};
use crate::connect::{HoldOptions, Step, SwitchRecord, SwitchState};
use crate::gate::GateHold;
use crate::migrate::certificate::Certificate;
use crate::{Error, ErrorKind, Identity, Result};

/// Defines a state, and the way out that undoes it.
macro_rules! state {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "dropped, it leaves a record behind: abandon it, or go on"]
        pub struct $name(Box<Session>);

        impl $name {
            /// Gives everything back to the source and undoes what was done.
            ///
            /// # Errors
            /// When something could not be undone; the source is open all
            /// the same, and the next start of the run does the rest.
            pub async fn abandon(self) -> Result<()> {
                self.0.undo(None).await
            }
        }
    };
}

/// Step 0 is done: nothing stands in the way, and no writer has noticed.
#[derive(Debug)]
#[must_use = "checked is not done"]
pub struct Checked {
    plan: Cutover,
    forecast: Forecast,
    identities: Option<(Identity, Identity)>,
}

impl Cutover {
    /// Step 0: looks at lag, rights, shapes, sequences and capabilities, and
    /// whether the hold can be taken, for which it [arms the
    /// fence](crate::connect::Fence::arm). Beyond that it changes nothing; it
    /// clears the record of an earlier cutover of this run that did not come
    /// to its end.
    ///
    /// # Errors
    /// What stands in the way, in words that say what to do.
    pub async fn check(self) -> Result<Checked> {
        match self.checks().await {
            Ok((forecast, identities)) => Ok(Checked { plan: self, forecast, identities }),
            Err(error) => {
                if let Some(back) = &self.way_back {
                    back.release().await;
                }
                Err(error)
            }
        }
    }
}

impl Checked {
    /// What the pause will probably be.
    pub fn forecast(&self) -> Forecast {
        self.forecast
    }

    /// Step 1: the record PREPARING, durably, with a lease and the epoch.
    ///
    /// # Errors
    /// `Fenced` when another process was quicker.
    pub async fn prepare(self) -> Result<Prepared> {
        let plan = self.plan;
        let record = SwitchRecord {
            run: plan.run.clone(),
            state: SwitchState::Preparing,
            epoch: plan.epoch,
            target: plan.target.clone(),
            position: None,
            leg: plan.leg,
            back: None,
            lease_until: 0,
            note: None,
        };
        let lease = Lease::take(plan.source_fence()?, record, plan.options.lease).await?;
        tracing::info!(run = %plan.run, epoch = %plan.epoch, "cutover prepared");
        fail::fail_point!("cutover::prepared");
        Ok(Prepared(Box::new(Session::new(plan, lease, self.forecast, self.identities))))
    }
}

state! {
    /// Step 1 is done: the record says PREPARING.
    Prepared
}

impl Prepared {
    /// Step 2: the gate holds new requests, and those inside end.
    ///
    /// # Errors
    /// `Timeout` when they do not within [`gate`](super::CutoverOptions::gate).
    pub async fn hold_gate(mut self) -> Result<Held> {
        let s = &mut *self.0;
        s.clock.begin();
        let options = s.plan.options;
        let gate = &s.plan.gate;
        let slot = &mut s.gate;
        let work = bounded(s.clock.until(), "cutover.gate", async move {
            // At its own deadline the gate opens to the source by itself,
            // should this process hang; the budget ends before it.
            let held = slot.insert(gate.hold(options.pause + options.gate).await?);
            held.drained(options.gate).await
        });
        match s.lease.during(s.plan.source_fence()?, work).await {
            Ok(()) => {
                s.clock.pause.gate_ms = s.clock.lap();
                fail::fail_point!("cutover::held");
                Ok(Held(self.0))
            }
            Err(error) => Err(self.0.abort(error).await),
        }
    }
}

state! {
    /// Step 2 is done: no request of the application is inside the gate.
    Held
}

impl Held {
    /// Step 3: the fence. Transactions in flight end, others wait; then the
    /// tables are compared with what was copied.
    ///
    /// # Errors
    /// `Timeout` naming who was in the way; `SchemaChanged`.
    pub async fn fence(mut self) -> Result<Fenced> {
        let s = &mut *self.0;
        let until = s.clock.until();
        let left = until.map_or(s.plan.options.hold.deadline, |u| u.duration_since(Instant::now()));
        let options = HoldOptions { deadline: s.plan.options.hold.deadline.min(left), ..s.plan.options.hold };
        let (plan, slot) = (&s.plan, &mut s.hold);
        let work = bounded(until, "cutover.fence", async move {
            *slot = Some(plan.source_fence()?.hold(&plan.run, &plan.source_schema, options).await?);
            plan.check_shape().await
        });
        match s.lease.during(s.plan.source_fence()?, work).await {
            Ok(()) => {
                s.clock.pause.fence_ms = s.clock.lap();
                fail::fail_point!("cutover::fenced");
                Ok(Fenced(self.0))
            }
            Err(error) => Err(self.0.abort(error).await),
        }
    }
}

state! {
    /// Step 3 is done: the hold is up, nobody writes to the source.
    Fenced
}

impl Fenced {
    /// Step 4: a marker behind the last write, and the drain until the
    /// target's durable progress has passed it.
    ///
    /// # Errors
    /// `Timeout` when it takes longer than its budget.
    pub async fn drain(mut self) -> Result<Drained> {
        match drain(&mut self.0).await {
            Ok(()) => Ok(Drained(self.0)),
            Err(error) => Err(self.0.abort(error).await),
        }
    }
}

async fn drain(s: &mut Session) -> Result<()> {
    let until = s.clock.until();
    let budget = Instant::now().checked_add(s.plan.options.drain).min(until).or(until);
    let (plan, hold, slot) = (&s.plan, &mut s.hold, (&mut s.marker, &mut s.drained));
    let work = async move {
        let hold = hold.as_mut().ok_or_else(fallen)?;
        let marker = bounded(until, "cutover.marker", hold.marker()).await?;
        let drained = bounded(budget, "cutover.drain", plan.follower.applied_past(&marker)).await?;
        (*slot.0, *slot.1) = (Some(marker), Some(drained));
        Ok(())
    };
    s.lease.during(s.plan.source_fence()?, work).await?;
    s.check().await?;
    s.clock.pause.drain_ms = s.clock.lap();
    fail::fail_point!("cutover::drained");
    Ok(())
}

state! {
    /// Step 4 is done: the target has everything, durably.
    Drained
}

impl Drained {
    /// Step 5: compares the rows touched since the last verification, where
    /// [`verify`](super::CutoverOptions::verify) asks for it.
    ///
    /// # Errors
    /// `Conflict` when they differ, with the tables and keys; `Timeout` when
    /// that takes longer than the pause may last.
    pub async fn verify(mut self) -> Result<Verified> {
        match verify(&mut self.0).await {
            Ok(()) => Ok(Verified(self.0)),
            Err(error) => Err(self.0.abort(error).await),
        }
    }
}

async fn verify(s: &mut Session) -> Result<()> {
    if s.plan.options.verify {
        let compared = bounded(s.clock.until(), "cutover.verify", s.plan.comparing()?.compare());
        s.verification = Verification::Touched(s.lease.during(s.plan.source_fence()?, compared).await?);
    }
    s.clock.pause.verify_ms = s.clock.lap();
    fail::fail_point!("cutover::verified");
    Ok(())
}

state! {
    /// Step 5 is done. A rehearsal ends here.
    Verified
}

impl Verified {
    /// Ends a rehearsal: gives everything back to the source, and leaves nothing
    /// behind but what [`arm`](crate::connect::Fence::arm) has made ready.
    ///
    /// # Errors
    /// When something could not be undone; the source is open all the same, and
    /// the next start of the run does the rest.
    pub async fn rehearsed(self) -> Result<Rehearsal> {
        let mut s = self.0;
        s.give_back().await?;
        let Forecast { lag, drain, hold } = s.forecast;
        let report = Rehearsal {
            run: s.plan.run.clone(),
            epoch: s.plan.epoch,
            leg: s.plan.leg,
            position: s.marker.clone().ok_or_else(fallen)?,
            bytes_behind: lag.bytes,
            predicted_ms: ms(drain.unwrap_or_default() + hold.unwrap_or_default()),
            pause: s.clock.pause,
            verification: s.verification.clone(),
        };
        s.end(Some(Answer::Rehearsed(Box::new(report.clone())))).await?;
        tracing::info!(run = %report.run, pause_ms = report.pause.total_ms, "rehearsed");
        Ok(report)
    }

    /// Step 6: sequences from live values, with a margin; triggers and
    /// foreign keys of the target.
    ///
    /// # Errors
    /// `Rejected` when a sequence or a constraint does not take it.
    pub async fn finish(mut self) -> Result<Sequenced> {
        match finish(&mut self.0).await {
            Ok(()) => {
                fail::fail_point!("cutover::finished");
                Ok(Sequenced(self.0))
            }
            Err(error) => Err(self.0.abort(error).await),
        }
    }
}

async fn finish(s: &mut Session) -> Result<()> {
    let (plan, slot, ready) = (&s.plan, &mut s.sequences, &mut s.ready);
    let work = bounded(s.clock.until(), "cutover.finish", async move {
        plan.follower.stand_still().await?;
        // From the asking on: an answer that is lost must be undone as well.
        *ready = true;
        let sequences = async {
            if let Some(source) = plan.source.capabilities().sequences {
                *slot = source.read(&plan.source_schema).await?;
            }
            if let Some(target) = plan.sink.capabilities().sequences {
                let values = plan.target_schema.counters(slot);
                target.set(&plan.target_schema, &values, plan.options.sequence_margin).await?;
            }
            Ok(())
        };
        // Side by side: writers wait for the longer of the two.
        let tables = plan.sink.prepare(&plan.run, &plan.target_schema, Step::Ready);
        futures::try_join!(sequences, tables).map(drop)
    });
    s.lease.during(s.plan.source_fence()?, work).await
}

state! {
    /// Step 6 is done: the target would do as the active side.
    Sequenced
}

impl Sequenced {
    /// Step 7: where the way back will begin, if there is one; and both sides are
    /// kept as they are, where a certificate is asked for. Nothing but
    /// this run has written to the target so far, and the application will not
    /// before the switch: between the two the target's log ends here.
    ///
    /// # Errors
    /// When the target cannot be asked.
    pub async fn arm(mut self) -> Result<Armed> {
        if let Err(error) = arm(&mut self.0).await {
            return Err(self.0.abort(error).await);
        }
        self.0.clock.pause.finish_ms = self.0.clock.lap();
        fail::fail_point!("cutover::armed");
        Ok(Armed(self.0))
    }
}

async fn arm(s: &mut Session) -> Result<()> {
    let (plan, reverse, moment) = (&s.plan, &mut s.reverse, &mut s.moment);
    let back = async {
        if let Some(back) = &plan.way_back {
            *reverse = Reverse::From(back.log_end().await?);
        }
        Ok(())
    };
    let kept = async {
        if plan.options.certificate {
            *moment = Some(plan.comparing()?.moment().await?);
        }
        Ok(())
    };
    let work = bounded(s.clock.until(), "cutover.arm", async { futures::try_join!(back, kept).map(drop) });
    s.lease.during(s.plan.source_fence()?, work).await
}

state! {
    /// Step 7 is done: the next step is the commit point.
    Armed
}

impl Armed {
    /// Step 8, the commit point: in the hold's session and one transaction,
    /// the seal and the record SWITCHED.
    ///
    /// # Errors
    /// Before it happened: everything is undone. `Connection`, saying that
    /// the outcome is unknown: nothing is undone, the source decides, and
    /// [`recover`](super::recover()) reads it.
    pub async fn switch(mut self) -> Result<Switched> {
        let (old, new) = match before_switch(&mut self.0).await {
            Ok(records) => records,
            Err(error) => return Err(self.0.abort(error).await),
        };
        let s = &mut *self.0;
        let (Some(hold), Some(marker)) = (s.hold.take(), s.marker.clone()) else {
            return Err(self.0.abort(fallen()).await);
        };
        fail::fail_point!("cutover::before_switch");
        let sealed = bounded(s.clock.until(), "cutover.switch", hold.seal(&old, &new)).await;
        if let Err(error) = sealed {
            match settle(s.plan.source_fence()?, &old, s.plan.options.settle).await {
                Outcome::Switched => {}
                Outcome::Not(record) => {
                    s.lease.record = *record;
                    return Err(self.0.abort(error).await);
                }
                Outcome::Lost(lost) => return Err(self.0.abort(lost.caused_by(error)).await),
                Outcome::Unknown(unknown) => return Err(unknown),
            }
        }
        fail::fail_point!("cutover::after_switch");
        s.clock.pause.switch_ms = s.clock.lap();
        tracing::info!(run = %s.plan.run, position = %marker, "switched");
        let report = Switch {
            run: s.plan.run.clone(),
            epoch: s.plan.epoch,
            target: s.plan.target.clone(),
            position: marker,
            pause: s.clock.pause,
            sequences: std::mem::take(&mut s.sequences),
            sequence_margin: s.plan.options.sequence_margin,
            verification: s.verification.clone(),
            reverse: s.reverse.clone(),
            leg: s.plan.leg,
            certificate: None,
        };
        Ok(Switched { session: self.0, report })
    }
}

/// The last looks back, and the records of the commit point.
async fn before_switch(s: &mut Session) -> Result<(SwitchRecord, SwitchRecord)> {
    // The lease is renewed beside it if it is old: the commit point itself
    // cannot be, and its record is the one that it expects.
    s.check().await?;
    if let Some(gate) = &mut s.gate {
        // From here on letting requests go to the source would fail them.
        bounded(s.clock.until(), "cutover.gate", gate.pin()).await?;
    }
    let old = s.lease.record.clone();
    let back = match &s.reverse {
        Reverse::None => None,
        Reverse::From(end) => Some(end.clone()),
    };
    let new = SwitchRecord { state: SwitchState::Switched, position: s.marker.clone(), back, ..old.clone() };
    Ok((old, new))
}

fn fallen() -> Error {
    Error::new(ErrorKind::Fenced, "the hold has fallen: cut over again").during("cutover.hold")
}

/// Step 8 is done: the source is sealed and says so. Only forward from here.
#[derive(Debug)]
#[must_use = "the target is still sealed: open it"]
pub struct Switched {
    session: Box<Session>,
    report: Switch,
}

impl Switched {
    /// Step 9: unseals the target, flips the gate and lets its requests go.
    /// Tries again for [`settle`](super::CutoverOptions::settle).
    ///
    /// # Errors
    /// When the target or the gate cannot be reached in that time: call it
    /// again, or [`recover`](super::recover()) at the next start. While it is
    /// not open, requests wait; dropped, they go to the source and are
    /// refused there.
    pub async fn open(&mut self) -> Result<Switch> {
        let s = &mut *self.session;
        let deadline = Instant::now() + s.plan.options.settle;
        let mut pause = std::time::Duration::from_millis(20);
        loop {
            let error = match open(&s.plan, s.gate.as_deref_mut()).await {
                Ok(()) => break,
                Err(error) => error,
            };
            tracing::warn!(run = %s.plan.run, %error, "switched, but the target does not open yet");
            if Instant::now() + pause >= deadline {
                return Err(Error::new(
                    ErrorKind::Connection,
                    "switched, the source is sealed, but the target could not be opened: start the run \
                     again when the target is back",
                )
                .caused_by(error)
                .during("cutover.open"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(std::time::Duration::from_secs(1));
        }
        fail::fail_point!("cutover::opened");
        s.gate = None;
        if self.report.pause.open_ms == 0.0 {
            s.clock.pause.open_ms = s.clock.lap();
            s.clock.end();
            self.report.pause = s.clock.pause;
        }
        tracing::info!(run = %s.plan.run, pause_ms = s.clock.pause.total_ms, "the target is open");
        Ok(self.report.clone())
    }

    /// Counts and digests all rows of both sides as they were at the switch,
    /// while the application goes on, and certifies it. `None` where no
    /// [certificate](super::CutoverOptions::certificate) was asked for. Takes as
    /// long as reading all tables does; what cannot be read it says.
    pub async fn certify(&mut self) -> Option<Certificate> {
        let s = &mut *self.session;
        let (moment, (source, target)) = (s.moment.take()?, s.identities.clone()?);
        let counted = moment.tables().await;
        if let Err(error) = &counted {
            tracing::warn!(run = %s.plan.run, %error, "rows are not counted for the certificate");
        }
        let drained = s.drained.clone().unwrap_or_else(|| self.report.position.clone());
        Some(Certificate::of(&self.report, (source, target), drained, counted))
    }
}

async fn open(plan: &Cutover, gate: Option<&mut (dyn GateHold + 'static)>) -> Result<()> {
    plan.target_fence()?.unseal(&plan.run, &plan.target_schema, plan.leg).await?;
    match gate {
        Some(gate) => gate.flip().await,
        None => Ok(()),
    }
}
