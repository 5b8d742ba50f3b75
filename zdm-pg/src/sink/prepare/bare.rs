//! Tables with columns and defaults, and nothing that would slow a load.

use zdm_core::connect::Step;
use zdm_core::schema::{ConstraintKind, Table};
use zdm_core::{Error, ErrorKind, Result};

use super::standing::Standing;
use super::state::{Existing, State};
use super::{Work, ddl, definitions, fit, quoted};
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::OrPg;
use crate::schema::Cells;

/// Makes or accepts each table. At a later step the tables must be there: one
/// that this run made and somebody dropped since has lost rows.
pub(super) async fn make(work: &mut Work<'_>, step: Step) -> Result<()> {
    let state = work.state().await?;
    let there: Vec<_> =
        work.tables().iter().filter_map(|table| Some(state.table(&table.name)?.oid)).collect();
    let standing = Standing::read(&work.control, &there).await?;
    refuse_conflicts(work, &state, step).await?;
    refuse_standing(work, &state, &standing)?;
    definitions::make(work, step).await?;
    own_tables(work).await?;
    for table in work.tables() {
        if state.is_made(work.run, &table.name) {
            continue;
        }
        match state.table(&table.name) {
            Some(existing) => accept(work, table, existing).await?,
            None => create(work, table).await?,
        }
    }
    if step > Step::Bare {
        return Ok(());
    }
    // Behind the foreign keys of all tables, which lean on them.
    for table in work.tables() {
        if let Some(existing) = state.table(&table.name)
            && let Some(sql) = standing.set_aside(work.schema, table, existing.oid)
        {
            work.run(table, "room for its rows", &sql).await?;
        }
    }
    Ok(())
}

/// Takes tables that hold rows, those of a source that is followed back into.
pub(super) async fn adopt(work: &Work<'_>) -> Result<()> {
    let state = work.state().await?;
    let there: Vec<_> =
        work.tables().iter().filter_map(|table| Some(state.table(&table.name)?.oid)).collect();
    let standing = Standing::read(&work.control, &there).await?;
    let mut conflicts = Vec::new();
    for table in work.tables() {
        let name = &table.name;
        match (state.table(name), state.other_owner(work.run, name)) {
            (None, _) => conflicts.push(format!("{name} is not there")),
            (_, Some(other)) => conflicts.push(format!("{name} belongs to run {other}")),
            (Some(existing), None) => {
                let difference = difference(table, existing);
                conflicts
                    .extend(difference.map(|difference| format!("{name} has another shape: {difference}")));
            }
        }
    }
    if !conflicts.is_empty() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the tables are not as they were when they were left: {}", conflicts.join("; ")),
        )
        .during("sink.adopt"));
    }
    refuse_standing(work, &state, &standing)?;
    own_tables(work).await?;
    for table in work.tables().into_iter().filter(|table| !state.is_made(work.run, &table.name)) {
        work.run(table, "the table the run's own", &note(work, table)).await?;
    }
    Ok(())
}

/// Refuses what would disturb the load and could not be made again.
fn refuse_standing(work: &Work<'_>, state: &State, standing: &Standing) -> Result<()> {
    let mut refused = Vec::new();
    for table in work.tables() {
        let name = &table.name;
        if let Some(existing) = state.table(name).filter(|_| !state.is_made(work.run, name)) {
            let words = standing.refused(work.schema, table, existing.oid);
            refused.extend(words.into_iter().map(|words| format!("{name} has {words}")));
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "the target's tables have what the source's have not, and what would refuse or change rows while \
             they arrive; take it away, and make it again behind the cutover: {}",
            refused.join("; ")
        ),
    )
    .during("sink.prepare"))
}

/// Looks at all tables before any is made, and names all that are in the way.
async fn refuse_conflicts(work: &Work<'_>, state: &State, step: Step) -> Result<()> {
    let mut conflicts = Vec::new();
    for table in work.tables() {
        let name = &table.name;
        if state.is_made(work.run, name) {
            // A run that has copied anything is past this step: the rows are
            // of one whose record is gone, and would be there twice.
            if step == Step::Bare && holds_rows(work, table).await? {
                conflicts.push(format!("{name} holds rows of an earlier run of this name"));
            }
            continue;
        }
        let Some(existing) = state.table(name) else {
            if step > Step::Bare && state.was_made(work.run, name) {
                conflicts.push(format!("{name} was made by this run and is gone, start the run anew"));
            }
            continue;
        };
        if let Some(other) = state.other_owner(work.run, name) {
            conflicts.push(format!("{name} belongs to run {other}"));
        } else if let Some(difference) = difference(table, existing) {
            conflicts.push(format!("{name} has another shape: {difference}"));
        } else if holds_rows(work, table).await? {
            conflicts.push(format!("{name} holds rows"));
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
    .during("sink.prepare"))
}

/// The first thing in which the columns differ.
fn difference(table: &Table, existing: &Existing) -> Option<String> {
    for column in &table.columns {
        let wanted = ddl::column_type(table, column);
        match existing.columns.iter().find(|(name, _)| *name == *column.name) {
            None => return Some(format!("it has no column {}", column.name)),
            Some((_, found)) if *found != wanted => {
                return Some(format!("its column {} is {found}, and here {wanted}", column.name));
            }
            Some(_) => {}
        }
    }
    let extra = existing.columns.iter().find(|(name, _)| table.position(name).is_none());
    extra.map(|(name, _)| format!("its column {name} is not in the source"))
}

async fn holds_rows(work: &Work<'_>, table: &Table) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT FROM {})", quoted(table));
    work.control.query_one(&sql, &[]).await.during("sink.prepare")?.cell(0)
}

/// Makes the schema for our own tables, and the table of what was made.
async fn own_tables(work: &Work<'_>) -> Result<()> {
    let schema = quote_ident(work.ours);
    let there: bool = work
        .control
        .query_one("SELECT pg_catalog.to_regnamespace($1) IS NOT NULL", &[&schema])
        .await
        .during("sink.prepare")?
        .cell(0)?;
    // IF NOT EXISTS asks for the right to create also where nothing is made.
    let create = if there { String::new() } else { format!("CREATE SCHEMA IF NOT EXISTS {schema};") };
    let sql = format!(
        "{create} CREATE TABLE IF NOT EXISTS {} (run text NOT NULL, schema_name text NOT NULL, \
         table_name text NOT NULL, oid oid NOT NULL, PRIMARY KEY (run, schema_name, table_name))",
        quote_table(work.ours, "made")
    );
    work.control.batch_execute(&sql).await.during("sink.prepare")
}

/// Makes a table with its partitions, and notes that it is ours.
async fn create(work: &Work<'_>, table: &Table) -> Result<()> {
    let mut sql = ddl::create_table(work.schema, table);
    if fit::keeps_name(table) {
        for partition in &table.partitions {
            sql += &format!("; {}", partition.definition);
        }
    }
    sql += &format!("; {}", note(work, table));
    work.run(table, "the table", &sql).await
}

/// Takes a table that is there. What of its foreign keys and triggers is the
/// source's own comes back at later steps, and would disturb the load until
/// then.
async fn accept(work: &Work<'_>, table: &Table, existing: &Existing) -> Result<()> {
    let name = quoted(table);
    // Against rows that come between the look and the note.
    let mut sql = format!(
        "LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE; \
         DO $zdm$ BEGIN IF EXISTS (SELECT FROM {name}) THEN \
         RAISE EXCEPTION 'rows came into a table that was empty, try again' USING ERRCODE = '40001'; \
         END IF; END $zdm$"
    );
    if let Some(quiet) = quiet(table, existing) {
        sql += &format!("; {quiet}");
    }
    sql += &format!("; {}", note(work, table));
    work.run(table, "the table the run's own", &sql).await
}

/// Foreign keys and triggers step back: what each has by the names of the
/// source's.
pub(super) fn quiet(table: &Table, existing: &Existing) -> Option<String> {
    let keys = table
        .constraints
        .iter()
        .filter(|c| matches!(c.kind, ConstraintKind::ForeignKey(_)))
        .filter(|c| existing.constraints.get(&c.name).is_some_and(|present| present.kind == "f"))
        .map(|c| format!("ALTER TABLE {} DROP CONSTRAINT {}", quoted(table), quote_ident(&c.name)));
    let leaves = existing.leaves.iter().flat_map(|(leaf, keys)| {
        let ours = |name: &&String| table.constraints.iter().any(|c| c.name == **name);
        let leaf = quote_table(&leaf.schema, &leaf.name);
        keys.keys()
            .filter(ours)
            .map(move |name| format!("ALTER TABLE {leaf} DROP CONSTRAINT {}", quote_ident(name)))
            .collect::<Vec<_>>()
    });
    let triggers =
        table.triggers.iter().filter(|trigger| existing.triggers.contains(&trigger.name)).map(|trigger| {
            format!("ALTER TABLE {} DISABLE TRIGGER {}", quoted(table), quote_ident(&trigger.name))
        });
    let all: Vec<_> = keys.chain(leaves).chain(triggers).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Notes, in the same transaction, that the run may write to the table.
fn note(work: &Work<'_>, table: &Table) -> String {
    format!(
        "INSERT INTO {} (run, schema_name, table_name, oid) VALUES ({}, {}, {}, {}::regclass) \
         ON CONFLICT (run, schema_name, table_name) DO UPDATE SET oid = excluded.oid",
        quote_table(work.ours, "made"),
        quote_literal(work.run.as_str()),
        quote_literal(&table.name.schema),
        quote_literal(&table.name.name),
        quote_literal(&quoted(table)),
    )
}
