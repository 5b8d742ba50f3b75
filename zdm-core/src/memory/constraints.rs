//! Unique and foreign keys, checked at the end of a transaction: swaps and
//! chains pass.

use std::collections::{BTreeMap, HashSet};

use super::row::{Place, Row, order};
use super::state::{State, Stored};
use super::transaction::{Overlay, show_key};
use crate::change::Value;
use crate::connect::Step;
use crate::schema::{ConstraintKind, ForeignKey, Table, TableName};
use crate::{Error, ErrorKind, Result};

type Overlays = BTreeMap<TableName, Overlay>;

/// Whether the tables that a transaction touched may be left as it made them.
pub(super) fn check(state: &State, overlays: &Overlays) -> Result<()> {
    for (name, overlay) in overlays {
        let stored = state.stored(name)?;
        if stored.step >= Step::Finished {
            unique(stored, overlay)?;
        }
        if stored.step >= Step::Ready {
            let changed = overlay.rows.values().flatten();
            changed.into_iter().try_for_each(|row| references(state, overlays, &stored.table, row))?;
        }
    }
    Ok(())
}

/// Whether the rows of a table may get their unique keys.
pub(super) fn check_unique(stored: &Stored) -> Result<()> {
    unique(stored, &Overlay::default())
}

/// Whether the rows of a table may get their foreign keys.
pub(super) fn check_references(state: &State, stored: &Stored) -> Result<()> {
    stored.rows.values().try_for_each(|row| references(state, &Overlays::new(), &stored.table, row))
}

fn unique(stored: &Stored, overlay: &Overlay) -> Result<()> {
    let table = &stored.table;
    let constraints = table.constraints.iter().filter_map(|constraint| match &constraint.kind {
        ConstraintKind::Unique { columns } | ConstraintKind::Primary { columns } => {
            Some((&constraint.name, columns))
        }
        _ => None,
    });
    let indexes = table.indexes.iter().filter(|index| index.unique);
    let indexes = indexes.filter_map(|index| Some((&index.name, index.columns.as_ref()?)));
    for (name, columns) in constraints.chain(indexes) {
        let columns = positions(table, columns)?;
        let mut seen = HashSet::new();
        for (_, row) in overlay.all(&stored.rows) {
            // Null is equal to nothing, not even to null.
            if let Some(values) = values(row, &columns)
                && !seen.insert(values)
            {
                return Err(Error::new(ErrorKind::Rejected, "two rows are equal under a unique key")
                    .with("table", &table.name)
                    .with("constraint", name)
                    .with("row", show_key(table, row)));
            }
        }
    }
    Ok(())
}

fn references(state: &State, overlays: &Overlays, table: &Table, row: &Row) -> Result<()> {
    for constraint in &table.constraints {
        let ConstraintKind::ForeignKey(key) = &constraint.kind else { continue };
        let Some(wanted) = values(row, &positions(table, &key.columns)?) else { continue };
        if !parent_exists(state, overlays, key, &wanted)? {
            return Err(Error::new(ErrorKind::Rejected, "the row that a foreign key means is not there")
                .with("table", &table.name)
                .with("constraint", &constraint.name)
                .with("row", show_key(table, row)));
        }
    }
    Ok(())
}

fn parent_exists(state: &State, overlays: &Overlays, key: &ForeignKey, wanted: &Place) -> Result<bool> {
    let parent = state.stored(&key.references)?;
    let columns = positions(&parent.table, &key.referenced)?;
    let none = Overlay::default();
    let overlay = overlays.get(&key.references).unwrap_or(&none);
    Ok(overlay.all(&parent.rows).any(|(_, row)| values(row, &columns).as_ref() == Some(wanted)))
}

fn positions(table: &Table, columns: &[String]) -> Result<Vec<usize>> {
    columns
        .iter()
        .map(|column| {
            table.position(column).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "a constraint names a column that is not there")
                    .with("table", &table.name)
                    .with("column", column)
            })
        })
        .collect()
}

/// The encoded values; `None` if one is null.
fn values(row: &[Value<'_>], columns: &[usize]) -> Option<Place> {
    let mut place = Place::new();
    for column in columns {
        order(row.get(*column).filter(|value| !value.is_null())?, &mut place);
    }
    Some(place)
}
