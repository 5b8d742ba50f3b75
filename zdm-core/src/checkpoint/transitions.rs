//! What the calls of a checkpoint do to the state of a run. Pure: each
//! transition happens whole or, with an error, not at all.

use std::collections::HashSet;

use crate::connect::{ChunkDone, ChunkId, ChunkRecord, Epoch, Progress, Record, State};
use crate::schema::TableName;
use crate::{Error, ErrorKind, Position, Result};

impl State {
    /// The state of a run that begins with that record.
    pub fn new(record: Record) -> Self {
        Self { record, chunks: Vec::new() }
    }

    /// Refuses a format that is newer than this release.
    ///
    /// # Errors
    /// `Unsupported`, saying which format it is.
    pub fn check_version(&self) -> Result<()> {
        check_version(self.record.version)
    }

    /// A process takes the run over: who holds the old epoch is fenced.
    pub fn raise(&mut self) {
        // OK because a run is not started 2^64 times.
        self.record.epoch = Epoch(self.record.epoch.0.saturating_add(1));
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// `Fenced` if the record is not as `old` says in epoch, phase and
    /// position; `Config` if the records are of different runs.
    pub fn swap(&mut self, old: &Record, new: &Record) -> Result<()> {
        let record = &self.record;
        if old.run != record.run || new.run != record.run {
            return Err(Error::new(ErrorKind::Config, "a record was swapped for one of another run")
                .with("run", &record.run)
                .with("new", &new.run));
        }
        self.owned_by(old.epoch)?;
        if record.phase != old.phase || record.position != old.position {
            return Err(fenced("the run has moved on since its record was read")
                .with("phase", record.phase)
                .with("expected", old.phase)
                .with("position", show(record.position.as_ref()))
                .with("expected", show(old.position.as_ref())));
        }
        self.record = new.clone();
        Ok(())
    }

    /// Adds the plans of tables that have none yet.
    ///
    /// # Errors
    /// `Fenced` when the epoch is not the run's.
    pub fn plan(&mut self, epoch: Epoch, chunks: &[ChunkRecord]) -> Result<()> {
        self.owned_by(epoch)?;
        let planned: HashSet<TableName> = self.chunks.iter().map(|chunk| chunk.id.table.clone()).collect();
        self.chunks.extend(chunks.iter().filter(|chunk| !planned.contains(&chunk.id.table)).cloned());
        Ok(())
    }

    /// Adds what a writer's commit makes durable beside its rows.
    ///
    /// # Errors
    /// `Fenced` when the epoch is not the run's or the record does not stand
    /// where the stream went on from; `NotFound` for a chunk that was never
    /// planned; `Conflict` for one that is already in the target.
    pub fn advance(&mut self, epoch: Epoch, progress: &Progress) -> Result<()> {
        self.owned_by(epoch)?;
        match progress {
            Progress::Stream { from, to, changes, goals } => self.stream(from, to, *changes, goals),
            Progress::Chunk { id, done } => self.chunk(id, done),
        }
    }

    fn stream(&mut self, from: &Position, to: &Position, changes: u64, goals: &[Position]) -> Result<()> {
        let record = &mut self.record;
        if record.position.as_ref() != Some(from) {
            return Err(fenced("the run does not stand where these changes go on from")
                .with("run", &record.run)
                .with("stands", show(record.position.as_ref()))
                .with("from", from));
        }
        record.position = Some(to.clone());
        record.changes_applied = record.changes_applied.saturating_add(changes);
        for goal in goals {
            if !record.goals.contains(goal) {
                record.goals.push(goal.clone());
            }
        }
        Ok(())
    }

    fn chunk(&mut self, id: &ChunkId, done: &ChunkDone) -> Result<()> {
        let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.id == *id) else {
            return Err(Error::new(ErrorKind::NotFound, "this chunk is in no plan of the run")
                .with("chunk", id)
                .with("run", &self.record.run));
        };
        if chunk.done.is_some() {
            return Err(Error::new(ErrorKind::Conflict, "this chunk is already in the target: skip it")
                .with("chunk", id)
                .with("run", &self.record.run));
        }
        chunk.done = Some(done.clone());
        self.record.rows_copied = self.record.rows_copied.saturating_add(done.rows);
        Ok(())
    }

    /// Refuses every epoch but the run's.
    ///
    /// # Errors
    /// `Fenced`, naming both epochs.
    pub fn owned_by(&self, epoch: Epoch) -> Result<()> {
        if self.record.epoch == epoch {
            return Ok(());
        }
        Err(fenced("another process has taken this run over: leave it to that one")
            .with("run", &self.record.run)
            .with("epoch", self.record.epoch)
            .with("ours", epoch))
    }
}

/// Refuses a format that is newer than this release.
pub(super) fn check_version(version: u32) -> Result<()> {
    if version <= Record::VERSION {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        "this run was begun by a newer release of zdm: continue it with that release or a later one",
    )
    .with("format", version)
    .with("known", Record::VERSION))
}

fn fenced(message: &str) -> Error {
    Error::new(ErrorKind::Fenced, message)
}

fn show(position: Option<&Position>) -> &str {
    position.map_or("none", Position::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{Bounds, Phase};
    use crate::{Engine, Identity};

    fn at(text: &str) -> Position {
        Position::new(Engine::new("memory"), text)
    }

    fn state() -> State {
        let mut record = Record::new("r".parse().unwrap(), Identity::new(Engine::new("memory")));
        record.position = Some(at("1"));
        State::new(record)
    }

    fn step(from: &str, to: &str) -> Progress {
        Progress::Stream { from: at(from), to: at(to), changes: 2, goals: vec![at("9"), at("9")] }
    }

    fn chunk(number: u32) -> ChunkRecord {
        let id = ChunkId { table: TableName::new("a", "b"), number };
        ChunkRecord { id, bounds: Bounds(number.to_string()), done: None }
    }

    #[test]
    fn a_stream_advances_only_from_where_the_record_stands() {
        let mut state = state();
        state.advance(Epoch(1), &step("1", "2")).unwrap();
        let before = state.clone();
        assert_eq!(state.advance(Epoch(1), &step("1", "2")).unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(state, before);
        assert_eq!(state.record.position, Some(at("2")));
        assert_eq!((state.record.changes_applied, state.record.goals.len()), (2, 1));
    }

    #[test]
    fn a_raised_epoch_fences_every_transition() {
        let mut state = state();
        state.plan(Epoch(1), &[chunk(0)]).unwrap();
        let old = state.record.clone();
        state.raise();
        let before = state.clone();
        let done = ChunkDone { rows: 1, after: at("3"), visibility: None };
        for error in [
            state.advance(Epoch(1), &step("1", "2")).unwrap_err(),
            state.advance(Epoch(1), &Progress::Chunk { id: chunk(0).id, done }).unwrap_err(),
            state.plan(Epoch(1), &[chunk(1)]).unwrap_err(),
            state.swap(&old, &old).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Fenced);
        }
        assert_eq!(state, before);
    }

    #[test]
    fn swap_compares_phase_and_position() {
        let mut state = state();
        let old = state.record.clone();
        let new = Record { phase: Phase::Copying, ..old.clone() };
        state.swap(&old, &new).unwrap();
        assert_eq!(state.swap(&old, &new).unwrap_err().kind(), ErrorKind::Fenced);
        state.advance(Epoch(1), &step("1", "2")).unwrap();
        assert_eq!(state.swap(&new, &old).unwrap_err().kind(), ErrorKind::Fenced);
    }

    #[test]
    fn a_plan_is_kept_and_a_chunk_is_done_once() {
        let mut state = state();
        state.plan(Epoch(1), &[chunk(0), chunk(1)]).unwrap();
        state.plan(Epoch(1), &[chunk(0), chunk(1), chunk(2)]).unwrap();
        assert_eq!(state.chunks.len(), 2);
        let done = ChunkDone { rows: 5, after: at("3"), visibility: None };
        let progress = Progress::Chunk { id: chunk(1).id, done };
        state.advance(Epoch(1), &progress).unwrap();
        assert_eq!(state.advance(Epoch(1), &progress).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(state.record.rows_copied, 5);
    }
}
