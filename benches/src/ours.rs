//! What we do in a process of our own, so that it can be measured like the
//! peers' programs.

use std::sync::Arc;

use clap::Subcommand;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;
use zdm_core::connect::{RunName, Sink, Source, StreamOptions};
use zdm_core::migrate::{Migration, Outcome, Until};
use zdm_core::schema::Selection;
use zdm_core::verify::VerifyOptions;
use zdm_core::{Engine, Position};
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_pg::{PgConfig, PgSink, PgSource};

use crate::Result;
use crate::decode::every_value;

/// The table of MySQL's workloads.
const TABLE: &str = "bench.sbtest";

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
        /// Of which tables, with commas.
        #[arg(default_value = TABLE, value_delimiter = ',')]
        tables: Vec<String>,
        /// Also decodes every value.
        #[arg(long)]
        values: bool,
    },
    /// Somebody else reads so many changes of a slot.
    #[cfg(feature = "pg_peers")]
    Peer {
        /// Who.
        peer: crate::pg::peers::Peer,
        /// The URL of the source.
        from: String,
        /// The slot.
        slot: String,
        /// The publication.
        publication: String,
        /// How many changes.
        changes: u64,
    },
    /// Copies the tables, and follows until it has caught up.
    Copy {
        /// The URL of the source.
        from: String,
        /// The URL of the target.
        to: String,
        /// The name of the run.
        run: RunName,
        /// Which tables, with commas.
        #[arg(default_value = TABLE, value_delimiter = ',')]
        tables: Vec<String>,
    },
    /// Compares tables of both sides, which rest.
    Verify {
        /// The URL of the source.
        from: String,
        /// The URL of the target.
        to: String,
        /// How many rows they have.
        rows: u64,
        /// Which tables, with commas.
        #[arg(default_value = TABLE, value_delimiter = ',')]
        tables: Vec<String>,
    },
}

impl Job {
    /// Does it.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(self) -> Result<()> {
        match self {
            Self::Drain { from, position, changes, tables, values } => {
                drain(&from, &position, changes, &tables, values).await
            }
            #[cfg(feature = "pg_peers")]
            Self::Peer { peer, from, slot, publication, changes } => {
                peer.read(&from, &slot, &publication, changes).await
            }
            Self::Copy { from, to, run, tables } => copy(&from, &to, run, &tables).await,
            Self::Verify { from, to, rows, tables } => verify(&from, &to, rows, &tables).await,
        }
    }
}

/// Where a stream of the source would begin now. What the source keeps for it
/// (PostgreSQL: a slot) stays.
///
/// # Errors
/// When the source cannot be reached.
pub async fn here(from: &str, tables: &[&str]) -> Result<Position> {
    let source = source(from)?;
    let schema = source.describe(&Selection::new(tables.iter().copied())?).await?;
    Ok(source.snapshot(&RunName::default(), &schema, None).await?.start().clone())
}

async fn drain(from: &str, position: &str, changes: u64, tables: &[String], values: bool) -> Result<()> {
    let source = source(from)?;
    let schema = source.describe(&Selection::new(tables)?).await?;
    let engine = if from.starts_with("mysql") { "mysql" } else { "postgresql" };
    let position = Position::new(Engine::new(engine), position);
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

async fn copy(from: &str, to: &str, run: RunName, tables: &[String]) -> Result<()> {
    let migration = Migration::between_shared(source(from)?, sink(to)?).named(run);
    let migration = migration.tables(Selection::new(tables)?).build()?;
    match migration.run_until(Until::CaughtUp, CancellationToken::new()).await? {
        Outcome::CaughtUp { .. } => Ok(()),
        other => Err(format!("it has not caught up: {other:?}").into()),
    }
}

async fn verify(from: &str, to: &str, rows: u64, tables: &[String]) -> Result<()> {
    let migration = Migration::between_shared(source(from)?, sink(to)?);
    let migration = migration.tables(Selection::new(tables)?).build()?;
    let report = migration.verify(VerifyOptions::default(), CancellationToken::new(), &mut |_| {}).await?;
    if report.is_equal() && report.rows() == rows { Ok(()) } else { Err(format!("{report:?}").into()) }
}

fn source(url: &str) -> Result<Arc<dyn Source>> {
    Ok(if url.starts_with("mysql") {
        Arc::new(MySqlSource::new(MySqlConfig::parse(url)?))
    } else {
        Arc::new(PgSource::new(PgConfig::parse(url)?))
    })
}

fn sink(url: &str) -> Result<Arc<dyn Sink>> {
    Ok(if url.starts_with("mysql") {
        Arc::new(MySqlSink::new(MySqlConfig::parse(url)?))
    } else {
        Arc::new(PgSink::new(PgConfig::parse(url)?))
    })
}
