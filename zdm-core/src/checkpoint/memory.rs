//! Progress that ends with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::connect::{Checkpoint, ChunkRecord, Epoch, Progress, Record, RunName, State};
use crate::{Error, ErrorKind, Result};

/// A [`Checkpoint`] in memory: for tests, and for a pipeline that begins
/// anew each time.
#[derive(Debug, Default)]
pub struct MemoryCheckpoint {
    runs: Mutex<Runs>,
}

impl MemoryCheckpoint {
    /// A checkpoint with no runs.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        // OK because every change of `Runs` happens whole or not at all, so a
        // panic elsewhere cannot have left it half done.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Checkpoint for MemoryCheckpoint {
    async fn load(&self, run: &RunName) -> Result<Option<State>> {
        self.lock().load(run)
    }

    async fn create(&self, record: &Record) -> Result<()> {
        self.lock().create(record)
    }

    async fn raise(&self, run: &RunName) -> Result<State> {
        self.lock().raise(run)
    }

    async fn swap(&self, old: &Record, new: &Record) -> Result<()> {
        self.lock().change(&old.run, |state| state.swap(old, new))
    }

    async fn plan(&self, run: &RunName, epoch: Epoch, chunks: &[ChunkRecord]) -> Result<()> {
        self.lock().change(run, |state| state.plan(epoch, chunks))
    }

    async fn advance(&self, run: &RunName, epoch: Epoch, progress: &Progress) -> Result<()> {
        self.lock().change(run, |state| state.advance(epoch, progress))
    }

    async fn remove(&self, run: &RunName) -> Result<()> {
        self.lock().remove(run);
        Ok(())
    }
}

/// The states of runs by name, shared with the memory engine.
#[derive(Debug, Default)]
pub(crate) struct Runs(BTreeMap<RunName, State>);

impl Runs {
    pub(crate) fn load(&self, run: &RunName) -> Result<Option<State>> {
        let Some(state) = self.0.get(run) else { return Ok(None) };
        state.check_version()?;
        Ok(Some(state.clone()))
    }

    pub(crate) fn create(&mut self, record: &Record) -> Result<()> {
        if self.0.contains_key(&record.run) {
            return Err(taken(&record.run));
        }
        self.0.insert(record.run.clone(), State::new(record.clone()));
        Ok(())
    }

    pub(crate) fn raise(&mut self, run: &RunName) -> Result<State> {
        let state = self.0.get_mut(run).ok_or_else(|| missing(run))?;
        state.check_version()?;
        state.raise();
        Ok(state.clone())
    }

    pub(crate) fn change(&mut self, run: &RunName, f: impl FnOnce(&mut State) -> Result<()>) -> Result<()> {
        f(self.0.get_mut(run).ok_or_else(|| gone(run))?)
    }

    pub(crate) fn remove(&mut self, run: &RunName) {
        self.0.remove(run);
    }
}

pub(super) fn taken(run: &RunName) -> Error {
    Error::new(ErrorKind::Conflict, "a run of this name exists: resume it, drop it, or choose another name")
        .with("run", run)
}

pub(super) fn missing(run: &RunName) -> Error {
    Error::new(ErrorKind::NotFound, "there is no run of this name: start it first").with("run", run)
}

/// A run that is no longer there was dropped by somebody else.
pub(super) fn gone(run: &RunName) -> Error {
    Error::new(ErrorKind::Fenced, "this run was dropped: start it anew if it is still wanted")
        .with("run", run)
}
