//! A table as the log shows it before its rows, matched with the table as the
//! catalog described it.
//!
//! The log tells how many bytes a cell has; names, signs and character sets it
//! tells only with `binlog_row_metadata = FULL`, and MariaDB by default none of
//! them. So cells are decoded by the catalog's description, and everything
//! that the log does tell is compared with it first: a table of another shape
//! was changed since it was described, and stops the stream, lest a row be
//! read as what it is not.

mod metadata;
mod shape;

use std::sync::Arc;

use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use self::shape::place;
use super::reader::Reader;

/// How a column's cells lie in the rows of this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) width: Width,
    /// Which of the encoding's formats they are in.
    pub(super) format: u8,
    pub(super) what: What,
}

/// How long a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Fixed(u16),
    /// As the number says that lies before it, in so many bytes.
    Prefixed(u8),
}

/// What matters of a column when its cells are absent or partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Json,
    /// `binlog_row_image = NOBLOB` leaves it out unless it changed.
    Blob,
    /// Computed; not every server logs it.
    Generated,
    Plain,
}

/// A table of the run, as the log shows it.
#[derive(Debug)]
pub(super) struct TableMap {
    pub(super) table: Arc<Table>,
    pub(super) places: Vec<Place>,
}

/// The names in a `TABLE_MAP_EVENT`, which say whether the rest matters.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    rest: Reader<'a>,
}

impl<'a> Named<'a> {
    /// Reads the part of the event behind the table's number and flags.
    pub(super) fn read(mut event: Reader<'a>) -> Result<Self> {
        let len = event.u8()?;
        let schema = event.text(len.into())?;
        event.u8()?;
        let len = event.u8()?;
        let name = event.text(len.into())?;
        event.u8()?;
        Ok(Self { schema, name, rest: event })
    }

    /// Matches the log's columns with the table's.
    ///
    /// # Errors
    /// `SchemaChanged` when they differ, `Protocol` for what cannot be read.
    pub(super) fn matched(self, table: &Arc<Table>) -> Result<TableMap> {
        let mut event = self.rest;
        let count = event.packed_len()?;
        if count != table.columns.len() {
            return Err(schema_changed(
                table,
                &format!("it has {count} columns now, and had {}", table.columns.len()),
            ));
        }
        let types = event.take(count)?;
        let len = event.packed_len()?;
        let mut widths = Reader::new(event.take(len)?, 0);
        let nullable = event.take(count.div_ceil(8))?;
        let mut places = Vec::with_capacity(count);
        for (at, column) in table.columns.iter().enumerate() {
            // OK to index because all three have `count` of them.
            let place = place(types[at], &mut widths, column)?.ok_or_else(|| {
                schema_changed(table, &format!("column {} is no longer {}", column.name, column.native.name))
            })?;
            if (nullable[at / 8] >> (at % 8) & 1 == 1) != column.nullable {
                let now = if column.nullable { "NOT NULL" } else { "nullable" };
                return Err(schema_changed(table, &format!("column {} is {now} now", column.name)));
            }
            places.push(place);
        }
        metadata::check(event, types, table)?;
        Ok(TableMap { table: Arc::clone(table), places })
    }
}

/// A table is no longer what it was when it was described.
pub(super) fn schema_changed(table: &Table, what: &str) -> Error {
    Error::new(
        ErrorKind::SchemaChanged,
        format!(
            "the table was changed while the run follows it: {what}; undo the change, or start the run anew"
        ),
    )
    .with("table", &table.origin.name)
}
