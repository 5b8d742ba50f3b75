//! COPY's text, for fuzzers.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zdm_core::change::Batch;
use zdm_core::schema::{Column, DataType, Key, Table, TableName};

use super::rows::{Form, Rows};
use crate::connect::CopiedRow;
use crate::position::ENGINE;
use crate::types::write_copy_cell;

/// Rows as COPY sends them, each up to its line feed. Those that are rows of
/// the table must, written as COPY reads them, be the same rows again.
pub fn copied_rows(bytes: &[u8]) -> bool {
    let columns = [("a", "int8", 20), ("b", "text", 25), ("c", "bytea", 17)];
    let columns =
        columns.map(|(name, native, oid)| Column::new(name, DataType::Native).native(native, oid)).to_vec();
    let table = Arc::new(Table::new(ENGINE, TableName::new("public", "t"), columns, Key::Columns(vec![0])));
    let Some(batch) = read(&table, bytes) else { return false };
    let mut written = BytesMut::new();
    for image in batch.rows().filter_map(|row| row.after()) {
        for (at, cell) in image.cells().enumerate() {
            written.extend_from_slice(if at == 0 { b"" } else { b"\t" });
            write_copy_cell(cell, &mut written).expect("a cell that was read can be written");
        }
        written.extend_from_slice(b"\n");
    }
    let again = read(&table, &written).expect("what was written is read");
    let cells = |batch: &Batch| -> Vec<Option<Vec<u8>>> {
        let images = batch.rows().filter_map(|row| row.after());
        images
            .flat_map(|image| image.cells())
            .map(|cell| cell.raw().map(|(_, bytes)| bytes.to_vec()))
            .collect()
    };
    assert_eq!(cells(&batch), cells(&again));
    true
}

fn read(table: &Arc<Table>, bytes: &[u8]) -> Option<Batch> {
    let mut rows = Rows::new(Arc::clone(table), Form::Text);
    for row in bytes.split_inclusive(|byte| *byte == b'\n') {
        rows.push(CopiedRow::Shared(Bytes::copy_from_slice(row))).ok()?;
    }
    Some(rows.finish(None).expect("rows that were read are a batch"))
}
