//! MySQL's JSON: from the binary form in which it is stored and logged to the
//! text that the server prints, and the differences that the log may carry
//! instead of a new value.
//!
//! MariaDB has none of it: its `JSON` is a text.
//!
//! ```text
//! binary   the stored form, read where it lies
//! print    that form -> text
//! number   a double as the server prints it
//! opaque   decimals, days, times and octets within a JSON value
//! diff     an old value and its differences -> text
//! ```

mod binary;
mod diff;
mod number;
mod opaque;
mod print;

pub(crate) use self::diff::apply as apply_diff;
pub(super) use self::print::text;

/// How deep a value nests at most, as in the server.
const DEPTH: usize = 100;
