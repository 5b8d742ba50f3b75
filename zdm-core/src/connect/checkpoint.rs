//! How far a run has come, and where that is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Bounds, Visibility};
use crate::schema::TableName;
use crate::{Error, ErrorKind, Identity, Position, Result};

/// The name of a run: lower-case letters, digits and `_`, at most 40. It
/// names what the run keeps on servers (`zdm_<run>`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunName(String);

impl RunName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The run that leads the other way: `shop` and `shop_back` are each
    /// other's.
    #[must_use]
    pub fn other(&self) -> Self {
        match self.0.strip_suffix(BACK) {
            Some(there) => Self(there.to_owned()),
            None => Self(format!("{}{BACK}", self.0)),
        }
    }

    /// The name that both directions share. Seals and holds bear it, so that
    /// either direction's writers get through them.
    pub fn pair(&self) -> &str {
        self.0.strip_suffix(BACK).unwrap_or(&self.0)
    }

    /// Whether it leads back to where a run came from.
    pub fn leads_back(&self) -> bool {
        self.0.ends_with(BACK)
    }
}

/// What the name of a run that leads back ends with.
const BACK: &str = "_back";

impl Default for RunName {
    /// `main`.
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for RunName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.is_empty() && name.len() <= 40 && name.chars().all(good) {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::new(
            ErrorKind::Config,
            "name a run with lower-case letters, digits and _, at most 40 of them",
        )
        .with("got", name))
    }
}

impl TryFrom<String> for RunName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<RunName> for String {
    fn from(name: RunName) -> Self {
        name.0
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which start of the run's process may write. Each start raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a migration stands. Durable; each phase is entered only when what it
/// stands on is durable too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// The source is being prepared; there is no start yet that a resume may
    /// rely on.
    Preparing,
    /// The start is fixed and chunks are being copied.
    Copying,
    /// Chunks are copied and keys built; the stream is before the consistent
    /// point.
    CatchingUp,
    /// The target shows true past states of the source; indexes and
    /// constraints are being built, or are.
    Following,
    /// The source is sealed and the target open.
    Switched,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preparing => "preparing",
            Self::Copying => "copying",
            Self::CatchingUp => "catching up",
            Self::Following => "following",
            Self::Switched => "switched",
        })
    }
}

/// The durable record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format of this record.
    pub version: u32,
    /// The run.
    pub run: RunName,
    /// The epoch of the process that may write.
    pub epoch: Epoch,
    /// Where the migration stands.
    pub phase: Phase,
    /// The source that the positions belong to.
    pub source: Identity,
    /// The [`Shape`](crate::schema::Shape) of each table (by its name at the
    /// source) when the run began, with the partitions that it has got since:
    /// a run refuses to go on with a table that has changed.
    pub tables: BTreeMap<String, String>,
    /// Where the stream began.
    pub start: Option<Position>,
    /// Everything up to here is in the target.
    pub position: Option<Position>,
    /// The target is a true state of the source once `position` has reached
    /// each of these.
    pub goals: Vec<Position>,
    /// Rows copied by chunks that are done.
    pub rows_copied: u64,
    /// Changes applied from the stream.
    pub changes_applied: u64,
}

impl Record {
    /// The format that this release writes.
    pub const VERSION: u32 = 1;

    /// The record of a run that begins.
    pub fn new(run: RunName, source: Identity) -> Self {
        Self {
            version: Self::VERSION,
            run,
            epoch: Epoch(1),
            phase: Phase::Preparing,
            source,
            tables: BTreeMap::new(),
            start: None,
            position: None,
            goals: Vec::new(),
            rows_copied: 0,
            changes_applied: 0,
        }
    }
}

/// Which chunk of which table (by its name at the source).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChunkId {
    /// The table.
    pub table: TableName,
    /// The chunk, counted from 0.
    pub number: u32,
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.table, self.number)
    }
}

/// The durable record of one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// Which one.
    pub id: ChunkId,
    /// Which rows.
    pub bounds: Bounds,
    /// What its read gave; `None` until its rows are in the target.
    pub done: Option<ChunkDone>,
}

/// What a chunk that is in the target has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkDone {
    /// Its rows.
    pub rows: u64,
    /// By here, all that it saw is in the log.
    pub after: Position,
    /// Exactly which transactions it saw, for a table with no key.
    pub visibility: Option<Visibility>,
}

/// Everything durable of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its record.
    pub record: Record,
    /// Its chunks, planned and done.
    pub chunks: Vec<ChunkRecord>,
}

/// What a writer's `commit` makes durable together with its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The stream went on.
    Stream {
        /// Where the run's record must stand, or the commit is refused.
        from: Position,
        /// Where it stands afterwards.
        to: Position,
        /// Changes in between.
        changes: u64,
        /// Points that the consistent point has moved behind meanwhile.
        goals: Vec<Position>,
    },
    /// A chunk is in the target.
    Chunk {
        /// Which one.
        id: ChunkId,
        /// What it has seen.
        done: ChunkDone,
    },
}

/// A place that keeps the progress of runs.
///
/// # Contract
///
/// Every method is atomic and durable when it returns `Ok`. All but `load`
/// and `create` compare the epoch, and fail with `Fenced` when another process
/// has raised it. A future that is dropped has done all or nothing.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// Reads a run; `None` if there is none of that name.
    ///
    /// # Errors
    /// `Unsupported` for a format that is newer than this release.
    async fn load(&self, run: &RunName) -> Result<Option<State>>;

    /// Creates a run.
    ///
    /// # Errors
    /// `Conflict` if there is one of that name.
    async fn create(&self, record: &Record) -> Result<()>;

    /// Takes a run over: raises its epoch, first waiting for a transaction of
    /// the old epoch that is still open, and only then reads. A commit whose
    /// outcome was unknown has happened by now or never will.
    ///
    /// # Errors
    /// `NotFound` if there is no such run.
    async fn raise(&self, run: &RunName) -> Result<State>;

    /// Replaces the record, if it still is as `old` says in epoch, phase and
    /// position.
    ///
    /// # Errors
    /// `Fenced` if it is not.
    async fn swap(&self, old: &Record, new: &Record) -> Result<()>;

    /// Adds the plan of a table, all its chunks at once. A table that has one
    /// already keeps it.
    ///
    /// # Errors
    /// `Fenced` when the epoch is not `epoch`.
    async fn plan(&self, run: &RunName, epoch: Epoch, chunks: &[ChunkRecord]) -> Result<()>;

    /// Keeps progress by itself, for a sink whose writers cannot.
    ///
    /// # Errors
    /// `Fenced` when the epoch is not `epoch`, or the stream's `from` is not
    /// where the record stands.
    async fn advance(&self, run: &RunName, epoch: Epoch, progress: &Progress) -> Result<()>;

    /// Forgets a run. Nothing there: nothing to do.
    ///
    /// # Errors
    /// When the place cannot be written.
    async fn remove(&self, run: &RunName) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_and_its_way_back_are_a_pair() {
        let there: RunName = "shop".parse().unwrap();
        let back = there.other();
        assert_eq!((back.as_str(), back.pair(), back.leads_back()), ("shop_back", "shop", true));
        assert_eq!((back.other(), there.pair(), there.leads_back()), (there.clone(), "shop", false));
    }

    #[test]
    fn run_names_fit_every_server() {
        assert!("orders_2".parse::<RunName>().is_ok());
        for bad in ["", "Orders", "a-b", "a b", &"x".repeat(41)] {
            assert_eq!(bad.parse::<RunName>().unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }
}
