//! A schema of one engine as if another engine had described it.
//!
//! [`convert`] takes a [`Schema`](crate::schema::Schema) as a source described
//! it and the stages left it, and the [`Dialect`] of a target. What comes out
//! is in the target's words from end to end: native types, defaults, computed
//! columns, indexes, constraints, identities, comments, collations; so that
//! the target's sink makes it with the code that makes its own. Each table
//! says so ([`Table::written`](crate::schema::Table::written)), and each
//! column keeps what it was ([`Column::origin`](crate::schema::Column::origin)),
//! by which the cells of its source are decoded.
//!
//! Who does what:
//!
//! * a source's crate describes, and fills the neutral parts beside its own
//!   statements: types, [`Expr`](crate::schema::Expr)essions, keys of indexes,
//!   actions of foreign keys, and what is [not
//!   moved](crate::schema::Schema::unmoved);
//! * a target's crate offers a [`Dialect`], and never sees another engine's
//!   language: N dialects, not N² pairs;
//! * the core walks the schema, makes names fit, follows the user's
//!   [`Mapping`], and writes the [`Report`];
//! * the values follow by neutral types alone ([`Cast`]), in a last stage
//!   that copy, stream, rereads and verification all pass through.
//!
//! MySQL and MariaDB are two engines here, whose languages are [kin](Dialect::kindred):
//! what is a text of the one is one of the other's where both mean the same.
//! Between two servers of one engine nothing of this happens, but that a
//! mapping gives other names there; who wants other types uses stages.
//!
//! # What becomes of a type
//!
//! *Exact*: every value, in the like of its type. *Widened*: every value, in
//! a type that holds others too. *Lossy*: what is named is refused when it
//! comes, with table, column and key, or treated by the user's
//! [`Policies`]; nothing is cut or rounded in silence.
//!
#![doc = include_str!("types.md")]
//!
//! # Equality
//!
//! Text keeps its equality: a target column is compared octet by octet, as
//! the source's default collations do, wherever the target's server has such
//! a collation. A source column that ignores case is compared octet by octet
//! at PostgreSQL, and the report says so. A target that counts more texts as
//! equal than the source does would lose rows of a key, and is refused.

mod cast;
mod dialect;
mod mapping;
mod names;
mod report;
mod walk;

pub(crate) use cast::coerce;
pub use cast::{Cast, Misfit, MisfitKind};
pub use dialect::{Bounds, Convert, Dialect, Fit, Limit, Mapped, Names, Note, Outcome, Used};
pub use mapping::{ColumnMapping, Mapping, NulCharacter, Policies, TableMapping, Unfit};
pub use report::{ColumnReport, ObjectReport, Report, TableReport};
pub use walk::{Conversion, Rows, convert};
