//! The life of a move: assess, copy, catch up, follow, cut over.
//!
//! A [`Migration`] is built once and run as often as it takes: each start
//! reads the run's durable record and goes on from there. Killed at any
//! moment, the same call resumes.
//!
//! ```no_run
//! # async fn example(
//! #     source: impl zdm_core::connect::Source + 'static,
//! #     sink: impl zdm_core::connect::Sink + 'static,
//! # ) -> zdm_core::Result<()> {
//! use tokio_util::sync::CancellationToken;
//! use zdm_core::migrate::Migration;
//!
//! let migration = Migration::between(source, sink).build()?;
//! for finding in migration.assess().await? {
//!     println!("{finding}");
//! }
//! let mut running = migration.start(CancellationToken::new());
//! running.followed().await?; // copied, caught up, indexes and constraints built
//! println!("{:?}", running.status());
//! running.stop().await?; // or cut over
//! # Ok(())
//! # }
//! ```
//!
//! | phase | what is durable when it is entered |
//! |---|---|
//! | preparing | the run's record, with the source's identity |
//! | copying | the start of the stream, the bare tables |
//! | catching up | all chunks, the keys, the points that each chunk has seen |
//! | following | all indexes and constraints but foreign keys |
//! | switched | the source's seal and the record that says so |
//!
//! # Before the button is pressed, and behind it
//!
//! A [rehearsal](Running::rehearse) goes through a cutover up to its switch and
//! gives everything back. [`verify`](cutover::CutoverOptions::verify) compares
//! rows before the fence and under it, and a
//! [certificate](cutover::CutoverOptions::certificate) tells what both sides were
//! at the switch.
//!
//! ```no_run
//! # async fn example(
//! #     mut running: zdm_core::migrate::Running,
//! #     gate: std::sync::Arc<dyn zdm_core::gate::GateControl>,
//! # ) -> zdm_core::Result<()> {
//! use std::sync::Arc;
//! use zdm_core::migrate::cutover::CutoverOptions;
//!
//! let options = CutoverOptions::default().verify(true).certificate(true);
//! let rehearsal = running.rehearse(Arc::clone(&gate), options).await?;
//! println!("writers waited {:.0} ms", rehearsal.pause.total_ms);
//! let switch = running.cutover(gate, options).await?;
//! if let Some(certificate) = switch.certificate {
//!     assert!(certificate.is_equal());
//!     println!("{}", certificate.to_json());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Back again
//!
//! A migration that is built with a [way back](Builder::way_back) can be
//! switched to and fro without losing what was written meanwhile. Each switch
//! is a *leg*, and legs alternate: there, back, there. [`Migration::back`] is
//! the other direction, and its cutover is the rollback.
//!
//! ```no_run
//! # async fn example(
//! #     (old, new): (
//! #         impl zdm_core::connect::Source + Clone + 'static,
//! #         impl zdm_core::connect::Source + Clone + 'static,
//! #     ),
//! #     (into_new, into_old): (
//! #         impl zdm_core::connect::Sink + 'static,
//! #         impl zdm_core::connect::Sink + 'static,
//! #     ),
//! #     (to_new, to_old): (
//! #         std::sync::Arc<dyn zdm_core::gate::GateControl>,
//! #         std::sync::Arc<dyn zdm_core::gate::GateControl>,
//! #     ),
//! # ) -> zdm_core::Result<()> {
//! use tokio_util::sync::CancellationToken;
//! use zdm_core::migrate::Migration;
//! use zdm_core::migrate::cutover::CutoverOptions;
//!
//! let migration = Migration::between(old, into_new).way_back(new, into_old).build()?;
//! let mut running = migration.start(CancellationToken::new());
//! running.followed().await?;
//! running.cutover(to_new, CutoverOptions::default()).await?; // the application is at the new side
//!
//! let back = migration.back().expect("it was built with a way back");
//! let mut running = back.start(CancellationToken::new()); // the old side follows
//! running.followed().await?;
//! running.cutover(to_old, CutoverOptions::default()).await?; // rolled back, nothing lost
//! # Ok(())
//! # }
//! ```

mod attempt;
pub mod certificate;
pub mod cutover;
mod evidence;
mod leg;
mod options;
mod request;
mod running;
mod shapes;
mod start;
mod switch;
mod verify;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use leg::Other;
pub use leg::Side;
pub use options::{Builder, Options};
pub use request::{Ask, Requested, Requests};
pub use running::{Outcome, Running, Until};

use crate::connect::{Checkpoint, Finding, Role, Sink, Source};
use crate::pipeline::{Converting, Transform};
use crate::run::{Durable, Status, StatusHandle, Throttle};
use crate::schema::Selection;
use crate::schema::conversion::Report;
use crate::{Error, ErrorKind, Result, connect};

/// A move of some tables from a source to a sink.
#[derive(Clone)]
pub struct Migration {
    plan: Arc<Plan>,
    back: Option<Arc<Plan>>,
}

/// What a migration is made of, shared by everything that runs for it.
pub(crate) struct Plan {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) sink: Arc<dyn Sink>,
    /// The user's stages and, behind them, the conversion.
    pub(crate) stages: Arc<dyn Transform>,
    /// The same, as what it is.
    pub(crate) converting: Arc<Converting>,
    pub(crate) checkpoint: Arc<dyn Checkpoint>,
    /// Whether the sink's writers keep the checkpoint in their transactions.
    pub(crate) own_checkpoint: bool,
    /// Whether rows that are there are copied before changes are followed.
    pub(crate) copy: bool,
    pub(crate) options: Options,
    /// The run that leads the other way, if there is one.
    pub(crate) other: Option<Other>,
    /// The tables of a leg behind a switch: those of the leg before.
    pub(crate) moved: Mutex<Option<Selection>>,
    pub(crate) throttle: Throttle,
    pub(crate) status: StatusHandle,
    pub(crate) durable: Durable,
    /// The tables as the target has them, once a start of this process knows.
    pub(crate) target: Mutex<Option<Arc<crate::schema::Schema>>>,
    /// Whether this process is in a cutover of the run.
    pub(crate) cutting_over: AtomicBool,
}

impl Migration {
    /// Begins to describe a move from `source` to `sink`.
    pub fn between(source: impl Source + 'static, sink: impl Sink + 'static) -> Builder {
        Builder::new(Arc::new(source), Arc::new(sink), true)
    }

    /// The same, for connectors that are shared already.
    pub fn between_shared(source: Arc<dyn Source>, sink: Arc<dyn Sink>) -> Builder {
        Builder::new(source, sink, true)
    }

    pub(crate) fn from_plan(plan: Plan, back: Option<Plan>) -> Self {
        Self { plan: Arc::new(plan), back: back.map(Arc::new) }
    }

    /// The way back of a switch, as a migration of its own: started behind the
    /// switch it brings what is written at the target to the source, which
    /// stays sealed, and its cutover makes the source the active side again,
    /// with the same guarantees and the same pause. Behind that the run itself
    /// goes on from there. `None` where it was [built](Builder::way_back)
    /// without one.
    pub fn back(&self) -> Option<Self> {
        let back = self.back.as_ref()?;
        Some(Self { plan: Arc::clone(back), back: Some(Arc::clone(&self.plan)) })
    }

    /// Which side the records in both databases say is the active one.
    ///
    /// # Errors
    /// When either cannot be asked.
    pub async fn side(&self) -> Result<Side> {
        self.plan.side().await
    }

    /// What stands in the way of the run, the worst first. Changes nothing.
    ///
    /// # Errors
    /// When a side cannot be reached, or no table matches.
    pub async fn assess(&self) -> Result<Vec<Finding>> {
        let schema = self.plan.describe().await?;
        self.plan.assess(&schema).await
    }

    /// The tables that the run moves, and what they lean on, as the target
    /// will have them.
    ///
    /// # Errors
    /// When the source cannot be reached, no table matches, or a stage names
    /// what is not there.
    pub async fn schema(&self) -> Result<crate::schema::Schema> {
        self.plan.stages.schema(&self.plan.describe().await?)
    }

    /// What the conversion to another engine keeps, changes and leaves
    /// behind; `None` between servers of one engine. Changes nothing.
    ///
    /// # Errors
    /// As [`schema`](Self::schema); when the target cannot be reached.
    pub async fn conversion(&self) -> Result<Option<Report>> {
        self.plan.converting.report(&self.plan.describe().await?)
    }

    /// Starts or resumes the run in a task of its own.
    ///
    /// Cancelling the token ends it at a durable position.
    pub fn start(&self, cancel: CancellationToken) -> Running {
        Running::start(Arc::clone(&self.plan), Until::Cancelled, cancel)
    }

    /// Runs until the target has caught up with what the source's log held
    /// when it got there, then ends.
    ///
    /// # Errors
    /// The first error that no retry could help; the same call resumes.
    pub async fn run_until(&self, until: Until, cancel: CancellationToken) -> Result<Outcome> {
        Running::start(Arc::clone(&self.plan), until, cancel).wait().await
    }

    /// Does what is left behind a switch, while the application works on the
    /// target: validates foreign keys for the rows that were moved. Call it
    /// after [`Running::cutover`], at any time; it may take as long as reading
    /// the tables does. In the process that has cut over the source is not
    /// needed any more.
    ///
    /// # Errors
    /// `Rejected` when a row has no parent; `Conflict` before the switch.
    pub async fn complete(&self) -> Result<()> {
        match self.state().await? {
            Some(state) if state.record.phase == connect::Phase::Switched => self.plan.complete().await,
            _ => Err(Error::new(ErrorKind::Conflict, "the run has not been cut over yet: cut over first")),
        }
    }

    /// How far the run is, now and from now on.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.plan.status.subscribe()
    }

    /// The bound on the copy's speed; it can be changed while it runs.
    pub fn throttle(&self) -> &Throttle {
        &self.plan.throttle
    }

    /// The durable state of the run, if it has one.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub async fn state(&self) -> Result<Option<connect::State>> {
        self.plan.checkpoint.load(&self.plan.options.run).await
    }
}

impl Plan {
    /// The tables of the run at the source; a run of no table is a mistake.
    pub(crate) async fn describe(&self) -> Result<crate::schema::Schema> {
        let tables = self.tables();
        let schema = self.source.describe(&tables).await?;
        if schema.tables.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                "no table matches: check the patterns and the rights to see it",
            )
            .with("patterns", tables.patterns().join(", ")));
        }
        self.converting.open(&*self.sink, &schema).await?;
        Ok(schema)
    }

    pub(crate) async fn assess(&self, schema: &crate::schema::Schema) -> Result<Vec<Finding>> {
        let run = &self.options.run;
        let mut findings = self.stages.check(schema);
        if let Some(assess) = self.source.capabilities().assess {
            findings.extend(assess.assess(Role::Source, run, schema).await?);
        }
        if let Some(assess) = self.sink.capabilities().assess
            && let Ok(target) = self.stages.schema(schema)
        {
            findings.extend(assess.assess(Role::Target, run, &target).await?);
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(findings)
    }
}

impl std::fmt::Debug for Migration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration").field("options", &self.plan.options).finish_non_exhaustive()
    }
}
