//! Rows events: cells where they lie in the event.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Rows__event.html>

mod image;

use zdm_core::Result;
use zdm_core::change::{Assembler, Cell, Op};

use self::image::{After, Present, image};
use super::event::kind;
use super::reader::{Reader, broken};
use super::table_map::TableMap;

/// What the number of a rows event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowsKind {
    pub(super) op: Op,
    /// Version 2 has room for more before the rows.
    extra: bool,
    /// JSON of the new image may be told as a difference.
    partial: bool,
}

impl RowsKind {
    /// Of an event; `None` if it is no rows event.
    pub(super) fn of(number: u8) -> Option<Self> {
        let (op, extra, partial) = match number {
            kind::WRITE_ROWS_V1 => (Op::Insert, false, false),
            kind::UPDATE_ROWS_V1 => (Op::Update, false, false),
            kind::DELETE_ROWS_V1 => (Op::Delete, false, false),
            kind::WRITE_ROWS => (Op::Insert, true, false),
            kind::UPDATE_ROWS => (Op::Update, true, false),
            kind::DELETE_ROWS => (Op::Delete, true, false),
            kind::PARTIAL_UPDATE_ROWS => (Op::Update, true, true),
            _ => return None,
        };
        Some(Self { op, extra, partial })
    }
}

/// The statement that the rows belong to ends with them.
pub(super) const STATEMENT_END: u16 = 1;

/// Reads rows. Its room is kept from event to event.
#[derive(Debug, Default)]
pub(super) struct Rows {
    cells: Vec<Cell>,
}

impl Rows {
    /// Appends the rows of an event, which has been read up to its flags.
    ///
    /// An event that fails appends nothing.
    ///
    /// # Errors
    /// `Protocol` for what cannot be read, `Unsupported` for rows that lack
    /// cells.
    pub(super) fn append(
        &mut self,
        kind: RowsKind,
        map: &TableMap,
        mut event: Reader<'_>,
        buffer: &[u8],
        batch: &mut Assembler,
    ) -> Result<()> {
        if kind.extra {
            let len =
                event.u16()?.checked_sub(2).ok_or_else(|| broken("extra data is shorter than its length"))?;
            event.take(len.into())?;
        }
        let columns = event.packed_len()?;
        if columns != map.places.len() {
            return Err(broken("rows have not as many columns as their table").with("table", &map.table.name));
        }
        let first = Present::read(&mut event, columns)?;
        let second = if kind.op == Op::Update { Some(Present::read(&mut event, columns)?) } else { None };
        self.cells.clear();
        let mut rows = 0;
        while !event.is_empty() {
            let before = event.len();
            let start = self.cells.len();
            let role = if kind.op == Op::Insert { After::Insert } else { After::Before };
            image(&mut event, &first, map, role, &mut self.cells)?;
            if let Some(second) = &second {
                let partial = if kind.partial { image::partial(&mut event, map)? } else { None };
                let role = After::Update { old: start, partial, buffer, batch };
                image(&mut event, second, map, role, &mut self.cells)?;
            }
            // A table with no columns logged would never end.
            if event.len() == before {
                return Err(broken("a row takes no room").with("table", &map.table.name));
            }
            rows += 1;
        }
        // No server writes it; a run of rows has some.
        if rows == 0 {
            return Ok(());
        }
        batch.rows(&map.table, kind.op, kind.op != Op::Insert, rows, &self.cells)
    }
}
