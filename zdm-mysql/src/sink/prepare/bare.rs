//! Databases, and tables without what rows of different moments would break.

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use zdm_core::connect::Step;
use zdm_core::schema::{ConstraintKind, Table};
use zdm_core::{Error, ErrorKind, Result};

use super::conflicts::{self, is_own_key};
use super::state::{Existing, State};
use super::{DURING, Work, ddl, quoted};
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::OrMy;

pub(super) async fn make(work: &mut Work<'_>, step: Step) -> Result<()> {
    let foreign = work.tables().into_iter().find(|table| !ddl::is_native(table));
    if let Some(table) = foreign {
        return Err(Error::new(
            ErrorKind::Config,
            "this table is described in another engine's words: convert the schema first",
        )
        .with("table", &table.name)
        .during(DURING));
    }
    let state = work.state().await?;
    refuse_conflicts(work, &state, step).await?;
    databases(work, &state).await?;
    let schema = work.schema;
    let mut seen = BTreeSet::new();
    for table in schema.tables.iter().filter(|table| seen.insert(&table.name)) {
        let noted = state.is_noted(work.run, &table.name);
        match state.table(&table.name) {
            Some(existing) => {
                if !noted {
                    accept(work, table, existing).await?;
                    note(work, table).await?;
                }
            }
            None => {
                // Noted first: a kill behind CREATE would leave a table that
                // is nobody's.
                note(work, table).await?;
                let sql = ddl::create_table(work.control.server(), table);
                work.run(table, "the table", &sql).await?;
            }
        }
    }
    sequences(work).await
}

/// Looks at all tables before any is made, and names all that are in the way.
async fn refuse_conflicts(work: &mut Work<'_>, state: &State, step: Step) -> Result<()> {
    let (schema, mut conflicts) = (work.schema, Vec::new());
    for table in &schema.tables {
        let name = &table.name;
        if !state.is_noted(work.run, name) {
            let found = conflicts::of(&mut work.control, state, work.run, table).await?;
            conflicts.extend(found.into_iter().map(|what| format!("{name} {what}")));
        } else if state.table(name).is_none() {
            if step > Step::Bare {
                conflicts.push(format!("{name} was made by this run and is gone, start the run anew"));
            }
        // A run that has copied anything is past this step: the rows are of
        // one whose record is gone, and would be there twice.
        } else if step == Step::Bare && conflicts::holds_rows(&mut work.control, table).await? {
            conflicts.push(format!("{name} holds rows of an earlier run of this name"));
        }
    }
    if conflicts.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "the target is not empty: drop or rename these tables there, leave them out of the run, \
             or choose another database: {}",
            conflicts.join("; ")
        ),
    )
    .during(DURING))
}

/// Takes a table that is there and empty. What of its unique indexes, foreign
/// keys and triggers is the source's own comes back at later steps. Each
/// statement drops what was seen, so that a kill leaves less to do.
async fn accept(work: &mut Work<'_>, table: &Table, existing: &Existing) -> Result<()> {
    quiet(work, table, existing).await?;
    for (name, index) in &existing.indexes {
        if index.unique && !is_own_key(table, name, index) {
            let sql = format!("ALTER TABLE {} DROP INDEX {}", quoted(table), quote_ident(name));
            work.run(table, "a unique index stand back", &sql).await?;
        }
    }
    let has_key = existing.indexes.iter().any(|(name, index)| index.unique && is_own_key(table, name, index));
    if !has_key {
        for key in ddl::key(table) {
            work.run(table, "its key", &format!("ALTER TABLE {} ADD {key}", quoted(table))).await?;
        }
    }
    Ok(())
}

/// Foreign keys and triggers step back: what the target has by the names of
/// the source's.
pub(super) async fn quiet(work: &mut Work<'_>, table: &Table, existing: &Existing) -> Result<()> {
    for trigger in table.triggers.iter().filter(|trigger| existing.triggers.contains(&trigger.name)) {
        let sql = format!("DROP TRIGGER IF EXISTS {}", quote_table(&table.name.schema, &trigger.name));
        work.run(table, "a trigger stand back", &sql).await?;
    }
    for constraint in &table.constraints {
        if matches!(constraint.kind, ConstraintKind::ForeignKey(_))
            && existing.foreign_keys.contains(&constraint.name)
        {
            let sql =
                format!("ALTER TABLE {} DROP FOREIGN KEY {}", quoted(table), quote_ident(&constraint.name));
            work.run(table, "a foreign key stand back", &sql).await?;
        }
    }
    Ok(())
}

/// Makes the databases, ours among them, and the table of what was made.
async fn databases(work: &mut Work<'_>, state: &State) -> Result<()> {
    let schema = work.schema;
    let mut names: BTreeSet<&str> = schema.tables.iter().map(|table| table.name.schema.as_str()).collect();
    names.insert(work.ours);
    // IF NOT EXISTS asks for the right to create also where nothing is made.
    for name in names.into_iter().filter(|name| !state.databases.contains(*name)) {
        let sql = format!("CREATE DATABASE IF NOT EXISTS {}", quote_ident(name));
        work.control.query_drop(sql).await.during(DURING)?;
    }
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (`run` varchar(40) NOT NULL, `table_schema` varchar(64) NOT NULL, \
         `table_name` varchar(64) NOT NULL, PRIMARY KEY (`run`, `table_schema`, `table_name`)) \
         ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin \
         COMMENT = 'Tables that runs may write to (zdm).'",
        quote_table(work.ours, "made")
    );
    work.control.query_drop(sql).await.during(DURING)
}

/// Notes that the run may write to the table.
async fn note(work: &mut Work<'_>, table: &Table) -> Result<()> {
    let sql = format!(
        "INSERT IGNORE INTO {} (`run`, `table_schema`, `table_name`) VALUES ({}, {}, {})",
        quote_table(work.ours, "made"),
        quote_literal(work.run.as_str()),
        quote_literal(&table.name.schema),
        quote_literal(&table.name.name),
    );
    work.control.query_drop(sql).await.during(DURING)
}

/// MariaDB's sequences. Their values come at the cutover.
async fn sequences(work: &mut Work<'_>) -> Result<()> {
    let schema = work.schema;
    for sequence in schema.sequences.iter().filter(|s| !s.identity && !s.definition.is_empty()) {
        let there = format!(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {} AND table_name = {}",
            quote_literal(&sequence.name.schema),
            quote_literal(&sequence.name.name)
        );
        let there: Option<u8> = work.control.query_first(there).await.during(DURING)?;
        if there == Some(0) {
            let made = work.control.query_drop(&sequence.definition).await.during(DURING);
            made.map_err(|error| error.with("sequence", &sequence.name))?;
        }
    }
    Ok(())
}
