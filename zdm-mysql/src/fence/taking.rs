//! How tables are armed and their hold is taken: by tries that are short, so
//! that one long transaction does not make every other one wait behind us.
//! Between two tries writers go on.
//!
//! The server's own limits for waits count whole seconds; a shorter one is
//! ended from the session beside.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::Instant;
use zdm_core::connect::{HoldOptions, RunName};
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Result};

use super::{blockers, seal};
use crate::connect::Control;
use crate::connect::quote::{quote_literal, quote_table};
use crate::error::{OrMy, code};

/// How many tables one statement names.
const TOGETHER: usize = 50;

/// Two sessions, and for how long they try.
pub(super) struct Taking<'a> {
    pub(super) session: &'a mut Control,
    /// Ends what takes the other one too long.
    pub(super) beside: &'a mut Control,
    ours: &'a str,
    run: &'a RunName,
    schema: &'a Schema,
    deadline: Instant,
    patience: Duration,
}

impl<'a> Taking<'a> {
    pub(super) fn new(
        (session, beside): (&'a mut Control, &'a mut Control),
        ours: &'a str,
        run: &'a RunName,
        schema: &'a Schema,
        options: HoldOptions,
    ) -> Self {
        let deadline = Instant::now() + options.deadline;
        Self { session, beside, ours, run, schema, deadline, patience: options.patience }
    }

    /// Gives each table the triggers that read its row of the seal. That
    /// waits for the transactions that have the table open: behind it, every
    /// transaction that writes to the table asks for the row.
    pub(super) async fn arm(&mut self) -> Result<()> {
        blockers::refuse_replica(self.session).await?;
        seal::make(self.session, self.ours).await?;
        seal::place(self.session, self.ours, self.run, self.schema).await?;
        for table in &self.schema.tables {
            loop {
                let (limit, id) = (self.limit(), self.session.id());
                let arming = seal::arm(self.session, self.ours, self.run, &table.name);
                if within(arming, limit, self.beside, id).await? {
                    break;
                }
                self.pause(None).await?;
            }
        }
        Ok(())
    }

    /// Opens the transaction that is the hold, and locks its rows by writing
    /// `mark` into them.
    ///
    /// First it opens the tables, which TRUNCATE and all DDL wait for: they ask
    /// no trigger. In this order, since DDL that waits for a writer who waits
    /// for the rows would, asked behind the rows, wait for us too.
    pub(super) async fn lock(&mut self, mark: u64) -> Result<()> {
        let hold = "fence.hold";
        let names: Vec<String> =
            self.schema.tables.iter().map(|t| quote_table(&t.name.schema, &t.name.name)).collect();
        let mut statements = vec!["START TRANSACTION".to_owned()];
        statements.extend(names.chunks(TOGETHER).map(|some| {
            let reads: Vec<String> =
                some.iter().map(|name| format!("SELECT 1 FROM {name} WHERE FALSE")).collect();
            reads.join(" UNION ALL ")
        }));
        let sides = seal::list(self.schema);
        if !sides.is_empty() {
            statements.push(format!(
                "UPDATE {} SET `held` = {mark} WHERE `run` = {} AND `side` IN ({sides})",
                quote_table(self.ours, "seal"),
                quote_literal(self.run.pair()),
            ));
        }
        let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
        self.session.query_drop(isolation).await.during(hold)?;
        loop {
            let (limit, id) = (self.limit(), self.session.id());
            let session = &mut *self.session;
            let locking = async {
                for statement in &statements {
                    session.query_drop(statement.as_str()).await.during(hold)?;
                }
                Ok(())
            };
            let locked = within(locking, limit, self.beside, id).await?;
            let undecided = if locked { blockers::undecided(self.session).await? } else { None };
            if locked && undecided.is_none() {
                return Ok(());
            }
            self.session.query_drop("ROLLBACK").await.during(hold)?;
            self.pause(undecided).await?;
        }
    }

    /// Half to one and a half of the patience: writers get at least a third
    /// of the time, and two holds do not keep in step.
    async fn pause(&mut self, known: Option<String>) -> Result<()> {
        let pause = self.patience.mul_f64(0.5 + fastrand::f64());
        if self.left() > pause {
            tokio::time::sleep(pause).await;
            return Ok(());
        }
        let error = Error::new(
            ErrorKind::Timeout,
            "writers could not be kept out in time: transactions are open on the tables; end them, or try \
             again with a longer deadline",
        );
        let mut found = blockers::find(self.beside, self.session.id()).await;
        found.extend(known);
        Err(found.iter().fold(error, |error, blocker| error.with("in the way", blocker)).during("fence.hold"))
    }

    fn limit(&self) -> Duration {
        self.patience.min(self.left())
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Waits for `work` and, past the limit, has the server end it. Whether it was
/// done.
async fn within(
    work: impl Future<Output = Result<()>>,
    limit: Duration,
    beside: &mut Control,
    id: u32,
) -> Result<bool> {
    let mut work = std::pin::pin!(work);
    let outcome = match tokio::time::timeout(limit, &mut work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            beside.query_drop(format!("KILL QUERY {id}")).await.during("fence.hold")?;
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
