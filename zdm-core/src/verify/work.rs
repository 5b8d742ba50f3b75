//! The work: parts compared side by side, suspects settled as they gather.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::compare::{Counted, Message, Part, Suspects, compare};
use super::passing::Passing;
use super::plan::Division;
use super::report::{Repair, shown};
use super::settle::{Different, Suspected, settle};
use super::sides::Sides;
use super::state::{Kept, TableState};
use super::unit::Unit;
use super::{Difference, Kind, TableReport, VerifyOptions};
use crate::run::{Repairs, Retry, StatusHandle};
use crate::{Error, Result};

/// Suspects that are settled at once, at most about.
const POOL: usize = 20_000;
/// How long suspects wait for others at most.
const GATHER: Duration = Duration::from_secs(5);

/// All that a verification goes by.
pub(super) struct Work {
    pub(super) sides: Arc<Sides>,
    pub(super) units: Vec<Arc<Unit>>,
    pub(super) passing: Passing,
    pub(super) options: VerifyOptions,
    pub(super) retry: Retry,
    pub(super) status: StatusHandle,
    pub(super) repairs: Option<Repairs>,
}

/// One part, of the unit of that place.
struct Job {
    unit: usize,
    number: usize,
    part: Part,
}

impl Work {
    /// Compares what is not done, and tells each difference.
    ///
    /// # Errors
    /// The first error that no retry could help.
    pub(super) async fn run(
        &self,
        kept: &mut Kept,
        found: &mut (dyn FnMut(&Difference) + Send),
    ) -> Result<()> {
        let jobs = self.plan(kept).await?;
        self.told(kept, jobs.len() as u64);
        let queue = Arc::new(Mutex::new(jobs));
        let (sender, mut messages) = mpsc::channel(16);
        let mut workers = JoinSet::new();
        for _ in 0..self.options.jobs.max(1) {
            let worker = Worker {
                sides: Arc::clone(&self.sides),
                units: self.units.clone(),
                queue: Arc::clone(&queue),
                retry: self.retry.clone(),
                messages: sender.clone(),
            };
            workers.spawn(worker.run());
        }
        drop(sender);
        let mut pool = Pool::default();
        loop {
            let due = pool.since.map(|since| since + GATHER);
            let message = tokio::select! {
                biased;
                () = self.sides.cancel.cancelled() => return Err(Error::cancelled().during("verify")),
                Some(ended) = workers.join_next() => {
                    // One that has failed says why; the others end with it.
                    ended.map_err(lost)??;
                    continue;
                }
                message = messages.recv() => message,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.settle(&mut pool, kept, found).await?;
                    continue;
                }
            };
            match message {
                Some(message) => pool.take(&self.units, message),
                None => break,
            }
            if pool.size >= POOL || pool.size == 0 {
                self.settle(&mut pool, kept, found).await?;
            }
        }
        while let Some(ended) = workers.join_next().await {
            ended.map_err(lost)??;
        }
        self.settle(&mut pool, kept, found).await
    }

    /// The parts that are not done, those of the largest tables first.
    async fn plan(&self, kept: &mut Kept) -> Result<VecDeque<Job>> {
        let mut jobs = Vec::new();
        for (at, unit) in self.units.iter().enumerate() {
            let shapes = format!(
                "{:?} {}",
                unit.sources.iter().map(|t| &t.origin.fingerprint).collect::<Vec<_>>(),
                unit.there.origin.fingerprint
            );
            let known = kept.state.tables.get(&unit.name()).filter(|known| known.shapes == shapes);
            if known.is_none() {
                let part = self.options.part;
                let division = self.retry.run(|| Division::of(&self.sides, unit, part)).await?;
                let table = TableState { shapes, division, ..TableState::default() };
                kept.state.tables.insert(unit.name(), table);
            }
            let Some(table) = kept.state.tables.get(&unit.name()) else { continue };
            for (number, part) in table.division.parts(&self.sides, unit)?.into_iter().enumerate() {
                if !table.done.contains(&number) {
                    jobs.push(Job { unit: at, number, part });
                }
            }
        }
        kept.save()?;
        let bytes = |job: &Job| self.units[job.unit].sources.iter().map(|t| t.estimated_bytes).sum::<u64>();
        jobs.sort_by_key(|job| std::cmp::Reverse(bytes(job)));
        Ok(jobs.into())
    }

    /// Settles what has gathered, tells what differs, and keeps that the parts
    /// are done.
    async fn settle(
        &self,
        pool: &mut Pool,
        kept: &mut Kept,
        found: &mut (dyn FnMut(&Difference) + Send),
    ) -> Result<()> {
        let suspects = std::mem::take(&mut pool.suspects);
        let looks = self.options.attempts.max(self.options.rounds);
        let settled = self
            .retry
            .run(|| settle(&self.sides, &self.units, &self.passing, &self.options, looks, suspects.clone()))
            .await
            .map_err(|error| error.during("verify.settle"))?;
        for (at, settled) in settled {
            let unit = &self.units[at];
            let looked_at = suspects.get(&at).map_or(0, |suspects| suspects.len() as u64);
            let repaired = self.repair(unit, &settled.different).await?;
            let table = kept.state.tables.entry(unit.name()).or_default();
            let report = &mut table.report;
            report.looked_at += looked_at;
            report.unsettled += settled.unsettled.len() as u64;
            for (different, repair) in settled.different.into_iter().zip(repaired) {
                let difference = tell(unit, different, repair);
                count(report, &difference);
                found(&difference);
            }
        }
        let finished = std::mem::take(&mut pool.finished);
        (pool.size, pool.since) = (0, None);
        if finished.is_empty() {
            return Ok(());
        }
        for (at, number, counted) in finished {
            let table = kept.state.tables.entry(self.units[at].name()).or_default();
            table.done.insert(number);
            table.report.source_rows += counted.source;
            table.report.target_rows += counted.target;
        }
        self.told(kept, 0);
        kept.save()
    }

    /// What became of each difference, where repairs are asked for.
    async fn repair(&self, unit: &Arc<Unit>, different: &[Different]) -> Result<Vec<Option<Repair>>> {
        let Some(repairs) = &self.repairs else { return Ok(vec![None; different.len()]) };
        if different.is_empty() {
            return Ok(Vec::new());
        }
        if !unit.staged.has_key() || unit.sources.len() > 1 {
            return Ok(vec![Some(Repair::Failed); different.len()]);
        }
        let patience = self.options.patience;
        super::repair::repair(&self.sides, unit, &self.passing, patience, repairs, different).await
    }

    /// Shows how far it is; `todo` more parts have been planned.
    fn told(&self, kept: &Kept, todo: u64) {
        let tables = kept.state.tables.values();
        let sum = |of: fn(&TableState) -> u64| tables.clone().map(of).sum::<u64>();
        let done = sum(|table| table.done.len() as u64);
        self.status.verifying(|status| {
            if todo > 0 {
                status.parts = done + todo;
            }
            status.parts_done = done;
            status.rows = sum(|table| table.report.source_rows.max(table.report.target_rows));
            status.differences = sum(|t| t.report.missing + t.report.extra + t.report.changed);
            status.unsettled = sum(|table| table.report.unsettled);
        });
    }
}

fn lost(error: tokio::task::JoinError) -> Error {
    Error::new(crate::ErrorKind::Other, "a task of the verification did not end").caused_by(error)
}

pub(super) fn tell(unit: &Unit, different: Different, repair: Option<Repair>) -> Difference {
    let names = unit.columns.key_names().map(str::to_owned);
    Difference {
        table: unit.there.name.clone(),
        key: names.zip(different.key.iter().map(shown)).collect(),
        kind: different.kind,
        columns: different.columns.iter().map(|at| unit.columns.name(*at).to_owned()).collect(),
        rows: different.rows,
        repair,
    }
}

fn count(report: &mut TableReport, difference: &Difference) {
    let of = match difference.kind {
        Kind::Missing => &mut report.missing,
        Kind::Extra => &mut report.extra,
        Kind::Changed => &mut report.changed,
    };
    *of += difference.rows;
    if difference.repair == Some(Repair::Done) {
        report.repaired += difference.rows;
    }
}

/// What workers have found and nobody has settled yet.
#[derive(Default)]
struct Pool {
    suspects: Suspected,
    size: usize,
    since: Option<Instant>,
    finished: Vec<(usize, usize, Counted)>,
}

impl Pool {
    fn take(&mut self, units: &[Arc<Unit>], message: Message) {
        match message {
            Message::Suspects { unit, keys } => {
                let columns = &units[unit].columns;
                self.size += keys.len();
                self.since.get_or_insert_with(Instant::now);
                let suspects = self.suspects.entry(unit).or_default();
                suspects.extend(keys.into_iter().map(|key| (columns.key_digest(&key), key)));
            }
            Message::Done { unit, number, counted } => self.finished.push((unit, number, counted)),
        }
    }
}

/// Takes part after part.
struct Worker {
    sides: Arc<Sides>,
    units: Vec<Arc<Unit>>,
    queue: Arc<Mutex<VecDeque<Job>>>,
    retry: Retry,
    messages: mpsc::Sender<Message>,
}

impl Worker {
    async fn run(self) -> Result<()> {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(job) = next else { return Ok(()) };
            let unit = &self.units[job.unit];
            let compared = self
                .retry
                .run(|| async {
                    let suspects = Suspects { unit: job.unit, messages: &self.messages };
                    compare(&self.sides, unit, &job.part, &suspects).await
                })
                .await;
            let counted =
                compared.map_err(|error| error.with("table", unit.name()).during("verify.compare"))?;
            let done = Message::Done { unit: job.unit, number: job.number, counted };
            // Nobody is there when the verification was given up.
            if self.messages.send(done).await.is_err() {
                return Ok(());
            }
        }
    }
}
