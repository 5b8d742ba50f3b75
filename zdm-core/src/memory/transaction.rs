//! Transactions: statements that lock the rows they change, and a commit that
//! puts them into the log and then lets readers see them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::MemoryDatabase;
use super::constraints;
use super::faults::Point;
use super::row::{self, Place, Row, Rows};
use super::state::{Op, State};
use crate::change::Value;
use crate::connect::RunName;
use crate::schema::{Table, TableName};
use crate::{Error, ErrorKind, Result};

/// A transaction of an application (or of a writer) in a [`MemoryDatabase`].
///
/// Rows that it changes are locked until it ends; who wants them waits, and a
/// circle of waiters is an error for the one who closes it. It reads what is
/// committed, and its own changes. Dropped before its commit it is rolled
/// back; dropped within, the commit happens.
#[derive(Debug)]
pub struct MemoryTransaction {
    db: MemoryDatabase,
    xid: u64,
    life: u64,
    run: Option<RunName>,
    ops: Vec<Op>,
    overlays: BTreeMap<TableName, Overlay>,
    ended: bool,
}

/// What a transaction has made of a table.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// The rows below are gone.
    pub(super) truncated: bool,
    /// Rows by place; `None` for one that is deleted.
    pub(super) rows: BTreeMap<Place, Option<Row>>,
}

impl Overlay {
    /// The row at a place, over the rows below.
    pub(super) fn at<'a>(&'a self, below: &'a Rows, place: &Place) -> Option<&'a Row> {
        match self.rows.get(place) {
            Some(row) => row.as_ref(),
            None if self.truncated => None,
            None => below.get(place),
        }
    }

    /// All rows, over the rows below.
    pub(super) fn all<'a>(&'a self, below: &'a Rows) -> impl Iterator<Item = (&'a Place, &'a Row)> {
        let below = (!self.truncated).then_some(below).into_iter().flatten();
        let below = below.filter(|(place, _)| !self.rows.contains_key(*place));
        below.chain(self.rows.iter().filter_map(|(place, row)| Some((place, row.as_ref()?))))
    }
}

/// What a statement locks.
enum Lock<'a> {
    Table,
    Row(&'a Place),
    Whole,
}

impl MemoryTransaction {
    pub(super) fn new(db: MemoryDatabase, xid: u64, life: u64, run: Option<RunName>) -> Self {
        Self { db, xid, life, run, ops: Vec::new(), overlays: BTreeMap::new(), ended: false }
    }

    /// Inserts a row.
    ///
    /// # Errors
    /// `Rejected` if its key is taken or it does not fit the table's shape;
    /// `Permission` if the table is sealed.
    pub async fn insert(&mut self, table: &TableName, row: Row) -> Result<()> {
        self.lock(table, Lock::Table).await?;
        let (shape, place) = self.with(table, |stored, _| {
            check_shape(&stored.table, &row)?;
            let place = if stored.is_keyed() {
                row::place(&stored.table, &row)?
            } else {
                stored.next_row += 1;
                row::numbered(stored.next_row)
            };
            Ok((Arc::clone(&stored.table), place))
        })?;
        self.lock(table, Lock::Row(&place)).await?;
        if self.at(table, &place)?.is_some() {
            return Err(taken(&shape, &row));
        }
        self.change(table, None, Some((place, row)))
    }

    /// Updates the row with that key (for a table with no key: one row that
    /// equals `key` in all cells). Gives whether there was one.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub async fn update(
        &mut self,
        table: &TableName,
        key: &[Value<'static>],
        change: impl FnOnce(&mut Row) + Send,
    ) -> Result<bool> {
        let Some((place, old)) = self.find(table, key).await? else { return Ok(false) };
        let mut new = old.clone();
        change(&mut new);
        let (shape, to) = self.with(table, |stored, _| {
            check_shape(&stored.table, &new)?;
            let to = if stored.is_keyed() { row::place(&stored.table, &new)? } else { place.clone() };
            Ok((Arc::clone(&stored.table), to))
        })?;
        if to != place {
            self.lock(table, Lock::Row(&to)).await?;
            if self.at(table, &to)?.is_some() {
                return Err(taken(&shape, &new));
            }
        }
        self.change(table, Some((place, old)), Some((to, new)))?;
        Ok(true)
    }

    /// Deletes the row with that key (for a table with no key: one row that
    /// equals `key` in all cells). Gives whether there was one.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub async fn delete(&mut self, table: &TableName, key: &[Value<'static>]) -> Result<bool> {
        let Some(found) = self.find(table, key).await? else { return Ok(false) };
        self.change(table, Some(found), None)?;
        Ok(true)
    }

    /// Empties tables, in one step. Waits for other writers of them.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub async fn truncate(&mut self, tables: &[TableName]) -> Result<()> {
        for table in tables {
            self.lock(table, Lock::Whole).await?;
        }
        let mut shapes = Vec::with_capacity(tables.len());
        let mut rows = Vec::with_capacity(tables.len());
        for table in tables {
            shapes.push(self.with(table, |stored, overlay| {
                let all =
                    overlay.all(&stored.rows).map(|(place, row)| (place.clone(), row.clone())).collect();
                rows.push((table.clone(), all));
                *overlay = Overlay { truncated: true, rows: BTreeMap::new() };
                Ok(Arc::clone(&stored.table))
            })?);
        }
        self.ops.push(Op::Truncate { tables: shapes.into(), rows });
        Ok(())
    }

    /// Puts the transaction into the log and lets readers see it.
    ///
    /// # Errors
    /// `Rejected` when a unique or foreign key does not hold; `Connection`
    /// when the server went down, and then the outcome is unknown if the
    /// commit had begun.
    pub async fn commit(mut self) -> Result<()> {
        self.log(|_| Ok(()))?;
        let outcome = self.db.hit(Point::Show).await;
        self.show()?;
        outcome?.answer(())
    }

    /// Puts the transaction into the log, where the stream finds it, while no
    /// SELECT sees it yet: PostgreSQL that waits for a synchronous standby.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_unseen(mut self) -> Result<Unseen> {
        self.log(|_| Ok(()))?;
        Ok(Unseen(self))
    }

    /// Takes all of it back.
    pub fn rollback(self) {}

    /// Appends to the log after `also` agreed, all in one step.
    pub(super) fn log(&mut self, also: impl FnOnce(&mut State) -> Result<()>) -> Result<()> {
        let db = self.db.clone();
        let mut state = db.lock();
        self.alive(&state)?;
        constraints::check(&state, &self.overlays)?;
        also(&mut state)?;
        self.ended = true;
        if self.ops.is_empty() {
            state.active.remove(&self.xid);
        } else {
            state.append(self.xid, std::mem::take(&mut self.ops));
        }
        drop(state);
        db.notify();
        Ok(())
    }

    /// Ends a transaction that is in the log.
    pub(super) fn show(&mut self) -> Result<()> {
        let mut state = self.db.lock();
        state.alive(self.life)?;
        state.show(self.xid);
        drop(state);
        self.db.notify();
        Ok(())
    }

    pub(super) fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    pub(super) async fn lock_whole(&mut self, table: &TableName) -> Result<()> {
        self.lock(table, Lock::Whole).await
    }

    pub(super) async fn lock_row(&mut self, table: &TableName, place: &Place) -> Result<()> {
        self.lock(table, Lock::Row(place)).await
    }

    /// The row at a place, as this transaction sees it.
    pub(super) fn at(&mut self, table: &TableName, place: &Place) -> Result<Option<Row>> {
        self.with(table, |stored, overlay| Ok(overlay.at(&stored.rows, place).cloned()))
    }

    /// Replaces a row whose places are locked.
    pub(super) fn change(
        &mut self,
        table: &TableName,
        old: Option<(Place, Row)>,
        new: Option<(Place, Row)>,
    ) -> Result<()> {
        let op = self.with(table, |stored, overlay| {
            if let Some((place, _)) = &old {
                overlay.rows.insert(place.clone(), None);
            }
            if let Some((place, row)) = &new {
                overlay.rows.insert(place.clone(), Some(row.clone()));
            }
            Ok(Op::Row { table: Arc::clone(&stored.table), toasted: stored.toasted.clone(), old, new })
        })?;
        self.ops.push(op);
        Ok(())
    }

    /// Finds and locks the row of a key.
    pub(super) async fn find(
        &mut self,
        table: &TableName,
        key: &[Value<'static>],
    ) -> Result<Option<(Place, Row)>> {
        self.lock(table, Lock::Table).await?;
        loop {
            let found = self.with(table, |stored, overlay| {
                if stored.is_keyed() {
                    let mut place = Place::new();
                    key.iter().for_each(|value| row::order(value, &mut place));
                    return Ok(overlay.at(&stored.rows, &place).is_some().then_some(place));
                }
                Ok(overlay
                    .all(&stored.rows)
                    .find(|(_, row)| row.as_slice() == key)
                    .map(|(place, _)| place.clone()))
            })?;
            let Some(place) = found else { return Ok(None) };
            self.lock(table, Lock::Row(&place)).await?;
            // While we waited the row may have changed.
            let Some(row) = self.at(table, &place)? else { continue };
            let keyed = self.with(table, |stored, _| Ok(stored.is_keyed()))?;
            if keyed || row == key {
                return Ok(Some((place, row)));
            }
        }
    }

    /// Looks at a table and what we made of it.
    pub(super) fn with<T>(
        &mut self,
        table: &TableName,
        look: impl FnOnce(&mut super::state::Stored, &mut Overlay) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.db.lock();
        self.alive(&state)?;
        let stored = state.stored_mut(table)?;
        look(stored, self.overlays.entry(table.clone()).or_default())
    }

    fn alive(&self, state: &State) -> Result<()> {
        state.alive(self.life)?;
        if state.active.contains_key(&self.xid) && !self.ended {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Fenced, "this transaction was ended by the process that took the run over"))
    }

    /// Waits until a lock can be had, and takes it.
    async fn lock(&self, table: &TableName, lock: Lock<'_>) -> Result<()> {
        let db = self.db.clone();
        db.until(|state| {
            self.alive(state)?;
            state.stored(table)?;
            self.check_seal(state, table)?;
            let blocker = self.blocker(state, table, &lock);
            if let Some(Blocker::Transaction(other)) = blocker {
                check_circle(state, self.xid, other)?;
            }
            let Some(ours) = state.active.get_mut(&self.xid) else { return Ok(None) };
            ours.waits_for = match blocker {
                Some(Blocker::Transaction(other)) => Some(other),
                _ => None,
            };
            if blocker.is_some() {
                return Ok(None);
            }
            let rows = ours.touched.entry(table.clone()).or_default();
            match lock {
                Lock::Row(place) => _ = rows.insert(place.clone()),
                Lock::Whole => _ = ours.whole.insert(table.clone()),
                Lock::Table => {}
            }
            Ok(Some(()))
        })
        .await
    }

    /// Who must end before we may have it.
    fn blocker(&self, state: &State, table: &TableName, lock: &Lock<'_>) -> Option<Blocker> {
        let inside = state.active.get(&self.xid).is_some_and(|ours| ours.touched.contains_key(table));
        let held = |hold: &super::state::Held| {
            hold.tables.contains(table) && self.run.as_ref().is_none_or(|run| run.pair() != hold.run.pair())
        };
        if !inside && state.holds.values().any(held) {
            return Some(Blocker::Hold);
        }
        let mut others = state.active.iter().filter(|(xid, _)| **xid != self.xid);
        let blocks = |other: &super::state::Active| {
            other.whole.contains(table)
                || match lock {
                    Lock::Table => false,
                    Lock::Row(place) => other.touched.get(table).is_some_and(|rows| rows.contains(*place)),
                    Lock::Whole => other.touched.contains_key(table),
                }
        };
        others.find(|(_, other)| blocks(other)).map(|(xid, _)| Blocker::Transaction(*xid))
    }

    fn check_seal(&self, state: &State, table: &TableName) -> Result<()> {
        match state.seals.get(table) {
            Some(seal) if self.run.as_ref().is_none_or(|run| run.pair() != seal.run.pair()) => {
                Err(Error::new(ErrorKind::Permission, seal.reason.clone()).with("table", table))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum Blocker {
    Hold,
    Transaction(u64),
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        let mut state = self.db.lock();
        if state.life == self.life && state.active.contains_key(&self.xid) {
            if self.ended {
                state.show(self.xid);
            } else {
                state.active.remove(&self.xid);
            }
            drop(state);
            self.db.notify();
        }
    }
}

/// A transaction that the stream has and no SELECT sees.
#[derive(Debug)]
pub struct Unseen(MemoryTransaction);

impl Unseen {
    /// Lets readers see it. A drop does the same.
    pub fn show(self) {
        drop(self.0);
    }
}

/// Refuses a row that does not fit.
pub(super) fn check_shape(table: &Table, row: &[Value<'_>]) -> Result<()> {
    if row.len() != table.columns.len() {
        return Err(Error::new(ErrorKind::Rejected, "the row has not one value for each column")
            .with("table", &table.name)
            .with("columns", table.columns.len())
            .with("values", row.len()));
    }
    let null = table.columns.iter().zip(row).find(|(column, value)| !column.nullable && value.is_null());
    match null {
        None => Ok(()),
        Some((column, _)) => Err(Error::new(ErrorKind::Rejected, "a column that is never null would be")
            .with("table", &table.name)
            .with("column", &column.name)),
    }
}

/// The key of a row is in the table already.
pub(super) fn taken(table: &Table, row: &[Value<'_>]) -> Error {
    Error::new(ErrorKind::Rejected, "there is a row with this key already")
        .with("table", &table.name)
        .with("key", show_key(table, row))
}

/// A row's key (or all of it) for an error.
pub(super) fn show_key(table: &Table, row: &[Value<'_>]) -> String {
    let all: Vec<usize> = (0..row.len()).collect();
    let columns = if table.has_key() { table.key_columns() } else { &all };
    let shown =
        columns.iter().filter_map(|c| Some(format!("{}={}", table.columns.get(*c)?.name, row.get(*c)?)));
    shown.collect::<Vec<_>>().join(" ")
}

fn check_circle(state: &State, ours: u64, other: u64) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut next = Some(other);
    while let Some(xid) = next.filter(|xid| seen.insert(*xid)) {
        if xid == ours {
            return Err(Error::new(ErrorKind::Conflict, "deadlock: two transactions wait for each other")
                .retryable(true));
        }
        next = state.active.get(&xid).and_then(|active| active.waits_for);
    }
    Ok(())
}
