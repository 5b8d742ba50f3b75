//! A writer of a memory database: each change in order, idempotently, inside
//! one transaction with its progress.

use std::sync::Arc;

use async_trait::async_trait;

use super::faults::{Point, Safeguard};
use super::prepare::check_columns;
use super::row::{self, Partial, Place, Row};
use super::transaction::{check_shape, show_key};
use super::{MemoryDatabase, MemoryTransaction};
use crate::change::{Batch, BatchBuilder, Field, Item, Op, RowRef, Run, Value};
use crate::connect::{Epoch, Progress, Purpose, Writer, WriterOptions};
use crate::schema::{Key, Table};
use crate::{Error, ErrorKind, Result};

/// Writes to a [`MemoryDatabase`].
///
/// It does what a writer must do in the simplest way: one change after the
/// other. A connector for a server groups and coalesces them, and must end in
/// the same rows.
pub(super) struct MemoryWriter {
    db: MemoryDatabase,
    options: WriterOptions,
    transaction: Option<MemoryTransaction>,
    /// An error has spent it.
    spent: bool,
}

impl MemoryWriter {
    pub(super) fn open(db: &MemoryDatabase, options: WriterOptions) -> Result<Self> {
        db.lock().runs.change(&options.run, |state| state.owned_by(options.epoch))?;
        Ok(Self { db: db.clone(), options, transaction: None, spent: false })
    }

    /// The open transaction, begun with its first change.
    fn transaction(&mut self) -> &mut MemoryTransaction {
        let run = (self.options.run.clone(), self.options.epoch);
        self.transaction.get_or_insert_with(|| self.db.begin_as(Some(run)))
    }

    fn begin_use(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.spent, true) {
            return Err(Error::new(ErrorKind::Other, "this writer failed before: open another"));
        }
        Ok(())
    }

    async fn item(&mut self, batch: &Batch, item: &Item) -> Result<()> {
        match item {
            Item::Rows(run) => self.rows(batch, run).await,
            Item::Truncate { tables } => {
                let names: Vec<_> = tables.iter().map(|table| table.name.clone()).collect();
                self.transaction().truncate(&names).await
            }
            Item::Schema { new, .. } => {
                let stored = Arc::clone(&self.db.lock().stored(&new.name)?.table);
                check_columns(&stored, new).map_err(|_| {
                    Error::new(
                        ErrorKind::SchemaChanged,
                        "the table's shape changed at the source: start the run anew",
                    )
                    .with("table", &new.name)
                })
            }
            // Boundaries inside a target transaction change nothing.
            Item::Begin(_) | Item::Commit(_) | Item::Idle { .. } => Ok(()),
        }
    }

    async fn rows(&mut self, batch: &Batch, run: &Run) -> Result<()> {
        let table = &run.table;
        {
            let stored = Arc::clone(&self.db.lock().stored(&table.name)?.table);
            check_columns(&stored, table)?;
        }
        for change in batch.rows_of(run) {
            match (self.options.purpose, change.op(), &table.key) {
                (Purpose::Load, Op::Insert, _) => {
                    let row = whole(table, after(change)?)?;
                    self.transaction().insert(&table.name, row).await?;
                }
                (Purpose::Load, ..) => {
                    return Err(Error::new(ErrorKind::Config, "a chunk holds inserts and nothing else"));
                }
                (Purpose::Apply, op, Key::Columns(_)) => {
                    let (old, new) = (before(change)?, change.after().map(row::partial).transpose()?);
                    match (op, new) {
                        (Op::Delete, _) => self.delete(table, old.unwrap_or_default()).await?,
                        (_, Some(new)) => self.upsert(table, old, new).await?,
                        (_, None) => return Err(incomplete(table)),
                    }
                }
                (Purpose::Apply, ..) => self.by_row(table, change).await?,
            }
        }
        Ok(())
    }

    /// Deletes a row by key. Not there: a chunk read it later, or it was
    /// applied before.
    async fn delete(&mut self, table: &Table, old: Partial) -> Result<()> {
        let place = row::partial_place(table, &old)?.ok_or_else(|| incomplete(table))?;
        self.remove(table, &place).await?;
        Ok(())
    }

    /// Makes the row what the change says, wherever it is now.
    async fn upsert(&mut self, table: &Arc<Table>, old: Option<Partial>, mut new: Partial) -> Result<()> {
        // A cell that the log did not carry again is as in the old image.
        for (cell, before) in new.iter_mut().zip(old.iter().flatten()) {
            if cell.is_none() {
                cell.clone_from(before);
            }
        }
        let to = row::partial_place(table, &new)?.ok_or_else(|| incomplete(table))?;
        let from = old.map(|old| row::partial_place(table, &old)).transpose()?.flatten();
        let mut known = None;
        if let Some(from) = from.filter(|from| *from != to)
            && self.db.faults().guards(Safeguard::KeyMoves)
        {
            known = self.remove(table, &from).await?;
        }
        let at = self.transaction();
        at.lock_row(&table.name, &to).await?;
        let present = at.at(&table.name, &to)?;
        if known.is_none() {
            known.clone_from(&present);
        }
        let Some(row) = self.complete(table, &new, known).await? else { return Ok(()) };
        check_shape(table, &row)?;
        let present = present.map(|present| (to.clone(), present));
        self.transaction().change(&table.name, present, Some((to, row)))
    }

    /// Fills the cells that the log did not carry: from the row as it was
    /// here, or from the source. `None` when the source has it no more.
    async fn complete(
        &mut self,
        table: &Arc<Table>,
        new: &Partial,
        known: Option<Row>,
    ) -> Result<Option<Row>> {
        if new.iter().all(Option::is_some) {
            return Ok(Some(new.iter().flatten().cloned().collect()));
        }
        if !self.db.faults().guards(Safeguard::Unchanged) {
            return Ok(Some(new.iter().map(|cell| cell.clone().unwrap_or(Value::Null)).collect()));
        }
        if let Some(known) = known {
            let cells = new.iter().zip(known);
            return Ok(Some(cells.map(|(cell, known)| cell.clone().unwrap_or(known)).collect()));
        }
        let Some(reread) = &self.options.reread else {
            let key: Row = new.iter().map(|cell| cell.clone().unwrap_or(Value::Null)).collect();
            return Err(Error::new(
                ErrorKind::Rejected,
                "an update does not carry the whole row, and the target does not have it: \
                 was the target written to by somebody else?",
            )
            .with("table", &table.name)
            .with("key", show_key(table, &key)));
        };
        let mut keys = BatchBuilder::new();
        let field = |(i, cell): (usize, &Option<Value<'static>>)| match cell {
            Some(value) if table.key_columns().contains(&i) => Field::Value(value.clone()),
            _ => Field::Unchanged,
        };
        keys.delete(table, new.iter().enumerate().map(field))?;
        let found = reread.reread(table, keys.finish()).await?;
        found.rows().next().map(|row| whole(table, after(row)?)).transpose()
    }

    /// Takes a row away, and gives it.
    async fn remove(&mut self, table: &Table, place: &Place) -> Result<Option<Row>> {
        let transaction = self.transaction();
        transaction.lock_row(&table.name, place).await?;
        let Some(row) = transaction.at(&table.name, place)? else { return Ok(None) };
        transaction.change(&table.name, Some((place.clone(), row.clone())), None)?;
        Ok(Some(row))
    }

    /// A change of a table with no key: one equal row, exactly once.
    async fn by_row(&mut self, table: &Arc<Table>, change: RowRef<'_>) -> Result<()> {
        let new = change.after().map(row::partial).transpose()?;
        if change.op() == Op::Insert {
            let row = whole(table, new.ok_or_else(|| incomplete(table))?)?;
            return self.transaction().insert(&table.name, row).await;
        }
        if table.key == Key::Nothing {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the table has no key, and its changes do not say which row they mean: give it a key",
            )
            .with("table", &table.name));
        }
        let old = whole(table, before(change)?.ok_or_else(|| incomplete(table))?)?;
        let found = self.transaction().find(&table.name, &old).await?;
        let Some((place, was)) = found else {
            return Err(Error::new(
                ErrorKind::Rejected,
                "no row of the target equals the one that was changed",
            )
            .with("table", &table.name)
            .with("row", show_key(table, &old)));
        };
        let new = new.map(|new| {
            let cells = new.into_iter().zip(&was);
            cells.map(|(cell, was)| cell.unwrap_or_else(|| was.clone())).collect::<Row>()
        });
        let new = new.map(|row| (place.clone(), row));
        self.transaction().change(&table.name, Some((place, was)), new)
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.begin_use()?;
        let outcome = self.db.hit(Point::Write).await?;
        for item in batch.items() {
            self.item(&batch, item).await.map_err(|error| error.during("writer.write"))?;
        }
        outcome.answer(())?;
        self.spent = false;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn commit(&mut self, progress: Progress) -> Result<()> {
        self.begin_use()?;
        let outcome = self.db.hit(Point::Commit).await?;
        self.transaction();
        let Some(mut transaction) = self.transaction.take() else { return Ok(()) };
        let (run, epoch, db) = (self.options.run.clone(), self.options.epoch, self.db.clone());
        if !db.faults().guards(Safeguard::OneTransaction) {
            db.lock().runs.change(&run, |state| state.advance(epoch, &progress))?;
            tokio::task::yield_now().await;
            transaction.log(|_| Ok(()))?;
        } else {
            transaction.log(|state| {
                state.runs.change(&run, |state| {
                    let (epoch, progress) = relaxed(&db, state, epoch, &progress);
                    state.advance(epoch, &progress)
                })
            })?;
        }
        transaction.show()?;
        // Durable, whatever the database's own default.
        db.flush();
        outcome.answer(())?;
        self.spent = false;
        Ok(())
    }
}

/// What is compared, less what a test has taken out.
fn relaxed(
    db: &MemoryDatabase,
    state: &crate::connect::State,
    epoch: Epoch,
    progress: &Progress,
) -> (Epoch, Progress) {
    let epoch = if db.faults().guards(Safeguard::Epoch) { epoch } else { state.record.epoch };
    let mut progress = progress.clone();
    if let (Progress::Stream { from, .. }, Some(at), false) =
        (&mut progress, &state.record.position, db.faults().guards(Safeguard::From))
    {
        from.clone_from(at);
    }
    (epoch, progress)
}

fn before(change: RowRef<'_>) -> Result<Option<Partial>> {
    change.before().map(row::partial).transpose()
}

fn after(change: RowRef<'_>) -> Result<Partial> {
    row::partial(change.after().ok_or_else(|| incomplete(change.table()))?)
}

/// A row that must be there in all its cells; generated ones may be missing.
fn whole(table: &Table, row: Partial) -> Result<Row> {
    let cells = row.into_iter().zip(&table.columns);
    let cells = cells.map(|(cell, column)| match cell {
        Some(value) => Ok(value),
        None if !column.is_written() => Ok(Value::Null),
        None => Err(incomplete(table)),
    });
    let row = cells.collect::<Result<Row>>()?;
    check_shape(table, &row)?;
    Ok(row)
}

fn incomplete(table: &Table) -> Error {
    Error::new(ErrorKind::Protocol, "a change lacks cells that it must carry").with("table", &table.name)
}
