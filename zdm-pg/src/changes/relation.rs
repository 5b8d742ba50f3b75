//! A table as the log shows it, matched with the table as it was described.
//!
//! The log names columns in an order of its own (a partition's, say) and may
//! leave generated ones out, so cells are put in the described order here.
//! Any other difference means that the table was changed since it was
//! described, and stops the stream: a row of another shape must not be
//! written as if it were of this one.

use std::sync::Arc;

use zdm_core::change::Cell;
use zdm_core::schema::{Key, Table};
use zdm_core::{Error, ErrorKind, Result};

use super::message::{RelationMessage, broken};

/// A relation of the log that belongs to a table of the run.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) table: Arc<Table>,
    /// How many columns a row has on the wire.
    width: usize,
    /// For each column of the table its place on the wire, and whether an old
    /// row's key image carries it; `None` for a generated column that the log
    /// leaves out, which nobody writes.
    places: Vec<Option<(usize, bool)>>,
    /// Whether the log tells when the table's key changes: each of the key's
    /// columns is part of the replica identity.
    key_is_logged: bool,
}

/// Which image of an old row the log carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// The replica identity's columns; the rest is there, but as null.
    Key,
    /// All columns.
    Full,
}

impl Relation {
    /// Matches the relation with its table, or with the root that it is a
    /// partition of.
    ///
    /// # Errors
    /// `SchemaChanged` when they differ; `Unsupported` when the key lies in a
    /// column that the log leaves out.
    pub(super) fn new(table: &Arc<Table>, wire: &RelationMessage<'_>) -> Result<Self> {
        let changed = |what: String| Err(schema_changed(table, &what));
        if wire.id == table.origin.id
            && (wire.schema != table.origin.name.schema || wire.name != table.origin.name.name)
        {
            return changed(format!("it was renamed to {}.{}", wire.schema, wire.name));
        }
        if let Some(new) = wire.columns.iter().find(|column| table.position(column.name).is_none()) {
            return changed(format!("column {} was added or renamed", new.name));
        }
        let mut places = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let place = wire.columns.iter().position(|wire| column.name == wire.name);
            match place.map(|at| (at, &wire.columns[at])) {
                Some((_, found)) if differs(column.native.id, found.data_type) => {
                    return changed(format!("column {} is no longer {}", column.name, column.native.name));
                }
                Some((at, found)) => places.push(Some((at, found.identity))),
                None if column.generated.is_some() => places.push(None),
                None => {
                    return changed(format!("column {} was dropped, renamed or left out", column.name));
                }
            }
        }
        let key = table.key_columns();
        if let Some(hidden) = key.iter().find(|column| places.get(**column).is_none_or(Option::is_none)) {
            let name = table.columns.get(*hidden).map_or("?", |column| column.name.as_str());
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the key contains a generated column, which the log leaves out: set another replica identity",
            )
            .with("table", &table.origin.name)
            .with("column", name));
        }
        let key_is_logged = key.iter().all(|column| matches!(places.get(*column), Some(Some((_, true)))));
        Ok(Self { table: Arc::clone(table), width: wire.columns.len(), places, key_is_logged })
    }

    /// Refuses an update or a delete that does not say which row it means.
    pub(super) fn identifies(&self, old: Option<Old>) -> Result<()> {
        let identified = match (&self.table.key, old) {
            (Key::Columns(_), Some(Old::Full)) | (Key::FullRow, Some(Old::Full)) => true,
            (Key::Columns(_), _) => self.key_is_logged,
            (Key::FullRow | Key::Nothing, _) => false,
        };
        if identified { Ok(()) } else { Err(schema_changed(&self.table, "its replica identity was changed")) }
    }

    /// The cells of a new image in the table's order. Where the log did not
    /// repeat a large value and has the full old row, the value is there.
    pub(super) fn new_image<'a>(
        &'a self,
        wire: &'a [Cell],
        old: Option<&'a [Cell]>,
    ) -> Result<impl Iterator<Item = Cell> + 'a> {
        self.fits(wire)?;
        if let Some(old) = old {
            self.fits(old)?;
        }
        // OK to index because `fits` has seen both, and places lie below the width.
        Ok(self.places.iter().map(move |place| match (place, old) {
            (None, _) => Cell::Unchanged,
            (Some((at, _)), Some(old)) if wire[*at] == Cell::Unchanged => old[*at],
            (Some((at, _)), _) => wire[*at],
        }))
    }

    /// The cells of an old image in the table's order.
    pub(super) fn old_image<'a>(
        &'a self,
        wire: &'a [Cell],
        old: Old,
    ) -> Result<impl Iterator<Item = Cell> + 'a> {
        self.fits(wire)?;
        Ok(self.places.iter().map(move |place| match place {
            Some((at, identity)) if *identity || old == Old::Full => wire[*at],
            _ => Cell::Unchanged,
        }))
    }

    fn fits(&self, wire: &[Cell]) -> Result<()> {
        if wire.len() == self.width {
            return Ok(());
        }
        Err(broken("a row has not one cell for each column").with("table", &self.table.origin.name))
    }
}

/// Whether a column's type cannot be the one that was described. A domain is
/// described by the type that it is made of, while the log names the domain,
/// so of types that users made only the catalog's fingerprint can judge.
fn differs(described: u32, wire: u32) -> bool {
    /// The first oid that the server gives to what users make.
    const USERS: u32 = 16_384;
    described != 0 && wire < USERS && wire != described
}

/// A table is no longer what it was when it was described.
pub(super) fn schema_changed(table: &Table, what: &str) -> Error {
    Error::new(
        ErrorKind::SchemaChanged,
        format!(
            "the table was changed while the run follows it: {what}; undo the change, or start the run anew"
        ),
    )
    .with("table", &table.origin.name)
}
