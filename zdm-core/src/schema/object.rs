//! What surrounds the tables: indexes, constraints, triggers, types,
//! sequences. Each keeps the statement of its own engine.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Expr, Table, TableName};
use crate::connect::SequenceValue;

/// An index that no constraint owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name, unquoted.
    pub name: String,
    /// Whether it forbids equal keys.
    pub unique: bool,
    /// Its columns by name, where it is over whole plain columns alone, of
    /// all rows, and of the ordered kind.
    pub columns: Option<Vec<String>>,
    /// What it is over, key by key; empty where the engine's crate cannot say.
    pub keys: Vec<IndexKey>,
    /// What it is made for.
    pub method: IndexMethod,
    /// The rows that are in it, where it is not all of them.
    pub filter: Option<Condition>,
    /// The engine's own CREATE INDEX. Empty once a stage has renamed one of
    /// its columns: it is then made from the neutral parts.
    pub definition: String,
}

impl Index {
    /// An index of the ordered kind over whole columns.
    pub fn new(name: impl Into<String>, unique: bool, columns: Vec<String>) -> Self {
        Self {
            name: name.into(),
            unique,
            keys: columns.iter().map(IndexKey::column).collect(),
            columns: Some(columns),
            method: IndexMethod::Ordered,
            filter: None,
            definition: String::new(),
        }
    }

    /// The same, with the engine's own statement.
    #[must_use]
    pub fn defined(mut self, definition: impl Into<String>) -> Self {
        self.definition = definition.into();
        self
    }
}

/// One key of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexKey {
    /// What it is.
    pub part: KeyPart,
    /// How many characters (octets, for octets) of it are in the index, where
    /// it is not all of them.
    pub prefix: Option<u32>,
    /// Whether it runs from large to small.
    pub descending: bool,
}

impl IndexKey {
    /// A whole column, from small to large.
    pub fn column(name: impl Into<String>) -> Self {
        Self { part: KeyPart::Column(name.into()), prefix: None, descending: false }
    }

    /// The column, where it is one.
    pub fn as_column(&self) -> Option<&str> {
        match &self.part {
            KeyPart::Column(name) => Some(name),
            KeyPart::Expression(_) => None,
        }
    }
}

/// What one key of an index is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPart {
    /// A column.
    Column(String),
    /// What is computed from columns.
    Expression(Condition),
}

/// An expression over the columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// In the engine's own language.
    pub native: String,
    /// In words that every engine knows, where it has such.
    pub neutral: Option<Expr>,
}

/// What an index is made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IndexMethod {
    /// Equality and order.
    #[default]
    Ordered,
    /// Words of a text.
    FullText,
    /// Shapes.
    Spatial,
    /// Something else, by the engine's own name: `gin`, `brin`.
    Other(String),
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
    Check {
        /// The expression in words that every engine knows, where it has such.
        neutral: Option<Expr>,
    },
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
    /// What becomes of child rows when their parent is deleted.
    #[serde(default)]
    pub on_delete: Action,
    /// What becomes of child rows when their parent's key changes.
    #[serde(default)]
    pub on_update: Action,
}

/// What a foreign key does to child rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Refuses, at the end of the statement or transaction.
    #[default]
    NoAction,
    /// Refuses at once.
    Restrict,
    /// Does to them what was done to the parent.
    Cascade,
    /// Sets them to null.
    SetNull,
    /// Sets them to their default.
    SetDefault,
}

impl Action {
    /// Whether child rows change.
    pub const fn acts(self) -> bool {
        matches!(self, Self::Cascade | Self::SetNull | Self::SetDefault)
    }

    /// In standard SQL.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        }
    }
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
    /// The engine's number for it (PostgreSQL's oid); 0 where there is none.
    #[serde(default)]
    pub id: u32,
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
    /// The name that it has at its source, where a conversion has given it
    /// another: the values that are read there bear that name.
    #[serde(default)]
    pub origin: Option<TableName>,
    /// What it adds each time.
    #[serde(default = "one")]
    pub increment: i64,
    /// The table and column that it numbers, where it belongs to one.
    pub owner: Option<(TableName, String)>,
    /// Whether it is an identity column's own, made together with the table.
    pub identity: bool,
    /// Which numbers it gives, of a sequence that is no column's own.
    #[serde(default)]
    pub range: Option<SequenceRange>,
    /// The statement that makes it. For an [`identity`](Self::identity), its
    /// options, as they stand in the column's own definition.
    pub definition: String,
}

/// Which numbers a [`Sequence`] gives, in words that every engine with
/// sequences has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRange {
    /// The number that it began with.
    pub start: i64,
    /// The least one.
    pub least: i64,
    /// The largest one.
    pub most: i64,
    /// How many a session takes at once.
    pub cache: i64,
    /// Whether it begins anew at its end.
    pub cycle: bool,
}

/// Everything of a source that a run moves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The tables, in the order of their names.
    pub tables: Vec<Arc<Table>>,
    /// What the tables lean on, in an order in which it can be made.
    pub definitions: Vec<Definition>,
    /// The sequences that the tables use, and those that are selected by their
    /// own names.
    pub sequences: Vec<Sequence>,
    /// What is in the database beside that and is not moved.
    #[serde(default)]
    pub unmoved: Vec<Unmoved>,
}

/// What an [`Unmoved`] object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnmovedKind {
    /// A view.
    View,
    /// A view whose rows are kept.
    MaterializedView,
    /// A function or procedure.
    Routine,
    /// A trigger.
    Trigger,
    /// A statement that the server runs at set times.
    Event,
    /// A rule that rewrites statements.
    Rule,
    /// A type.
    Type,
    /// A collation.
    Collation,
    /// A sequence that no moved table uses.
    Sequence,
    /// Anything else.
    Other,
}

impl fmt::Display for UnmovedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Routine => "routine",
            Self::Trigger => "trigger",
            Self::Event => "event",
            Self::Rule => "rule",
            Self::Type => "type",
            Self::Collation => "collation",
            Self::Sequence => "sequence",
            Self::Other => "object",
        })
    }
}

/// An object that a run leaves where it is: its statement is for a person to
/// read and write anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmoved {
    /// What it is.
    pub kind: UnmovedKind,
    /// Its name.
    pub name: TableName,
    /// The statement that makes it, as its engine shows it.
    pub statement: String,
}

const fn one() -> i64 {
    1
}

impl Schema {
    /// The table that has that name at its origin.
    pub fn by_origin(&self, name: &TableName) -> Option<&Arc<Table>> {
        self.tables.iter().find(|t| t.origin.name == *name)
    }

    /// Values read at the source, under the names that their sequences have
    /// here: a conversion may have given them others.
    pub fn counters(&self, values: &[SequenceValue]) -> Vec<SequenceValue> {
        let here = |value: &SequenceValue| {
            let named =
                |sequence: &&Sequence| *sequence.origin.as_ref().unwrap_or(&sequence.name) == value.name;
            let name = self.sequences.iter().find(named).map_or(&value.name, |sequence| &sequence.name);
            SequenceValue { name: name.clone(), ..value.clone() }
        };
        values.iter().map(here).collect()
    }

    /// The table that has that name here.
    pub fn table(&self, name: &TableName) -> Option<&Arc<Table>> {
        self.tables.iter().find(|t| t.name == *name)
    }
}
