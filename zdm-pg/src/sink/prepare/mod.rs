//! Makes the tables of a target, step by step.
//!
//! Every step looks first and makes only what is missing, so that a killed
//! one is simply called again. Which tables a run may write to is kept in
//! `zdm.made`, in the transaction that made or accepted each of them: a table
//! that stands there is the run's own, and from `Keyed` on its rows are; at
//! `Bare` every table must be empty, and one that is not the run's own of the
//! same columns, or the run is refused before anything is made.
//!
//! | step | what is made |
//! |---|---|
//! | [`Bare`](Step::Bare) | schemas, extensions, types, functions, sequences; tables and partitions with defaults; of accepted tables, unique indexes, foreign keys and triggers stand back |
//! | [`Keyed`](Step::Keyed) | the primary key, or the unique index that is the replica identity |
//! | [`Finished`](Step::Finished) | the other constraints and indexes; triggers, disabled; comments; owners of sequences. From `Ready` it leads back: foreign keys are removed, triggers disabled |
//! | [`Ready`](Step::Ready) | foreign keys, for new rows; triggers as at the source |
//! | [`Validated`](Step::Validated) | foreign keys, for old rows |
//!
//! Two processes do not prepare at once: an advisory lock makes the second
//! wait, also for the statement of a killed one that the server still runs.

mod bare;
pub(crate) mod ddl;
mod definitions;
mod drop;
mod finished;
mod fit;
mod keyed;
mod ready;
mod standing;
mod state;

use zdm_core::Result;
use zdm_core::connect::{RunName, Step};
use zdm_core::schema::{Schema, Table};

pub use self::drop::drop_run;
pub use self::fit::not_moved;
use self::state::State;
use crate::checkpoint::durable;
use crate::config::PgConfig;
use crate::connect::Control;
use crate::connect::quote::{quote_literal, quote_table};
use crate::error::OrPg;

/// One call of [`prepare`]: a session, and what it is for.
struct Work<'a> {
    control: Control,
    run: &'a RunName,
    schema: &'a Schema,
    /// The schema of our own tables.
    ours: &'a str,
}

/// Brings the tables to a step of their making; includes the steps before it.
///
/// # Errors
///
/// `Conflict` when a table is there already and not this run's, and holds rows
/// or has other columns: all such tables are named, and nothing is made.
/// `Rejected` when rows break a constraint, `Permission` when a right is
/// missing. Calling again is safe after any error and after a kill.
pub async fn prepare(config: &PgConfig, run: &RunName, schema: &Schema, step: Step) -> Result<()> {
    let control = Control::holding(config, "prepare").await?;
    let mut work = Work { control, run, schema, ours: config.schema() };
    work.settle().await?;
    bare::make(&mut work, step).await?;
    if step >= Step::Keyed {
        keyed::make(&mut work).await?;
    }
    if step >= Step::Finished {
        finished::make(&mut work, step).await?;
    }
    if step >= Step::Ready {
        ready::make(&mut work).await?;
    }
    if step >= Step::Validated {
        ready::validate(&mut work).await?;
    }
    work.flush().await
}

/// Takes tables as the run's own with the rows that they hold.
///
/// # Errors
///
/// As [`Sink::adopt`](zdm_core::connect::Sink::adopt).
pub async fn adopt(config: &PgConfig, run: &RunName, schema: &Schema) -> Result<()> {
    let control = Control::holding(config, "prepare").await?;
    let work = Work { control, run, schema, ours: config.schema() };
    work.settle().await?;
    bare::adopt(&work).await?;
    work.flush().await
}

impl Work<'_> {
    /// Names with their schemas, functions that may call what comes later, and
    /// a lock that falls with the session.
    ///
    /// No statement waits for the disk: OK because [`flush`](Self::flush) does
    /// so once, for all of them.
    async fn settle(&self) -> Result<()> {
        let sql = format!(
            "SET search_path = ''; SET check_function_bodies = off; SET statement_timeout = 0; \
             SET synchronous_commit = off; SET zdm.run = {}; SELECT pg_catalog.pg_advisory_lock(hashtextextended('zdm.prepare', 0))",
            quote_literal(self.run.pair())
        );
        self.control.batch_execute(&sql).await.during("sink.prepare")
    }

    /// What was made outlives the server from here on. A cutover relies on it
    /// without looking again: its commit point is in another server, which
    /// knows nothing of a crash of this one.
    async fn flush(&self) -> Result<()> {
        durable(&self.control).await?;
        // The log is flushed in its order: behind a durable commit is all
        // that came before it.
        let commit = "SELECT pg_catalog.pg_logical_emit_message(true, 'zdm', 'prepared')";
        self.control.batch_execute(commit).await.during("sink.prepare")
    }

    /// The tables, each once: a route may lead several to one.
    fn tables(&self) -> Vec<&Table> {
        let mut seen = std::collections::HashSet::new();
        self.schema.tables.iter().map(AsRef::as_ref).filter(|table| seen.insert(&table.name)).collect()
    }

    /// What is there by now.
    async fn state(&self) -> Result<State> {
        State::read(&self.control, self.ours, self.run, &self.tables()).await
    }

    /// Runs statements in one transaction.
    async fn run(&self, table: &Table, what: &str, sql: &str) -> Result<()> {
        tracing::debug!(table = %table.name, sql, "making");
        let outcome = self.control.batch_execute(&format!("BEGIN; {sql}; COMMIT")).await;
        if outcome.is_err() {
            // A failed batch leaves its transaction open. The first error is
            // the one that tells.
            self.control.batch_execute("ROLLBACK").await.ok();
        }
        outcome
            .during("sink.prepare")
            .map_err(|error| error.with("table", &table.name).with("making", what))?;
        fail::fail_point!("prepare::made");
        Ok(())
    }
}

/// The quoted name of a table.
fn quoted(table: &Table) -> String {
    quote_table(&table.name.schema, &table.name.name)
}
