//! What a writer sees of a group: views that borrow.

use std::fmt;
use std::sync::Arc;

use super::held::{Held, ImageAt, Place};
use super::keyed::{Keyed, State};
use crate::change::{CellRef, RowRef};
use crate::schema::Table;

/// What is to be done with one table in one step.
#[derive(Debug, Clone, Copy)]
pub enum Work<'g> {
    /// A table with a key: what each touched key has come to.
    Keyed(KeyedWork<'g>),
    /// A table without a key: its changes as they came, each matching one row
    /// by all its cells. For [`Key::Nothing`](crate::schema::Key::Nothing)
    /// they are all inserts.
    InOrder(InOrder<'g>),
}

impl<'g> Work<'g> {
    /// The table.
    pub fn table(&self) -> &'g Arc<Table> {
        match self {
            Self::Keyed(work) => work.keyed.table(),
            Self::InOrder(work) => work.table,
        }
    }
}

/// The coalesced changes of a table with a key.
#[derive(Clone, Copy)]
pub struct KeyedWork<'g> {
    pub(super) held: &'g Held,
    pub(super) keyed: &'g Keyed,
}

impl<'g> KeyedWork<'g> {
    /// How many keys were touched.
    pub fn len(&self) -> usize {
        self.keyed.entries().len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.keyed.entries().is_empty()
    }

    /// What each key has come to, in no order that matters.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome<'g>> + use<'g> {
        let Self { held, keyed } = *self;
        keyed.entries().iter().filter_map(move |entry| {
            let key = KeyRef { held, at: entry.key };
            let merged = |newest, from| Merged { work: Self { held, keyed }, key: entry.key, newest, from };
            match entry.state {
                State::Untouched => None,
                State::Gone => Some(Outcome::Delete(key)),
                State::Updated { newest } => Some(Outcome::Update(merged(newest, Some(entry.key)))),
                State::Put { newest, from } => Some(Outcome::Put(merged(newest, from))),
            }
        })
    }
}

/// The changes of a table without a key.
#[derive(Clone, Copy)]
pub struct InOrder<'g> {
    pub(super) held: &'g Held,
    pub(super) table: &'g Arc<Table>,
    pub(super) rows: &'g [Place],
}

impl<'g> InOrder<'g> {
    /// The changed rows, oldest first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = RowRef<'g>> + use<'g> {
        let held = self.held;
        self.rows.iter().map(move |&place| held.row(place))
    }
}

/// What one key has come to.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'g> {
    /// No row has it: delete what is there, if anything is.
    Delete(KeyRef<'g>),
    /// The row that has it was changed.
    Update(Merged<'g>),
    /// A row came to have it: delete what is there, then insert.
    Put(Merged<'g>),
}

/// A key, as an image spells it.
#[derive(Clone, Copy)]
pub struct KeyRef<'g> {
    held: &'g Held,
    at: ImageAt,
}

impl<'g> KeyRef<'g> {
    /// The cell of a key column.
    ///
    /// # Panics
    /// If the table has no such column.
    pub fn cell(&self, column: usize) -> CellRef<'g> {
        self.held.key_cell(self.at, column)
    }
}

/// One row, as all its changes together leave it.
#[derive(Clone, Copy)]
pub struct Merged<'g> {
    work: KeyedWork<'g>,
    key: ImageAt,
    newest: Option<u32>,
    from: Option<ImageAt>,
}

impl<'g> Merged<'g> {
    /// The key that it has now.
    pub fn key(&self) -> KeyRef<'g> {
        KeyRef { held: self.work.held, at: self.key }
    }

    /// The newest value of a cell; `None` if no change of the group carried
    /// it.
    ///
    /// # Panics
    /// If the table has no such column.
    pub fn cell(&self, column: usize) -> Option<CellRef<'g>> {
        self.work.keyed.cell(self.work.held, self.newest, column)
    }

    /// The key under which the target has the cells that the group does not
    /// know, as long as nothing of this step is done. `None` if the row came
    /// to be within the group: then all its cells should be known.
    pub fn carry_from(&self) -> Option<KeyRef<'g>> {
        self.from.map(|at| KeyRef { held: self.work.held, at })
    }

    /// Whether every column that a writer sets is known.
    pub fn is_complete(&self) -> bool {
        let columns = &self.work.keyed.table().columns;
        columns.iter().enumerate().all(|(at, column)| !column.is_written() || self.cell(at).is_some())
    }
}

impl fmt::Debug for KeyedWork<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedWork")
            .field("table", &self.keyed.table().name)
            .field("keys", &self.len())
            .finish()
    }
}

impl fmt::Debug for InOrder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InOrder").field("table", &self.table.name).field("rows", &self.rows.len()).finish()
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.held.row(self.at.place).table();
        let named = |&at: &usize| (table.columns[at].name.as_str(), self.cell(at));
        f.debug_map().entries(table.key_columns().iter().map(named)).finish()
    }
}

impl fmt::Debug for Merged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.work.keyed.table().columns.iter().enumerate();
        let known = columns.filter_map(|(at, column)| Some((column.name.as_str(), self.cell(at)?)));
        f.debug_map().entries(known).finish()
    }
}
