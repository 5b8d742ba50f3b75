//! What a group of transactions comes to, for a writer that applies it in few
//! statements.
//!
//! A [`Group`] takes the batches of whole transactions, or of a piece of a
//! huge one, and gives back [`Step`]s to be done in order. Within a step each
//! table with a key has one [`Outcome`] for each key that was touched, so
//! that the writer needs three set-based statements for a table however
//! many changes there were:
//!
//! 1. **read** what is to be carried: for each put that is not
//!    [complete](Merged::is_complete), the missing cells of the target's row
//!    under [`Merged::carry_from`];
//! 2. **delete** every [`Outcome::Delete`] *and* every [`Outcome::Put`];
//! 3. **update** every [`Outcome::Update`], in the cells that it carries;
//!    one whose row is not there is a put if it is complete;
//! 4. **insert** every put.
//!
//! # Why that is right
//!
//! *Cell by cell.* A later image overrides an earlier one only in the cells
//! that it carries. What the group does not know of a row is in the target,
//! under the key that the row had when the group began; so it is read before
//! anything is deleted.
//!
//! *Insert then delete is a delete*, never nothing: while the target catches
//! up, a chunk may already have brought the row.
//!
//! *Key equality belongs to the database* (`1.0` and `1.00`, `'a'` and `'A'`
//! under a case-insensitive collation). Keys are compared here by their
//! bytes, so one row of the database may have several entries, one for each
//! spelling that it had. Deletes first makes that safe, by what every log of
//! row images keeps to: *an old image spells the key as the row did*, and of
//! the keys that are equal to the database one row is there at a time. Then
//! a spelling that some change of the group has left is a delete; a row that
//! is only updated had one spelling all along, so that no delete is equal to
//! its key; and at most one spelling is a put, which is the row's last. That
//! is why a put is a delete and an insert and never an update in place: the
//! row may sit there under another spelling whose delete comes too. It holds
//! for a target whose equality is the source's or finer; the assessment
//! refuses a coarser one. Bytes of two encodings say nothing about each
//! other: where a key column changes its format, a new step begins.
//!
//! *While a target catches up* it holds rows of the future. A row that moved
//! to another key may have been copied at its new place, and another row may
//! have been copied at its old one, so that what is carried from there could
//! be of the wrong row for ever. A writer with a
//! [`Reread`](crate::connect::Reread) asks that for every put which is not
//! complete, and for every incomplete update whose row is missing.
//!
//! # What it does not do
//!
//! It runs no statement, and knows no secondary unique index: a writer turns
//! an update that changes a value under one into a put. Tables without a key
//! are not coalesced.

mod equality;
mod group;
mod held;
mod keyed;
mod view;

#[cfg(test)]
mod tests;

pub use equality::key_is_bytewise;
pub use group::{Group, Step};
pub use view::{InOrder, KeyRef, KeyedWork, Merged, Outcome, Work};
