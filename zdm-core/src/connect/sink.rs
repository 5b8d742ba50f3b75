//! Where changes go.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Assess, Checkpoint, Epoch, Fence, Progress, RunName, Sequences, Verify};
use crate::change::Batch;
use crate::schema::conversion::Convert;
use crate::schema::{Schema, Table};
use crate::{Identity, Result};

/// A place that rows are written to.
///
/// # Contract
///
/// Like a source, a `Sink` is a description; calls open what they need. It
/// does not retry inside.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Which database this is.
    ///
    /// # Errors
    /// When it cannot be reached.
    async fn identity(&self) -> Result<Identity>;

    /// Brings the tables to a step of their making. Idempotent: it is called
    /// again after a kill, and finds some or all of it done.
    ///
    /// One way leads back: [`Step::Finished`] on tables that are
    /// [`Ready`](Step::Ready) or [`Validated`](Step::Validated) disables the
    /// triggers and removes the foreign keys again, since a cutover that was
    /// given up goes back to following, and the way back of a switch follows
    /// into tables that an application has worked on.
    ///
    /// # Errors
    /// `Conflict` at [`Step::Bare`] when a table is already there and holds
    /// rows, or has another shape; `Permission`; `Rejected` when the rows
    /// break a constraint, naming it.
    async fn prepare(&self, run: &RunName, schema: &Schema, step: Step) -> Result<()>;

    /// Takes tables as the run's own with the rows that they hold: those of a
    /// database that was a source, and is followed back into. Changes none of
    /// them. Idempotent; behind it they can be [prepared](Self::prepare).
    ///
    /// # Errors
    /// `Conflict` when a table is not there, has another shape, belongs to
    /// another run, or has what would change or refuse rows that arrive and
    /// what `schema` does not know of; `Unsupported` where the sink cannot be
    /// followed back into.
    async fn adopt(&self, run: &RunName, schema: &Schema) -> Result<()>;

    /// Opens a writer: one connection, one transaction at a time.
    ///
    /// # Errors
    /// `Fenced` when the epoch is no longer the run's; others when the sink
    /// cannot be reached.
    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn Writer>>;

    /// The sink's own place for progress, which its writers' `commit` also
    /// writes; `None` if it has none, and the run then needs another and is
    /// at least once.
    fn checkpoint(&self) -> Option<Arc<dyn Checkpoint>>;

    /// What else this sink can do.
    fn capabilities(&self) -> SinkCapabilities<'_>;
}

/// How far the tables of a target are made. Each step includes the ones
/// before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Types, sequences and tables with their defaults; no key, no index.
    /// Who drives the run then seals them with the sink's [`Fence`], where it
    /// has one: nobody but a writer of the run can change them from there on.
    Bare,
    /// Each table has its key, and nothing else yet: rows of different
    /// chunks may come from different moments.
    Keyed,
    /// All indexes, unique and exclusion constraints; checks; triggers,
    /// disabled.
    Finished,
    /// Foreign keys hold for new rows and triggers are enabled. At cutover,
    /// while nobody writes: it must be quick.
    Ready,
    /// Foreign keys are validated for old rows too. Online, after cutover.
    Validated,
}

/// Writes rows and progress. One task owns it.
///
/// # Contract
///
/// *Transactions.* All `write`s since the last `commit` (or since the writer
/// was opened) are one target transaction together with the `commit` behind
/// them. The caller commits only at a boundary: at the end of a chunk, or
/// behind a [`Commit`](crate::change::Item::Commit). A writer for
/// [`Purpose::Apply`] may hold rows back until then, to coalesce them, but
/// in bounded memory: a transaction of any size flows through.
///
/// *Durability.* `commit` gives `Ok` when rows **and** progress are durable,
/// whatever the server's default. There is no second, later answer.
///
/// *Fencing.* `commit` compares the run's epoch, and for the stream the old
/// position, in the same transaction, and fails with `Fenced` when they are
/// not as expected. Nothing was written then.
///
/// *Errors.* After any error, and when a future was dropped before it was
/// done, the writer is spent: drop it, open another, and begin again from the
/// progress that is durable by then. A commit whose outcome is unknown
/// happened or did not: raising the epoch waits for it and settles which.
///
/// *Idempotence.* For [`Purpose::Apply`]: applying a transaction to a target
/// that has it already, in the order of the log, ends in the same rows.
#[async_trait]
pub trait Writer: Send {
    /// Takes a batch: rows, and the boundaries, truncates and schemas between
    /// them. Its tables are as the stages made them.
    ///
    /// # Errors
    /// `Rejected` with the row's key when the target refuses it.
    async fn write(&mut self, batch: Batch) -> Result<()>;

    /// Writes what is held back into the open transaction, and so does every
    /// [`Reread`] that it needs. Called before a commit during catch-up: the
    /// points that rereads add belong to the progress of that commit, so none
    /// may come later. A writer that holds nothing back has nothing to do.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    async fn flush(&mut self) -> Result<()>;

    /// Makes everything written since the last commit durable, and the
    /// progress with it.
    ///
    /// # Errors
    /// `Fenced`, `Rejected`, or `Connection` when the outcome is unknown.
    async fn commit(&mut self, progress: Progress) -> Result<()>;
}

/// What a writer is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Chunks of the initial copy into tables without rows of these keys:
    /// append, as fast as it goes.
    Load,
    /// Changes, idempotently and in the order of the log; [`apply`](crate::apply)
    /// coalesces them.
    Apply,
}

/// What a writer is opened with.
#[derive(Clone)]
#[non_exhaustive]
pub struct WriterOptions {
    /// The run.
    pub run: RunName,
    /// The epoch that this process holds.
    pub epoch: Epoch,
    /// What for.
    pub purpose: Purpose,
    /// The run's tables as the target has them.
    pub schema: Arc<Schema>,
    /// How many bytes of batches the writer may hold back (to coalesce them)
    /// before it writes them into its open transaction. Beyond this the run's
    /// budget could run dry and nothing move any more.
    pub hold_back: usize,
    /// Where a row is read again that is missing here while a change does not
    /// carry all of it. Present during catch-up only: later such a row is an
    /// error.
    pub reread: Option<Arc<dyn Reread>>,
}

impl WriterOptions {
    /// Options without a reread, holding back at most 8 MiB.
    pub fn new(run: RunName, epoch: Epoch, purpose: Purpose, schema: Arc<Schema>) -> Self {
        Self { run, epoch, purpose, schema, hold_back: 8 << 20, reread: None }
    }

    /// The same, with a place to read missing rows again.
    #[must_use]
    pub fn reread(mut self, reread: Arc<dyn Reread>) -> Self {
        self.reread = Some(reread);
        self
    }
}

impl std::fmt::Debug for WriterOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterOptions")
            .field("run", &self.run)
            .field("epoch", &self.epoch)
            .field("purpose", &self.purpose)
            .field("reread", &self.reread.is_some())
            .finish_non_exhaustive()
    }
}

/// Reads rows of the source again for a writer, through the stages.
///
/// A change without all its cells, for a row that the target does not have,
/// happens during catch-up: its key moved from a chunk not yet read into one
/// already read, so that it is in no chunk.
#[async_trait]
pub trait Reread: Send + Sync {
    /// The present rows of the source for these keys of a *target* table.
    ///
    /// `keys` holds deletes of one table whose key cells are set; the answer
    /// holds inserts of the same table, and only of rows that are there. By
    /// the time it answers, what it saw is flushed at the source, and the
    /// run's consistent point has moved behind it.
    ///
    /// # Errors
    /// When the source fails; `Unsupported` when the stages cannot be
    /// followed back to the source's key.
    async fn reread(&self, table: &Arc<Table>, keys: Batch) -> Result<Batch>;
}

/// What a sink can do beyond its trait; `None` where the engine cannot.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct SinkCapabilities<'a> {
    /// Says what would stand in the way of a run.
    pub assess: Option<&'a dyn Assess>,
    /// Keeps writers out until the switch.
    pub fence: Option<&'a dyn Fence>,
    /// Sets sequence values.
    pub sequences: Option<&'a dyn Sequences>,
    /// Puts schemas of other engines into this one's words.
    pub convert: Option<&'a dyn Convert>,
    /// Says what its tables hold.
    pub verify: Option<&'a dyn Verify>,
}

impl std::fmt::Debug for SinkCapabilities<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkCapabilities")
            .field("assess", &self.assess.is_some())
            .field("fence", &self.fence.is_some())
            .field("sequences", &self.sequences.is_some())
            .field("convert", &self.convert.is_some())
            .field("verify", &self.verify.is_some())
            .finish()
    }
}
