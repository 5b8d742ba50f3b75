//! What keeps writers out of a PostgreSQL database, without superuser.
//!
//! A *hold* is a table lock (`SHARE ROW EXCLUSIVE`) in a transaction that
//! stays open: it waits for the transactions in flight, makes later writers
//! wait, leaves readers alone, and falls with its session. A *seal* is a
//! trigger on each table, which refuses every writer but those of the run and
//! of its way back, which set `zdm.run` to the pair's name. The seal of a cutover is made in the
//! hold's own transaction together with the record that says so, so there is
//! no moment between the two.
//!
//! What it keeps is in our schema (`zdm`): `switch`, the record of a
//! cutover; `seal()`, the function behind the triggers; and `opened`, the
//! seals that were taken off. A seal is taken off by a row in `opened`, which
//! takes no lock on any table and so waits for nobody, a running autovacuum
//! of a table just loaded least of all. The triggers go as soon as they can.
//!
//! Rights: to own the tables (or be a member of the role that does), and
//! CREATE on the database for our schema.
//!
//! What it does not do: foreign tables as partitions are neither locked nor
//! sealed, since nothing of theirs is in the log either; and a role that owns
//! a table can take its seal off, as it can drop the table.

mod blockers;
mod hold;
mod record;
mod seal;
mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use zdm_core::Result;
use zdm_core::connect::{Fence, Hold, HoldOptions, RunName, SwitchRecord, left_since};
use zdm_core::schema::Schema;

use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;

/// The fence of one PostgreSQL database. Each call opens the sessions that
/// it needs, but for reads, which share one that is kept.
#[derive(Debug, Clone)]
pub struct PgFence {
    config: Arc<PgConfig>,
    /// Kept between looks at the record, which a process that follows takes
    /// several times a second.
    reader: Arc<Mutex<Option<Control>>>,
}

impl PgFence {
    /// The fence of that database.
    pub fn new(config: Arc<PgConfig>) -> Self {
        Self { config, reader: Arc::default() }
    }

    async fn session(&self) -> Result<Control> {
        let session = Control::holding(&self.config, "fence").await?;
        durable(&session).await?;
        Ok(session)
    }

    /// The session that is kept, or a new one, and whether it is a kept one:
    /// that may have been lost meanwhile, and what it could not answer is
    /// asked again. Whoever got his answer [keeps](Self::keep) it.
    async fn reader(&self) -> Result<(Control, bool)> {
        let kept = self.kept().take().filter(|session| !session.is_closed());
        match kept {
            Some(session) => Ok((session, true)),
            None => Ok((Control::connect(&self.config, "record").await?, false)),
        }
    }

    fn keep(&self, session: Control) {
        *self.kept() = Some(session);
    }

    fn kept(&self) -> MutexGuard<'_, Option<Control>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Fence for PgFence {
    async fn now(&self) -> Result<i64> {
        loop {
            let (session, kept) = self.reader().await?;
            match record::now(&session).await {
                Err(error) if kept => tracing::debug!(%error, "the session that was kept is lost"),
                Err(error) => return Err(error),
                Ok(now) => {
                    self.keep(session);
                    return Ok(now);
                }
            }
        }
    }

    async fn record(&self, run: &RunName) -> Result<Option<SwitchRecord>> {
        loop {
            let (session, kept) = self.reader().await?;
            match record::read(&*session, self.config.schema(), run).await {
                Err(error) if kept => tracing::debug!(%error, "the session that was kept is lost"),
                Err(error) => return Err(error),
                Ok(record) => {
                    self.keep(session);
                    return Ok(record);
                }
            }
        }
    }

    async fn swap(
        &self,
        run: &RunName,
        old: Option<&SwitchRecord>,
        new: Option<&SwitchRecord>,
    ) -> Result<()> {
        let mut session = self.session().await?;
        if new.is_some() {
            seal::make(&mut session, self.config.schema()).await?;
        }
        record::swap(&*session, self.config.schema(), run, old, new).await
    }

    /// The schema and the seal's function. Triggers are made in the hold's
    /// own transaction, which has their tables locked by then.
    async fn arm(&self, _: &RunName, _: &Schema, _: HoldOptions) -> Result<()> {
        seal::make(&mut self.session().await?, self.config.schema()).await
    }

    async fn hold(&self, run: &RunName, schema: &Schema, options: HoldOptions) -> Result<Box<dyn Hold>> {
        let mut session = Control::holding(&self.config, "hold").await?;
        durable(&session).await?;
        seal::make(&mut session, self.config.schema()).await?;
        let beside = self.session().await?;
        let hold = hold::PgHold::take(session, beside, self.config.schema(), run, schema, options).await?;
        Ok(Box::new(hold))
    }

    async fn seal(&self, run: &RunName, schema: &Schema, reason: &str) -> Result<()> {
        let mut session = self.session().await?;
        let ours = self.config.schema();
        seal::make(&mut session, ours).await?;
        let transaction = session.transaction().await.during("fence.seal")?;
        let tables = tables::find(&transaction, schema).await?;
        seal::put(&transaction, ours, run, &tables, reason).await?;
        transaction.commit().await.during("fence.seal")
    }

    async fn unseal(&self, run: &RunName, schema: &Schema, leg: u32) -> Result<()> {
        let mut session = self.session().await?;
        // First the seals, then the record: a seal of a later leg either came
        // behind the first look and has another number, or the record says so.
        let tables = tables::find(&*session, schema).await?;
        let since = record::read(&*session, self.config.schema(), &run.other()).await?;
        if since.is_some_and(|record| record.leg > leg) {
            return Err(left_since(leg));
        }
        if seal::open(&mut session, self.config.schema(), run, &tables).await? {
            seal::sweep(&mut session, &tables).await;
        }
        Ok(())
    }
}

/// Makes `Ok` of a COMMIT mean durable, whatever the server's default. A
/// stronger default stays.
async fn durable(session: &Control) -> Result<()> {
    let sql = "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
               WHERE pg_catalog.current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')";
    session.execute(sql, &[]).await.during("fence.settle").map(drop)
}
