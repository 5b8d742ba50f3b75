//! What an engine's crate knows for a conversion, and nobody else.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::change::DateTime;
use crate::schema::{
    Column, Constraint, DataType, Definition, Expr, Index, NativeType, Schema, Table, TableName,
};
use crate::{Engine, Result};

/// Offers the language of a target: a capability of a sink.
///
/// # Contract
/// What `dialect` gives is of the server as it is now (its version decides
/// over types and collations), and pure: it asks nobody again.
#[async_trait]
pub trait Convert: Send + Sync {
    /// The language of this target.
    ///
    /// # Errors
    /// When the server cannot be reached.
    async fn dialect(&self) -> Result<Box<dyn Dialect>>;
}

/// The language of one engine: native types, names and statements.
///
/// The core walks the schema, resolves clashes, follows the user's wishes and
/// writes the report; a dialect is asked about one column, one index, one
/// name at a time. N dialects, not N² pairs: it sees neutral parts alone, and
/// [`DataType::Native`] for what no other engine knows.
///
/// # Contract
/// A schema that was put into a dialect's words is as if that engine had
/// described it: its sink makes it with the very code that makes its own.
pub trait Dialect: Send + Sync + std::fmt::Debug {
    /// The engine, and what its names must be like.
    fn names(&self) -> Names;

    /// The type that holds a column's values with the least loss.
    fn column_type(&self, column: &Column, used: Used<'_>) -> Mapped;

    /// Reads a type as a user writes it in this language: `varchar(20)`.
    /// `None` for what is not a type of this engine.
    fn parse_type(&self, text: &str, used: Used<'_>) -> Option<Mapped>;

    /// Writes an expression for a column's default (`default` is its type) or
    /// for anything else. `None` where this engine cannot say it there.
    fn expression(&self, expr: &Expr, default: Option<&Column>) -> Option<String>;

    /// What a text of another engine's own says here, where the two engines
    /// share a language (MySQL and MariaDB): a default (of the column
    /// `default`), a computation, a condition, or a whole CHECK. It is asked
    /// first, since such a text keeps what an [`Expr`] cannot say. `None` where
    /// they do not, or where this engine does not know all of it.
    fn kindred(&self, from: &Engine, text: &str, default: Option<&Column>) -> Option<String>;

    /// Writes the statement of an index of a table that is in this language
    /// already, into [`Index::definition`], and changes what must be changed.
    fn index(&self, table: &Table, index: &mut Index) -> Outcome;

    /// The same of a constraint. A check has its statement already where its
    /// text is [kindred](Self::kindred).
    fn constraint(&self, table: &Table, constraint: &mut Constraint) -> Outcome;

    /// Makes the counters of a converted schema what this engine's own would
    /// be: its [`sequences`](Schema::sequences) are the source's, each with
    /// its owner here, and the columns that are numbered have their
    /// [`identity`](Column::identity). Gives what cannot be kept.
    fn counters(&self, schema: &mut Schema) -> Vec<Note>;
}

/// An engine, and what its names must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The engine.
    pub engine: Engine,
    /// How long a name can be.
    pub limit: Limit,
    /// Whether names of tables that differ in case alone are one.
    pub fold_tables: bool,
    /// Whether names of columns that differ in case alone are one.
    pub fold_columns: bool,
    /// Whether the names of indexes are one room for a whole schema, together
    /// with those of the tables, and not one for each table.
    pub indexes_share: bool,
    /// Whether the names of foreign keys and checks are one room for a whole
    /// schema, and not one for each table.
    pub constraints_share: bool,
    /// Whether a column can be computed when it is read, and not be kept.
    pub virtual_columns: bool,
    /// Whether `SELECT *` can leave a column out.
    pub hidden_columns: bool,
    /// The schema that tables go to when all of a source's are in one:
    /// PostgreSQL's `public`, and the database that a URL to MySQL names.
    /// `None`: schemas keep their names.
    pub home: Option<SmolStr>,
    /// The engines whose schemas are what this one's are. Tables of another
    /// one's go to the `home`, or where the user wishes; without either they
    /// are refused.
    pub schemas_like: Vec<Engine>,
}

/// How long a name can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// That many octets of UTF-8.
    Octets(usize),
    /// That many characters.
    Characters(usize),
}

/// What a column is used for, which may limit its type.
#[derive(Debug, Clone, Copy)]
pub struct Used<'a> {
    /// The table that it is in, as the source has it.
    pub table: &'a Table,
    /// That table's name at the target.
    pub name: &'a TableName,
    /// The column's name at the target.
    pub column: &'a str,
    /// How many columns the widest key (primary, unique or foreign) has that
    /// it is part of; 0 if it is part of none. Some engines bound a key's
    /// length, and so can have no type without a limit in it.
    pub key_parts: usize,
    /// Whether the engine numbers it, or a foreign key leads from it to a
    /// column that is numbered: both must be of one type.
    pub counted: bool,
}

/// The type of a column at a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// Its neutral type there, as that engine would describe it.
    pub data_type: DataType,
    /// Its native type there.
    pub native: NativeType,
    /// Its collation there, where it is not the database's own.
    pub collation: Option<String>,
    /// Its character set there, where the engine has one for each column.
    pub charset: Option<SmolStr>,
    /// When two of its texts are equal there.
    pub equality: crate::schema::Equality,
    /// How well that holds the source's values.
    pub fit: Fit,
    /// What of a neutral type's values it cannot hold.
    pub bounds: Bounds,
    /// What must be made before the table: an enumeration.
    pub needs: Option<Definition>,
}

impl Mapped {
    /// That type, exactly fitting, with no bounds.
    pub fn exact(data_type: DataType, native: impl Into<SmolStr>, id: u32) -> Self {
        Self {
            data_type,
            native: NativeType { name: native.into(), id },
            collation: None,
            charset: None,
            equality: crate::schema::Equality::EXACT,
            fit: Fit::Exact,
            bounds: Bounds::default(),
            needs: None,
        }
    }

    /// The same, fitting in that way.
    #[must_use]
    pub fn fitting(mut self, fit: Fit) -> Self {
        self.fit = fit;
        self
    }

    /// The same, within bounds.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }
}

/// How well a type holds another's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fit", content = "what")]
pub enum Fit {
    /// Every value, and the type is the like of the source's.
    Exact,
    /// Every value; the type also holds others, or says less of them. The
    /// text tells how it differs.
    Widened(String),
    /// Not every value, or not all of it; what is lost.
    Lossy(String),
    /// No value; why.
    Impossible(String),
}

impl Fit {
    /// A fit that holds every value.
    pub fn widened(how: impl Into<String>) -> Self {
        Self::Widened(how.into())
    }

    /// A fit that loses something.
    pub fn lossy(what: impl Into<String>) -> Self {
        Self::Lossy(what.into())
    }
}

/// What a target's type cannot hold of its neutral type's values. A value
/// beyond is refused, or treated by a [policy](super::Policies), before the
/// server sees it: some servers would store another in silence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// No NaN and no infinity, of numbers, days and moments.
    pub finite: bool,
    /// The first day or moment.
    pub first: Option<DateTime>,
    /// The last day or moment.
    pub last: Option<DateTime>,
    /// Days of no calendar (`0000-00-00`) as well, as its kin have them.
    pub any_day: bool,
    /// A time of day lies between these, in nanoseconds.
    pub time: Option<(i64, i64)>,
    /// No character U+0000 in a text.
    pub no_nul: bool,
    /// No text in an enumeration but its labels: no error value.
    pub labels: bool,
    /// No more octets than these in a text or in octets.
    pub octets: Option<u64>,
}

/// What became of an index or a constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "why")]
pub enum Outcome {
    /// It is the same there.
    Kept,
    /// It is there, and differs; how.
    Changed(String),
    /// It cannot be there; why.
    Dropped(String),
}

/// Something to say of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The table that it is of.
    pub table: TableName,
    /// What it is: `sequence orders_id_seq`.
    pub object: String,
    /// What became of it.
    pub outcome: Outcome,
}
