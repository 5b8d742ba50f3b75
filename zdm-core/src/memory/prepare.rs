//! Tables of a target, made step by step.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::constraints;
use super::position::ENGINE;
use super::row::{self, Rows};
use super::state::{OwnedSequence, State, Stored};
use crate::connect::{SequenceValue, Step};
use crate::schema::{Schema, Table};
use crate::{Error, ErrorKind, Result};

/// Brings the tables to a step: all of them, or with an error none of them
/// beyond the one that failed.
pub(super) fn prepare(state: &mut State, schema: &Schema, step: Step) -> Result<()> {
    if step == Step::Bare {
        schema.tables.iter().try_for_each(|table| check_free(state, table))?;
    }
    for table in &schema.tables {
        if !state.tables.contains_key(&table.name) {
            create(state, table);
        }
        raise(state, table, step)?;
    }
    for sequence in &schema.sequences {
        let value = SequenceValue { name: sequence.name.clone(), last: 1, called: false, increment: 1 };
        let end = sequence.definition.parse().unwrap_or(i64::MAX);
        let made = OwnedSequence { value, owner: sequence.owner.clone(), end };
        state.sequences.entry(sequence.name.clone()).or_insert(made);
    }
    Ok(())
}

/// Refuses a table that holds somebody's rows, or is another one.
fn check_free(state: &State, table: &Table) -> Result<()> {
    let Some(stored) = state.tables.get(&table.name) else { return Ok(()) };
    check_columns(&stored.table, table)?;
    if stored.rows.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "the target's table is not empty: empty it, or leave it out")
        .with("table", &table.name)
        .with("rows", stored.rows.len()))
}

/// Refuses rows of another shape.
pub(super) fn check_columns(stored: &Table, given: &Table) -> Result<()> {
    let same = stored.columns.len() == given.columns.len()
        && stored
            .columns
            .iter()
            .zip(&given.columns)
            .all(|(a, b)| a.name == b.name && a.data_type == b.data_type)
        && stored.key_columns() == given.key_columns();
    if same {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "the target's table has other columns than the source's")
        .with("table", &given.name))
}

fn create(state: &mut State, table: &Table) {
    let serial = state.serial();
    let mut table = table.clone();
    table.origin.engine = ENGINE;
    table.origin.name = table.name.clone();
    table.origin.fingerprint = format!("{serial}:1");
    let name = table.name.clone();
    let stored = Stored {
        table: Arc::new(table),
        rows: Rows::new(),
        next_row: 0,
        step: Step::Bare,
        toasted: BTreeSet::new(),
    };
    state.tables.insert(name, stored);
}

/// Builds what the steps up to `step` add.
fn raise(state: &mut State, table: &Table, step: Step) -> Result<()> {
    let stored = state.stored(&table.name)?;
    // `Finished` leads back from what is beyond it.
    if stored.step >= step && step != Step::Finished {
        return Ok(());
    }
    let mut next = stored.clone();
    if step >= Step::Keyed && !stored.is_keyed() {
        next.step = Step::Keyed;
        next.rows = by_key(&next)?;
    }
    if step >= Step::Finished {
        constraints::check_unique(&next)?;
    }
    if step >= Step::Validated {
        constraints::check_references(state, &next)?;
    }
    next.step = step;
    state.tables.insert(table.name.clone(), next);
    Ok(())
}

/// The rows under their key.
fn by_key(stored: &Stored) -> Result<Rows> {
    let table = &stored.table;
    if !table.has_key() {
        return Ok(stored.rows.clone());
    }
    let mut rows = Rows::new();
    for row in stored.rows.values() {
        if rows.insert(row::place(table, row)?, row.clone()).is_some() {
            return Err(super::transaction::taken(table, row));
        }
    }
    Ok(rows)
}
