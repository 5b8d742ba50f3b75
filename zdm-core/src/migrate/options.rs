//! What a migration can be told, checked once.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Migration, Other, Plan};
use crate::checkpoint::MemoryCheckpoint;
use crate::connect::{Checkpoint, ChunkSize, RunName, Sink, Source};
use crate::pipeline::{Converting, Identity, Transform};
use crate::run::{Durable, Retry, StatusHandle, Throttle};
use crate::schema::Selection;
use crate::schema::conversion::Mapping;
use crate::spool::SpoolOptions;
use crate::{Error, ErrorKind, Result};

/// How a migration runs. Every field has a default that suits most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Options {
    /// The name of the run: names what it keeps on the servers, so that two
    /// runs can work side by side.
    pub run: RunName,
    /// Which tables to move.
    pub tables: Selection,
    /// Chunks copied at once, each with a connection to either side. Default
    /// 2.
    pub jobs: usize,
    /// How large a chunk is.
    pub chunk: ChunkSize,
    /// Bytes that may be under way between source and sink. Default 32 MiB.
    pub budget: u32,
    /// A group of transactions is committed to the target at this size, in
    /// bytes as they were read. Default 4 MiB.
    pub group: usize,
    /// A group is committed at the latest after this time while the stream is
    /// busy; idle, it is committed at once. Default 200 ms.
    pub linger: Duration,
    /// How often a position is kept that bears no rows, so that the source
    /// can let go of its log. Default 2 s.
    pub idle_interval: Duration,
    /// How often the source is asked, while the run follows, whether DDL has
    /// changed its tables; what has is told then, and at the latest under a
    /// cutover's fence. Zero: never in between. Default 10 s.
    pub shape_interval: Duration,
    /// Where a source keeps aside what is not committed yet, and how much of
    /// it.
    pub spool: SpoolOptions,
    /// The copy's speed in bytes a second; 0 is without bound.
    pub max_rate: u64,
    /// What happens after an error that a retry can help.
    pub retry: Retry,
    /// Where the data goes, for the error that a stray writer gets at the
    /// source after the switch: a host and database, never a password.
    pub target_name: String,
    /// The same for the way back: where the data goes when it is rolled back.
    pub source_name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            run: RunName::default(),
            tables: Selection::default(),
            jobs: 2,
            chunk: ChunkSize::default(),
            budget: 32 << 20,
            group: 4 << 20,
            linger: Duration::from_millis(200),
            idle_interval: Duration::from_secs(2),
            shape_interval: Duration::from_secs(10),
            spool: SpoolOptions::default(),
            max_rate: 0,
            retry: Retry::default(),
            target_name: "another database".to_owned(),
            source_name: "the database that it came from".to_owned(),
        }
    }
}

impl Options {
    fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if !(1..=256).contains(&self.jobs) {
            return wrong("jobs must be between 1 and 256");
        }
        if self.budget < 1 << 20 {
            return wrong("the budget must be at least 1 MiB (1048576)");
        }
        // A group that is gathered holds its bytes; beyond half of the budget
        // the source might have none left to go on with.
        if self.group > self.budget as usize / 2 {
            return wrong("a group must be at most half of the budget: lower `group` or raise `budget`");
        }
        if self.chunk.bytes == 0 {
            return wrong("a chunk must have a size: give `chunk.bytes`, for example 67108864");
        }
        if self.idle_interval.is_zero() {
            return wrong("the idle interval must be longer than zero");
        }
        Ok(())
    }
}

/// Describes a [`Migration`].
pub struct Builder {
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    stages: Arc<dyn Transform>,
    mapping: Mapping,
    checkpoint: Option<Arc<dyn Checkpoint>>,
    copy: bool,
    way_back: Option<(Arc<dyn Source>, Arc<dyn Sink>)>,
    staged: bool,
    options: Options,
}

impl Builder {
    pub(crate) fn new(source: Arc<dyn Source>, sink: Arc<dyn Sink>, copy: bool) -> Self {
        Self {
            source,
            sink,
            stages: Arc::new(Identity),
            mapping: Mapping::new(),
            checkpoint: None,
            copy,
            way_back: None,
            staged: false,
            options: Options::default(),
        }
    }

    /// Sends rows and changes through these stages.
    #[must_use]
    pub fn through(mut self, stages: Arc<dyn Transform>) -> Self {
        self.stages = stages;
        self.staged = true;
        self
    }

    /// Gives the migration a way back: the target as a source, and the source
    /// as a target. Each [cutover](super::cutover) then fixes where it begins,
    /// and [`Migration::back`] follows it.
    ///
    /// Both databases must be of one engine, and the rows the same on both
    /// sides: what stages or a mapping have changed has no way back yet. The
    /// target must be set up as a source is, and the rights of a source and a
    /// target are needed on both sides; the checks of each cutover say what is
    /// missing.
    #[must_use]
    pub fn way_back(self, target: impl Source + 'static, source: impl Sink + 'static) -> Self {
        self.way_back_shared(Arc::new(target), Arc::new(source))
    }

    /// The same, for connectors that are shared already.
    #[must_use]
    pub fn way_back_shared(mut self, target: Arc<dyn Source>, source: Arc<dyn Sink>) -> Self {
        self.way_back = Some((target, source));
        self
    }

    /// Converts to a target of another engine by these wishes; between servers
    /// of one engine, gives tables and columns these names.
    #[must_use]
    pub fn mapping(mut self, mapping: Mapping) -> Self {
        self.mapping = mapping;
        self
    }

    /// Runs with these options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Names the run.
    #[must_use]
    pub fn named(mut self, run: RunName) -> Self {
        self.options.run = run;
        self
    }

    /// Moves these tables.
    #[must_use]
    pub fn tables(mut self, tables: Selection) -> Self {
        self.options.tables = tables;
        self
    }

    /// Keeps progress there, for a sink that has no place of its own. Without
    /// one it is kept in memory and a restart begins anew.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: Arc<dyn Checkpoint>) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// The migration.
    ///
    /// # Errors
    /// `Config` when an option cannot work, or when a checkpoint is given for
    /// a sink that keeps its own (only that one is exactly once);
    /// `Unsupported` for a way back that leads through stages or a mapping, or
    /// to a place that keeps no progress.
    pub fn build(self) -> Result<Migration> {
        self.options.check()?;
        self.mapping.check()?;
        self.check_name()?;
        self.check_way_back()?;
        let own = self.sink.checkpoint();
        let own_checkpoint = own.is_some();
        let checkpoint = match (own, self.checkpoint) {
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "this sink keeps progress together with its rows: leave the checkpoint out",
                ));
            }
            (Some(own), None) => own,
            (None, Some(given)) => given,
            (None, None) => Arc::new(MemoryCheckpoint::default()),
        };
        let converting = Arc::new(Converting::new(self.stages, self.mapping));
        let back = match self.way_back {
            None => None,
            Some((source, sink)) => {
                let kept = sink
                    .checkpoint()
                    .ok_or_else(|| no_way_back("the source keeps no progress as a target"))?;
                Some((source, sink, kept))
            }
        };
        let run = self.options.run.clone();
        let other = back.as_ref().map(|(source, sink, kept)| Other {
            run: run.other(),
            source: Arc::clone(source),
            sink: Arc::clone(sink),
            checkpoint: Arc::clone(kept),
        });
        let way_back = back.map(|(source, sink, kept)| {
            let target_name = self.options.source_name.clone();
            let options = Options { run: run.other(), target_name, ..self.options.clone() };
            let other = Other {
                run,
                source: Arc::clone(&self.source),
                sink: Arc::clone(&self.sink),
                checkpoint: Arc::clone(&checkpoint),
            };
            let nothing = Arc::new(Converting::new(Arc::new(Identity), Mapping::new()));
            plan((source, sink, kept), nothing, (true, false), Some(other), options)
        });
        let ends = (self.source, self.sink, checkpoint);
        let plan = plan(ends, converting, (own_checkpoint, self.copy), other, self.options);
        Ok(Migration::from_plan(plan, way_back))
    }

    fn check_name(&self) -> Result<()> {
        let run = &self.options.run;
        if run.leads_back() {
            return Err(Error::new(
                ErrorKind::Config,
                "a name that ends with _back is that of a way back: give the run another one",
            )
            .with("run", run));
        }
        Ok(())
    }

    fn check_way_back(&self) -> Result<()> {
        if self.way_back.is_none() {
            return Ok(());
        }
        if self.staged || self.mapping != Mapping::new() {
            return Err(no_way_back("stages or a mapping change the rows on their way"));
        }
        if !self.copy {
            return Err(no_way_back("a pipeline is not cut over"));
        }
        // It is kept where names of runs are.
        self.options.run.other().as_str().parse::<RunName>().map(drop)
    }
}

fn no_way_back(why: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("this migration has no way back, since {why}: build it without one"),
    )
}

/// One direction.
fn plan(
    (source, sink, checkpoint): (Arc<dyn Source>, Arc<dyn Sink>, Arc<dyn Checkpoint>),
    converting: Arc<Converting>,
    (own_checkpoint, copy): (bool, bool),
    other: Option<Other>,
    options: Options,
) -> Plan {
    Plan {
        source,
        sink,
        stages: Arc::clone(&converting) as Arc<dyn Transform>,
        converting,
        checkpoint,
        own_checkpoint,
        copy,
        other,
        moved: Mutex::new(None),
        throttle: Throttle::new(options.max_rate),
        status: StatusHandle::new(options.run.clone()),
        durable: Durable::new(),
        target: Mutex::new(None),
        cutting_over: AtomicBool::new(false),
        options,
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish_non_exhaustive()
    }
}
