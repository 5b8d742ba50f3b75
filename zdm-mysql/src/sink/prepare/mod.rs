//! Makes the tables of a target, step by step.
//!
//! No DDL of these servers is part of a transaction, so every statement looks
//! first whether what it makes is there, and a killed step is simply called
//! again. Which tables a run may write to is kept in `zdm.made`, where each is
//! noted *before* it is made: a table that stands there is the run's own. At
//! `Bare` every table must be empty, and one that is not the run's own of the
//! same columns and InnoDB's, or the run is refused before anything is made.
//!
//! | step | what is made |
//! |---|---|
//! | [`Bare`](Step::Bare) | databases, sequences, tables with their key and checks; of accepted tables, unique indexes, foreign keys and triggers stand back |
//! | [`Keyed`](Step::Keyed) | nothing more: InnoDB stores a table by its key, so to add it later would be to load twice |
//! | [`Finished`](Step::Finished) | unique keys and indexes, all of a table in one pass. From `Ready` it leads back: foreign keys and triggers are removed |
//! | [`Ready`](Step::Ready) | foreign keys, unchecked, which takes no time; triggers, which cannot be disabled here |
//! | [`Validated`](Step::Validated) | foreign keys, checked by a query for old rows |
//!
//! A check of one row holds at every moment at which the row was read, so it
//! does not disturb a load; added later it would copy the table (MySQL).
//!
//! Two processes do not prepare at once: a lock of the server's makes the
//! second wait, and falls with its session.

mod bare;
mod conflicts;
mod ddl;
mod drop;
mod finished;
mod ready;
mod state;

use mysql_async::prelude::Queryable;
use zdm_core::connect::{Finding, RunName, Severity, Step};
use zdm_core::schema::{ConstraintKind, Schema, Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

pub use self::drop::drop_run;
pub(crate) use self::ready::orphans;
use self::state::State;
use crate::config::MySqlConfig;
use crate::connect::quote::{quote_literal, quote_table};
use crate::connect::{Control, Server};
use crate::error::OrMy;
use crate::fence;

const DURING: &str = "sink.prepare";

/// One call of [`prepare`]: a session, and what it is for.
struct Work<'a> {
    control: Control,
    run: &'a RunName,
    schema: &'a Schema,
    /// The database of our own tables.
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
pub(super) async fn prepare(config: &MySqlConfig, run: &RunName, schema: &Schema, step: Step) -> Result<()> {
    let control = Control::holding(config, "prepare").await?;
    let mut work = Work { control, run, schema, ours: config.schema() };
    work.settle(config.lock_timeout().as_secs().max(1)).await?;
    bare::make(&mut work, step).await?;
    if step >= Step::Finished {
        finished::make(&mut work, step).await?;
    }
    if step >= Step::Ready {
        ready::make(&mut work).await?;
        // The commit point of a cutover is in the source, and knows nothing of
        // a crash of the target.
        fence::settle(&mut work.control, work.ours, run).await?;
    }
    if step >= Step::Validated {
        ready::validate(&mut work).await?;
    }
    Ok(())
}

/// What would refuse a run before it makes anything, and which of its tables
/// are there already and would be used: each table and a clause about it.
///
/// # Errors
///
/// When the server cannot be asked.
pub(crate) async fn standing(
    control: &mut Control,
    run: &RunName,
    schema: &Schema,
    ours: &str,
) -> Result<(Vec<(TableName, String)>, Vec<TableName>)> {
    let names: Vec<_> = schema.tables.iter().map(|table| table.name.clone()).collect();
    let state = State::read(control, ours, &names).await?;
    let (mut refused, mut used) = (Vec::new(), Vec::new());
    for table in &schema.tables {
        let name = &table.name;
        if state.is_noted(run, name) || state.table(name).is_none() {
            continue;
        }
        let found = conflicts::of(control, &state, run, table).await?;
        if found.is_empty() {
            used.push(name.clone());
        }
        refused.extend(found.into_iter().map(|what| (name.clone(), what)));
    }
    Ok((refused, used))
}

/// What of the tables is not made, and has to be made by hand.
pub(crate) fn not_moved(server: Server, schema: &Schema) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &schema.tables {
        let mut tell = |code: &str, what: &str, name: &str| {
            let message = format!("{what} {name} does not fit the table as it arrives: make it by hand");
            findings.push(Finding::new(Severity::Warning, code, &table.name, message));
        };
        for index in table.indexes.iter().filter(|index| ddl::index_text(table, index).is_none()) {
            tell("index_not_moved", "the index", &index.name);
        }
        for constraint in &table.constraints {
            if let ConstraintKind::ForeignKey(key) = &constraint.kind
                && ddl::foreign_key(schema, constraint, key).is_none()
            {
                tell("constraint_not_moved", "the foreign key", &constraint.name);
            }
        }
        for column in table.columns.iter().filter(|c| c.invisible && !ddl::hides(server, c)) {
            tell("visible", "that the server hides it, of column", &column.name);
        }
        for trigger in table.triggers.iter().filter(|_| !table.keeps_name()) {
            tell("trigger_not_moved", "the trigger", &trigger.name);
        }
    }
    findings
}

impl Work<'_> {
    /// Foreign keys in any order, defaults that no calendar has, and a lock
    /// that falls with the session.
    async fn settle(&mut self, patience: u64) -> Result<()> {
        let settings = format!(
            "SET @zdm_run = {}, SESSION foreign_key_checks = 0, \
             SESSION sql_mode = CONCAT(@@sql_mode, ',ALLOW_INVALID_DATES')",
            quote_literal(self.run.pair())
        );
        self.control.query_drop(settings).await.during(DURING)?;
        // A TIMESTAMP that is NOT NULL would else get a default of its own.
        // Where a session may not set it, the server's setting stays.
        self.control.query_drop("SET SESSION explicit_defaults_for_timestamp = 1").await.ok();
        let lock = format!("SELECT GET_LOCK('zdm.prepare', {patience})");
        let got: Option<Option<u8>> = self.control.query_first(lock).await.during(DURING)?;
        if got.flatten() == Some(1) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Timeout, "another process prepares this target: wait for it, or end it")
            .during(DURING))
    }

    /// The tables, each once: a route may lead several to one.
    fn tables(&self) -> Vec<&Table> {
        let mut seen = std::collections::HashSet::new();
        self.schema.tables.iter().map(AsRef::as_ref).filter(|table| seen.insert(&table.name)).collect()
    }

    /// What is there by now.
    async fn state(&mut self) -> Result<State> {
        let names: Vec<_> = self.tables().into_iter().map(|table| table.name.clone()).collect();
        State::read(&mut self.control, self.ours, &names).await
    }

    /// Runs a statement that makes something of a table.
    async fn run(&mut self, table: &Table, what: &str, sql: &str) -> Result<()> {
        tracing::debug!(table = %table.name, sql, "making");
        let outcome = self.control.query_drop(sql).await;
        outcome.during(DURING).map_err(|error| error.with("table", &table.name).with("making", what))
    }
}

/// The quoted name of a table.
fn quoted(table: &Table) -> String {
    quote_table(&table.name.schema, &table.name.name)
}
