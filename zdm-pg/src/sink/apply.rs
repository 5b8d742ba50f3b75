//! The writer of changes: groups of whole transactions, applied in sets.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use hashbrown::HashMap;
use tokio_postgres::SimpleQueryMessage;
use zdm_core::apply::{Group, Merged, Outcome, Step, Work, key_is_bytewise};
use zdm_core::change::{Batch, BatchBuilder, Field};
use zdm_core::connect::{Progress, Writer, WriterOptions};
use zdm_core::schema::{Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

use super::commit::commit;
use super::direct::Direct;
use super::full_row;
use super::shape::Shape;
use super::stage::{Stage, Staged};
use super::statements::UNIQUE;
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
    tables: HashMap<TableName, Known>,
    /// Tables met so far.
    met: u32,
    /// Whether the session has the statement that asks for unique columns.
    asks: bool,
}

/// A table that changes were applied to.
#[derive(Debug)]
struct Known {
    shape: Arc<Shape>,
    number: u32,
    direct: Direct,
    /// Made when it is first needed.
    stage: Option<Stage>,
    /// Columns that an UPDATE must not change, as indexes of the written
    /// ones: read under this transaction's lock.
    fixed: Option<Vec<usize>>,
}

/// What a step does to one table with a key.
struct Job<'g> {
    table: Arc<Table>,
    known: Known,
    outcomes: Vec<Outcome<'g>>,
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
            tables: HashMap::new(),
            met: 0,
            asks: false,
        }
    }

    /// Applies what is held back, within the open transaction.
    async fn apply_held(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        if !group.is_empty() {
            self.steps(&group).await?;
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<()> {
        if !self.open {
            self.session.batch_execute(BEGIN).await.during("sink.begin")?;
            self.open = true;
        }
        Ok(())
    }

    async fn steps(&mut self, group: &Group) -> Result<()> {
        for step in group.steps() {
            match step {
                Step::Rows(works) => self.rows(works).await?,
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

    /// All tables of a step. Those with a key are locked by one message, and
    /// then worked on at once: the session does what it is sent in order, so
    /// a step costs a few round trips and not some for each table.
    async fn rows(&mut self, works: Vec<Work<'_>>) -> Result<()> {
        let mut jobs = Vec::new();
        for work in works {
            let table = Arc::clone(work.table());
            match work {
                Work::Keyed(work) => {
                    let known = self.known(&table).await.map_err(|error| error.with("table", &table.name))?;
                    jobs.push(Job { table, known, outcomes: work.outcomes().collect() });
                }
                Work::InOrder(work) => {
                    let shape = Arc::clone(&self.known_of(&table).await?.shape);
                    self.begin().await?;
                    let done = full_row::apply(&self.session, &shape, work).await;
                    done.map_err(|error| error.with("table", &table.name))?;
                }
            }
        }
        self.lock(&mut jobs).await?;
        let (session, rereads) = (&self.session, self.options.reread.is_some());
        let done = try_join_all(jobs.iter_mut().map(|job| job.directly(session, rereads))).await?;
        for (mut job, done) in jobs.into_iter().zip(done) {
            let named = |error: Error| error.with("table", &job.table.name);
            let missing = match done {
                Some(missing) => missing,
                None => self.staged(&mut job.known, &job.outcomes).await.map_err(named)?,
            };
            self.tables.insert(job.table.name.clone(), job.known);
            if !missing.is_empty() {
                self.reread(&job.table, missing).await.map_err(named)?;
            }
        }
        Ok(())
    }

    /// Begins the transaction and finds out, for tables that it has not
    /// touched yet, which columns an UPDATE must leave alone.
    ///
    /// Indexes are built while changes are applied. The lock comes first: an
    /// index that is being built waits for it, or has been built before it.
    async fn lock(&mut self, jobs: &mut [Job<'_>]) -> Result<()> {
        let mut sql = String::new();
        let mut tables = Vec::new();
        for job in jobs.iter().filter(|job| job.known.fixed.is_none()) {
            sql.push_str(&format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE;\n", job.known.shape.only));
            tables.push(job.known.shape.oid.to_string());
        }
        if tables.is_empty() {
            return Ok(());
        }
        if !self.open {
            sql.insert_str(0, BEGIN);
        }
        if !std::mem::replace(&mut self.asks, true) {
            sql.push_str(&format!("PREPARE zdm_unique (oid[]) AS {UNIQUE};\n"));
        }
        sql.push_str(&format!("EXECUTE zdm_unique ('{{{}}}')", tables.join(",")));
        let answers = self.session.simple_query(&sql).await.during("sink.lock")?;
        self.open = true;
        let mut names: Vec<(u32, String)> = Vec::new();
        for answer in answers {
            if let SimpleQueryMessage::Row(row) = answer {
                let oid = row.try_get(0).during("sink.lock")?.and_then(|oid| oid.parse().ok());
                let name = row.try_get(1).during("sink.lock")?;
                names.extend(oid.zip(name.map(str::to_owned)));
            }
        }
        for job in jobs.iter_mut().filter(|job| job.known.fixed.is_none()) {
            job.known.fixed = Some(job.known.shape.fixed(&names));
        }
        Ok(())
    }

    /// By way of the staging table. Gives the rows that must be read again, by
    /// their keys.
    async fn staged<'g>(&mut self, known: &mut Known, outcomes: &[Outcome<'g>]) -> Result<Vec<Merged<'g>>> {
        let (session, reads_again) = (&self.session, self.options.reread.is_some());
        let again = |row: &Merged<'_>| reads_again && !row.is_complete();
        let fixed = known.fixed.clone().unwrap_or_default();
        let stage = match &mut known.stage {
            Some(stage) => stage,
            none => none.insert(Stage::make(session, Arc::clone(&known.shape), known.number).await?),
        };
        let staged = stage.fill(session, outcomes, again).await?;
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
            puts += self.find_missing(stage, outcomes, &mut missing).await?;
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
        self.begin().await?;
        let mut names = Vec::new();
        for table in tables {
            names.push(self.known_of(table).await?.shape.only.clone());
        }
        let truncate = format!("TRUNCATE {}", names.join(", "));
        self.session.batch_execute(&truncate).await.during("sink.truncate")?;
        fail::fail_point!("apply::truncated");
        Ok(())
    }

    /// What is known of a table, taken out: put it back.
    async fn known(&mut self, table: &Arc<Table>) -> Result<Known> {
        if let Some(mut known) = self.tables.remove(&table.name) {
            if alike(&known.shape.table, table) {
                return Ok(known);
            }
            drop_stage(&self.session, known.stage.take()).await?;
        }
        let shape = Arc::new(Shape::of(&self.session, table, true).await?);
        self.met += 1;
        let number = self.met;
        Ok(Known { shape, number, direct: Direct::new(number), stage: None, fixed: None })
    }

    async fn known_of(&mut self, table: &Arc<Table>) -> Result<&Known> {
        let known = self.known(table).await?;
        Ok(self.tables.entry(table.name.clone()).insert(known).into_mut())
    }

    async fn forget(&mut self, name: &TableName) -> Result<()> {
        match self.tables.remove(name) {
            Some(mut known) => drop_stage(&self.session, known.stage.take()).await,
            None => Ok(()),
        }
    }
}

impl<'g> Job<'g> {
    /// `None` where it takes a staging table.
    async fn directly(&mut self, session: &Control, rereads: bool) -> Result<Option<Vec<Merged<'g>>>> {
        let Known { shape, direct, fixed, .. } = &mut self.known;
        if !Direct::can(shape, &self.outcomes, rereads) {
            return Ok(None);
        }
        let fixed = fixed.as_deref().unwrap_or_default();
        let done = direct.apply(session, shape, fixed, &self.outcomes, rereads).await;
        done.map_err(|error| error.with("table", &self.table.name))
    }
}

/// Deferred: within a transaction of the source a deferrable constraint may
/// have been broken for a while.
const BEGIN: &str = "BEGIN; SET CONSTRAINTS ALL DEFERRED;\n";

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
        for known in self.tables.values_mut() {
            known.fixed = None;
            known.stage.iter_mut().for_each(Stage::reset);
        }
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

async fn drop_stage(session: &Control, stage: Option<Stage>) -> Result<()> {
    let Some(stage) = stage else { return Ok(()) };
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

pub(super) fn gone(row: &Merged<'_>) -> Error {
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
