//! The database itself: tables, transactions, and the levers that tests pull.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use smol_str::format_smolstr;
use tokio::sync::watch;
use tokio::time::Instant;

use super::faults::{Faults, Point};
use super::position::Lsn;
use super::row::Row;
use super::state::{Active, Op, OwnedSequence, State, Stored};
use super::{MemorySink, MemorySource, MemoryTransaction};
use crate::connect::{Epoch, RunName, SequenceValue, Step};
use crate::schema::{Table, TableName};
use crate::{Error, ErrorKind, Position, Result};

/// A database in memory. A handle: clones are the same database.
///
/// See [the module](super) for an example.
#[derive(Debug, Clone)]
pub struct MemoryDatabase {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    faults: Faults,
    /// When its clock began, which then goes with the runtime's: it stands
    /// still and leaps where a test's time does.
    born: (SystemTime, Instant),
}

impl Default for MemoryDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDatabase {
    /// A database with no tables, unlike every other.
    pub fn new() -> Self {
        let state = State { id: fastrand::u64(..), next_xid: 1, ..State::default() };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: watch::Sender::new(0),
            faults: Faults::default(),
            born: (SystemTime::now(), Instant::now()),
        }
    }

    /// This database as a source.
    pub fn source(&self) -> MemorySource {
        MemorySource::new(self.clone())
    }

    /// This database as a sink.
    pub fn sink(&self) -> MemorySink {
        MemorySink::new(self.clone())
    }

    /// What its clock says.
    pub(super) fn clock(&self) -> SystemTime {
        self.born.0 + self.born.1.elapsed()
    }

    /// What makes its calls fail.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Creates a table with its key, as an application does.
    ///
    /// # Errors
    /// `Conflict` if there is one of that name.
    pub fn create_table(&self, table: Table) -> Result<()> {
        let mut state = self.lock();
        if state.tables.contains_key(&table.name) {
            return Err(
                Error::new(ErrorKind::Conflict, "there is a table of that name").with("table", &table.name)
            );
        }
        let mut table = table;
        table.origin.name = table.name.clone();
        table.origin.fingerprint = format!("{}:1", state.serial());
        let stored = Stored {
            table: Arc::new(table),
            rows: super::row::Rows::new(),
            next_row: 0,
            step: Step::Validated,
            toasted: std::collections::BTreeSet::new(),
        };
        state.tables.insert(stored.table.name.clone(), stored);
        Ok(())
    }

    /// From now on updates that do not change these columns leave them out of
    /// the log, as PostgreSQL does with TOASTed values.
    ///
    /// # Errors
    /// `NotFound` if there is no such table or column.
    pub fn set_toasted(&self, table: &TableName, columns: &[&str]) -> Result<()> {
        let mut state = self.lock();
        let stored = state.stored_mut(table)?;
        stored.toasted = columns
            .iter()
            .map(|column| {
                stored.table.position(column).ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, "there is no such column").with("column", column)
                })
            })
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// Creates a sequence that gives 1 first, and at most `end`.
    pub fn create_sequence(&self, name: TableName, owner: Option<(TableName, String)>, end: i64) {
        let value = SequenceValue { name: name.clone(), last: 1, called: false, increment: 1 };
        self.lock().sequences.insert(name, OwnedSequence { value, owner, end });
    }

    /// The next value of a sequence. No transaction takes it back.
    ///
    /// # Errors
    /// `NotFound` if there is no such sequence; `Rejected` behind its end.
    pub fn next_value(&self, name: &TableName) -> Result<i64> {
        let mut state = self.lock();
        let sequence = state.sequences.get_mut(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such sequence").with("sequence", name)
        })?;
        let SequenceValue { last, called, increment, .. } = &mut sequence.value;
        let next = if *called { last.checked_add(*increment) } else { Some(*last) };
        let next = next.filter(|next| *next <= sequence.end).ok_or_else(|| {
            Error::new(ErrorKind::Rejected, "the sequence has reached its end").with("sequence", name)
        })?;
        (*last, *called) = (next, true);
        Ok(next)
    }

    /// Begins a transaction of the application.
    pub fn begin(&self) -> MemoryTransaction {
        self.begin_as(None)
    }

    pub(crate) fn begin_as(&self, run: Option<(RunName, Epoch)>) -> MemoryTransaction {
        let mut state = self.lock();
        let xid = state.next_xid;
        state.next_xid += 1;
        state.active.insert(xid, Active { run: run.clone(), ..Active::default() });
        let life = state.life;
        drop(state);
        MemoryTransaction::new(self.clone(), xid, life, run.map(|(run, _)| run))
    }

    /// The rows of a table that a SELECT sees now, in the order of their key
    /// (of their arrival where there is none).
    ///
    /// # Errors
    /// `NotFound` if there is no such table.
    pub fn rows(&self, table: &TableName) -> Result<Vec<Row>> {
        Ok(self.lock().stored(table)?.rows.values().cloned().collect())
    }

    /// The shape of a table now.
    ///
    /// # Errors
    /// `NotFound` if there is no such table.
    pub fn table(&self, name: &TableName) -> Result<Arc<Table>> {
        Ok(Arc::clone(&self.lock().stored(name)?.table))
    }

    /// Changes the shape of a table, in a transaction of its own: `table` is
    /// its new shape under the old name, `map` makes new rows of old ones.
    /// Waits for writers of the table.
    ///
    /// # Errors
    /// `NotFound` if there is no such table; `Rejected` when the new rows
    /// do not fit the new shape.
    pub async fn alter(&self, table: Table, map: impl Fn(&Row) -> Row + Send + Sync) -> Result<()> {
        let mut transaction = self.begin();
        transaction.lock_whole(&table.name).await?;
        let op = {
            let mut state = self.lock();
            let serial = state.serial();
            let old = state.stored(&table.name)?.clone();
            let mut table = table;
            table.origin.name = table.name.clone();
            table.origin.fingerprint = format!("{serial}:1");
            let mut new = Stored { table: Arc::new(table), rows: super::row::Rows::new(), ..old.clone() };
            new.toasted.clear();
            for (place, row) in &old.rows {
                let row = map(row);
                super::transaction::check_shape(&new.table, &row)?;
                let place = if new.is_keyed() { super::row::place(&new.table, &row)? } else { place.clone() };
                if new.rows.insert(place, row).is_some() {
                    return Err(Error::new(ErrorKind::Rejected, "two rows have the same new key")
                        .with("table", &new.table.name));
                }
            }
            Op::Alter { old: Box::new(old), new: Box::new(new) }
        };
        transaction.push(op);
        transaction.commit().await
    }

    /// Where the log ends.
    pub fn head(&self) -> Position {
        self.lock().end.into()
    }

    /// With `true`, commits are visible before they are flushed, and the log
    /// is flushed only by [`flush`](Self::flush): `synchronous_commit = off`.
    pub fn set_flush_lags(&self, lags: bool) {
        self.lock().lags = lags;
        if !lags {
            self.flush();
        }
    }

    /// Makes the log so far safe from a crash.
    pub fn flush(&self) {
        let mut state = self.lock();
        state.flushed = state.end;
        drop(state);
        self.notify();
    }

    /// Forgets the log that every slot has released.
    pub fn trim(&self) {
        let to = {
            let state = self.lock();
            state.slots.values().map(|slot| slot.released).min().unwrap_or(state.flushed)
        };
        self.forget(to);
    }

    /// Forgets all of the flushed log, released or not: a binlog that
    /// expired, a slot that was invalidated.
    pub fn purge(&self) {
        let to = self.lock().flushed;
        self.forget(to);
    }

    fn forget(&self, to: Lsn) {
        self.lock().forget(to);
        self.notify();
    }

    /// The server goes down and comes back at once. Transactions in progress
    /// are gone, so is what was not flushed; every connection is cut.
    pub fn crash(&self) {
        self.lock().crash();
        self.notify();
    }

    /// Cuts the sessions that hold writers out, as an administrator may.
    pub fn drop_holds(&self) {
        self.lock().holds.clear();
        self.notify();
    }

    /// Becomes another database with the same content, as one that was
    /// restored from a backup.
    pub fn restore_elsewhere(&self) {
        let mut state = self.lock();
        state.id = fastrand::u64(..);
        state.slots.clear();
        drop(state);
        self.notify();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // OK because a panic inside the lock can only come from a bug of this
        // engine, and then a test has already failed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait for something to happen.
    pub(super) fn notify(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) async fn hit(&self, point: Point) -> Result<super::faults::Outcome> {
        self.faults.hit(point).await
    }

    /// Waits until `test` gives something.
    pub(super) async fn until<T>(
        &self,
        mut test: impl FnMut(&mut State) -> Result<Option<T>> + Send,
    ) -> Result<T> {
        let mut changed = self.watch();
        loop {
            changed.mark_unchanged();
            if let Some(found) = test(&mut self.lock())? {
                return Ok(found);
            }
            // OK because `self` holds the sender: it is never closed.
            let _ = changed.changed().await;
        }
    }

    /// The same, for at most that long; `None` then.
    pub(super) async fn until_within<T>(
        &self,
        patience: Duration,
        test: impl FnMut(&mut State) -> Result<Option<T>> + Send,
    ) -> Result<Option<T>> {
        match tokio::time::timeout(patience, self.until(test)).await {
            Ok(found) => found.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The facts that make it this database.
    pub(super) fn facts(&self) -> crate::Identity {
        crate::Identity::new(super::position::ENGINE)
            .with("database", format_smolstr!("{:016x}", self.lock().id))
    }
}
