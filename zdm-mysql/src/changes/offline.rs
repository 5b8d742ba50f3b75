//! A log that is at hand as bytes, with no server: for benchmarks, for fuzzing
//! and for tests that compare with another reader. Not part of the crate's
//! interface.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zdm_core::change::{Assembler, Batch};
use zdm_core::schema::{Column, Key, Schema, Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

use super::decoder::{Decoder, Step};
use super::event::HEADER;
use super::reader::broken;
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

/// Decodes any bytes, as events that each begin with their kind and their
/// length in two bytes, and every cell that comes of them. Fails only by
/// panicking.
pub fn fuzz_decode(bytes: &[u8]) {
    let mut decoder = Decoder::new(&every_type(), false);
    let mut rest = bytes;
    while let Some((&[kind, low, high], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (body, after) = after.split_at(len);
        rest = after;
        let size = u32::try_from(HEADER + len).unwrap_or(u32::MAX);
        let mut event = vec![0, 0, 0, 0, kind, 1, 0, 0, 0];
        event.extend_from_slice(&size.to_le_bytes());
        event.extend_from_slice(&[0; 6]);
        event.extend_from_slice(body);
        let mut batch = Assembler::new();
        let step = decoder.decode(&event, 0..event.len(), &mut batch);
        read_all(batch, &event);
        let Ok((_, Step::Payload(mut payload))) = step else { continue };
        let mut piece = BytesMut::new();
        while let Ok(Some(range)) = payload.next(&mut piece) {
            let mut batch = Assembler::new();
            let _ = decoder.decode_unpacked(&piece, range, &mut batch);
            read_all(batch, &piece);
            piece.clear();
        }
    }
}

/// What was decoded before an error is whole, and its cells lie in its bytes.
fn read_all(batch: Assembler, native: &[u8]) {
    let batch = batch.finish(Bytes::copy_from_slice(native), Arc::clone(&ENCODING), None);
    let Ok(batch) = batch else { panic!("{batch:?}") };
    for row in batch.rows() {
        for image in [row.before(), row.after()].into_iter().flatten() {
            image.cells().for_each(|cell| drop(cell.value()));
        }
    }
}

/// A table `z.t` with a column of each type.
fn every_type() -> Schema {
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
    let table = Table::new(ENGINE, TableName::new("z", "t"), columns, Key::Columns(vec![0]));
    Schema { tables: vec![Arc::new(table)], ..Schema::default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table map of `z.t`, by which rows are read.
    fn table_map() -> Vec<u8> {
        let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 1, b'z', 0, 1, b't', 0, 16];
        body.extend([3, 9, 4, 246, 16, 19, 18, 17, 254, 15, 252, 254, 254, 254, 245, 255]);
        let metadata = [4, 20, 5, 4, 1, 3, 6, 0, 254, 20, 200, 0, 4, 254, 4, 247, 1, 248, 1, 4, 4];
        body.push(metadata.len().try_into().unwrap());
        body.extend(metadata);
        body.extend([0xff, 0xff]);
        body
    }

    fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_le_bytes();
        [&[kind, len[0], len[1]][..], body].concat()
    }

    #[test]
    fn the_table_of_the_fuzzer_is_matched() {
        let mut decoder = Decoder::new(&every_type(), false);
        let mut event = vec![0, 0, 0, 0, 19, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        event.extend(table_map());
        let size = u32::try_from(event.len()).unwrap();
        event[9..13].copy_from_slice(&size.to_le_bytes());
        decoder.decode(&event, 0..event.len(), &mut Assembler::new()).unwrap();
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            fuzz_decode(&bytes);
        }

        #[test]
        fn no_rows_make_it_panic(
            kind in prop_oneof![23..26_u8, 30..33_u8, Just(39_u8), 166..172_u8],
            head in prop_oneof![Just(true), Just(false)],
            rows: Vec<u8>,
        ) {
            let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0];
            if head {
                body.extend(if kind > 26 { &[2, 0][..] } else { &[] });
                body.extend([16, 0xff, 0xff, 0xff, 0xff]);
            }
            body.extend(rows);
            let mut bytes = framed(19, &table_map());
            bytes.extend(framed(kind, &body));
            fuzz_decode(&bytes);
        }
    }
}
