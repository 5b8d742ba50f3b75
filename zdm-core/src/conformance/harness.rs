//! What the suite asks of a connector's tests: databases, and plain
//! statements that bypass the connector.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::Result;
use crate::connect::{Sink, Source};

/// Makes databases for the suite.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A new database with no tables.
    ///
    /// # Errors
    /// When there is no server: the suite fails then, it never passes in
    /// silence.
    async fn database(&self) -> Result<Box<dyn Database>>;

    /// The clauses that this engine cannot be held to, by name, each with
    /// the reason. A clause that is not listed runs; a listed one is reported
    /// with its reason; a name that no clause has fails the suite.
    fn unsupported(&self) -> Vec<(&'static str, &'static str)>;
}

/// One database, reached past the connector, as an application and an
/// independent witness reach it.
#[async_trait]
pub trait Database: Send + Sync {
    /// The connector's source for it.
    fn source(&self) -> Arc<dyn Source>;

    /// The connector's sink for it.
    fn sink(&self) -> Arc<dyn Sink>;

    /// Creates [`ITEMS`], [`PLAIN`] and [`OTHERS`] in one schema, each with
    /// the columns `id` and `code` (64-bit integers) and `body` (text without
    /// a limit), none of them null. `items` has the primary key `id` and a
    /// unique constraint on `code`, `others` the primary key `id`; `plain` has
    /// no key, and its changes carry the whole old row.
    ///
    /// # Errors
    /// When a statement fails.
    async fn create_tables(&self) -> Result<()>;

    /// Runs statements as one transaction and commits it.
    ///
    /// # Errors
    /// When a statement fails; nothing is committed then.
    async fn run(&self, statements: &[Statement]) -> Result<()>;

    /// Runs statements in a transaction and leaves it open.
    ///
    /// # Errors
    /// When a statement fails.
    async fn begin(&self, statements: &[Statement]) -> Result<Box<dyn Open>>;

    /// All rows of a table, in any order, read without the connector.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn rows(&self, table: &str) -> Result<Vec<Row>>;
}

/// A transaction that is in progress.
#[async_trait]
pub trait Open: Send {
    /// Runs more statements in it.
    ///
    /// # Errors
    /// When a statement fails.
    async fn run(&mut self, statements: &[Statement]) -> Result<()>;

    /// Commits it.
    ///
    /// # Errors
    /// When the commit fails.
    async fn commit(self: Box<Self>) -> Result<()>;

    /// Rolls it back.
    ///
    /// # Errors
    /// When the rollback fails.
    async fn rollback(self: Box<Self>) -> Result<()>;
}

/// The table with a primary key and a unique constraint.
pub const ITEMS: &str = "items";
/// The table with no key.
pub const PLAIN: &str = "plain";
/// The table that no run of the suite selects.
pub const OTHERS: &str = "others";

/// A row of each of the tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// `id`.
    pub id: i64,
    /// `code`.
    pub code: i64,
    /// `body`.
    pub body: String,
}

impl Row {
    /// A row whose code is its id.
    pub fn new(id: i64, body: impl Into<String>) -> Self {
        Self { id, code: id, body: body.into() }
    }
}

/// One statement of the application. Its `Display` is SQL that every engine
/// knows, with unqualified names.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Statement {
    /// Inserts a row.
    Insert(&'static str, Row),
    /// Sets the body of the rows with that id.
    Body(&'static str, i64, String),
    /// Gives the row of the first id the second one, as id and as code.
    Move(&'static str, i64, i64),
    /// Deletes the rows with that id.
    Delete(&'static str, i64),
    /// Empties the table.
    Truncate(&'static str),
    /// Adds a nullable integer column `extra`.
    AddColumn(&'static str),
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| text.replace('\'', "''");
        match self {
            Self::Insert(table, Row { id, code, body }) => {
                write!(f, "INSERT INTO {table} (id, code, body) VALUES ({id}, {code}, '{}')", quoted(body))
            }
            Self::Body(table, id, body) => {
                write!(f, "UPDATE {table} SET body = '{}' WHERE id = {id}", quoted(body))
            }
            Self::Move(table, from, to) => {
                write!(f, "UPDATE {table} SET id = {to}, code = {to} WHERE id = {from}")
            }
            Self::Delete(table, id) => write!(f, "DELETE FROM {table} WHERE id = {id}"),
            Self::Truncate(table) => write!(f, "TRUNCATE TABLE {table}"),
            Self::AddColumn(table) => write!(f, "ALTER TABLE {table} ADD extra integer"),
        }
    }
}
