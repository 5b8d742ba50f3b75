//! A hold: the rows of the seal, locked in a transaction that stays open, and
//! the tables open in it, which DDL and TRUNCATE wait for.
//!
//! XA transactions that are prepared are waited for too: by their locks, which
//! MySQL lets them keep, or by their names (MariaDB).

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use zdm_core::connect::{Hold, HoldOptions, RunName, SwitchRecord};
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Position, Result};

use super::taking::Taking;
use super::{record, seal};
use crate::changes::start;
use crate::connect::quote::{quote_literal, quote_table};
use crate::connect::{Control, durable};
use crate::error::{OrMy, protocol};
use crate::position::{Coordinates, Point};

/// After how many seconds of silence the server ends the hold's session, and
/// lets writers in: so long they wait when our host vanishes. Their own patience
/// (`innodb_lock_wait_timeout`) is 50 s where nobody has changed it.
const GIVE_UP: u64 = 8;

/// How often we break the silence.
const PULSE: Duration = Duration::from_secs(2);

/// Dropped, both sessions close, and the server lets the rows go.
#[derive(Debug)]
pub(super) struct MySqlHold {
    sessions: Arc<Mutex<Sessions>>,
    ours: String,
    run: RunName,
    schema: Schema,
    /// What the transaction wrote into its rows: it is seen by nobody else,
    /// and gone when the transaction is.
    mark: u64,
    pulse: JoinHandle<()>,
}

#[derive(Debug)]
struct Sessions {
    hold: Control,
    /// For what must not be in the hold's own transaction.
    beside: Control,
    /// Set while a call is under way. Found set, a call was dropped, and what
    /// the server answers next is an answer to that one.
    spent: bool,
}

impl Sessions {
    fn begin(&mut self, operation: &'static str) -> Result<()> {
        if std::mem::replace(&mut self.spent, true) { Err(fallen(operation)) } else { Ok(()) }
    }
}

impl MySqlHold {
    pub(super) async fn take(
        mut session: Control,
        mut beside: Control,
        ours: &str,
        run: &RunName,
        schema: &Schema,
        options: HoldOptions,
    ) -> Result<Self> {
        let silence = format!("SET SESSION wait_timeout = {GIVE_UP}");
        session.query_drop(silence).await.during("fence.hold")?;
        let mark = fastrand::u64(1..);
        let mut taking = Taking::new((&mut session, &mut beside), ours, run, schema, options);
        taking.arm().await?;
        taking.lock(mark).await?;
        let sessions = Arc::new(Mutex::new(Sessions { hold: session, beside, spent: false }));
        let pulse = tokio::spawn(pulse(Arc::downgrade(&sessions)));
        let (ours, run, schema) = (ours.to_owned(), run.clone(), schema.clone());
        Ok(Self { sessions, ours, run, schema, mark, pulse })
    }

    /// Whether the transaction that took the rows is still the open one.
    ///
    /// # Errors
    /// `Fenced` if it is not.
    async fn stands(&self, session: &mut Control, operation: &'static str) -> Result<()> {
        let sides = seal::sides(&self.schema).len();
        if sides == 0 {
            return session.ping().await.map_err(|error| fallen(operation).caused_by(error));
        }
        let look = format!(
            "SELECT COUNT(*) FROM {} WHERE `run` = {} AND `side` IN ({}) AND `held` = {}",
            quote_table(&self.ours, "seal"),
            quote_literal(self.run.pair()),
            seal::list(&self.schema),
            self.mark
        );
        match session.query_first::<usize, _>(look).await {
            Ok(found) if found == Some(sides) => Ok(()),
            Ok(_) => Err(fallen(operation)),
            Err(error) => Err(fallen(operation).caused_by(error)),
        }
    }
}

impl Drop for MySqlHold {
    fn drop(&mut self) {
        self.pulse.abort();
    }
}

/// Keeps the server from giving the session up, for as long as there is a
/// hold that wants it.
async fn pulse(sessions: Weak<Mutex<Sessions>>) {
    loop {
        tokio::time::sleep(PULSE).await;
        let Some(sessions) = sessions.upgrade() else { return };
        let mut sessions = sessions.lock().await;
        // Whoever has the hold is told of either when he asks.
        if sessions.spent || sessions.hold.ping().await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Hold for MySqlHold {
    async fn marker(&mut self) -> Result<Position> {
        let marker = "fence.marker";
        let mut sessions = self.sessions.lock().await;
        sessions.begin(marker)?;
        self.stands(&mut sessions.hold, marker).await?;
        // A commit of its own, so that the log is sure to move past it; every
        // write before the hold has committed before it.
        let beside = &mut sessions.beside;
        seal::mark(beside, &self.ours, &self.run).await?;
        let server: Option<u32> = beside.query_first("SELECT @@server_id").await.during(marker)?;
        let server = server.ok_or_else(|| protocol("the server did not tell its id"))?;
        let point = start::end_of_log(beside).await?;
        sessions.spent = false;
        Ok(Position::from(&Point::at(Coordinates { server, point })))
    }

    async fn check(&mut self) -> Result<()> {
        let mut sessions = self.sessions.lock().await;
        sessions.begin("fence.check")?;
        self.stands(&mut sessions.hold, "fence.check").await?;
        sessions.spent = false;
        Ok(())
    }

    async fn seal(self: Box<Self>, old: &SwitchRecord, new: &SwitchRecord) -> Result<()> {
        let during = "fence.seal";
        let mut sessions = self.sessions.lock().await;
        sessions.begin(during)?;
        let session = &mut sessions.hold;
        // A deadlock or a timeout may have rolled us back without a word.
        self.stands(session, during).await?;
        // A setting may have changed since the assessment.
        durable::check(session, during).await?;
        let reason = format!("its data moved to {} (zdm run {})", new.target, self.run);
        let (ours, run) = (self.ours.as_str(), &self.run);
        record::swap(session, ours, run, Some(old), Some(new)).await.map_err(undone)?;
        seal::put(session, ours, run, &self.schema, true, &reason).await.map_err(undone)?;
        // Any of the two may have met a deadlock; then nothing is left to commit.
        self.stands(session, during).await?;
        session.query_drop("COMMIT").await.map_err(|error| {
            Error::new(
                ErrorKind::Connection,
                "whether the seal was committed is not known: read the record of the cutover",
            )
            .caused_by(error)
            .during(during)
        })
    }

    async fn release(self: Box<Self>) -> Result<()> {
        let release = "fence.release";
        let mut sessions = self.sessions.lock().await;
        // Else the session ends, and the hold with it.
        sessions.begin(release)?;
        sessions.hold.query_drop("ROLLBACK").await.during(release)
    }
}

fn fallen(operation: &'static str) -> Error {
    Error::new(ErrorKind::Fenced, "the hold has fallen with its transaction: cut over again")
        .during(operation)
}

fn undone(error: Error) -> Error {
    if error.kind() == ErrorKind::Fenced {
        return error;
    }
    Error::new(ErrorKind::Fenced, "the source could not be sealed, nothing happened: cut over again")
        .caused_by(error)
        .during("fence.seal")
}
