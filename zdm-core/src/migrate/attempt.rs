//! One attempt: from where the durable record stands, through the phases.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::start::Start;
use super::{Outcome, Plan, Until};
use crate::change::Budget;
use crate::connect::{Changes, Phase, Purpose, Reread, Snapshot, Step, StreamOptions, WriterOptions};
use crate::run::{Copy, Follow, SourceReread, Stop};
use crate::{Error, ErrorKind, Position, Result};

impl Plan {
    pub(super) async fn attempt(&self, until: Until, cancel: &CancellationToken) -> Result<Outcome> {
        let mut start = unless_cancelled(cancel, self.begin()).await?;
        if start.state.record.position != *self.durable.position().borrow() {
            // Somebody else has applied what this process has not seen.
            self.durable.touched().forget();
        }
        if start.state.record.phase == Phase::Copying {
            unless_cancelled(cancel, self.copy(&mut start, cancel)).await?;
        }
        if start.state.record.phase == Phase::CatchingUp
            && let Some(stopped) = self.catch_up(&mut start, cancel).await?
        {
            return Ok(stopped);
        }
        match start.state.record.phase {
            Phase::Following => self.follow(&mut start, until, cancel).await,
            Phase::Switched => {
                // Killed behind the switch, this was not done yet.
                unless_cancelled(cancel, self.complete()).await?;
                Ok(Outcome::Switched { position: start.state.record.position })
            }
            phase => {
                Err(Error::new(ErrorKind::Unsupported, "this release does not know how to go on from here")
                    .with("phase", phase))
            }
        }
    }

    /// Chunks, then keys; then the points that the stream must pass.
    async fn copy(&self, start: &mut Start, cancel: &CancellationToken) -> Result<()> {
        self.status.phase(Phase::Copying, "copying");
        let snapshot = self.snapshot(start).await?;
        let budget = Budget::new(self.options.budget);
        let copy = Copy {
            run: &self.options.run,
            epoch: start.state.record.epoch,
            source: &start.source,
            target: &start.target,
            snapshot: &snapshot,
            sink: &*self.sink,
            checkpoint: &*self.checkpoint,
            own_checkpoint: self.own_checkpoint,
            stages: &self.stages,
            size: self.options.chunk,
            jobs: self.options.jobs,
            budget: &budget,
            throttle: &self.throttle,
            status: &self.status,
            cancel,
        };
        start.state.chunks = copy.run(std::mem::take(&mut start.state.chunks)).await?;
        fail::fail_point!("attempt::copied");
        self.status.phase(Phase::Copying, "building keys");
        self.sink.prepare(&self.options.run, &start.target, Step::Keyed).await?;
        fail::fail_point!("attempt::keyed");
        let mut record = start.state.record.clone();
        record.phase = Phase::CatchingUp;
        record.goals = self.furthest(start)?;
        record.rows_copied =
            start.state.chunks.iter().filter_map(|c| c.done.as_ref()).map(|done| done.rows).sum();
        self.enter(start, record).await
    }

    /// The *after* points of the chunks without those that another has
    /// reached; more than one only where positions are partly ordered.
    fn furthest(&self, start: &Start) -> Result<Vec<Position>> {
        let mut furthest: Vec<Position> = Vec::new();
        for done in start.state.chunks.iter().filter_map(|chunk| chunk.done.as_ref()) {
            let mut behind = false;
            for goal in &furthest {
                behind |= self.source.reached(goal, &done.after)?;
            }
            if behind {
                continue;
            }
            let mut kept = Vec::with_capacity(furthest.len() + 1);
            for goal in furthest {
                if !self.source.reached(&done.after, &goal)? {
                    kept.push(goal);
                }
            }
            kept.push(done.after.clone());
            furthest = kept;
        }
        Ok(furthest)
    }

    /// The stream up to the consistent point; then indexes and constraints.
    async fn catch_up(&self, start: &mut Start, cancel: &CancellationToken) -> Result<Option<Outcome>> {
        self.status.phase(Phase::CatchingUp, "applying what changed during the copy");
        self.status.chunks(&start.source, &start.state.chunks);
        let snapshot = unless_cancelled(cancel, self.snapshot(start)).await?;
        let goals = start.state.record.goals.clone();
        let (stop, position) = self.stream(start, Some(goals), Some(snapshot), cancel).await?;
        if stop == Stop::Cancelled {
            return Ok(Some(Outcome::Stopped { position: Some(position) }));
        }
        fail::fail_point!("attempt::consistent");
        self.status.phase(Phase::CatchingUp, "building indexes and constraints");
        unless_cancelled(cancel, self.sink.prepare(&self.options.run, &start.target, Step::Finished)).await?;
        fail::fail_point!("attempt::finished");
        // The writer has moved the durable record on meanwhile: its position,
        // its counts, and the goals that rereads added, all of them reached.
        self.reload(start).await?;
        let mut record = start.state.record.clone();
        record.phase = Phase::Following;
        record.goals = Vec::new();
        self.enter(start, record).await?;
        Ok(None)
    }

    async fn follow(&self, start: &mut Start, until: Until, cancel: &CancellationToken) -> Result<Outcome> {
        self.status.phase(Phase::Following, "following");
        if self.copy {
            self.status.chunks(&start.source, &start.state.chunks);
        }
        let goals = match until {
            Until::Cancelled => None,
            Until::CaughtUp => Some(Vec::new()),
        };
        match self.stream(start, goals, None, cancel).await? {
            (Stop::Cancelled, position) => Ok(Outcome::Stopped { position: Some(position) }),
            (Stop::Reached, position) => Ok(Outcome::CaughtUp { position }),
        }
    }

    /// Follows the stream. Goals that are empty stand for the end of the log
    /// as the server gives it when the stream is opened.
    async fn stream(
        &self,
        start: &Start,
        goals: Option<Vec<Position>>,
        snapshot: Option<Arc<dyn Snapshot>>,
        cancel: &CancellationToken,
    ) -> Result<(Stop, Position)> {
        let record = &start.state.record;
        let Some(from) = record.position.clone() else {
            return Err(Error::new(
                ErrorKind::NotFound,
                "the run's record has no position: drop the run and start anew",
            ));
        };
        let rereads = snapshot
            .as_ref()
            .map(|snapshot| Arc::new(SourceReread::new(Arc::clone(snapshot), Arc::clone(&self.stages))));
        let mut options = WriterOptions::new(
            self.options.run.clone(),
            record.epoch,
            Purpose::Apply,
            Arc::clone(&start.target),
        );
        options.hold_back = self.options.budget as usize / 4;
        if let Some(rereads) = &rereads {
            options = options.reread(Arc::clone(rereads) as Arc<dyn Reread>);
        }
        let mut writer = unless_cancelled(cancel, self.sink.writer(options)).await?;
        let stream_cancel = CancellationToken::new();
        // Whatever way this ends, the source's reader ends with it.
        let _ends = stream_cancel.clone().drop_guard();
        let budget = Budget::new(self.options.budget);
        let options = StreamOptions::new(self.options.run.clone(), from.clone(), Arc::clone(&start.source))
            .budget(budget.clone())
            .cancel(stream_cancel.clone())
            .spool(self.options.spool.clone());
        let mut changes = unless_cancelled(cancel, self.source.changes(options)).await?;
        let goals = match goals {
            Some(goals) if goals.is_empty() && snapshot.is_none() => {
                Some(vec![unless_cancelled(cancel, end_of_log(&mut changes)).await?])
            }
            goals => goals,
        };
        let seen = match &snapshot {
            Some(_) => visibilities(start),
            None => HashMap::new(),
        };
        let follow = Follow {
            run: &self.options.run,
            epoch: record.epoch,
            source: &*self.source,
            checkpoint: &*self.checkpoint,
            own_checkpoint: self.own_checkpoint,
            stages: &self.stages,
            seen,
            snapshot: snapshot.as_ref(),
            goals,
            rereads,
            group_bytes: self.options.group,
            linger: self.options.linger,
            idle_interval: self.options.idle_interval,
            budget,
            durable: &self.durable,
            status: &self.status,
            cancel,
            stream_cancel,
        };
        tokio::select! {
            biased;
            done = follow.run(from, changes, writer.as_mut()) => done,
            changed = self.watch_shapes(record.epoch, record.tables.clone()) => Err(changed),
        }
    }
}

/// Which transactions the copies of tables with no key have seen.
fn visibilities(start: &Start) -> HashMap<crate::schema::TableName, crate::connect::Visibility> {
    start
        .state
        .chunks
        .iter()
        .filter_map(|chunk| Some((chunk.id.table.clone(), chunk.done.as_ref()?.visibility.clone()?)))
        .collect()
}

/// The end of the source's log, as soon as the server has said it.
async fn end_of_log(changes: &mut Changes) -> Result<Position> {
    let head = changes.head.wait_for(|head| head.position.is_some()).await;
    head.ok().and_then(|head| head.position.clone()).ok_or_else(|| {
        Error::new(ErrorKind::Connection, "the stream ended before it said where the log ends")
    })
}

/// The future's result, or `Cancelled` with the future dropped: for work that
/// can be done again from its beginning.
async fn unless_cancelled<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::cancelled()),
        done = work => done,
    }
}
