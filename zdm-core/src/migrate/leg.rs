//! The legs of a pair of runs: there, back, and there again.
//!
//! Two runs move the same tables in opposite directions, and never at once.
//! Which of them is due is told by the records of their switches, one in each
//! database: the higher [leg](SwitchRecord::leg) of the two that say
//! *switched* is the last one that happened. A leg behind a switch copies
//! nothing. Both sides were equal when it happened, under a fence, and the
//! switch's own record says where the log of the side that was opened then
//! ended: the leg follows from there. So what one direction has applied lies
//! before the place from which the other reads, and nothing travels in
//! circles.
//!
//! A process of the leg before may live on, unaware. Its writers cannot
//! commit, since beginning a leg raises the other run's epoch first; and what
//! it opens late stays closed, since [`Fence::unseal`](crate::connect::Fence)
//! goes by the legs too.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::{Plan, shapes};
use crate::connect::{
    Checkpoint, Phase, Record, RunName, Sink, Source, State, Step, SwitchRecord, SwitchState,
};
use crate::schema::{Schema, Selection};
use crate::{Error, ErrorKind, Position, Result};

/// One of the two databases of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where the migration started from.
    Source,
    /// Where it leads.
    Target,
}

/// The run that leads the other way.
#[derive(Clone)]
pub(crate) struct Other {
    pub(crate) run: RunName,
    /// Our target, as a source.
    pub(crate) source: Arc<dyn Source>,
    /// Our source, as a target, and where it keeps progress.
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) checkpoint: Arc<dyn Checkpoint>,
}

/// What this direction of a run is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) number: u32,
    /// Where it follows from, behind the switch of the other direction.
    pub(super) from: Option<Position>,
}

impl Plan {
    /// The leg that is due in this direction, or that it has ended with.
    ///
    /// # Errors
    /// `Conflict` where the other direction is due; `Unsupported` behind a
    /// switch that nothing leads on from.
    pub(super) async fn due(&self) -> Result<Leg> {
        let (ours, theirs) = self.switches().await?;
        let run = &self.options.run;
        match (ours, theirs) {
            (ours, Some(theirs)) if ours.as_ref().is_none_or(|ours| ours.leg < theirs.leg) => match theirs.back {
                Some(from) => Ok(Leg { number: theirs.leg + 1, from: Some(from) }),
                None => Err(Error::new(
                    ErrorKind::Unsupported,
                    "nothing leads on from the last switch, which was made without a way back: drop the run, and \
                     start one in the other direction",
                )
                .with("run", run)),
            },
            (Some(ours), _) => Ok(Leg { number: ours.leg, from: None }),
            (None, _) if run.leads_back() => Err(Error::new(
                ErrorKind::Conflict,
                "the run has not been switched, so nothing leads back: its source is the active side",
            )
            .with("run", run)),
            (None, _) => Ok(Leg { number: 1, from: None }),
        }
    }

    pub(super) async fn side(&self) -> Result<Side> {
        let (ours, theirs) = self.switches().await?;
        let left = match (ours, theirs) {
            (Some(ours), Some(theirs)) => ours.leg > theirs.leg,
            (ours, _) => ours.is_some(),
        };
        // Of the way back, the source is the target of the migration.
        Ok(if left == self.options.run.leads_back() { Side::Source } else { Side::Target })
    }

    /// What the last switches in either direction have left behind them.
    async fn switches(&self) -> Result<(Option<SwitchRecord>, Option<SwitchRecord>)> {
        let run = &self.options.run;
        let ours = match self.source.capabilities().fence {
            Some(fence) => fence.record(run).await?,
            None => None,
        };
        let theirs = match self.sink.capabilities().fence {
            Some(fence) => fence.record(&run.other()).await?,
            None => None,
        };
        let switched = |record: &SwitchRecord| record.state == SwitchState::Switched;
        Ok((ours.filter(switched), theirs.filter(switched)))
    }

    /// Which tables the run moves.
    pub(crate) fn tables(&self) -> Selection {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        moved.unwrap_or_else(|| self.options.tables.clone())
    }

    /// Takes over from the leg that led here: no writer of it can commit from
    /// here on, and its tables are ours.
    pub(super) async fn take_over(&self) -> Result<()> {
        let other = self.other()?;
        let ended = self.checkpoint_of(other).await?;
        let tables = Selection::new(ended.record.tables.keys())?;
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(tables);
        Ok(())
    }

    async fn checkpoint_of(&self, other: &Other) -> Result<State> {
        let ended = other.checkpoint.raise(&other.run).await?;
        if ended.record.phase == Phase::Switched {
            return Ok(ended);
        }
        // Killed behind its switch, it has not noted it.
        let switched = Record { phase: Phase::Switched, ..ended.record.clone() };
        other.checkpoint.swap(&ended.record, &switched).await?;
        Ok(State { record: switched, ..ended })
    }

    /// Whether the run's record is of another leg than the one that is due.
    pub(super) fn is_behind(leg: &Leg, state: &State) -> bool {
        leg.from.is_some() && state.record.start != leg.from
    }

    /// Begins a leg behind a switch: the side that it led to is opened, if
    /// that was not done yet, and the run follows from where the switch's
    /// record says.
    pub(super) async fn begin_leg(
        &self,
        leg: &Leg,
        state: State,
        (source, target): (&Schema, &Schema),
    ) -> Result<State> {
        let (run, from) = (&self.options.run, leg.from.clone());
        let other = self.other()?;
        if let Some(fence) = self.source.capabilities().fence {
            fence.unseal(run, source, leg.number - 1).await?;
        }
        // What the leg before has kept at its source is of no more use.
        if let Err(error) = other.source.release(&other.run).await {
            tracing::warn!(run = %other.run, %error, "could not release what the last leg keeps at its source");
        }
        if let Some(claim) = self.source.capabilities().claim {
            claim.claim(run, &self.sink.identity().await?.to_string()).await?;
        }
        self.source.snapshot(run, source, from.as_ref()).await?;
        self.sink.adopt(run, target).await?;
        self.sink.prepare(run, target, Step::Finished).await?;
        fail::fail_point!("leg::prepared");
        let record = Record {
            phase: Phase::Following,
            tables: shapes::kept(source),
            start: from.clone(),
            position: from,
            goals: Vec::new(),
            ..state.record.clone()
        };
        self.checkpoint.swap(&state.record, &record).await?;
        fail::fail_point!("leg::begun");
        tracing::info!(%run, leg = leg.number, "follows from the last switch");
        Ok(State { record, ..state })
    }

    /// Gives back what a cutover that was killed has made for its way back:
    /// nothing reads it, and the log would be kept for it.
    pub(super) async fn release_way_back(&self) {
        let Some(other) = &self.other else { return };
        if self.cutting_over.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = other.source.release(&other.run).await {
            tracing::warn!(run = %other.run, %error, "could not release the way back that an earlier cutover has made");
        }
    }

    pub(super) fn other(&self) -> Result<&Other> {
        self.other.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "this run has been switched to and fro: build its migration with the way back, as it was before",
            )
            .with("run", &self.options.run)
        })
    }
}
