//! A log that is at hand as bytes, with no server: for benchmarks, for fuzzing
//! and for tests that compare with another reader. Not part of the crate's
//! interface.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use zdm_core::change::{Assembler, Batch};
use zdm_core::schema::{Column, Schema};
#[cfg(feature = "failpoints")]
use zdm_core::schema::{Key, Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

use super::decoder::{Decoder, Step};
use super::event::HEADER;
use super::reader::broken;
#[cfg(feature = "failpoints")]
use crate::position::ENGINE;
use crate::types::{ENCODING, column_type};

/// Bytes at which a batch is full.
const FULL: usize = 1 << 20;

/// A column as `information_schema.COLUMNS` describes it.
///
/// # Errors
/// `Unsupported` for a type or a character set that is not known.
pub fn column(name: &str, native: &str, charset: Option<&str>) -> Result<Column> {
    let (native, neutral) = column_type(native, charset)?;
    Ok(Column::new(name, neutral).native(native.name, native.id))
}

/// All rows of a log file, without the four bytes that it begins with.
///
/// # Errors
/// As the decoder's; `Unsupported` for a log that is compressed.
pub fn decode(schema: &Schema, log: &Bytes) -> Result<Batch> {
    let mut decoder = Decoder::new(schema, false);
    let mut batch = Assembler::new();
    let mut at = 0;
    while at < log.len() {
        let event = event_at(log, at).ok_or_else(|| broken("the log ends within an event"))?;
        at = event.end;
        if let (_, Step::Payload(_)) = decoder.decode(log, event, &mut batch)? {
            return Err(packed());
        }
    }
    batch.finish(log.clone(), Arc::clone(&ENCODING), None)
}

/// The same in batches as a stream hands them over: of about a megabyte.
///
/// # Errors
/// As [`decode`].
pub fn batches(schema: &Schema, log: &Bytes) -> impl Iterator<Item = Result<Batch>> {
    let mut decoder = Decoder::new(schema, false);
    let mut rest = log.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut batch = Assembler::new();
        let mut at = 0;
        while at < rest.len() && at < FULL {
            let event = event_at(&rest, at).ok_or_else(|| broken("the log ends within an event"));
            let step = event.and_then(|event| {
                at = event.end;
                decoder.decode(&rest, event, &mut batch)
            });
            match step {
                Ok((_, Step::Payload(_))) => return Some(Err(packed())),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        Some(batch.finish(rest.split_to(at), Arc::clone(&ENCODING), None))
    })
}

fn packed() -> Error {
    Error::new(ErrorKind::Unsupported, "this log is compressed: read it from a server")
}

/// Where the event lies that begins at `at`.
fn event_at(log: &[u8], at: usize) -> Option<Range<usize>> {
    let size = u32::from_le_bytes(*log.get(at..)?.get(9..)?.first_chunk()?) as usize;
    (size >= HEADER && log.len() - at >= size).then_some(at..at + size)
}

/// An event with that body, which ends at `next` of its file.
#[cfg(feature = "failpoints")]
pub(crate) fn event_of(kind: u8, body: &[u8], next: u32) -> Vec<u8> {
    let size = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut event = vec![0, 0, 0, 0, kind, 1, 0, 0, 0];
    event.extend_from_slice(&size.to_le_bytes());
    event.extend_from_slice(&next.to_le_bytes());
    event.extend_from_slice(&[0; 2]);
    event.extend_from_slice(body);
    event
}

/// A table `z.t` with a column of each type, and a plain one `z.m`, for fuzzers.
#[cfg(feature = "failpoints")]
pub(crate) fn every_type() -> Schema {
    let types = [
        ("int(11)", None),
        ("mediumint(9) unsigned", None),
        ("float", None),
        ("decimal(20,5)", None),
        ("bit(12)", None),
        ("time(3)", None),
        ("datetime(6)", None),
        ("timestamp", None),
        ("char(5)", Some("utf8mb4")),
        ("varchar(100)", Some("sjis")),
        ("longtext", Some("latin1")),
        ("binary(4)", None),
        ("enum('a','b')", Some("latin1")),
        ("set('a','b','c')", Some("latin1")),
        ("json", None),
        ("geometry", None),
    ];
    let columns = types.iter().map(|(native, charset)| column("c", native, *charset)).collect::<Result<_>>();
    let columns = columns.unwrap_or_default();
    let plain = [("int(11)", None), ("longtext", Some("latin1"))];
    let plain = plain.iter().map(|(native, charset)| column("c", native, *charset)).collect::<Result<_>>();
    let table = |name, columns| Table::new(ENGINE, TableName::new("z", name), columns, Key::Columns(vec![0]));
    let tables = [table("t", columns), table("m", plain.unwrap_or_default())];
    Schema { tables: tables.map(Arc::new).into(), ..Schema::default() }
}
