//! Where changes come from.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Assess, Claim, Fence, LogEnd, RunName, Sequences, Shapes, Snapshot, Verify};
use crate::change::{Batch, Budget};
use crate::schema::{Schema, Selection};
use crate::spool::SpoolOptions;
use crate::{Identity, Position, Result};

/// A database that changes are captured from.
///
/// # Contract
///
/// *Order.* The stream hands over committed transactions only, whole, one
/// after the other, in commit order. What its log gives earlier or interleaved
/// (transactions streamed while they run, prepared and XA ones) the source
/// keeps aside until the commit. Where the log tells only behind the rows of a
/// transaction that they do not count, and some were handed over, the stream
/// fails with an error that a retry helps, and the next one of this source
/// leaves them out.
///
/// *Duplicates.* None within one stream. A stream opened at an earlier
/// position gives the same transactions again, in the same order.
///
/// *Gaps.* Never. Where the log no longer holds the transaction behind the
/// position that was asked for, or is another server's, `changes` fails with
/// [`Gap`](crate::ErrorKind::Gap) in words that say what to do.
///
/// *Connections.* A `Source` is a description; each call opens what it needs
/// and closes it in the end. A future that is dropped takes its connections
/// with it.
///
/// *Retries.* The caller retries errors that say so, from the last durable
/// progress. A source does not retry inside.
#[async_trait]
pub trait Source: Send + Sync {
    /// Which database this is, with the facts that must stay as they are for
    /// its positions to mean anything.
    ///
    /// # Errors
    /// When the server cannot be reached.
    async fn identity(&self) -> Result<Identity>;

    /// Reads the catalog: the selected tables and what they lean on.
    ///
    /// # Errors
    /// When the server cannot be reached, or a table cannot be described.
    async fn describe(&self, selection: &Selection) -> Result<Schema>;

    /// Begins, or begins again, and gives what chunks are read with.
    ///
    /// Without `resume` it fixes the start of the stream, so that every later
    /// commit will be in it (making whatever the server keeps for a reader,
    /// and replacing what an earlier start of the same run left half done),
    /// and **then waits** until each transaction that was in progress at that
    /// moment has ended: a commit may be in the log before the start and
    /// still be invisible to a SELECT after it. With `resume`, the start that
    /// an earlier snapshot of this run gave, it checks that the stream can
    /// still begin at the run's progress and makes nothing.
    ///
    /// A pipeline that only follows calls it too, for its start.
    ///
    /// # Errors
    /// `Permission`, `Config` or `Conflict` when the server is not set up for
    /// capture, in words that say what to set; `Gap` when the start to resume
    /// from is lost. Nothing is left half made by an error.
    async fn snapshot(
        &self,
        run: &RunName,
        schema: &Schema,
        resume: Option<&Position>,
    ) -> Result<Arc<dyn Snapshot>>;

    /// Streams the changes of the run's tables from a position.
    ///
    /// The stream ends cleanly when `options.cancel` is cancelled, or with
    /// an error; after either it gives nothing more. It is `'static`: the
    /// source may be dropped while it runs.
    ///
    /// # Errors
    /// `Gap` when changes behind `options.from` are lost or were already
    /// released; `Conflict` when another reader holds what this one needs.
    async fn changes(&self, options: StreamOptions) -> Result<Changes>;

    /// Whether a reader that is at `at` has everything up to `goal`.
    ///
    /// Pure: it asks no server. `reached(p, p)` is true.
    ///
    /// # Errors
    /// `Config` or `Protocol` when a position is not one of this engine.
    fn reached(&self, at: &Position, goal: &Position) -> Result<bool>;

    /// Gives back all that the run keeps on the server (slot, publication),
    /// so that it no longer holds its log for us. Nothing there: nothing to
    /// do. Called when a run is dropped, never by a run that may resume.
    ///
    /// # Errors
    /// When the server refuses; calling again is safe.
    async fn release(&self, run: &RunName) -> Result<()>;

    /// What else this source can do.
    fn capabilities(&self) -> SourceCapabilities<'_>;
}

/// What a source can do beyond its trait; `None` where the engine cannot.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct SourceCapabilities<'a> {
    /// Says what would stand in the way of a run.
    pub assess: Option<&'a dyn Assess>,
    /// Keeps writers out.
    pub fence: Option<&'a dyn Fence>,
    /// Reads live sequence values.
    pub sequences: Option<&'a dyn Sequences>,
    /// Tells cheaply whether tables have changed.
    pub shapes: Option<&'a dyn Shapes>,
    /// Keeps which target a run belongs to.
    pub claim: Option<&'a dyn Claim>,
    /// Says where its log ends, so that a way back can begin there.
    pub log_end: Option<&'a dyn LogEnd>,
    /// Says what its tables hold.
    pub verify: Option<&'a dyn Verify>,
}

impl std::fmt::Debug for SourceCapabilities<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceCapabilities")
            .field("assess", &self.assess.is_some())
            .field("fence", &self.fence.is_some())
            .field("sequences", &self.sequences.is_some())
            .field("shapes", &self.shapes.is_some())
            .field("claim", &self.claim.is_some())
            .field("log_end", &self.log_end.is_some())
            .field("verify", &self.verify.is_some())
            .finish()
    }
}

/// What a stream of changes is opened with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamOptions {
    /// The run that the stream belongs to.
    pub run: RunName,
    /// The stream begins behind this point.
    pub from: Position,
    /// The run's tables, as [`Source::describe`] gave them.
    pub schema: Arc<Schema>,
    /// Bounds what is handed over and not yet dropped. The source takes a
    /// permit for each batch *before* it hands it over, and goes on answering
    /// its server while it waits for one.
    pub budget: Budget,
    /// Ends the stream.
    pub cancel: CancellationToken,
    /// Where the source keeps aside what is not committed yet, if its log
    /// gives such things. Beside `budget`, and bounded by itself.
    pub spool: SpoolOptions,
}

impl StreamOptions {
    /// Options with a budget of 32 MiB and a token of their own.
    pub fn new(run: RunName, from: Position, schema: Arc<Schema>) -> Self {
        Self {
            run,
            from,
            schema,
            budget: Budget::new(32 << 20),
            cancel: CancellationToken::new(),
            spool: SpoolOptions::default(),
        }
    }

    /// The same, within that budget.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The same, ended by that token.
    #[must_use]
    pub fn cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The same, with a spool of those options.
    #[must_use]
    pub fn spool(mut self, spool: SpoolOptions) -> Self {
        self.spool = spool;
        self
    }
}

/// A stream of changes that is open.
pub struct Changes {
    /// The batches. Idle, a change is handed over at once; while the stream
    /// is busy, changes gather up to a byte limit. Ends after cancellation;
    /// after an error nothing follows.
    pub batches: BoxStream<'static, Result<Batch>>,
    /// How the reader says what is durable.
    pub ack: Ack,
    /// Where the log ends, as the server last said.
    pub head: watch::Receiver<Head>,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes")
            .field("ack", &self.ack)
            .field("head", &*self.head.borrow())
            .finish_non_exhaustive()
    }
}

/// Where the server's log ends, and how far behind that the stream is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The end of the log.
    pub position: Option<Position>,
    /// Bytes of log between what was handed over and the end.
    pub bytes_behind: u64,
    /// Bytes of log that this stream has handed over or passed by, counted as
    /// `bytes_behind` is; `None` where the source cannot count them, and the
    /// bytes of the batches stand for them.
    pub bytes_read: Option<u64>,
}

/// Tells a source what has become durable.
///
/// The newest position wins; the source reports it to its server on its own
/// clock, and at once when the stream ends. A source that keeps nothing for a
/// reader ignores it.
#[derive(Debug, Clone)]
pub struct Ack(watch::Sender<Option<Position>>);

impl Ack {
    /// A handle and the end that the source watches.
    pub fn new() -> (Self, watch::Receiver<Option<Position>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }

    /// Everything up to `position` is durable at the target: the source may
    /// forget it. Only positions of commits and idle points of this stream,
    /// in their order.
    pub fn durable(&self, position: Position) {
        self.0.send_replace(Some(position));
    }
}
