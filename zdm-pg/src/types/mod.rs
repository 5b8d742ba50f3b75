//! PostgreSQL's types: what a native cell decodes to, and how any value is
//! written for PostgreSQL to read.
//!
//! Nothing else in the crate knows a type. A cell is text (format 0) or
//! PostgreSQL's binary form (format 1), and its type is the column's native
//! id, the oid of the type. A type that is not PostgreSQL's own (a domain, an
//! enum) goes by the column's neutral type; where that says nothing either, it
//! is moved by its text form as [`Value::Native`](zdm_core::change::Value), so
//! nothing is ever lost for want of a decoder.
//!
//! The sessions of a run share their settings (ISO dates, the `postgres`
//! interval style, hexadecimal `bytea`, UTC), so what a SELECT shows and what
//! the log shows is the same text, and there is one way to read it.
//!
//! ```text
//! kind        which decoder a column needs
//! neutral     native type -> neutral type
//! encoding    PgEncoding: bytes -> Value, by format
//! scalar      text -> Value for one scalar; calendar, interval: its harder parts
//! array       text of an array -> Value
//! binary      binary form -> Value
//! text        Value -> text for an input function
//! copy        cell -> field of COPY's text format; binary forms pass as they are
//! ```

mod array;
mod binary;
mod calendar;
mod copy;
mod cursor;
mod encoding;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod interval;
mod kind;
mod neutral;
mod scalar;
pub(crate) mod text;

pub(crate) use self::binary::{COPY_HEAD, is_enum, passes};
pub(crate) use self::copy::{copy_escape, write_copy_cell};
pub use self::encoding::PgEncoding;
pub(crate) use self::encoding::{BINARY, ENCODING, TEXT};
pub(crate) use self::neutral::neutral;
