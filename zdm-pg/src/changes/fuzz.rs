//! The decoder of the log, for fuzzers.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use hashbrown::HashSet;
use zdm_core::Result;
use zdm_core::change::{Assembler, Batch, Item};
use zdm_core::schema::{Column, DataType, Key, Schema, Table, TableName};
use zdm_core::spool::{Spool, SpoolOptions};

use super::decoder::{Decoder, Step};
use super::message::StreamCommit;
use super::partitions::{Belongs, Entry, Partitions};
use crate::position::{ENGINE, Lsn};
use crate::types::ENCODING;

/// Messages of `pgoutput`, each behind its length in two bytes.
pub fn messages(bytes: &[u8]) -> bool {
    let mut reading = Reading::new();
    let (mut at, mut understood) = (0, true);
    while understood && let Some((&[high, low], rest)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk) {
        let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let message = at + 2..at + 2 + len;
        at = message.end;
        understood = reading.message(bytes, message);
    }
    reading.finish(bytes);
    understood
}

/// The log as it lies on the wire: frames, and the messages in them.
#[cfg(feature = "failpoints")]
pub fn log(bytes: &[u8]) -> bool {
    use crate::wire::{Frame, Frames};

    let mut reading = Reading::new();
    let mut frames = Frames::new(bytes);
    let mut understood = true;
    while understood && let Ok(Some(frame)) = frames.next() {
        understood = match frame {
            Frame::Data { payload, .. } => reading.message(bytes, payload),
            Frame::KeepAlive { end, .. } => {
                reading.decoder.keep_alive(end);
                true
            }
            Frame::End | Frame::Ready => false,
        };
        assert!(frames.consumed() <= bytes.len(), "a frame lies inside the buffer");
    }
    let whole = frames.consumed() == bytes.len();
    reading.finish(bytes);
    understood && whole
}

/// A stream of three tables: by a key, by the full row, and partitioned.
struct Reading {
    decoder: Decoder,
    batch: Assembler,
    whole: Whole,
}

impl Reading {
    fn new() -> Self {
        let (int8, int4, text) = (("int8", 20), ("int4", 23), ("text", 25));
        let tables = [
            table(
                1,
                "t",
                &[("id", int8), ("name", text), ("size", ("numeric", 1700))],
                Key::Columns(vec![0]),
            ),
            table(
                2,
                "f",
                &[("a", int4), ("b", ("timestamptz", 1184)), ("c", ("text[]", 1009))],
                Key::FullRow,
            ),
            table(3, "p", &[("id", int4), ("v", text)], Key::Columns(vec![0])),
        ];
        let schema = Schema { tables: tables.map(Arc::new).to_vec(), ..Schema::default() };
        // All in memory, where nothing is waited for.
        let spool = Spool::new(SpoolOptions::default().memory(usize::MAX));
        Self {
            decoder: Decoder::new(&schema, Lsn(0), 1 << 40, spool),
            batch: Assembler::new(),
            whole: Whole::default(),
        }
    }

    /// Whether there may be more.
    fn message(&mut self, bytes: &[u8], range: Range<usize>) -> bool {
        // Asked twice for one message, it would be asked for ever.
        for _ in 0..2 {
            match self.decoder.decode(bytes, range.clone(), &mut self.batch) {
                Ok(Step::Done) => return true,
                Ok(Step::LookUp) => self.decoder.learn(catalog(self.decoder.wanted().clone())),
                Ok(Step::Streamed(streamed)) => {
                    self.hand_over(bytes);
                    return self.streamed(&streamed).is_ok();
                }
                Err(_) => return false,
            }
        }
        panic!("the catalog was asked, and is asked again");
    }

    /// A streamed transaction, read back: a batch for each of its blocks.
    fn streamed(&mut self, streamed: &StreamCommit) -> Result<()> {
        let mut records = self.decoder.begin_streamed(streamed)?;
        while let Some(mut block) = records.next().now_or_never().expect("it lies in memory")? {
            while let Some(record) = block.next()? {
                let mut asked = 0;
                while self.decoder.decode_kept(block.bytes(), record.clone(), &mut self.batch)?
                    == Step::LookUp
                {
                    self.decoder.learn(catalog(self.decoder.wanted().clone()));
                    asked += 1;
                    assert!(asked < 2, "the catalog was asked, and is asked again");
                }
            }
            self.hand_over(&block.bytes().clone());
        }
        self.decoder.end_streamed(streamed, &mut self.batch)
    }

    fn hand_over(&mut self, bytes: &[u8]) {
        // What was decoded before an error is whole.
        let batch = std::mem::take(&mut self.batch);
        let batch = batch.finish(Bytes::copy_from_slice(bytes), Arc::clone(&ENCODING), None);
        self.whole.look(&batch.expect("what was decoded is a batch"));
    }

    fn finish(mut self, bytes: &[u8]) {
        self.decoder.settle(&mut self.batch);
        self.hand_over(bytes);
    }
}

fn table(oid: u32, name: &str, columns: &[(&str, (&str, u32))], key: Key) -> Table {
    let columns = columns
        .iter()
        .map(|(name, (native, oid))| Column::new(*name, DataType::Native).native(*native, *oid));
    let mut table = Table::new(ENGINE, TableName::new("public", name), columns.collect(), key);
    table.origin.id = oid;
    table
}

/// The one partition of `p`.
fn catalog(wanted: HashSet<u32>) -> Partitions {
    Partitions::new([Entry { relation: 4, belongs: Belongs::To(3), leaf: true }], wanted)
}

/// Items in the order that [`Item`] promises, cells inside the buffer.
#[derive(Default)]
struct Whole {
    open: bool,
    reached: Lsn,
}

impl Whole {
    fn look(&mut self, batch: &Batch) {
        let Self { open, reached } = self;
        for item in batch.items() {
            match item {
                Item::Begin(_) => assert!(!std::mem::replace(open, true), "a begin within a transaction"),
                Item::Commit(_) => assert!(std::mem::replace(open, false), "a commit without a begin"),
                Item::Idle { .. } => assert!(!*open, "an idle point within a transaction"),
                Item::Truncate { tables } => assert!(*open && !tables.is_empty(), "a TRUNCATE of something"),
                Item::Rows(run) => {
                    assert!(*open && !run.is_empty(), "rows of a transaction");
                    for row in batch.rows_of(run) {
                        let images = [row.before(), row.after()];
                        // A cell that is not of its type is an error, and not a panic.
                        images
                            .iter()
                            .flatten()
                            .flat_map(|image| image.cells())
                            .for_each(|cell| drop(cell.value()));
                    }
                }
                other => panic!("{other:?}"),
            }
            if let Some(position) = item.position() {
                let at = Lsn::of(position).expect("a position is one of ours");
                assert!(at >= *reached, "{at} comes behind {reached}");
                *reached = at;
            }
        }
    }
}
