//! What surrounds the tables: indexes, constraints, triggers, types,
//! sequences. Each keeps the statement of its own engine.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Table, TableName};

/// An index that no constraint owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name, unquoted.
    pub name: String,
    /// Whether it forbids equal keys.
    pub unique: bool,
    /// Its columns by name, where it is over plain columns alone.
    pub columns: Option<Vec<String>>,
    /// The engine's own CREATE INDEX. Empty once a stage has renamed one of
    /// its columns: it is then made from the neutral parts.
    pub definition: String,
}

/// What a constraint forbids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConstraintKind {
    /// The primary key. It is the table's [`Key`](super::Key) where
    /// [`Table::key_name`] is its name.
    Primary {
        /// Its columns, in order.
        columns: Vec<String>,
    },
    /// Two rows with these columns equal.
    Unique {
        /// Its columns, in order.
        columns: Vec<String>,
    },
    /// A row for which an expression is false.
    Check,
    /// Two rows whose expressions overlap.
    Exclusion,
    /// A row whose parent is not there.
    ForeignKey(ForeignKey),
}

/// The neutral part of a foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// The referring columns.
    pub columns: Vec<String>,
    /// The table they refer to.
    pub references: TableName,
    /// The columns referred to.
    pub referenced: Vec<String>,
    /// Whether the engine itself changes child rows when the parent changes
    /// (`CASCADE`, `SET NULL`, `SET DEFAULT`).
    pub acts: bool,
}

/// A constraint of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Its name, unquoted.
    pub name: String,
    /// What it forbids.
    pub kind: ConstraintKind,
    /// What follows `ADD CONSTRAINT name` in the engine's own language. Empty
    /// once a stage has renamed a column that it names: it is then made from
    /// the neutral parts. That of a foreign key stays, for what it says of
    /// actions and times; its names may be old ones.
    pub definition: String,
    /// Whether the existing rows are known to satisfy it.
    pub validated: bool,
}

/// A trigger of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its name, unquoted.
    pub name: String,
    /// The engine's own CREATE TRIGGER.
    pub definition: String,
    /// The statement that sets when it fires, where that is not the default.
    pub mode: Option<String>,
}

/// What a [`Definition`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DefinitionKind {
    /// A schema (PostgreSQL, SQL Server).
    Schema,
    /// An extension that provides types or functions.
    Extension,
    /// An enumeration, domain, composite or range type.
    Type,
    /// A collation of a column.
    Collation,
    /// A function or procedure that a default, check or trigger calls.
    Routine,
}

/// A part of a partitioned table. Rows are read from and written to the
/// table; its partitions are made and never named again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its name.
    pub name: TableName,
    /// Whether it holds rows itself, and is not parted further.
    pub leaf: bool,
    /// The statement that makes it, behind its parent's.
    pub definition: String,
}

/// An object that tables lean on, by its own engine's statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// What it is.
    pub kind: DefinitionKind,
    /// Its name, as the engine writes it.
    pub name: String,
    /// The statement that makes it.
    pub statement: String,
}

/// A sequence, or a numbered column's counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Its name.
    pub name: TableName,
    /// The table and column that it numbers, where it belongs to one.
    pub owner: Option<(TableName, String)>,
    /// Whether it is an identity column's own, made together with the table.
    pub identity: bool,
    /// The statement that makes it. For an [`identity`](Self::identity), its
    /// options, as they stand in the column's own definition.
    pub definition: String,
}

/// Everything of a source that a run moves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The tables, in the order of their names.
    pub tables: Vec<Arc<Table>>,
    /// What the tables lean on, in an order in which it can be made.
    pub definitions: Vec<Definition>,
    /// The sequences that the tables use.
    pub sequences: Vec<Sequence>,
}

impl Schema {
    /// The table that has that name at its origin.
    pub fn by_origin(&self, name: &TableName) -> Option<&Arc<Table>> {
        self.tables.iter().find(|t| t.origin.name == *name)
    }

    /// The table that has that name here.
    pub fn table(&self, name: &TableName) -> Option<&Arc<Table>> {
        self.tables.iter().find(|t| t.name == *name)
    }
}
