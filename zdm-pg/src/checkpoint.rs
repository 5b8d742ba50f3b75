//! The progress of runs, in tables beside the data of a target.
//!
//! `run` has a row for each run and `chunk` one for each chunk, in the schema
//! that [`PgConfig::schema`] names (`zdm` unless told otherwise), made when
//! the first run is created. Because they are in the target's own database, a
//! writer's COMMIT makes rows and progress durable in one step.
//!
//! Everything that decides is in SQL: an UPDATE compares epoch and position
//! and, where it finds neither, *fails by itself*, so that a COMMIT that was
//! sent behind it commits nothing. Raising the epoch takes the run's row FOR
//! UPDATE, and so waits for a transaction of the old epoch that is at its
//! end; chunk writers take it FOR KEY SHARE, which they can all hold at once.
//!
//! Rows copied are summed from the chunks, never kept in the run's row: many
//! chunk writers would queue for it.

mod progress;
mod rows;
mod tables;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use zdm_core::connect::{Checkpoint, ChunkRecord, Epoch, Progress, Record, RunName, State};
use zdm_core::{Error, ErrorKind, Result};

pub(crate) use self::progress::{advance, check_epoch};
use self::tables::Tables;
use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;

/// Keeps the progress of runs in a PostgreSQL database.
#[derive(Debug)]
pub struct PgCheckpoint {
    config: Arc<PgConfig>,
    tables: Tables,
    /// A session between two calls. A call takes it out, so that one which is
    /// dropped half-way takes its session with it.
    idle: Mutex<Option<Control>>,
}

impl PgCheckpoint {
    /// A checkpoint in that database. Nothing is opened or made yet.
    pub fn new(config: impl Into<Arc<PgConfig>>) -> Self {
        let config = config.into();
        Self { tables: Tables::of(&config), config, idle: Mutex::new(None) }
    }

    async fn session(&self) -> Result<Control> {
        match self.idle.lock().await.take() {
            Some(session) if !session.is_closed() => Ok(session),
            _ => {
                let session = Control::holding(&self.config, "checkpoint").await?;
                durable(&session).await?;
                Ok(session)
            }
        }
    }

    async fn give_back(&self, session: Control) {
        *self.idle.lock().await = Some(session);
    }

    /// Whether the tables are there.
    async fn exists(&self, session: &Control) -> Result<bool> {
        self.tables.exist(session).await
    }
}

/// Asks for durable commits, whatever the server's default; a stronger
/// default stays.
pub(crate) async fn durable(session: &Control) -> Result<()> {
    // `on` waits for the flush here and, where there is one, at the
    // synchronous standby.
    session
        .batch_execute(
            "SELECT pg_catalog.set_config('synchronous_commit', 'on', false)
             WHERE pg_catalog.current_setting('synchronous_commit') <> 'remote_apply'",
        )
        .await
        .during("checkpoint.settle")
}

#[async_trait]
impl Checkpoint for PgCheckpoint {
    async fn load(&self, run: &RunName) -> Result<Option<State>> {
        let mut session = self.session().await?;
        let state = if self.exists(&session).await? {
            let transaction = session
                .build_transaction()
                .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
                .read_only(true)
                .start()
                .await
                .during("checkpoint.load")?;
            let state = self.tables.read(&transaction, run).await?;
            transaction.commit().await.during("checkpoint.load")?;
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
        let created = self.tables.insert(&*session, record).await?;
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
        if !self.exists(&session).await? {
            self.give_back(session).await;
            return Err(unknown(run));
        }
        let transaction = session.transaction().await.during("checkpoint.raise")?;
        // First the wait: a writer of the old epoch holds this row while it
        // commits. Then, by a snapshot taken after it, the reading.
        let raised =
            transaction.execute(&self.tables.lock, &[&run.as_str()]).await.during("checkpoint.raise")?;
        if raised == 0 {
            drop(transaction);
            return Err(unknown(run));
        }
        // Refuses a format that is not ours before it changes anything.
        self.tables.read(&transaction, run).await?;
        transaction.execute(&self.tables.raise, &[&run.as_str()]).await.during("checkpoint.raise")?;
        let state = self.tables.read(&transaction, run).await?.ok_or_else(|| unknown(run))?;
        transaction.commit().await.during("checkpoint.raise")?;
        self.give_back(session).await;
        Ok(state)
    }

    async fn swap(&self, old: &Record, new: &Record) -> Result<()> {
        if old.run != new.run {
            return Err(Error::new(ErrorKind::Config, "a record is swapped with one of the same run")
                .with("run", &old.run)
                .with("other", &new.run));
        }
        let session = self.session().await?;
        let swapped = self.exists(&session).await? && self.tables.swap(&*session, old, new).await?;
        self.give_back(session).await;
        if swapped { Ok(()) } else { Err(fenced(&old.run, old.epoch)) }
    }

    async fn plan(&self, run: &RunName, epoch: Epoch, chunks: &[ChunkRecord]) -> Result<()> {
        let mut session = self.session().await?;
        if !self.exists(&session).await? {
            return Err(fenced(run, epoch));
        }
        let transaction = session.transaction().await.during("checkpoint.plan")?;
        self.tables.plan(&transaction, run, epoch, chunks).await?;
        transaction.commit().await.during("checkpoint.plan")?;
        self.give_back(session).await;
        Ok(())
    }

    async fn advance(&self, run: &RunName, epoch: Epoch, progress: &Progress) -> Result<()> {
        let mut session = self.session().await?;
        if !self.exists(&session).await? {
            return Err(fenced(run, epoch));
        }
        let transaction = session.transaction().await.during("checkpoint.advance")?;
        advance(&transaction, self.config.schema(), run, epoch, progress).await?;
        transaction.commit().await.during("checkpoint.advance")?;
        self.give_back(session).await;
        Ok(())
    }

    async fn remove(&self, run: &RunName) -> Result<()> {
        let mut session = self.session().await?;
        if self.exists(&session).await? {
            self.tables.remove(&mut session, run).await?;
        }
        self.give_back(session).await;
        Ok(())
    }
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
