//! What keeps writers out of a MySQL or MariaDB database, without SUPER.
//!
//! Everything stands on one row: `seal` in our own database has one for each
//! run and each database that its tables are in. Once the tables are *armed*,
//! a trigger of each reads that row, with a lock that it shares with every
//! other writer and keeps until its transaction ends. So
//!
//! * a *hold* is that row locked for writing, in a transaction that stays
//!   open: it waits for the writers in flight, makes later ones wait inside
//!   their statement, leaves readers alone, and falls with its session;
//! * a *seal* is the row saying so. The seal of a cutover and the record of
//!   the switch are committed in one transaction, the hold's own.
//!
//! The writers of a run and of its way back set `@zdm_run` to the pair's name,
//! and are let through.
//!
//! Table locks would also do for the hold, but taken one by one they deadlock
//! with transactions that write several tables, and the server then fails the
//! application's transaction rather than us; and `read_only` cannot let the
//! reverse stream through.
//!
//! Rights: TRIGGER on the tables' databases and all on ours; and, where a
//! binary log is written, SUPER or `log_bin_trust_function_creators = 1`,
//! without which the server lets nobody make a trigger.
//!
//! What it does not do: triggers are not asked by TRUNCATE, by DDL, or by the
//! cascades of a foreign key. The fingerprints that are compared under the
//! hold see DDL; the assessment refuses cascades from tables outside the run.

mod blockers;
mod hold;
mod record;
mod seal;
mod taking;

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{Fence, Hold, HoldOptions, RunName, SwitchRecord, left_since};
use zdm_core::schema::Schema;

pub(crate) use self::seal::{is_trigger_of_ours, triggers_of};
use self::taking::Taking;
use crate::config::MySqlConfig;
use crate::connect::{Control, durable};
use crate::error::OrMy;

/// The fence of one MySQL or MariaDB server. Each call opens the sessions
/// that it needs.
#[derive(Debug, Clone)]
pub struct MySqlFence {
    config: Arc<MySqlConfig>,
}

impl MySqlFence {
    /// The fence of that server.
    pub fn new(config: impl Into<Arc<MySqlConfig>>) -> Self {
        Self { config: config.into() }
    }

    async fn session(&self) -> Result<Control> {
        Control::holding(&self.config, "fence").await
    }
}

/// Makes all that this server has committed outlast a crash of it.
///
/// # Errors
/// `Config` where the server's settings do not let it.
pub(crate) async fn settle(session: &mut Control, ours: &str, run: &RunName) -> Result<()> {
    durable::check(session, "sink.prepare").await?;
    // Its log is flushed in order: with what is committed now goes all that
    // was committed before, whatever the settings were then.
    seal::make(session, ours).await?;
    seal::mark(session, ours, run).await
}

#[async_trait]
impl Fence for MySqlFence {
    async fn now(&self) -> Result<i64> {
        let clock = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
        let now: Option<i64> = self.session().await?.query_first(clock).await.during("fence.now")?;
        now.ok_or_else(|| crate::error::protocol("the server did not tell the time"))
    }

    async fn record(&self, run: &RunName) -> Result<Option<SwitchRecord>> {
        record::read(&mut self.session().await?, self.config.schema(), run).await
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
        record::swap(&mut session, self.config.schema(), run, old, new).await
    }

    async fn arm(&self, run: &RunName, schema: &Schema, options: HoldOptions) -> Result<()> {
        let (mut session, mut beside) = futures::try_join!(self.session(), self.session())?;
        let both = (&mut session, &mut beside);
        Taking::new(both, self.config.schema(), run, schema, options).arm().await
    }

    async fn hold(&self, run: &RunName, schema: &Schema, options: HoldOptions) -> Result<Box<dyn Hold>> {
        let (session, beside) = futures::try_join!(self.session(), self.session())?;
        let ours = self.config.schema();
        let hold = hold::MySqlHold::take(session, beside, ours, run, schema, options).await?;
        Ok(Box::new(hold))
    }

    async fn seal(&self, run: &RunName, schema: &Schema, reason: &str) -> Result<()> {
        let mut session = self.session().await?;
        let ours = self.config.schema();
        seal::make(&mut session, ours).await?;
        // First the word, then who asks for it: a table is sealed as soon as
        // it has its triggers.
        seal::put(&mut session, ours, run, schema, true, reason).await?;
        for table in &schema.tables {
            seal::arm(&mut session, ours, run, &table.name).await?;
        }
        Ok(())
    }

    async fn unseal(&self, run: &RunName, schema: &Schema, leg: u32) -> Result<()> {
        let mut session = self.session().await?;
        let ours = self.config.schema();
        if !seal::exists(&mut session, ours).await? {
            return Ok(());
        }
        session.query_drop("START TRANSACTION").await.during("fence.unseal")?;
        if record::leg(&mut session, ours, &run.other()).await?.is_some_and(|since| since > leg) {
            return Err(left_since(leg));
        }
        seal::put(&mut session, ours, run, schema, false, "").await?;
        session.query_drop("COMMIT").await.during("fence.unseal")?;
        seal::disarm(&mut session, run, schema).await;
        Ok(())
    }
}
