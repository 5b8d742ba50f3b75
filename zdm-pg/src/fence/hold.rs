//! A hold: locks on all tables, in a transaction that stays open.
//!
//! They are taken in two steps. First `SHARE UPDATE EXCLUSIVE`, which no
//! writer notices, and which sends a running autovacuum away (the server
//! cancels it for us only after its `deadlock_timeout`, longer than writers
//! should wait). Then, again and again, all of `SHARE ROW EXCLUSIVE` within
//! the patience, each try in a savepoint: between two tries writers go on.
//! A writer with locks that a try wants may wait for locks that it has: so a
//! try ends before the server looks for deadlocks, and would fail the writer.
//!
//! Prepared transactions keep their locks, so the hold waits for them too.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Oid, PgLsn};
use zdm_core::connect::{Hold, HoldOptions, RunName, SwitchRecord};
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Position, Result};

use super::tables::{self, Found};
use super::{blockers, record, seal};
use crate::connect::Control;
use crate::error::{self, OrPg};
use crate::position::Lsn;

/// Dropped, both sessions close, and the server lets the locks go.
#[derive(Debug)]
pub(super) struct PgHold {
    session: Control,
    /// For what must not be in the hold's own transaction.
    beside: Control,
    ours: String,
    run: RunName,
    tables: Vec<Found>,
}

impl PgHold {
    pub(super) async fn take(
        session: Control,
        beside: Control,
        ours: &str,
        run: &RunName,
        schema: &Schema,
        options: HoldOptions,
    ) -> Result<Self> {
        // Found again until what is locked is what is there: a partition may
        // come meanwhile.
        let deadline = Instant::now() + options.deadline;
        session.batch_execute(KEEP).await.during("fence.hold")?;
        let patience = options.patience.min(before_deadlock(&session).await?);
        let mut tables = tables::find(&*session, schema).await?;
        let mut taking =
            Taking { session: &session, beside: &beside, deadline, blockers: Vec::new(), stuck: None };
        loop {
            taking.sweep(ours, &tables, patience).await?;
            taking.all(&tables, patience).await?;
            let now = tables::find(&*session, schema).await?;
            let same = now.iter().map(|t| t.oid).eq(tables.iter().map(|t| t.oid));
            tables = now;
            if same {
                break;
            }
            session.batch_execute("ROLLBACK").await.during("fence.hold")?;
        }
        Ok(Self { session, beside, ours: ours.to_owned(), run: run.clone(), tables })
    }
}

/// The server notices within some seconds that we are gone, even if the
/// network swallowed the news. (Ignored on Unix sockets.)
const KEEP: &str = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 2; \
                    SET tcp_keepalives_count = 3";

/// Half of what a session waits before it looks for a deadlock.
async fn before_deadlock(session: &Control) -> Result<Duration> {
    let sql = "SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'";
    let milliseconds: i64 =
        session.query_one(sql, &[]).await.and_then(|row| row.try_get(0)).during("fence.hold")?;
    Ok(Duration::from_millis(milliseconds.unsigned_abs() / 2))
}

/// The part of a try behind which a lock that is still waited for is the one
/// that the try will not get.
const LATE: f64 = 0.8;

fn lock(tables: &[&Found], mode: &str) -> String {
    let names: Vec<String> = tables.iter().map(|table| format!("ONLY {}", table.name)).collect();
    format!("LOCK TABLE {} IN {mode} MODE", names.join(", "))
}

struct Taking<'a> {
    session: &'a Control,
    beside: &'a Control,
    deadline: Instant,
    /// Who was in the way last.
    blockers: Vec<String>,
    /// The table that the last try has waited for.
    stuck: Option<Oid>,
}

impl Taking<'_> {
    /// Removes the triggers of seals that were taken off. That waits for
    /// readers, which must not happen at the moment of the cutover.
    async fn sweep(&mut self, ours: &str, tables: &[Found], patience: Duration) -> Result<()> {
        for (oid, drop) in seal::stale(&**self.session, ours, tables).await? {
            loop {
                self.session.batch_execute("BEGIN").await.during("fence.hold")?;
                let dropped = self.lock(&drop, patience.min(self.left()), &[oid]).await?;
                let end = if dropped { "COMMIT" } else { "ROLLBACK" };
                self.session.batch_execute(end).await.during("fence.hold")?;
                if dropped {
                    break;
                }
                let pause = patience.mul_f64(0.5 + fastrand::f64());
                if self.left() <= pause {
                    return Err(self.in_the_way());
                }
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    }

    async fn all(&mut self, tables: &[Found], patience: Duration) -> Result<()> {
        let oids: Vec<Oid> = tables.iter().map(|t| t.oid).collect();
        if tables.is_empty() {
            return self.session.batch_execute("BEGIN").await.during("fence.hold");
        }
        let mut tables: Vec<&Found> = tables.iter().collect();
        let settle = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        self.session.batch_execute(settle).await.during("fence.hold")?;
        let quiet = lock(&tables, "SHARE UPDATE EXCLUSIVE");
        if !self.lock(&quiet, self.left(), &oids).await? {
            return Err(self.in_the_way());
        }
        loop {
            self.session.batch_execute("SAVEPOINT zdm").await.during("fence.hold")?;
            let loud = lock(&tables, "SHARE ROW EXCLUSIVE");
            if self.lock(&loud, patience.min(self.left()), &oids).await? {
                // Nothing of what is done under the hold may time out.
                let free = "SET LOCAL statement_timeout = 0";
                return self.session.batch_execute(free).await.during("fence.hold");
            }
            self.session.batch_execute("ROLLBACK TO SAVEPOINT zdm").await.during("fence.hold")?;
            // Who writes to that table and then to one that we had already waits
            // for us, and we for him. First in line, it is waited for with
            // nothing in hand, and who comes later stops at it. So the tables
            // come into the order in which the writers go.
            if let Some(at) = tables.iter().position(|table| Some(table.oid) == self.stuck) {
                tables[..=at].rotate_right(1);
            }
            // Half to one and a half of the patience: writers get at least a
            // third of the time, and two holds do not keep in step.
            let pause = patience.mul_f64(0.5 + fastrand::f64());
            if self.left() <= pause {
                return Err(self.in_the_way());
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Takes locks, for `limit` at the most. Whether it got all of them.
    async fn lock(&mut self, sql: &str, limit: Duration, tables: &[Oid]) -> Result<bool> {
        // `statement_timeout` bounds all of them together, `lock_timeout`
        // would bound each; 0 would mean no bound.
        let limit = limit.max(Duration::from_millis(1));
        let bound = format!("SET LOCAL statement_timeout = {}", limit.as_millis().min(0x7fff_ffff));
        self.session.batch_execute(&bound).await.during("fence.hold")?;
        let waiting = async {
            tokio::time::sleep(limit.mul_f64(LATE)).await;
            blockers::waits_for(&**self.beside, self.session.process_id()).await
        };
        let mut locking = std::pin::pin!(self.session.batch_execute(sql));
        let (locked, stuck) = tokio::select! {
            locked = &mut locking => (locked, None),
            stuck = waiting => (locking.await, stuck?),
        };
        self.stuck = stuck;
        match locked {
            Ok(()) => Ok(true),
            Err(error) if is_busy(&error) => {
                let found = blockers::find(&**self.beside, self.session.process_id(), tables).await?;
                if !found.is_empty() {
                    self.blockers = found;
                }
                Ok(false)
            }
            Err(error) => {
                let error = error::from_client(error).during("fence.hold");
                if error.kind() == ErrorKind::Permission {
                    return Err(Error::new(
                        ErrorKind::Permission,
                        "cannot lock the run's tables: let the user own them, or be a member of the role \
                         that does",
                    )
                    .caused_by(error)
                    .during("fence.hold"));
                }
                Err(error)
            }
        }
    }

    fn in_the_way(&self) -> Error {
        let error = Error::new(
            ErrorKind::Timeout,
            "writers could not be kept out in time: transactions are open on the tables; end them, or try \
             again with a longer deadline",
        );
        self.blockers
            .iter()
            .fold(error, |error, blocker| error.with("in the way", blocker))
            .during("fence.hold")
    }
}

/// Our own limit, or a deadlock with a writer: let him pass and try again.
fn is_busy(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED]
            .contains(code)
    })
}

#[async_trait]
impl Hold for PgHold {
    async fn marker(&mut self) -> Result<Position> {
        self.check().await?;
        // The end of the message's own record. Its transaction's commit comes
        // behind it and is flushed when this returns, so the reader is sure
        // to get past it; every write before the hold has committed before it.
        let sql = "SELECT pg_catalog.pg_logical_emit_message(true, 'zdm', 'marker')";
        let lsn: PgLsn =
            self.beside.query_one(sql, &[]).await.and_then(|row| row.try_get(0)).during("fence.marker")?;
        Ok(Lsn(lsn.into()).into())
    }

    async fn check(&mut self) -> Result<()> {
        self.session.batch_execute("SELECT 1").await.map_err(|error| fallen(error, "fence.check"))
    }

    async fn seal(self: Box<Self>, old: &SwitchRecord, new: &SwitchRecord) -> Result<()> {
        // Up to the COMMIT whatever fails takes the transaction with it.
        let reason = format!("its data moved to {} (zdm run {})", new.target, self.run);
        record::swap(&*self.session, &self.ours, &self.run, Some(old), Some(new)).await.map_err(undone)?;
        seal::put(&*self.session, &self.ours, &self.run, &self.tables, &reason).await.map_err(undone)?;
        fail::fail_point!("fence::sealing");
        self.session.batch_execute("COMMIT").await.map_err(|error| {
            Error::new(
                ErrorKind::Connection,
                "whether the seal was committed is not known: read the record of the cutover",
            )
            .caused_by(error::from_client(error))
            .during("fence.seal")
        })
    }

    async fn release(self: Box<Self>) -> Result<()> {
        self.session.batch_execute("ROLLBACK").await.during("fence.release")
    }
}

fn fallen(error: tokio_postgres::Error, operation: &'static str) -> Error {
    Error::new(ErrorKind::Fenced, "the hold has fallen with its session: cut over again")
        .caused_by(error::from_client(error))
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
