//! A hold: the rows of the seal, locked in a transaction that stays open.
//!
//! First the tables are armed, which waits for the transactions that have
//! them open: behind it, every transaction that has written one of them holds
//! its row. Then the rows are asked for, again and again within the patience.
//! The server's own limit for that counts whole seconds, so a shorter wait is
//! ended from beside. Between two tries writers go on.
//!
//! XA transactions that are prepared keep their locks, so the hold waits for
//! them too.

use std::time::Duration;

use async_trait::async_trait;
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tokio::time::Instant;
use zdm_core::connect::{Hold, HoldOptions, RunName, SwitchRecord};
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Position, Result};

use super::{blockers, record, seal};
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::connect::quote::{quote_literal, quote_table};
use crate::error::{OrMy, code};
use crate::position::{Coordinates, FilePoint, Point};

/// Dropped, both sessions close, and the server lets the rows go.
#[derive(Debug)]
pub(super) struct MySqlHold {
    session: Control,
    /// For what must not be in the hold's own transaction.
    beside: Control,
    ours: String,
    run: RunName,
    schema: Schema,
    /// What the transaction wrote into its rows: it is seen by nobody else,
    /// and gone when the transaction is.
    mark: u64,
}

impl MySqlHold {
    pub(super) async fn take(
        session: Control,
        beside: Control,
        ours: &str,
        run: &RunName,
        schema: &Schema,
        options: HoldOptions,
    ) -> Result<Self> {
        let deadline = Instant::now() + options.deadline;
        let mark = fastrand::u64(1..);
        let (ours, run, schema) = (ours.to_owned(), run.clone(), schema.clone());
        let mut hold = Self { session, beside, ours, run, schema, mark };
        seal::place(&mut hold.session, &hold.ours, &hold.run, &hold.schema).await?;
        hold.arm(deadline, options.patience).await?;
        hold.lock(deadline, options.patience).await?;
        Ok(hold)
    }

    async fn arm(&mut self, deadline: Instant, patience: Duration) -> Result<()> {
        let tables: Vec<_> = self.schema.tables.iter().map(|table| table.name.clone()).collect();
        for table in tables {
            loop {
                let limit = patience.min(left(deadline));
                let config = self.session.config().clone();
                let id = self.session.id();
                let arming = seal::arm(&mut self.session, &self.ours, &self.run, &table);
                if within(arming, limit, &config, id).await? {
                    break;
                }
                self.pause(deadline, patience).await?;
            }
        }
        Ok(())
    }

    async fn lock(&mut self, deadline: Instant, patience: Duration) -> Result<()> {
        let hold = "fence.hold";
        let lock = format!(
            "UPDATE {} SET `held` = {} WHERE `run` = {} AND `side` IN ({})",
            quote_table(&self.ours, "seal"),
            self.mark,
            quote_literal(self.run.as_str()),
            self.sides()
        );
        loop {
            self.session.query_drop("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.during(hold)?;
            self.session.query_drop("START TRANSACTION").await.during(hold)?;
            let limit = patience.min(left(deadline));
            let (config, id) = (self.session.config().clone(), self.session.id());
            let session = &mut self.session;
            let locking = async { session.query_drop(lock.as_str()).await.during(hold) };
            if within(locking, limit, &config, id).await? {
                return Ok(());
            }
            self.session.query_drop("ROLLBACK").await.during(hold)?;
            self.pause(deadline, patience).await?;
        }
    }

    /// Half to one and a half of the patience: writers get at least a third
    /// of the time, and two holds do not keep in step.
    async fn pause(&mut self, deadline: Instant, patience: Duration) -> Result<()> {
        let pause = patience.mul_f64(0.5 + fastrand::f64());
        if left(deadline) > pause {
            tokio::time::sleep(pause).await;
            return Ok(());
        }
        let error = Error::new(
            ErrorKind::Timeout,
            "writers could not be kept out in time: transactions are open on the tables; end them, or try \
             again with a longer deadline",
        );
        let found = blockers::find(&mut self.beside, self.session.id()).await;
        Err(found.iter().fold(error, |error, blocker| error.with("in the way", blocker)).during("fence.hold"))
    }

    fn sides(&self) -> String {
        seal::sides(&self.schema).iter().map(|side| quote_literal(side)).collect::<Vec<_>>().join(", ")
    }

    /// Whether the transaction that took the rows is still the open one.
    async fn stands(&mut self) -> std::result::Result<bool, mysql_async::Error> {
        let sides = seal::sides(&self.schema).len();
        let look = format!(
            "SELECT COUNT(*) FROM {} WHERE `run` = {} AND `side` IN ({}) AND `held` = {}",
            quote_table(&self.ours, "seal"),
            quote_literal(self.run.as_str()),
            if sides == 0 { "NULL".to_owned() } else { self.sides() },
            self.mark
        );
        let found: Option<usize> = self.session.query_first(look).await?;
        Ok(found == Some(sides))
    }
}

/// Waits for `work` and, past the limit, has the server end it. Whether it was
/// done.
async fn within(
    work: impl Future<Output = Result<()>>,
    limit: Duration,
    config: &MySqlConfig,
    id: u32,
) -> Result<bool> {
    let mut work = std::pin::pin!(work);
    let outcome = match tokio::time::timeout(limit, &mut work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Control::cancel(config, id).await?;
            work.await
        }
    };
    match outcome {
        Ok(()) => Ok(true),
        // Our limit, the server's, or a deadlock with a writer: let him pass
        // and try again.
        Err(error) if matches!(code(&error), Some(1317 | 1205 | 1213 | 1969)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[async_trait]
impl Hold for MySqlHold {
    async fn marker(&mut self) -> Result<Position> {
        self.check().await?;
        let marker = "fence.marker";
        // A commit of its own, so that the log is sure to move past it; every
        // write before the hold has committed before it.
        let write = format!(
            "INSERT INTO {} (`run`, `number`) VALUES (?, 1) ON DUPLICATE KEY UPDATE `number` = `number` + 1",
            quote_table(&self.ours, "marker")
        );
        self.beside.exec_drop(write, (self.run.as_str(),)).await.during(marker)?;
        let server: Option<u32> = self.beside.query_first("SELECT @@server_id").await.during(marker)?;
        let show = self.beside.server().show_log_end();
        let row: Option<Row> = self.beside.query_first(show).await.during(marker)?;
        let place = row.and_then(|mut row| Some((row.take_opt(0)?.ok()?, row.take_opt(1)?.ok()?)));
        let (Some(server), Some((file, offset))) = (server, place) else {
            return Err(Error::new(
                ErrorKind::Config,
                "the server has no binary log: turn it on (log_bin) and restart the server",
            )
            .during(marker));
        };
        let file: String = file;
        let offset: u64 = offset;
        let at = Coordinates { server, point: FilePoint::new(&file, offset)? };
        Ok(Position::from(&Point::at(at)))
    }

    async fn check(&mut self) -> Result<()> {
        match self.stands().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(fallen("fence.check")),
            Err(error) => Err(fallen("fence.check").caused_by(error)),
        }
    }

    async fn seal(mut self: Box<Self>, old: &SwitchRecord, new: &SwitchRecord) -> Result<()> {
        // A deadlock or a timeout may have rolled us back without a word.
        if !self.stands().await.map_err(|error| fallen("fence.seal").caused_by(error))? {
            return Err(fallen("fence.seal"));
        }
        let reason = format!("its data moved to {} (zdm run {})", new.target, self.run);
        let Self { session, ours, run, schema, .. } = &mut *self;
        record::swap(session, ours, run, Some(old), Some(new)).await.map_err(undone)?;
        seal::put(session, ours, run, schema, true, &reason).await.map_err(undone)?;
        // Any of the two may have met a deadlock; then nothing is left to commit.
        if !self.stands().await.map_err(|error| fallen("fence.seal").caused_by(error))? {
            return Err(fallen("fence.seal"));
        }
        self.session.query_drop("COMMIT").await.map_err(|error| {
            Error::new(
                ErrorKind::Connection,
                "whether the seal was committed is not known: read the record of the cutover",
            )
            .caused_by(error)
            .during("fence.seal")
        })
    }

    async fn release(mut self: Box<Self>) -> Result<()> {
        self.session.query_drop("ROLLBACK").await.during("fence.release")
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
