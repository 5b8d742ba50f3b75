//! What we do in a process of our own, so that it can be measured like the
//! peers' programs.

use clap::Subcommand;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;
use zdm_core::Position;
use zdm_core::connect::{RunName, Sink, Source as _, StreamOptions};
use zdm_core::migrate::{Migration, Outcome, Until};
use zdm_core::schema::Selection;
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_pg::{PgConfig, PgSink};

use crate::Result;
use crate::decode::every_value;

/// The table of the workloads.
const TABLES: [&str; 1] = ["bench.sbtest"];

/// A job of one process.
#[derive(Debug, Subcommand)]
pub enum Job {
    /// Reads and decodes so many changes behind a position.
    Drain {
        /// The URL of the source.
        from: String,
        /// The position.
        position: String,
        /// How many changes.
        changes: u64,
        /// Also decodes every value.
        #[arg(long)]
        values: bool,
    },
    /// Copies the table, and follows until it has caught up.
    Copy {
        /// The URL of the source.
        from: String,
        /// The URL of the target.
        to: String,
        /// The name of the run.
        run: RunName,
    },
}

impl Job {
    /// Does it.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(self) -> Result<()> {
        match self {
            Self::Drain { from, position, changes, values } => drain(&from, &position, changes, values).await,
            Self::Copy { from, to, run } => copy(&from, &to, run).await,
        }
    }
}

/// Where a stream of the source would begin now.
///
/// # Errors
/// When the source cannot be reached.
pub async fn here(from: &str) -> Result<Position> {
    let source = MySqlSource::new(MySqlConfig::parse(from)?);
    let schema = source.describe(&Selection::new(TABLES)?).await?;
    Ok(source.snapshot(&RunName::default(), &schema, None).await?.start().clone())
}

async fn drain(from: &str, position: &str, changes: u64, values: bool) -> Result<()> {
    let source = MySqlSource::new(MySqlConfig::parse(from)?);
    let schema = source.describe(&Selection::new(TABLES)?).await?;
    let position = Position::new(zdm_core::Engine::new("mysql"), position);
    let cancel = CancellationToken::new();
    let options = StreamOptions::new(RunName::default(), position, schema.into()).cancel(cancel.clone());
    let mut stream = source.changes(options).await?;
    let mut rows = 0;
    while rows < changes {
        let batch = stream.batches.next().await.ok_or("the stream has ended")??;
        rows += batch.row_count() as u64;
        if values {
            every_value(&batch)?;
        }
    }
    cancel.cancel();
    if rows == changes { Ok(()) } else { Err(format!("{rows} changes came, and not {changes}").into()) }
}

async fn copy(from: &str, to: &str, run: RunName) -> Result<()> {
    let source = MySqlSource::new(MySqlConfig::parse(from)?);
    let outcome = if to.starts_with("mysql") {
        migrate(source, MySqlSink::new(MySqlConfig::parse(to)?), run).await?
    } else {
        migrate(source, PgSink::new(PgConfig::parse(to)?), run).await?
    };
    match outcome {
        Outcome::CaughtUp { .. } => Ok(()),
        other => Err(format!("it has not caught up: {other:?}").into()),
    }
}

async fn migrate(source: MySqlSource, sink: impl Sink + 'static, run: RunName) -> Result<Outcome> {
    let migration = Migration::between(source, sink).named(run).tables(Selection::new(TABLES)?).build()?;
    Ok(migration.run_until(Until::CaughtUp, CancellationToken::new()).await?)
}
