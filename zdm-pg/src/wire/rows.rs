//! Rows of a simple query: text, few and small.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::DataRowBody;
use zdm_core::Result;

use crate::error;

/// A row as the simple protocol sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row(Vec<Option<String>>);

impl From<Row> for Vec<Option<String>> {
    fn from(row: Row) -> Self {
        row.0
    }
}

impl Row {
    pub(super) fn read(body: &DataRowBody) -> Result<Self> {
        let cell = |range: Option<std::ops::Range<usize>>| {
            let Some(range) = range else { return Ok(None) };
            // OK because `ranges` yields ranges of this very buffer.
            let bytes = body.buffer().get(range).unwrap_or_default();
            String::from_utf8(bytes.to_vec())
                .map(Some)
                .map_err(|_| error::protocol("the server sent a text that is not UTF-8"))
        };
        let mut cells = Vec::new();
        let mut ranges = body.ranges();
        while let Some(range) = ranges.next().map_err(error::io)? {
            cells.push(cell(range)?);
        }
        Ok(Self(cells))
    }

    /// The text of a column; `None` if it is null or not there.
    pub(crate) fn get(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// The text of a column that must be there.
    pub(crate) fn text(&self, column: usize) -> Result<&str> {
        self.get(column)
            .ok_or_else(|| error::protocol("the server's answer lacks a column").with("column", column))
    }
}
