//! What a memory database is made of, behind its one lock: tables, the log,
//! transactions in progress, and what runs keep here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::position::Lsn;
use super::row::{Place, Row, Rows};
use crate::change::DateTime;
use crate::checkpoint::Runs;
use crate::connect::{Epoch, RunName, SequenceValue, Step, SwitchRecord};
use crate::schema::{Table, TableName};
use crate::{Error, ErrorKind, Result};

#[derive(Debug, Default)]
pub(super) struct State {
    /// Which database this is.
    pub(super) id: u64,
    /// How often the server has crashed: handles of earlier lives are dead.
    pub(super) life: u64,
    pub(super) tables: BTreeMap<TableName, Stored>,
    /// Transactions that have begun and are not visible yet.
    pub(super) active: BTreeMap<u64, Active>,
    pub(super) next_xid: u64,
    pub(super) log: VecDeque<Entry>,
    /// Where the log ends.
    pub(super) end: Lsn,
    /// Up to here a crash loses nothing.
    pub(super) flushed: Lsn,
    /// Up to here the log is forgotten.
    pub(super) trimmed: Lsn,
    /// The highest number in the log that is forgotten.
    pub(super) trimmed_xid: u64,
    /// Whether commits wait for [`flush`](super::MemoryDatabase::flush).
    pub(super) lags: bool,
    pub(super) slots: BTreeMap<RunName, Slot>,
    /// Which target each run belongs to.
    pub(super) claims: BTreeMap<RunName, String>,
    pub(super) runs: Runs,
    pub(super) switches: BTreeMap<RunName, SwitchRecord>,
    pub(super) seals: BTreeMap<TableName, Seal>,
    pub(super) holds: BTreeMap<u64, Held>,
    pub(super) sequences: BTreeMap<TableName, OwnedSequence>,
    /// Numbers slots, readers and holds.
    pub(super) serial: u64,
}

/// A table with its rows, as a SELECT sees them.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) table: Arc<Table>,
    pub(super) rows: Rows,
    pub(super) next_row: u64,
    /// How far a sink has made it; a table of the application is whole.
    pub(super) step: Step,
    /// Columns that the log leaves out of updates which do not change them.
    pub(super) toasted: BTreeSet<usize>,
}

impl Stored {
    /// Whether rows lie under their key, rather than under a number.
    pub(super) fn is_keyed(&self) -> bool {
        self.table.has_key() && self.step >= Step::Keyed
    }
}

/// A transaction in progress.
#[derive(Debug, Default)]
pub(super) struct Active {
    /// The run and epoch whose writer it is.
    pub(super) run: Option<(RunName, Epoch)>,
    /// Tables it has written to, and the rows it has locked there.
    pub(super) touched: BTreeMap<TableName, BTreeSet<Place>>,
    /// Tables it has locked whole.
    pub(super) whole: BTreeSet<TableName>,
    /// The transaction that it waits for.
    pub(super) waits_for: Option<u64>,
}

/// A committed transaction in the log.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) xid: u64,
    /// The point behind it.
    pub(super) end: Lsn,
    pub(super) time: DateTime,
    pub(super) ops: Arc<[Op]>,
    /// Whether a SELECT sees it.
    pub(super) visible: bool,
}

/// One step of a transaction, with what it takes to undo it.
#[derive(Debug)]
pub(super) enum Op {
    Row { table: Arc<Table>, toasted: BTreeSet<usize>, old: Option<(Place, Row)>, new: Option<(Place, Row)> },
    Truncate { tables: Arc<[Arc<Table>]>, rows: Vec<(TableName, Rows)> },
    Alter { old: Box<Stored>, new: Box<Stored> },
}

/// What is kept for a run's reader.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) serial: u64,
    /// Changes up to here were released.
    pub(super) released: Lsn,
    /// Who reads.
    pub(super) reader: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Seal {
    pub(super) run: RunName,
    pub(super) reason: String,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) run: RunName,
    pub(super) tables: BTreeSet<TableName>,
}

#[derive(Debug, Clone)]
pub(super) struct OwnedSequence {
    pub(super) value: SequenceValue,
    pub(super) owner: Option<(TableName, String)>,
    /// The last value that it can give.
    pub(super) end: i64,
}

impl State {
    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn stored(&self, name: &TableName) -> Result<&Stored> {
        self.tables.get(name).ok_or_else(|| no_table(name))
    }

    pub(super) fn stored_mut(&mut self, name: &TableName) -> Result<&mut Stored> {
        self.tables.get_mut(name).ok_or_else(|| no_table(name))
    }

    /// Refuses a handle of an earlier life.
    pub(super) fn alive(&self, life: u64) -> Result<()> {
        if self.life == life {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Connection, "the server went down: connect again"))
    }

    /// Appends a transaction to the log; it is not visible yet.
    pub(super) fn append(&mut self, xid: u64, ops: Vec<Op>) -> Lsn {
        self.end.0 += 1 + ops.len() as u64;
        let time = now();
        let entry = Entry { xid, end: self.end, time, ops: ops.into(), visible: false };
        self.log.push_back(entry);
        if !self.lags {
            self.flushed = self.end;
        }
        self.end
    }

    /// Lets a SELECT see a transaction that is in the log, and ends it.
    pub(super) fn show(&mut self, xid: u64) {
        if let Some(entry) = self.log.iter_mut().rev().find(|entry| entry.xid == xid && !entry.visible) {
            entry.visible = true;
            let ops = Arc::clone(&entry.ops);
            ops.iter().for_each(|op| self.redo(op));
        }
        self.active.remove(&xid);
    }

    fn redo(&mut self, op: &Op) {
        match op {
            Op::Row { table, old, new, .. } => self.replace(&table.name, old.as_ref(), new.as_ref()),
            Op::Truncate { rows, .. } => {
                for (name, _) in rows {
                    if let Some(stored) = self.tables.get_mut(name) {
                        stored.rows.clear();
                    }
                }
            }
            Op::Alter { new, .. } => {
                self.tables.insert(new.table.name.clone(), (**new).clone());
            }
        }
    }

    fn undo(&mut self, op: &Op) {
        match op {
            Op::Row { table, old, new, .. } => self.replace(&table.name, new.as_ref(), old.as_ref()),
            Op::Truncate { rows, .. } => {
                for (name, rows) in rows {
                    if let Some(stored) = self.tables.get_mut(name) {
                        stored.rows.clone_from(rows);
                    }
                }
            }
            Op::Alter { old, .. } => {
                self.tables.insert(old.table.name.clone(), (**old).clone());
            }
        }
    }

    fn replace(&mut self, name: &TableName, old: Option<&(Place, Row)>, new: Option<&(Place, Row)>) {
        let Some(stored) = self.tables.get_mut(name) else { return };
        if let Some((place, _)) = old {
            stored.rows.remove(place);
        }
        if let Some((place, row)) = new {
            stored.rows.insert(place.clone(), row.clone());
        }
    }

    /// The server goes down and comes back: what was not flushed is lost,
    /// what was in the log is there, whether it was visible or not.
    pub(super) fn crash(&mut self) {
        self.life += 1;
        self.active.clear();
        self.holds.clear();
        self.slots.values_mut().for_each(|slot| slot.reader = None);
        while let Some(entry) = self.log.back().filter(|entry| entry.end > self.flushed).cloned() {
            self.log.pop_back();
            if entry.visible {
                entry.ops.iter().rev().for_each(|op| self.undo(op));
            }
        }
        self.end = self.flushed;
        let hidden: Vec<u64> = self.log.iter().filter(|e| !e.visible).map(|e| e.xid).collect();
        hidden.into_iter().for_each(|xid| self.show(xid));
        // Numbers of lost transactions are given out again, as servers do.
        let last = self.log.iter().map(|entry| entry.xid).max().unwrap_or(0);
        self.next_xid = last.max(self.trimmed_xid) + 1;
    }

    /// Forgets the log up to a point. A transaction that no SELECT sees yet
    /// stays: it is not in the tables.
    pub(super) fn forget(&mut self, to: Lsn) {
        while let Some(entry) = self.log.front().filter(|entry| entry.end <= to && entry.visible).cloned() {
            self.log.pop_front();
            self.trimmed = entry.end;
            self.trimmed_xid = self.trimmed_xid.max(entry.xid);
        }
    }
}

fn no_table(name: &TableName) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such table").with("table", name)
}

fn now() -> DateTime {
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok());
    DateTime::from_micros(micros.unwrap_or(0))
}
