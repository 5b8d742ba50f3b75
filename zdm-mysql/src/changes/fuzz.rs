//! The decoder of the log, for fuzzers.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zdm_core::change::{Assembler, Batch, Item};
use zdm_core::{Position, Result};

use super::decoder::{Decoder, Step};
use super::event::{HEADER, Query, kind};
use super::offline::{event_of, every_type};
use super::payload::Payload;
use super::statement::Tables;
use super::undo::Undone;
use super::walk::{From, Then, Walk};
use crate::position::Point;
use crate::types::ENCODING;

/// Frames of a kind, a length in two bytes, and an event's body.
fn frames(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (&[kind, low, high], after) = rest.split_first_chunk()?;
        let len = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (body, after) = after.split_at(len);
        rest = after;
        Some((kind, body))
    })
}

/// Events about a table with a column of each type, each by itself, and every
/// cell that comes of them.
pub fn events(bytes: &[u8]) -> bool {
    let mut decoder = Decoder::new(&every_type(), false);
    let mut understood = true;
    for (kind, body) in frames(bytes) {
        let event = event_of(kind, body, 0);
        let mut batch = Assembler::new();
        let step = decoder.decode(&event, 0..event.len(), &mut batch);
        read_all(batch, &event);
        match step {
            Ok((_, Step::Payload(payload))) => understood &= unpack(&mut decoder, payload),
            Ok(_) => {}
            Err(_) => understood = false,
        }
    }
    understood
}

fn unpack(decoder: &mut Decoder, mut payload: Payload) -> bool {
    let mut piece = BytesMut::new();
    loop {
        match payload.next(&mut piece) {
            Ok(Some(range)) => {
                let mut batch = Assembler::new();
                let step = decoder.decode_unpacked(&piece, range, &mut batch);
                read_all(batch, &piece);
                if step.is_err() {
                    return false;
                }
                piece.clear();
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// The same as a log: transactions, prepared ones and what decides them. The
/// first byte says how the reader goes on: by neither, MySQL's or MariaDB's
/// GTIDs.
pub fn log(bytes: &[u8]) -> bool {
    let Some((&how, bytes)) = bytes.split_first() else { return false };
    let from = match how % 3 {
        0 => "1/binlog.000001:4",
        1 => "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5@1/binlog.000001:4",
        _ => "0-1-5@1/binlog.000001:4",
    };
    let mut reading = Reading::new(&from.parse().expect("it is a position"));
    let mut at = 4;
    let rotate = [&4_u64.to_le_bytes()[..], b"binlog.000001"].concat();
    let mut understood = reading.event(&event_of(kind::ROTATE, &rotate, 0)).is_ok();
    for (kind, body) in frames(bytes) {
        at += u32::try_from(HEADER + body.len()).unwrap_or(0);
        understood = understood && reading.event(&event_of(kind, body, at)).is_ok();
    }
    reading.finish();
    understood
}

struct Reading {
    walk: Walk,
    batch: Assembler,
    /// What cells point into.
    own: BytesMut,
}

impl Reading {
    fn new(from: &Point) -> Self {
        let walk = Walk::new(&every_type(), from, 1, false, 1 << 16, Undone::default());
        Self { walk, batch: Assembler::new(), own: BytesMut::new() }
    }

    fn event(&mut self, event: &[u8]) -> Result<()> {
        let start = self.own.len();
        self.own.extend_from_slice(event);
        self.read(start..self.own.len(), From::Log)
    }

    fn read(&mut self, range: Range<usize>, from: From) -> Result<()> {
        match self.walk.event(&self.own, range, from, &mut self.batch)? {
            Then::Next => Ok(()),
            Then::Unpack(mut payload) => {
                while let Some(range) = payload.next(&mut self.own)? {
                    self.read(range, From::Within)?;
                }
                Ok(())
            }
            Then::Decide(mut events) => {
                while let Some(range) = events.next(&mut self.own) {
                    self.read(range, From::Within)?;
                }
                self.walk.decided(&mut self.batch)
            }
        }
    }

    fn finish(mut self) {
        self.walk.settle(&mut self.batch);
        let batch = self.batch.finish(self.own.freeze(), Arc::clone(&ENCODING), None);
        whole(&batch.expect("what was decoded is a batch"));
    }
}

/// Items in the order that [`Item`] promises, cells inside the buffer.
fn whole(batch: &Batch) {
    let mut open = false;
    for item in batch.items() {
        match item {
            Item::Begin(_) => assert!(!std::mem::replace(&mut open, true), "a begin within a transaction"),
            Item::Commit(_) => assert!(std::mem::replace(&mut open, false), "a commit without a begin"),
            Item::Idle { .. } => assert!(!open, "an idle point within a transaction"),
            Item::Truncate { tables } => assert!(open && !tables.is_empty(), "a TRUNCATE of something"),
            Item::Rows(run) => {
                assert!(open && !run.is_empty(), "rows of a transaction");
                for row in batch.rows_of(run) {
                    let images = [row.before(), row.after()].into_iter().flatten();
                    images.flat_map(|image| image.cells()).for_each(|cell| drop(cell.value()));
                }
            }
            other => panic!("{other:?}"),
        }
        if let Some(position) = item.position() {
            let point = Point::of(position).expect("a position is one of ours");
            assert_eq!(&Position::from(&point), position, "one place has one text");
        }
    }
}

/// What was decoded before an error is whole, and its cells lie in its bytes.
fn read_all(batch: Assembler, native: &[u8]) {
    let batch = batch.finish(Bytes::copy_from_slice(native), Arc::clone(&ENCODING), None);
    let batch = batch.expect("what was decoded is a batch");
    for row in batch.rows() {
        let images = [row.before(), row.after()].into_iter().flatten();
        images.flat_map(|image| image.cells()).for_each(|cell| drop(cell.value()));
    }
}

/// A statement behind a byte of flags: whether it could be read, and what its
/// session calls a name and a text.
pub fn statement(bytes: &[u8]) -> bool {
    let Some((&flags, text)) = bytes.split_first() else { return false };
    let text = String::from_utf8_lossy(text);
    let modes = [None, Some(0), Some(1 << 2), Some(1 << 20 | 1 << 2)];
    let query = |text: String| Query {
        database: "z".to_owned(),
        text,
        exact: flags & 1 == 0,
        // OK because there are four.
        sql_mode: modes[usize::from(flags >> 1 & 3)],
        databases: (flags & 8 != 0).then(|| vec!["other".to_owned()]),
    };
    let tables = Tables::new(&every_type());
    let meaning = tables.meaning(&query(text.to_string()));
    // A comment says nothing.
    let behind = tables.meaning(&query(format!("/* said */ {text}")));
    assert_eq!(meaning, behind, "{text}");
    !text.is_empty()
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
        assert!(events(&framed(kind::TABLE_MAP, &table_map())));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            events(&bytes);
            log(&bytes);
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
            events(&bytes);
        }
    }
}
