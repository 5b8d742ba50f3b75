//! Rows of a binary log, from memory.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use mysql_common::binlog::consts::BinlogVersion;
use mysql_common::binlog::events::EventData;
use mysql_common::binlog::{BinlogFile, BinlogFileHeader};
use zdm_core::change::Batch;
use zdm_core::schema::{Key, Schema, Table, TableName};
use zdm_mysql::offline;

use crate::Result;

/// Who decodes: gives how many rows a log has.
pub type Decoder = fn(&Schema, &Bytes) -> Result<u64>;

/// Ours, and the peers that were built in.
pub fn all() -> Vec<(&'static str, Decoder)> {
    vec![
        ("zdm", ours),
        ("zdm, every value", values),
        ("mysql_common", mysql_common_rows),
        #[cfg(feature = "mysql_cdc")]
        ("mysql_cdc", mysql_cdc_rows),
    ]
}

/// The table of the workloads, as its server describes it.
///
/// # Errors
/// Never: its types are known.
pub fn schema() -> Result<Schema> {
    let column = |name, native, charset| {
        offline::column(name, native, charset).map(|mut column| {
            column.nullable = false;
            column
        })
    };
    let columns = vec![
        column("id", "int(11)", None)?,
        column("k", "int(11)", None)?,
        column("c", "char(120)", Some("utf8mb4"))?,
        column("pad", "char(60)", Some("utf8mb4"))?,
    ];
    let name = TableName::new("bench", "sbtest");
    let table = Table::new(zdm_core::Engine::new("mysql"), name, columns, Key::Columns(vec![0]));
    Ok(Schema { tables: vec![Arc::new(table)], ..Schema::default() })
}

/// Ours, to cells: where each value lies, and how it is encoded.
///
/// # Errors
/// When the log cannot be read.
pub fn ours(schema: &Schema, log: &Bytes) -> Result<u64> {
    let mut rows = 0;
    for batch in offline::batches(schema, log) {
        rows += black_box(batch?).row_count() as u64;
    }
    Ok(rows)
}

/// Ours, to every value of every image.
///
/// # Errors
/// When the log or a value cannot be read.
pub fn values(schema: &Schema, log: &Bytes) -> Result<u64> {
    let mut rows = 0;
    for batch in offline::batches(schema, log) {
        let batch = batch?;
        every_value(&batch)?;
        rows += batch.row_count() as u64;
    }
    Ok(rows)
}

/// Decodes all values that a batch carries.
///
/// # Errors
/// When one cannot be read.
pub fn every_value(batch: &Batch) -> Result<()> {
    for row in batch.rows() {
        for image in [row.before(), row.after()].into_iter().flatten() {
            for cell in image.cells().filter(|cell| !cell.is_unchanged()) {
                // Looked at where it was made: moved, a value costs more than
                // it does to decode it.
                let value = cell.value();
                black_box(&value);
                if value.is_err() {
                    value?;
                }
            }
        }
    }
    Ok(())
}

/// What `mysql_async` reads rows with.
///
/// # Errors
/// When the log cannot be read.
pub fn mysql_common_rows(_: &Schema, log: &Bytes) -> Result<u64> {
    let file = [&BinlogFileHeader::VALUE[..], log].concat();
    let mut file = BinlogFile::new(BinlogVersion::Version4, &file[..])?;
    let mut rows = 0;
    while let Some(event) = file.next() {
        let event = event?;
        if let Some(EventData::RowsEvent(event)) = event.read_data()? {
            let table = file.reader().get_tme(event.table_id()).ok_or("rows of an unknown table")?;
            for row in event.rows(table) {
                black_box(row?);
                rows += 1;
            }
        }
    }
    Ok(rows)
}

/// The crate `mysql_cdc`.
///
/// # Errors
/// When the log cannot be read.
#[cfg(feature = "mysql_cdc")]
pub fn mysql_cdc_rows(_: &Schema, log: &Bytes) -> Result<u64> {
    use mysql_cdc::events::binlog_event::BinlogEvent;
    use mysql_cdc::events::event_header::EventHeader;
    use mysql_cdc::events::event_parser::EventParser;

    const HEADER: usize = 19;
    let failed = |error: mysql_cdc::errors::Error| format!("{error:?}");
    let mut parser = EventParser::new();
    let (mut at, mut rows) = (0, 0);
    while at < log.len() {
        let header = EventHeader::parse(&log[at..at + HEADER]).map_err(failed)?;
        let size = header.event_length as usize;
        let body = &log[at + HEADER..at + size];
        at += size;
        rows += match black_box(parser.parse_event(&header, body).map_err(failed)?) {
            BinlogEvent::WriteRowsEvent(event) => event.rows.len() as u64,
            BinlogEvent::UpdateRowsEvent(event) => event.rows.len() as u64,
            BinlogEvent::DeleteRowsEvent(event) => event.rows.len() as u64,
            _ => 0,
        };
    }
    Ok(rows)
}
