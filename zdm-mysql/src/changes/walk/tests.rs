//! Logs in which rows are taken back behind them, handed over in batches of
//! every length.

use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;
use zdm_core::ErrorKind;
use zdm_core::change::Op;

use super::super::event::{HEADER, kind};
use super::super::offline::{event_of, every_type};
use super::*;
use crate::types::ENCODING;

/// What an application does, as its server logs it.
#[derive(Debug, Clone)]
enum Step {
    /// So many rows of ours.
    Rows(u8),
    /// A row of a table that is none of ours.
    Other,
    Savepoint(u8),
    RollbackTo(u8),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    Rollback,
    /// The server crashed.
    CutOff,
}

fn steps() -> impl Strategy<Value = Vec<(Vec<Step>, End)>> {
    let step = prop_oneof![
        4 => (1..4_u8).prop_map(Step::Rows),
        1 => Just(Step::Other),
        2 => (0..3_u8).prop_map(Step::Savepoint),
        2 => (0..3_u8).prop_map(Step::RollbackTo),
    ];
    let end = prop_oneof![3 => Just(End::Commit), 2 => Just(End::Rollback), 1 => Just(End::CutOff)];
    prop::collection::vec((prop::collection::vec(step, 0..12), end), 1..6)
}

/// A log and the rows that count.
#[derive(Default)]
struct Log {
    events: Vec<Vec<u8>>,
    counts: Vec<i32>,
    at: u32,
    id: i32,
}

impl Log {
    fn of(transactions: &[(Vec<Step>, End)]) -> Self {
        let mut log = Self { at: 4, ..Self::default() };
        log.rotate(1);
        for (number, (steps, end)) in (6_u64..).zip(transactions) {
            log.transaction(number, steps, *end);
        }
        log
    }

    fn event(&mut self, kind: u8, body: &[u8]) {
        self.at += u32::try_from(HEADER + body.len()).unwrap();
        self.events.push(event_of(kind, body, self.at));
    }

    fn rotate(&mut self, file: u32) {
        let body = [&4_u64.to_le_bytes()[..], format!("binlog.{file:06}").as_bytes()].concat();
        self.events.push(event_of(kind::ROTATE, &body, 0));
        self.at = 4;
    }

    fn query(&mut self, text: &str) {
        let body = [&[0; 8][..], &[0, 0, 0, 0, 0, 0], text.as_bytes()].concat();
        self.event(kind::QUERY, &body);
    }

    fn transaction(&mut self, number: u64, steps: &[Step], end: End) {
        let gtid = [&number.to_le_bytes()[..], &[0; 4], &[12], &[0; 6]].concat();
        self.event(kind::MARIA_GTID, &gtid);
        let mut rows: Vec<i32> = Vec::new();
        let mut savepoints: Vec<(u8, usize)> = Vec::new();
        for step in steps {
            match *step {
                Step::Rows(count) => {
                    for _ in 0..count {
                        self.id += 1;
                        rows.push(self.id);
                        self.row(b'm');
                    }
                }
                Step::Other => self.row(b'x'),
                Step::Savepoint(name) => {
                    savepoints.retain(|(known, _)| *known != name);
                    savepoints.push((name, rows.len()));
                    self.query(&format!("SAVEPOINT `s{name}`"));
                }
                Step::RollbackTo(name) => {
                    let Some(at) = savepoints.iter().position(|(known, _)| *known == name) else { continue };
                    savepoints.truncate(at + 1);
                    rows.truncate(savepoints[at].1);
                    self.query(&format!("ROLLBACK TO `S{name}`"));
                }
            }
        }
        match end {
            End::Commit => {
                self.event(kind::XID, &[0; 8]);
                self.counts.extend(rows);
            }
            End::Rollback => self.query("ROLLBACK"),
            End::CutOff => self.rotate(u32::try_from(number).unwrap()),
        }
    }

    /// A row of `z.m`, or of another table of its shape.
    fn row(&mut self, table: u8) {
        let head = [table, 0, 0, 0, 0, 0, 1, 0];
        let map = [&head[..], &[1, b'z', 0, 1, table, 0, 2, 3, 252, 1, 4, 3]].concat();
        self.event(kind::TABLE_MAP, &map);
        let id = self.id.to_le_bytes();
        let row = [&head[..], &[2, 3, 0], &id, &[1, 0, 0, 0, b'a']].concat();
        self.event(kind::WRITE_ROWS_V1, &row);
    }

    /// What a reader is given that hands over after some events: within a
    /// transaction where `full` says so, else between two.
    fn read(&self, undone: &Undone, full: &mut impl FnMut() -> bool) -> Result<Vec<i32>> {
        let from = "0-1-5@1/binlog.000001:4".parse().unwrap();
        let mut walk = Walk::new(&every_type(), &from, 1, false, 1 << 16, undone.clone());
        let (mut batch, mut own) = (Assembler::new(), BytesMut::new());
        let (mut all, mut open) = (Vec::new(), None);
        for event in &self.events {
            let start = own.len();
            own.extend_from_slice(event);
            let then = walk.event(&own, start..own.len(), From::Log, &mut batch);
            let is_full = full();
            if then.is_ok() && (!is_full && walk.is_within() || !walk.has_news(&batch)) {
                continue;
            }
            walk.settle(&mut batch);
            walk.handed_over();
            let native = std::mem::take(&mut own).freeze();
            let whole = std::mem::take(&mut batch).finish(native, Arc::clone(&ENCODING), None).unwrap();
            for item in whole.items() {
                match item {
                    Item::Begin(_) => assert!(open.replace(Vec::new()).is_none()),
                    Item::Commit(_) => all.extend(open.take().unwrap()),
                    Item::Idle { .. } => assert!(open.is_none()),
                    Item::Rows(run) => {
                        assert_eq!(run.op, Op::Insert);
                        let ids = whole.rows_of(run).map(|row| row.after().unwrap().cell(0).value().unwrap());
                        let open = open.as_mut().unwrap();
                        open.extend(ids.map(|id| id.to_string().parse::<i32>().unwrap()));
                    }
                    other => panic!("{other:?}"),
                }
            }
            then?;
        }
        assert!(open.is_none() && batch.is_empty());
        Ok(all)
    }
}

proptest! {
    #[test]
    fn what_is_taken_back_is_left_out(transactions in steps(), full in prop::collection::vec(any::<bool>(), 1..60)) {
        let log = Log::of(&transactions);
        let (undone, mut full) = (Undone::default(), full.into_iter().cycle());
        let mut next = || full.next().unwrap_or_default();
        let mut reads = 0;
        let rows = loop {
            match log.read(&undone, &mut next) {
                Ok(rows) => break rows,
                Err(error) => prop_assert!(error.kind() == ErrorKind::Connection && error.is_retryable(), "{}", error),
            }
            // Each of them teaches about one transaction all there is to know.
            reads += 1;
            prop_assert!(reads <= transactions.len());
        };
        prop_assert_eq!(rows, log.counts);
    }
}

#[test]
fn what_fits_a_batch_is_read_once() {
    let steps = vec![Step::Rows(3), Step::Savepoint(0), Step::Rows(2), Step::RollbackTo(0), Step::Rows(1)];
    let log = Log::of(&[
        (steps.clone(), End::Rollback),
        (steps.clone(), End::Commit),
        (steps, End::CutOff),
        (vec![Step::Rows(1)], End::Commit),
    ]);
    assert_eq!(log.read(&Undone::default(), &mut || false).unwrap(), [7, 8, 9, 12, 19]);
}

#[test]
fn a_savepoint_that_is_not_told_apart_stops_where_it_matters() {
    for (saved, name, rows, stops) in
        [("é", "É", 1, true), ("é", "É", 0, false), ("é", "é", 1, false), ("a", "A", 1, false)]
    {
        let mut log = Log { at: 4, ..Log::default() };
        log.rotate(1);
        log.transaction(6, &[], End::Commit);
        log.events.pop();
        log.query(&format!("SAVEPOINT `{saved}`"));
        (0..rows).for_each(|_| log.row(b'm'));
        log.query(&format!("ROLLBACK TO `{name}`"));
        log.event(kind::XID, &[0; 8]);
        let read = log.read(&Undone::default(), &mut || false);
        assert_eq!(read.is_err(), stops, "{name}");
        if let Err(error) = read {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    }
}
