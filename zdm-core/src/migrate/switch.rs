//! A run's own cutover: what it follows with, and what is recorded behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::Plan;
use super::cutover::{Cutover, CutoverOptions, Follower, Lag, Switch};
use super::start::unchanged;
use crate::connect::{Phase, Step};
use crate::gate::GateControl;
use crate::run::Turn;
use crate::{Error, ErrorKind, Position, Result};

impl Plan {
    /// All steps of a cutover, while the run follows.
    pub(super) async fn cutover(
        self: Arc<Self>,
        gate: Arc<dyn GateControl>,
        options: CutoverOptions,
    ) -> Result<Switch> {
        let run = self.options.run.clone();
        let state = self.checkpoint.load(&run).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no run of that name to cut over").with("run", &run)
        })?;
        let source = Arc::new(self.source.describe(&self.options.tables).await?);
        // DDL makes no rows: a table that was added, made anew or altered
        // while the run followed shows only here.
        unchanged(&state.record.tables, &source)?;
        let target = Arc::new(self.stages.schema(&source)?);
        let _cutting_over = CuttingOver::begin(&self.cutting_over, self.durable.turn())?;
        Cutover::new(
            run,
            state.record.epoch,
            (Arc::clone(&self.source), source),
            (Arc::clone(&self.sink), target),
            Arc::clone(&self) as Arc<dyn Follower>,
        )
        .gate(gate)
        .tables(self.options.tables.clone())
        .target(self.options.target_name.clone())
        .options(options)
        .run()
        .await
    }

    /// Notes in the run's own record what the source's record has decided. If
    /// that fails, the next start reads it there.
    pub(super) async fn record_switch(&self, switch: &Switch) {
        let noted = async {
            let Some(state) = self.checkpoint.load(&self.options.run).await? else { return Ok(()) };
            let mut record = state.record.clone();
            record.phase = Phase::Switched;
            self.checkpoint.swap(&state.record, &record).await
        };
        if let Err(error) = noted.await {
            tracing::warn!(run = %switch.run, %error, "the switch is not noted at the target yet; the next start will");
        }
        self.status.phase(Phase::Switched, "switched");
    }
}

impl Plan {
    /// What is left to do behind a switch, while the application works on the
    /// target: foreign keys are validated for old rows too, and what is left
    /// of the target's seal is removed. Idempotent.
    pub(super) async fn complete(&self) -> Result<()> {
        let source = self.source.describe(&self.options.tables).await?;
        let target = self.stages.schema(&source)?;
        self.status.phase(Phase::Switched, "validating foreign keys");
        self.sink.prepare(&self.options.run, &target, Step::Validated).await?;
        if let Some(fence) = self.sink.capabilities().fence {
            fence.unseal(&self.options.run, &target).await?;
        }
        self.status.phase(Phase::Switched, "switched");
        Ok(())
    }
}

/// Tells the run's own attempts that the cutover under way is this process's.
struct CuttingOver<'a>(&'a AtomicBool, &'a Turn);

impl<'a> CuttingOver<'a> {
    fn begin(flag: &'a AtomicBool, turn: &'a Turn) -> Result<Self> {
        if flag.swap(true, Ordering::AcqRel) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "this process is cutting the run over already: wait for it",
            ));
        }
        Ok(Self(flag, turn))
    }
}

impl Drop for CuttingOver<'_> {
    fn drop(&mut self) {
        // First: an attempt that ends over what is left must find the cutover
        // gone.
        self.0.store(false, Ordering::Release);
        self.1.leave();
    }
}

#[async_trait]
impl Follower for Plan {
    async fn applied_past(&self, goal: &Position) -> Result<()> {
        // While this guard lives, positions that bear no rows are made
        // durable at once too: the marker behind the fence is one.
        let _hurry = self.durable.hurry();
        let mut position = self.durable.position();
        loop {
            let at = position.borrow_and_update().clone();
            if let Some(at) = at
                && self.source.reached(&at, goal)?
                && self.is_durable(goal).await?
            {
                return Ok(());
            }
            let gone = || Error::new(ErrorKind::Other, "the run has ended and drains no more");
            position.changed().await.map_err(|_| gone())?;
        }
    }

    async fn stand_still(&self) -> Result<()> {
        self.durable.turn().make_ready().await
    }

    fn stepped_back(&self) {
        self.durable.turn().stepped_back();
    }

    fn lag(&self) -> Lag {
        Lag { bytes: self.status.subscribe().borrow().lag_bytes, bytes_per_second: None }
    }

    fn phase(&self) -> Phase {
        self.status.subscribe().borrow().phase.unwrap_or(Phase::Preparing)
    }
}

impl Plan {
    /// What the target itself says: a drain that ends early loses commits.
    async fn is_durable(&self, goal: &Position) -> Result<bool> {
        let state = self.checkpoint.load(&self.options.run).await?;
        match state.and_then(|state| state.record.position) {
            Some(at) => self.source.reached(&at, goal),
            None => Ok(false),
        }
    }
}
