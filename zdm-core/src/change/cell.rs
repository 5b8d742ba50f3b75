//! A cell: where its bytes lie, and how they are encoded.

use std::fmt;

use super::{Value, core_encoding};
use crate::Result;
use crate::schema::Column;

/// How the bytes of one cell are encoded.
///
/// One batch may mix them: PostgreSQL sends text and binary side by side, and
/// a stage computes cells in the core's own encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The core's own, self-describing encoding; the bytes lie in the batch's
    /// core buffer.
    Core,
    /// One of the source's own; the number belongs to the batch's
    /// [`Encoding`], and the bytes lie in the batch's native buffer.
    Native(u8),
}

/// One cell of a row: 12 bytes, no allocation, no reference count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Null.
    Null,
    /// The log did not carry the cell: a TOASTed value that did not change, a
    /// column outside the old row's key. Not the same as null.
    Unchanged,
    /// A value: `len` bytes at `offset` of the buffer that the format names.
    Value {
        /// Where it begins.
        offset: u32,
        /// How long it is.
        len: u32,
        /// How it is encoded, and so in which buffer it lies.
        format: Format,
    },
}

impl Cell {
    /// Where it ends in the native buffer; 0 if it does not lie there.
    #[inline]
    pub(super) fn native_end(&self) -> usize {
        match self {
            Self::Value { offset, len, format: Format::Native(_) } => *offset as usize + *len as usize,
            _ => 0,
        }
    }
}

/// How a source's own cells are decoded. One for each source, shared by its
/// batches.
///
/// # Contract
/// `decode` may be given any bytes: it returns a `Protocol` error for what is
/// not a value of that column, and never panics. For one column it gives the
/// same value whether the bytes came from a SELECT or from the log.
pub trait Encoding: Send + Sync + fmt::Debug {
    /// Its name, for a sink that can take the bytes as they are:
    /// `postgresql`. Two encodings with one name are the same.
    fn name(&self) -> &'static str;

    /// Decodes one cell, by the column's native type.
    ///
    /// # Errors
    /// `Protocol` when the bytes are not a value of that type.
    fn decode<'a>(&self, column: &Column, format: u8, bytes: &'a [u8]) -> Result<Value<'a>>;
}

/// The encoding of batches whose cells are all in the core's own form.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoreEncoding;

impl Encoding for CoreEncoding {
    fn name(&self) -> &'static str {
        "core"
    }

    fn decode<'a>(&self, _: &Column, _: u8, bytes: &'a [u8]) -> Result<Value<'a>> {
        core_encoding::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_twelve_bytes() {
        assert_eq!(size_of::<Cell>(), 12);
    }
}
