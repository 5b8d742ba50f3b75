//! Cells, for fuzzers.

use super::{ENCODING, apply_json_diff, json as stored};
use crate::changes::offline::every_type;

/// A column of each type, a form, and the bytes of a cell.
pub fn value(bytes: &[u8]) -> bool {
    let Some((&[column, format], cell)) = bytes.split_first_chunk() else { return false };
    let schema = every_type();
    let columns = &schema.tables[0].columns;
    // OK because a table has columns.
    let column = &columns[usize::from(column) % columns.len()];
    ENCODING.decode(column, format % 3, cell).is_ok()
}

/// A JSON value as MySQL stores it. What is printed is JSON, and no longer than
/// a value of its size can be.
pub fn json(bytes: &[u8]) -> bool {
    let Some(text) = stored::text(bytes) else { return false };
    assert!(text.len() <= 64 + bytes.len() * 64, "{} bytes of text", text.len());
    assert!(!text.is_empty(), "a value has a text");
    true
}

/// A stored value behind its length in a byte, and the differences to it.
pub fn json_diff(bytes: &[u8]) -> bool {
    let Some((&len, rest)) = bytes.split_first() else { return false };
    let (old, diff) = rest.split_at(usize::from(len).min(rest.len()));
    apply_json_diff(old, diff).is_some()
}
