//! The beginning of an attempt: take the run over, or create it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::cutover::{CutoverOptions, Recover, Recovered, recover};
use super::leg::Leg;
use super::{Plan, shapes};
use crate::connect::{Phase, Record, Severity, Snapshot, State, Step};
use crate::gate::NoGate;
use crate::schema::Schema;
use crate::{Error, ErrorKind, Result};

/// How long the lease of a process that died in a cutover is waited for:
/// longer than any lease that it could have taken.
const LEASE_PATIENCE: Duration = Duration::from_secs(60);

/// What a stray writer is told at the target.
const SEALED: &str = "a migration is filling these tables: write to the source until it has been cut over";

/// Both shapes of what is moved, and where the run stands.
pub(super) struct Start {
    pub(super) source: Arc<Schema>,
    pub(super) target: Arc<Schema>,
    pub(super) state: State,
}

impl Plan {
    /// Raises the epoch of a run that is there, or creates it and prepares
    /// both sides. In the end the run is in phase `Copying` or later.
    pub(super) async fn begin(&self) -> Result<Start> {
        let there = self.checkpoint.load(&self.options.run).await?;
        // What the target does not know has never been switched, nor back.
        let leg = match there {
            None if !self.options.run.leads_back() => Leg { number: 1, from: None },
            _ => self.due().await?,
        };
        if leg.from.is_some() {
            self.take_over().await?;
        }
        let known = match there {
            Some(_) => Some(self.checkpoint.raise(&self.options.run).await?),
            None => None,
        };
        let source = Arc::new(self.describe().await?);
        let state = match known {
            Some(state) => {
                state.record.source.expect(&self.source.identity().await?)?;
                if leg.from.is_none() || state.record.start == leg.from {
                    self.check_claim(state.record.phase).await?;
                }
                state
            }
            None => {
                // First of all: a blocker says more than the error that it
                // causes. Behind a switch, the switch has looked.
                if leg.from.is_none() {
                    self.refuse_blockers(&source).await?;
                    self.check_claim(Phase::Preparing).await?;
                }
                let mut record = Record::new(self.options.run.clone(), self.source.identity().await?);
                record.tables = shapes::kept(&source);
                self.checkpoint.create(&record).await?;
                State { record, chunks: Vec::new() }
            }
        };
        let target = Arc::new(self.stages.schema(&source)?);
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&target));
        let mut state = self.settle_cutover(state, &target, leg.number).await?;
        if Self::is_behind(&leg, &state) {
            state = self.begin_leg(&leg, state, (&source, &target)).await?;
        } else if state.record.phase != Phase::Switched {
            self.release_way_back().await;
        }
        // Behind the switch the old shapes no longer matter, and the target
        // must be opened whatever has become of the source.
        if state.record.phase != Phase::Switched
            && let Some(tables) = shapes::unchanged(&state.record.tables, &source)?
        {
            let record = Record { tables, ..state.record.clone() };
            self.checkpoint.swap(&state.record, &record).await?;
            state.record = record;
        }
        self.status.restored(
            state.record.rows_copied,
            state.record.changes_applied,
            state.record.position.clone(),
        );
        let mut start = Start { source, target, state };
        if start.state.record.phase == Phase::Preparing {
            match self.prepare(&mut start).await {
                // Nothing is left half done by a start that was refused; one
                // that was only interrupted goes on from here next time, and
                // one that was taken over is no longer ours to undo.
                Err(error)
                    if !error.is_retryable()
                        && !matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Fenced) =>
                {
                    self.undo().await;
                    return Err(error);
                }
                other => other?,
            }
        }
        Ok(start)
    }

    /// Refuses a run that belongs to another target: going on, or starting
    /// anew, would take from it what it keeps at the source.
    async fn check_claim(&self, phase: Phase) -> Result<()> {
        let Some(claim) = self.source.capabilities().claim else { return Ok(()) };
        let run = &self.options.run;
        let ours = self.sink.identity().await?.to_string();
        // Only a run that has nothing there yet may claim it: one that goes on
        // and finds its claim gone has lost more than that, and is told what.
        let owner = match phase {
            Phase::Preparing => Some(claim.claim(run, &ours).await?),
            _ => claim.claimed(run).await?,
        };
        match owner {
            Some(owner) if owner != ours => Err(Error::new(
                ErrorKind::Conflict,
                "the source keeps a run of that name for another target: check the target, give this run another \
                 name, or drop the other one first",
            )
            .with("run", run)
            .with("belongs_to", owner)
            .with("this_target", ours)),
            _ => Ok(()),
        }
    }

    /// Finishes or undoes a cutover that an earlier start did not bring to its
    /// end, before anything is applied.
    ///
    /// A cutover of this very process, during which the stream had to connect
    /// again, is none of those.
    async fn settle_cutover(&self, mut state: State, target: &Schema, leg: u32) -> Result<State> {
        if self.cutting_over.load(Ordering::Acquire) {
            return Ok(state);
        }
        let recovered = recover(Recover {
            run: &self.options.run,
            epoch: state.record.epoch,
            leg,
            source: &*self.source,
            sink: &*self.sink,
            target_schema: target,
            gate: &NoGate,
            patience: LEASE_PATIENCE,
            lease: CutoverOptions::default().lease,
        })
        .await?;
        if !matches!(recovered, Recovered::Switched(_)) && self.durable.turn().is_left() {
            // Done again where recovering did it: what it goes by is the
            // record, and that may be gone.
            self.sink.prepare(&self.options.run, target, Step::Finished).await?;
            self.durable.turn().stepped_back();
        }
        if let Recovered::Switched(switched) = recovered
            && state.record.phase != Phase::Switched
        {
            let mut record = state.record.clone();
            record.phase = Phase::Switched;
            record.position = switched.position.or(record.position);
            self.checkpoint.swap(&state.record, &record).await?;
            state.record = record;
        }
        Ok(state)
    }

    /// The run's snapshot, when its start was fixed before.
    pub(super) async fn snapshot(&self, start: &Start) -> Result<Arc<dyn Snapshot>> {
        self.source.snapshot(&self.options.run, &start.source, start.state.record.position.as_ref()).await
    }

    async fn prepare(&self, start: &mut Start) -> Result<()> {
        self.status
            .phase(Phase::Preparing, "fixing the start of the stream and waiting for transactions under way");
        let snapshot = self.source.snapshot(&self.options.run, &start.source, None).await?;
        fail::fail_point!("start::snapshot");
        self.status.phase(Phase::Preparing, "making the tables");
        self.sink.prepare(&self.options.run, &start.target, Step::Bare).await?;
        // From here to the switch nobody but us changes the target.
        if self.copy
            && let Some(fence) = self.sink.capabilities().fence
        {
            fence.seal(&self.options.run, &start.target, SEALED).await?;
        }
        if !self.copy {
            // Nothing is loaded: there is no reason to wait with the rest.
            self.sink.prepare(&self.options.run, &start.target, Step::Finished).await?;
        }
        fail::fail_point!("start::prepared");
        let mut record = start.state.record.clone();
        record.phase = if self.copy { Phase::Copying } else { Phase::Following };
        record.start = Some(snapshot.start().clone());
        record.position = Some(snapshot.start().clone());
        self.enter(start, record).await
    }

    /// Makes a new phase durable.
    pub(super) async fn enter(&self, start: &mut Start, record: Record) -> Result<()> {
        self.checkpoint.swap(&start.state.record, &record).await?;
        fail::fail_point!("start::entered");
        start.state.record = record;
        Ok(())
    }

    /// Reads the record again, still under our epoch.
    pub(super) async fn reload(&self, start: &mut Start) -> Result<()> {
        let run = &self.options.run;
        let state = self.checkpoint.load(run).await?;
        let epoch = start.state.record.epoch;
        match state {
            Some(state) if state.record.epoch == epoch => start.state = state,
            _ => {
                return Err(
                    Error::new(ErrorKind::Fenced, "another process has taken over this run").with("run", run)
                );
            }
        }
        Ok(())
    }

    async fn refuse_blockers(&self, schema: &Schema) -> Result<()> {
        let blockers: Vec<_> = self
            .assess(schema)
            .await?
            .into_iter()
            .filter(|finding| finding.severity == Severity::Blocker)
            .map(|finding| finding.to_string())
            .collect();
        if blockers.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, format!("the run cannot start: {}", blockers.join("\n  "))))
    }

    /// Takes back what a refused start has made. Best effort: its own errors
    /// would only hide the one that matters.
    async fn undo(&self) {
        let run = &self.options.run;
        if let Err(error) = self.source.release(run).await {
            tracing::warn!(%run, %error, "could not release what the run keeps at the source");
        }
        if let Err(error) = self.checkpoint.remove(run).await {
            tracing::warn!(%run, %error, "could not remove the run's record");
        }
    }
}
