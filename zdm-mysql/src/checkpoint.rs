//! The progress of runs, in tables beside the data of a target.
//!
//! `run` has a row for each run and `chunk` one for each chunk, in the
//! database that [`MySqlConfig::schema`] names (`zdm` unless told otherwise),
//! made when the first run is created. Both are InnoDB, as the rows of a
//! target have to be: so a writer's COMMIT makes rows and progress durable in
//! one step.
//!
//! Everything that decides is in SQL: an UPDATE compares epoch and position,
//! and a writer sends COMMIT only when it has found its row. Nothing is sent
//! behind a statement whose answer is not read yet. Raising the epoch takes
//! the run's row `FOR UPDATE`, and so waits for a transaction of the old
//! epoch that is at its end; chunk writers take it in share mode, which they
//! can all hold at once.
//!
//! Rows copied are summed from the chunks, never kept in the run's row: many
//! chunk writers would queue for it.
//!
//! What it cannot do: ask for a durable commit. `innodb_flush_log_at_trx_commit`
//! is the server's, not the session's. While a run follows, the assessment of
//! a target warns where it is not 1: a crash takes rows and progress back
//! together. A cutover is refused there.

mod progress;
mod rows;
mod tables;

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;
use zdm_core::connect::{Checkpoint, ChunkRecord, Epoch, Progress, Record, RunName, State};
use zdm_core::{Error, ErrorKind, Result};

pub(crate) use self::progress::{advance, check_epoch};
use self::tables::Tables;
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::error::OrMy;

/// Keeps the progress of runs in a MySQL or MariaDB database.
#[derive(Debug)]
pub struct MySqlCheckpoint {
    config: Arc<MySqlConfig>,
    tables: Tables,
    /// A session between two calls. A call takes it out, so that one which is
    /// dropped half-way takes its session with it.
    idle: Mutex<Option<Control>>,
}

impl MySqlCheckpoint {
    /// A checkpoint in that server's database for it. Nothing is opened or
    /// made yet.
    pub fn new(config: impl Into<Arc<MySqlConfig>>) -> Self {
        let config = config.into();
        Self { tables: Tables::of(config.schema()), config, idle: Mutex::new(None) }
    }

    async fn session(&self) -> Result<Control> {
        if let Some(mut session) = self.idle.lock().await.take()
            && session.ping().await.is_ok()
        {
            return Ok(session);
        }
        Control::holding(&self.config, "checkpoint").await
    }

    async fn give_back(&self, session: Control) {
        *self.idle.lock().await = Some(session);
    }
}

#[async_trait]
impl Checkpoint for MySqlCheckpoint {
    async fn load(&self, run: &RunName) -> Result<Option<State>> {
        let mut session = self.session().await?;
        let state = if self.tables.exist(&mut session).await? {
            let load = "checkpoint.load";
            session.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.during(load)?;
            session.query_drop("START TRANSACTION READ ONLY").await.during(load)?;
            let state = self.tables.read(&mut session, run).await?;
            session.query_drop("COMMIT").await.during(load)?;
            state
        } else {
            None
        };
        self.give_back(session).await;
        Ok(state)
    }

    async fn create(&self, record: &Record) -> Result<()> {
        let mut session = self.session().await?;
        self.tables.make(&mut session).await?;
        let created = self.tables.insert(&mut session, record).await?;
        self.give_back(session).await;
        if created {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, "there is a run of this name already: resume it or drop it")
            .with("run", &record.run)
            .during("checkpoint.create"))
    }

    async fn raise(&self, run: &RunName) -> Result<State> {
        let mut session = self.session().await?;
        if !self.tables.exist(&mut session).await? {
            self.give_back(session).await;
            return Err(unknown(run));
        }
        let raise = "checkpoint.raise";
        begin(&mut session).await?;
        // First the wait: a writer of the old epoch holds this row while it
        // commits. Then, seeing what was committed meanwhile, the reading.
        let held: Option<u8> = session.exec_first(&self.tables.lock, (run.as_str(),)).await.during(raise)?;
        if held.is_none() {
            session.query_drop("ROLLBACK").await.during(raise)?;
            self.give_back(session).await;
            return Err(unknown(run));
        }
        // Refuses a format that is not ours before it changes anything.
        self.tables.read(&mut session, run).await?;
        session.exec_drop(&self.tables.raise, (run.as_str(),)).await.during(raise)?;
        let state = self.tables.read(&mut session, run).await?.ok_or_else(|| unknown(run))?;
        session.query_drop("COMMIT").await.during(raise)?;
        self.give_back(session).await;
        Ok(state)
    }

    async fn swap(&self, old: &Record, new: &Record) -> Result<()> {
        if old.run != new.run {
            return Err(Error::new(ErrorKind::Config, "a record is swapped with one of the same run")
                .with("run", &old.run)
                .with("other", &new.run));
        }
        let mut session = self.session().await?;
        let swapped =
            self.tables.exist(&mut session).await? && self.tables.swap(&mut session, old, new).await?;
        self.give_back(session).await;
        if swapped { Ok(()) } else { Err(fenced(&old.run, old.epoch)) }
    }

    async fn plan(&self, run: &RunName, epoch: Epoch, chunks: &[ChunkRecord]) -> Result<()> {
        let mut session = self.session().await?;
        if !self.tables.exist(&mut session).await? {
            return Err(fenced(run, epoch));
        }
        begin(&mut session).await?;
        self.tables.plan(&mut session, run, epoch, chunks).await?;
        session.query_drop("COMMIT").await.during("checkpoint.plan")?;
        self.give_back(session).await;
        Ok(())
    }

    async fn advance(&self, run: &RunName, epoch: Epoch, progress: &Progress) -> Result<()> {
        let mut session = self.session().await?;
        if !self.tables.exist(&mut session).await? {
            return Err(fenced(run, epoch));
        }
        begin(&mut session).await?;
        advance(&mut session, self.config.schema(), run, epoch, progress).await?;
        session.query_drop("COMMIT").await.during("checkpoint.advance")?;
        self.give_back(session).await;
        Ok(())
    }

    async fn remove(&self, run: &RunName) -> Result<()> {
        let mut session = self.session().await?;
        if self.tables.exist(&mut session).await? {
            self.tables.remove(&mut session, run).await?;
        }
        self.give_back(session).await;
        Ok(())
    }
}

/// Opens a transaction that, after each wait for a lock, sees what was
/// committed meanwhile.
async fn begin(session: &mut Control) -> Result<()> {
    let begin = "checkpoint.begin";
    session.query_drop("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.during(begin)?;
    session.query_drop("START TRANSACTION").await.during(begin)
}

pub(crate) fn fenced(run: &RunName, epoch: Epoch) -> Error {
    Error::new(
        ErrorKind::Fenced,
        "another process has taken this run over or moved it on: let that one work, or start this one again",
    )
    .with("run", run)
    .with("epoch", epoch)
}

fn unknown(run: &RunName) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such run: check its name, or start it")
        .with("run", run)
        .during("checkpoint.raise")
}
