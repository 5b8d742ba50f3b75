//! A run's own cutover: what it follows with, and what is recorded behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;

use super::cutover::{Cutover, CutoverOptions, Follower, Lag, Rehearsal, Switch, Switched};
use super::evidence::Compared;
use super::{Plan, shapes};
use crate::connect::{Phase, Step};
use crate::gate::GateControl;
use crate::run::Turn;
use crate::{Error, ErrorKind, Position, Result};

impl Plan {
    /// All steps of a cutover but its certificate, while the run follows.
    pub(super) async fn cutover(
        self: Arc<Self>,
        gate: Arc<dyn GateControl>,
        options: CutoverOptions,
    ) -> Result<(Switched, Switch)> {
        let _cutting_over = CuttingOver::begin(&self.cutting_over, self.durable.turn())?;
        self.planned(gate, options).await?.switch().await
    }

    /// Those that a rehearsal goes through.
    pub(super) async fn rehearse(
        self: Arc<Self>,
        gate: Arc<dyn GateControl>,
        options: CutoverOptions,
    ) -> Result<Rehearsal> {
        let _cutting_over = CuttingOver::begin(&self.cutting_over, self.durable.turn())?;
        self.planned(gate, options).await?.rehearse().await
    }

    async fn planned(
        self: &Arc<Self>,
        gate: Arc<dyn GateControl>,
        options: CutoverOptions,
    ) -> Result<Cutover> {
        let run = self.options.run.clone();
        let state = self.checkpoint.load(&run).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no run of that name to cut over").with("run", &run)
        })?;
        let leg = self.due().await?.number;
        let source = Arc::new(self.source.describe(&self.tables()).await?);
        // DDL makes no rows: a table that was added, made anew or altered
        // while the run followed shows only here.
        shapes::unchanged(&state.record.tables, &source)?;
        let target = Arc::new(self.stages.schema(&source)?);
        let mut cutover = Cutover::new(
            run,
            state.record.epoch,
            (Arc::clone(&self.source), source),
            (Arc::clone(&self.sink), target),
            Arc::clone(self) as Arc<dyn Follower>,
        )
        .evidence(Arc::new(Compared::new(Arc::clone(self))))
        .gate(gate)
        .leg(leg)
        .tables(self.tables())
        .target(self.options.target_name.clone())
        .options(options);
        if let Some(other) = &self.other {
            cutover = cutover.way_back(other.run.clone(), Arc::clone(&other.source), Arc::clone(&other.sink));
        }
        Ok(cutover)
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
    /// of the target's seal is removed. Idempotent. A process that has run the
    /// migration asks the source for nothing: it may be gone by now.
    pub(super) async fn complete(&self) -> Result<()> {
        let leg = self.due().await?;
        if leg.from.is_some() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the switch was rolled back: nothing is left to complete",
            )
            .with("run", &self.options.run));
        }
        let known = self.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let target = match known {
            Some(target) => target,
            None => Arc::new(self.stages.schema(&self.source.describe(&self.tables()).await?)?),
        };
        self.status.phase(Phase::Switched, "validating foreign keys");
        self.sink.prepare(&self.options.run, &target, Step::Validated).await?;
        if let Some(fence) = self.sink.capabilities().fence {
            fence.unseal(&self.options.run, &target, leg.number).await?;
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
    async fn applied_past(&self, goal: &Position) -> Result<Position> {
        // While this guard lives, positions that bear no rows are made
        // durable at once too: the marker behind the fence is one.
        let _hurry = self.durable.hurry();
        let (mut position, mut ended) = (self.durable.position(), self.durable.ended());
        loop {
            let at = position.borrow_and_update().clone();
            if let Some(at) = at
                && self.source.reached(&at, goal)?
                && let Some(durable) = self.durable_past(goal).await?
            {
                return Ok(durable);
            }
            tokio::select! {
                biased;
                Ok(()) = position.changed() => {}
                _ = ended.wait_for(|ended| *ended) => {
                    return Err(Error::new(
                        ErrorKind::Other,
                        "the run has ended with an error and drains no more: start it again, then cut over",
                    )
                    .during("cutover.drain"));
                }
            }
        }
    }

    async fn stand_still(&self) -> Result<()> {
        self.durable.turn().make_ready().await
    }

    fn stepped_back(&self) {
        self.durable.turn().stepped_back();
    }

    fn lag(&self) -> Option<Lag> {
        self.durable.lag()
    }

    fn head(&self) -> Option<Position> {
        self.durable.head()
    }

    fn phase(&self) -> Phase {
        self.status.subscribe().borrow().phase.unwrap_or(Phase::Preparing)
    }
}

impl Plan {
    /// What the target itself says: a drain that ends early loses commits.
    async fn durable_past(&self, goal: &Position) -> Result<Option<Position>> {
        let state = self.checkpoint.load(&self.options.run).await?;
        match state.and_then(|state| state.record.position) {
            Some(at) if self.source.reached(&at, goal)? => Ok(Some(at)),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::change::Value;
    use crate::memory::{ENGINE, MemoryDatabase};
    use crate::migrate::{Migration, Until};
    use crate::schema::{Column, DataType, Key, Table, TableName};

    /// What this process believes to have applied is not what the target has:
    /// a drain that goes by it may end before the last commits are there.
    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_by_what_the_target_itself_says() {
        let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
        let name = TableName::new("public", "t");
        let columns = vec![Column::new("id", DataType::integer(64)).not_null()];
        old.create_table(Table::new(ENGINE, name.clone(), columns, Key::Columns(vec![0]))).unwrap();
        let migration = Migration::between(old.source(), new.sink()).build().unwrap();
        migration.run_until(Until::CaughtUp, Default::default()).await.unwrap();
        let mut transaction = old.begin();
        transaction.insert(&name, vec![Value::Int(1)]).await.unwrap();
        transaction.commit().await.unwrap();
        let plan = Arc::clone(&migration.plan);
        plan.durable.set_ended(false);
        plan.durable.reached(old.head());
        let drained = tokio::time::timeout(Duration::from_secs(60), plan.applied_past(&old.head())).await;
        assert!(drained.is_err(), "drained, while the target says that it is not there");
        migration.run_until(Until::CaughtUp, Default::default()).await.unwrap();
        plan.durable.set_ended(false);
        plan.applied_past(&old.head()).await.unwrap();
        // One that has ended moves nothing any more, and is not waited for.
        let mut transaction = old.begin();
        transaction.insert(&name, vec![Value::Int(2)]).await.unwrap();
        transaction.commit().await.unwrap();
        plan.durable.set_ended(true);
        assert_eq!(plan.applied_past(&old.head()).await.unwrap_err().kind(), ErrorKind::Other);
    }
}
