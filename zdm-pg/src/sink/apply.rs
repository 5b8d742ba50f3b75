//! The writer of changes: groups of whole transactions, applied in sets.

use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::HashMap;
use zdm_core::apply::{Group, KeyedWork, Merged, Outcome, Step, Work, key_is_bytewise};
use zdm_core::change::{Batch, BatchBuilder, Field};
use zdm_core::connect::{Progress, Writer, WriterOptions};
use zdm_core::schema::{Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

use super::commit::commit;
use super::full_row;
use super::shape::Shape;
use super::stage::{Stage, Staged};
use crate::checkpoint::advance;
use crate::connect::Control;
use crate::error::OrPg;

pub(super) struct Apply {
    session: Control,
    schema: String,
    options: WriterOptions,
    group: Group,
    open: bool,
    /// Set while a call is under way; found set, a call has failed or was
    /// dropped.
    spent: bool,
    stages: HashMap<TableName, Stage>,
    shapes: HashMap<TableName, Arc<Shape>>,
    /// Staging tables made so far.
    made: u32,
}

impl Apply {
    pub(super) fn new(session: Control, schema: String, options: WriterOptions) -> Self {
        Self {
            session,
            schema,
            options,
            group: Group::new(),
            open: false,
            spent: false,
            stages: HashMap::new(),
            shapes: HashMap::new(),
            made: 0,
        }
    }

    /// Applies what is held back, within the open transaction.
    async fn apply_held(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        if !group.is_empty() {
            self.begin().await?;
            self.steps(&group).await?;
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<()> {
        if !self.open {
            // Deferred: within a transaction of the source a deferrable
            // constraint may have been broken for a while.
            self.session.batch_execute("BEGIN; SET CONSTRAINTS ALL DEFERRED").await.during("sink.begin")?;
            self.open = true;
        }
        Ok(())
    }

    async fn steps(&mut self, group: &Group) -> Result<()> {
        for step in group.steps() {
            match step {
                Step::Rows(works) => {
                    for work in works {
                        let table = Arc::clone(work.table());
                        let done = match work {
                            Work::Keyed(work) => self.keyed(&table, work).await,
                            Work::InOrder(work) => {
                                let shape = self.shape(&table).await?;
                                full_row::apply(&self.session, &shape, work).await
                            }
                        };
                        done.map_err(|error| error.with("table", &table.name))?;
                    }
                }
                Step::Truncate(tables) => self.truncate(tables).await?,
                Step::Schema { new, old } => {
                    for table in old.into_iter().chain([new]) {
                        self.forget(&table.name).await?;
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

    async fn keyed(&mut self, table: &Arc<Table>, work: KeyedWork<'_>) -> Result<()> {
        let mut stage = self.stage(table).await?;
        let missing = self.staged(&mut stage, work).await?;
        self.stages.insert(table.name.clone(), stage);
        if missing.is_empty() { Ok(()) } else { self.reread(table, missing).await }
    }

    /// The rows that must be read again, by their keys.
    async fn staged<'g>(&self, stage: &mut Stage, work: KeyedWork<'g>) -> Result<Vec<Merged<'g>>> {
        let (session, reads_again) = (&self.session, self.options.reread.is_some());
        let outcomes: Vec<Outcome<'g>> = work.outcomes().collect();
        let again = |row: &Merged<'_>| reads_again && !row.is_complete();
        let fixed = stage.fixed(session).await?;
        let staged = stage.fill(session, &outcomes, again).await?;
        fail::fail_point!("apply::staged");
        let mut missing: Vec<Merged<'g>> = outcomes
            .iter()
            .filter_map(|outcome| if let Outcome::Put(row) = outcome { Some(*row) } else { None })
            .filter(again)
            .collect();
        let mut puts = staged.puts + prepare_puts(session, stage, &staged, &fixed).await?;
        if staged.deletes + puts > 0 {
            let delete = stage.shape.delete(&stage.name);
            stage.execute(session, delete, None).await?;
            fail::fail_point!("apply::deleted");
        }
        let updates = staged.masks.iter().map(|mask| mask.updates).sum::<u64>() + staged.puts - puts;
        if update(session, stage, &staged).await? < updates {
            puts += self.find_missing(stage, &outcomes, &mut missing).await?;
        }
        fail::fail_point!("apply::updated");
        if puts > 0 {
            let insert = stage.shape.insert(&stage.name);
            stage.execute(session, insert, None).await?;
            fail::fail_point!("apply::inserted");
        }
        Ok(missing)
    }

    /// Makes puts of complete updates whose row is missing, and gives how
    /// many; the incomplete ones join `again`.
    async fn find_missing<'g>(
        &self,
        stage: &Stage,
        outcomes: &[Outcome<'g>],
        again: &mut Vec<Merged<'g>>,
    ) -> Result<u64> {
        let (session, during) = (&self.session, "sink.apply");
        let mut complete: Vec<i32> = Vec::new();
        for found in session.query(&stage.shape.missing(&stage.name), &[]).await.during(during)? {
            let (n, mask): (i32, i32) = (found.try_get(0).during(during)?, found.try_get(1).during(during)?);
            if mask == 0 {
                complete.push(n);
                continue;
            }
            let row = usize::try_from(n).ok().and_then(|n| outcomes.get(n));
            let Some(Outcome::Update(row)) = row else {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    "the server named a staged row that is not there",
                ));
            };
            if self.options.reread.is_none() {
                return Err(gone(row));
            }
            again.push(*row);
        }
        let put = format!("UPDATE {} SET op = 'p' WHERE n = ANY ($1)", stage.name);
        if complete.is_empty() { Ok(0) } else { session.execute(&put, &[&complete]).await.during(during) }
    }

    /// Reads rows again at the source, and puts what is there.
    async fn reread(&mut self, table: &Arc<Table>, rows: Vec<Merged<'_>>) -> Result<()> {
        let Some(reread) = self.options.reread.clone() else {
            return rows.first().map_or(Ok(()), |row| Err(gone(row)));
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

    async fn truncate(&mut self, tables: &[Arc<Table>]) -> Result<()> {
        let mut names = Vec::new();
        for table in tables {
            names.push(self.shape(table).await?.only.clone());
        }
        let truncate = format!("TRUNCATE {}", names.join(", "));
        self.session.batch_execute(&truncate).await.during("sink.truncate")?;
        fail::fail_point!("apply::truncated");
        Ok(())
    }

    /// The staging table of a table, taken out: put it back.
    async fn stage(&mut self, table: &Arc<Table>) -> Result<Stage> {
        if let Some(stage) = self.stages.remove(&table.name) {
            if alike(&stage.shape.table, table) {
                return Ok(stage);
            }
            drop_stage(&self.session, &stage).await?;
        }
        let shape = Shape::of(&self.session, table, true).await?;
        self.made += 1;
        Stage::make(&self.session, shape, self.made).await
    }

    async fn shape(&mut self, table: &Arc<Table>) -> Result<Arc<Shape>> {
        if let Some(shape) = self.shapes.get(&table.name)
            && alike(&shape.table, table)
        {
            return Ok(Arc::clone(shape));
        }
        let shape = Arc::new(Shape::of(&self.session, table, false).await?);
        self.shapes.insert(table.name.clone(), Arc::clone(&shape));
        Ok(shape)
    }

    async fn forget(&mut self, name: &TableName) -> Result<()> {
        self.shapes.remove(name);
        match self.stages.remove(name) {
            Some(stage) => drop_stage(&self.session, &stage).await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Writer for Apply {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        spent(&mut self.spent)?;
        self.group.push(batch)?;
        if self.group.bytes() > self.options.hold_back {
            self.apply_held().await?;
        }
        self.spent = false;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        spent(&mut self.spent)?;
        self.apply_held().await?;
        self.spent = false;
        Ok(())
    }

    async fn commit(&mut self, progress: Progress) -> Result<()> {
        spent(&mut self.spent)?;
        self.apply_held().await?;
        self.begin().await?;
        advance(&*self.session, &self.schema, &self.options.run, self.options.epoch, &progress).await?;
        commit(&self.session).await?;
        self.stages.values_mut().for_each(Stage::reset);
        self.open = false;
        self.spent = false;
        Ok(())
    }
}

/// Fills what puts lack, and turns updates into puts that change what an
/// UPDATE must not; gives how many.
async fn prepare_puts(session: &Control, stage: &mut Stage, staged: &Staged, fixed: &[usize]) -> Result<u64> {
    let mut turned = 0;
    for (number, mask) in (0..).zip(&staged.masks) {
        if number > 0 && mask.puts > 0 {
            let carry = stage.shape.carry(&stage.name, &mask.absent);
            if stage.execute(session, carry, Some(number)).await? != mask.puts {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "a row changed its key at the source but is not in the target, and the log does not carry \
                     all of it: something else has written to the target; start the run anew",
                )
                .during("sink.apply"));
            }
        }
        if mask.updates > 0
            && let Some(replace) = stage.shape.replace(&stage.name, &mask.absent, fixed)
        {
            turned += stage.execute(session, replace, Some(number)).await?;
        }
    }
    Ok(turned)
}

/// Gives how many rows were there.
async fn update(session: &Control, stage: &mut Stage, staged: &Staged) -> Result<u64> {
    let with_key = !key_is_bytewise(&stage.shape.table);
    let mut updated = 0;
    for (number, mask) in (0..).zip(&staged.masks) {
        if mask.updates > 0
            && let Some(update) = stage.shape.update(&stage.name, &mask.absent, with_key)
        {
            updated += stage.execute(session, update, Some(number)).await?;
        }
    }
    Ok(updated)
}

async fn drop_stage(session: &Control, stage: &Stage) -> Result<()> {
    session.batch_execute(&format!("DROP TABLE {}", stage.name)).await.during("sink.stage")
}

/// Refuses to go on after a failure, and marks the call as under way.
pub(super) fn spent(mark: &mut bool) -> Result<()> {
    if std::mem::replace(mark, true) {
        return Err(Error::new(
            ErrorKind::Other,
            "this writer has failed before: open another and begin from the durable progress",
        ));
    }
    Ok(())
}

fn gone(row: &Merged<'_>) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "a row changed at the source is not in the target, and the log does not carry all of it: \
         something else has written to the target; start the run anew",
    )
    .with("key", format!("{:?}", row.key()))
    .during("sink.apply")
}

fn alike(a: &Arc<Table>, b: &Arc<Table>) -> bool {
    Arc::ptr_eq(a, b) || (a.key == b.key && a.columns == b.columns)
}
