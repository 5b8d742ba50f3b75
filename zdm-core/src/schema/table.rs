//! A table: its name, its columns, and what tells its rows apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Column, Constraint, Index, Partition, Trigger};
use crate::{Engine, Error, ErrorKind};

/// The name of a table: schema (or database) and name, both unquoted.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// PostgreSQL's and SQL Server's schema, MySQL's database.
    pub schema: SmolStr,
    /// The table's own name.
    pub name: SmolStr,
}

impl TableName {
    /// `schema.name`.
    pub fn new(schema: impl Into<SmolStr>, name: impl Into<SmolStr>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `schema.name`, split at the first dot.
impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('.') {
            Some((schema, name)) if !schema.is_empty() && !name.is_empty() => Ok(Self::new(schema, name)),
            _ => Err(Error::new(ErrorKind::Config, "a table is written as schema.name").with("got", text)),
        }
    }
}

/// What tells the rows of a table apart, in the log and in the target.
///
/// It is the *replica identity*: what an update or a delete carries of the
/// old row. Positions index [`Table::columns`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// These columns, in the key's order: the primary key, or a unique index
    /// over columns that are never null.
    Columns(Vec<usize>),
    /// No key: a row is known by all its cells, and equal rows are told apart
    /// by nothing. Changes match one such row at a time.
    FullRow,
    /// No key, and updates and deletes do not say which row they mean. Such a
    /// table can be appended to and nothing else.
    Nothing,
}

/// Where a table comes from, kept unchanged beside what stages made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The engine that its native parts belong to.
    pub engine: Engine,
    /// Its name there.
    pub name: TableName,
    /// The engine's number for it (PostgreSQL's oid); 0 where there is none.
    pub id: u32,
    /// A fingerprint of its shape (columns, types, partitions, storage): DDL
    /// changes it. Compared as text; empty where the engine gives none.
    pub fingerprint: String,
}

/// Whose words a table's native parts are: types, defaults, statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The engine whose language they are in.
    pub engine: Engine,
    /// The name of the table in its statements.
    pub name: TableName,
}

/// A table, as it is on its way from source to sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Table {
    /// The name that it has here, after the stages so far.
    pub name: TableName,
    /// Its columns, in the order of a row's cells.
    pub columns: Vec<Column>,
    /// What tells its rows apart.
    pub key: Key,
    /// Whether the log carries the whole old row of every update and delete,
    /// and not only its key (PostgreSQL's `REPLICA IDENTITY FULL`, MySQL's
    /// full row image).
    #[serde(default)]
    pub full_old_image: bool,
    /// The name of the primary key's constraint, where there is one and it is
    /// the [`key`](Self::key).
    pub key_name: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// Whose words its native parts are, once a
    /// [conversion](super::conversion) has put them into another engine's;
    /// else its origin's.
    #[serde(default)]
    pub written: Option<Written>,
    /// Indexes that are not constraints' own.
    pub indexes: Vec<Index>,
    /// Primary, unique, check, exclusion and foreign-key constraints.
    pub constraints: Vec<Constraint>,
    /// Triggers.
    pub triggers: Vec<Trigger>,
    /// What follows the column list in the engine's CREATE TABLE (partition
    /// or storage clauses); moved within the engine only.
    pub options: Option<String>,
    /// The partitions of its origin, parents first; moved within the engine
    /// only, and under their own names.
    pub partitions: Vec<Partition>,
    /// Its comment.
    pub comment: Option<String>,
    /// Rows, as the engine's statistics estimate them.
    pub estimated_rows: u64,
    /// Bytes on disk, as the engine's statistics estimate them.
    pub estimated_bytes: u64,
}

impl Table {
    /// A table of that engine, with nothing but columns and a key.
    pub fn new(engine: Engine, name: TableName, columns: Vec<Column>, key: Key) -> Self {
        Self {
            origin: Origin { engine, name: name.clone(), id: 0, fingerprint: String::new() },
            written: None,
            name,
            columns,
            key,
            full_old_image: false,
            key_name: None,
            indexes: Vec::new(),
            constraints: Vec::new(),
            triggers: Vec::new(),
            options: None,
            partitions: Vec::new(),
            comment: None,
            estimated_rows: 0,
            estimated_bytes: 0,
        }
    }

    /// Whether its native parts (types, defaults, statements) are in that
    /// engine's language.
    pub fn speaks(&self, engine: &Engine) -> bool {
        *self.written.as_ref().map_or(&self.origin.engine, |written| &written.engine) == *engine
    }

    /// Whether its statements name it as it is named here: no stage has given
    /// it another name since they were written.
    pub fn keeps_name(&self) -> bool {
        *self.written.as_ref().map_or(&self.origin.name, |written| &written.name) == self.name
    }

    /// The key's column positions; empty when there is no key.
    pub fn key_columns(&self) -> &[usize] {
        match &self.key {
            Key::Columns(columns) => columns,
            Key::FullRow | Key::Nothing => &[],
        }
    }

    /// Whether rows are told apart by key columns.
    pub fn has_key(&self) -> bool {
        matches!(self.key, Key::Columns(_))
    }

    /// The position of the column of that name.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }
}
