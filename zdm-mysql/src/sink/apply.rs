//! The writer of changes: groups of whole transactions, applied in sets.

use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::HashMap;
use mysql_async::prelude::Queryable;
use zdm_core::apply::{Group, Merged, Step, Work};
use zdm_core::change::{Batch, BatchBuilder, Field};
use zdm_core::connect::{Progress, Writer, WriterOptions};
use zdm_core::schema::{Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

use super::session::Session;
use super::shape::Shape;
use super::{full_row, keyed, spent};
use crate::error::OrMy;

pub(super) struct Apply {
    session: Session,
    /// The database of our own tables.
    ours: String,
    options: WriterOptions,
    group: Group,
    /// Set while a call is under way; found set, a call has failed or was
    /// dropped.
    spent: bool,
    tables: HashMap<TableName, Arc<Shape>>,
}

impl Apply {
    pub(super) fn new(session: Session, ours: String, options: WriterOptions) -> Self {
        Self { session, ours, options, group: Group::new(), spent: false, tables: HashMap::new() }
    }

    /// Applies what is held back, within the open transaction.
    async fn apply_held(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        if group.is_empty() { Ok(()) } else { self.steps(&group).await }
    }

    async fn steps(&mut self, group: &Group) -> Result<()> {
        for step in group.steps() {
            match step {
                Step::Rows(works) => {
                    for work in works {
                        self.rows(work).await?;
                    }
                }
                Step::Truncate(tables) => self.truncate(tables).await?,
                Step::Schema { new, old } => {
                    for table in old.into_iter().chain([new]) {
                        self.tables.remove(&table.name);
                    }
                }
                other => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!("a step is not known: {other:?}"),
                    ));
                }
            }
        }
        Ok(())
    }

    async fn rows(&mut self, work: Work<'_>) -> Result<()> {
        let shape = self.shape(work.table());
        self.session.begin_in(&shape.table.name.schema).await.map_err(|error| shape.named(error))?;
        match work {
            Work::Keyed(work) => {
                let rereads = self.options.reread.is_some();
                let again = keyed::apply(&mut self.session, &shape, work, rereads).await;
                let again = again.map_err(|error| shape.named(error))?;
                if !again.is_empty() {
                    self.reread(&shape.table, again).await.map_err(|error| shape.named(error))?;
                }
                Ok(())
            }
            Work::InOrder(work) => {
                let done = full_row::apply(&mut self.session, &shape, work).await;
                done.map_err(|error| shape.named(error))
            }
        }
    }

    /// Reads rows again at the source, and puts what is there.
    async fn reread(&mut self, table: &Arc<Table>, rows: Vec<Merged<'_>>) -> Result<()> {
        let Some(reread) = self.options.reread.clone() else {
            return rows.first().map_or(Ok(()), |row| Err(keyed::gone(row)));
        };
        let mut keys = BatchBuilder::new();
        for row in rows {
            let key = (0..table.columns.len()).map(|at| {
                let named = table.key_columns().contains(&at);
                if named { row.key().cell(at).value().map(Field::Value) } else { Ok(Field::Unchanged) }
            });
            keys.delete(table, key.collect::<Result<Vec<_>>>()?)?;
        }
        let mut group = Group::new();
        group.push(reread.reread(table, keys.finish()).await?)?;
        // Whole rows come back, so this ends here.
        Box::pin(self.steps(&group)).await
    }

    /// By DELETE: a TRUNCATE would commit what is open.
    async fn truncate(&mut self, tables: &[Arc<Table>]) -> Result<()> {
        for table in tables {
            let shape = self.shape(table);
            self.session.begin_in(&table.name.schema).await?;
            let delete = format!("DELETE FROM {}", shape.name);
            let done = self.session.query_drop(delete).await.during("sink.truncate");
            done.map_err(|error| shape.named(error))?;
            fail::fail_point!("apply::truncated");
        }
        Ok(())
    }

    fn shape(&mut self, table: &Arc<Table>) -> Arc<Shape> {
        match self.tables.get(&table.name) {
            Some(shape) if Arc::ptr_eq(&shape.table, table) => Arc::clone(shape),
            _ => {
                let shape = Arc::new(Shape::of(table));
                self.tables.insert(table.name.clone(), Arc::clone(&shape));
                shape
            }
        }
    }

    async fn take(&mut self, batch: Batch) -> Result<()> {
        self.group.push(batch)?;
        if self.group.bytes() > self.options.hold_back { self.apply_held().await } else { Ok(()) }
    }

    async fn end(&mut self, progress: &Progress) -> Result<()> {
        self.apply_held().await?;
        self.session.commit(&self.ours, self.options.epoch, progress).await
    }
}

#[async_trait]
impl Writer for Apply {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        spent(&mut self.spent)?;
        let outcome = self.take(batch).await;
        self.session.settled(outcome).await?;
        self.spent = false;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        spent(&mut self.spent)?;
        let outcome = self.apply_held().await;
        self.session.settled(outcome).await?;
        self.spent = false;
        Ok(())
    }

    async fn commit(&mut self, progress: Progress) -> Result<()> {
        spent(&mut self.spent)?;
        let outcome = self.end(&progress).await;
        self.session.settled(outcome).await?;
        self.spent = false;
        Ok(())
    }
}
