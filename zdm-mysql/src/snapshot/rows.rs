//! The text protocol's rows, into a batch.
//!
//! Rows lie one behind the other in the batch's own buffer, and cells point
//! into it.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html>

use std::sync::Arc;

use bytes::BytesMut;
use zdm_core::Result;
use zdm_core::change::{Assembler, Batch, Budget, Cell, Format, Op, Permit};
use zdm_core::schema::Table;

use crate::error::protocol;
use crate::types::{ENCODING, TEXT};
use crate::wire::Reader;

/// Bytes at which a batch is handed over. A larger row is one alone.
const FULL: usize = 1 << 20;

/// Rows on their way into a batch.
#[derive(Debug)]
pub(crate) struct Rows {
    table: Arc<Table>,
    native: BytesMut,
    assembler: Assembler,
    /// Of one row, between two of them empty.
    fields: Vec<Cell>,
}

impl Rows {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, native: BytesMut::new(), assembler: Assembler::new(), fields: Vec::new() }
    }

    /// Whether to hand over before `more` bytes are added.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        !self.is_empty() && self.native.len() + more > FULL
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.assembler.is_empty()
    }

    /// Adds one row as the server sends it.
    ///
    /// # Errors
    /// `Protocol` when it is no row of the table.
    pub(crate) fn push(&mut self, row: &[u8]) -> Result<()> {
        let start = self.native.len();
        let wrong = || protocol("the server sent a row that is not one of the table");
        // Every place in the buffer then fits 32 bits.
        u32::try_from(start + row.len()).map_err(|_| wrong())?;
        self.native.extend_from_slice(row);
        self.fields.clear();
        let mut reader = Reader::new(row);
        for _ in self.table.columns.iter().filter(|column| column.is_written()) {
            let cell = match reader.lenenc_bytes()? {
                None => Cell::Null,
                Some(bytes) => {
                    let end = start + row.len() - reader.rest().len();
                    let offset = u32::try_from(end - bytes.len()).map_err(|_| wrong())?;
                    let len = u32::try_from(bytes.len()).map_err(|_| wrong())?;
                    Cell::Value { offset, len, format: Format::Native(TEXT) }
                }
            };
            self.fields.push(cell);
        }
        if !reader.is_empty() {
            return Err(wrong());
        }
        self.assembler.row(&self.table, Op::Insert, false);
        let mut fields = self.fields.iter();
        for column in &self.table.columns {
            // What is computed is not read.
            let field = if column.is_written() { fields.next().copied() } else { Some(Cell::Unchanged) };
            self.assembler.cell(field.ok_or_else(wrong)?);
        }
        self.assembler.end_image()
    }

    /// Hands over what was gathered, with its share of the budget.
    pub(crate) async fn take(&mut self, budget: &Budget) -> Result<Batch> {
        let permit = budget.acquire(self.assembler.bytes().max(self.native.len())).await;
        self.finish(Some(permit))
    }

    /// Hands over what was gathered, outside any budget.
    pub(crate) fn finish(&mut self, permit: Option<Permit>) -> Result<Batch> {
        let assembler = std::mem::take(&mut self.assembler);
        let native = std::mem::take(&mut self.native).freeze();
        assembler.finish(native, Arc::clone(&ENCODING), permit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zdm_core::schema::{Column, Generated, Key, TableName};

    use super::*;
    use crate::position::ENGINE;
    use crate::types::column_type;

    fn table(columns: usize) -> Arc<Table> {
        let (native, neutral) = column_type("varchar(9)", Some("utf8mb4")).unwrap();
        let column = |n| Column::new(format!("c{n}"), neutral.clone()).native(native.name.clone(), native.id);
        let columns = (0..columns).map(column).collect();
        Arc::new(Table::new(ENGINE, TableName::new("d", "t"), columns, Key::FullRow))
    }

    #[test]
    fn cells_lie_in_one_buffer() {
        let mut table = table(3);
        Arc::make_mut(&mut table).columns[1].generated =
            Some(Generated { expression: "1".to_owned(), stored: false });
        let mut rows = Rows::new(table);
        rows.push(b"\x01a\xfb").unwrap();
        rows.push(b"\x00\x02\xc3\xa9").unwrap();
        let batch = rows.finish(None).unwrap();
        let shown: Vec<_> = batch
            .rows()
            .map(|row| {
                let image = row.after().unwrap();
                assert!(image.cell(1).is_unchanged());
                (image.cell(0).value().unwrap().to_string(), image.cell(2).value().unwrap().to_string())
            })
            .collect();
        assert_eq!(shown[1], (String::new(), "é".to_owned()));
        assert_eq!(shown[0].0, "a");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(row in prop::collection::vec(any::<u8>(), 0..24), columns in 0..4_usize) {
            let _ = Rows::new(table(columns)).push(&row);
        }
    }
}
