//! The session of a writer, and its transactions.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use zdm_core::connect::{Epoch, Progress, RunName};
use zdm_core::{ErrorKind, Result};

use crate::checkpoint::advance;
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal};
use crate::error::OrMy;

/// The server ends a session that is silent for a minute. After so long a
/// pause between two transactions we ask whether it has.
const SILENCE: Duration = Duration::from_secs(20);

/// A writer's session: let through by the seal, and set so that the row that
/// is stored is the row that was sent.
#[derive(Debug)]
pub(super) struct Session {
    control: Control,
    config: Arc<MySqlConfig>,
    run: RunName,
    purpose: &'static str,
    open: bool,
    used: Instant,
    /// The session's default database, where it has been named.
    database: Option<String>,
    /// Whether the server takes LOAD DATA LOCAL.
    pub(super) infile: bool,
    /// How many bytes a statement of many rows may have.
    pub(super) packet: usize,
}

impl Session {
    pub(super) async fn open(
        config: &Arc<MySqlConfig>,
        run: &RunName,
        purpose: &'static str,
    ) -> Result<Self> {
        let mut control = Control::holding(config, purpose).await?;
        let (infile, packet) = settle(&mut control, run).await?;
        Ok(Self {
            control,
            config: Arc::clone(config),
            run: run.clone(),
            purpose,
            open: false,
            used: Instant::now(),
            database: None,
            infile,
            packet,
        })
    }

    /// Begins a transaction, unless one is open.
    pub(super) async fn begin(&mut self) -> Result<()> {
        if self.open {
            return Ok(());
        }
        // Between transactions nothing is lost with a session.
        if self.used.elapsed() > SILENCE && self.control.ping().await.is_err() {
            *self = Self::open(&self.config, &self.run, self.purpose).await?;
        }
        self.query_drop("START TRANSACTION").await.during("sink.begin")?;
        self.open = true;
        Ok(())
    }

    /// Begins a transaction, unless one is open, and makes the database of the
    /// tables that come next the session's own: else the servers change to it
    /// and back for each row that a trigger of theirs is asked about.
    pub(super) async fn begin_in(&mut self, database: &str) -> Result<()> {
        self.begin().await?;
        if self.database.as_deref() != Some(database) {
            self.query_drop(format!("USE {}", quote_ident(database))).await.during("sink.begin")?;
            self.database = Some(database.to_owned());
        }
        Ok(())
    }

    /// Writes the progress, and commits what the transaction has done with
    /// it.
    ///
    /// # Errors
    /// `Fenced` when the progress is not as expected: nothing was committed.
    /// `Connection` when no answer came: whether it happened is settled by
    /// who raises the run's epoch.
    pub(super) async fn commit(&mut self, ours: &str, epoch: Epoch, progress: &Progress) -> Result<()> {
        self.begin().await?;
        let run = self.run.clone();
        advance(&mut self.control, ours, &run, epoch, progress).await?;
        fail::fail_point!("sink::advanced");
        let (done, ()) = futures::join!(self.query_drop("COMMIT"), unanswered());
        done.during("sink.commit")?;
        self.open = false;
        self.used = Instant::now();
        Ok(())
    }

    /// Gives the outcome on, and where the server has refused something, gives
    /// up at once the locks of a transaction that will not be committed.
    /// Without it they would stay until the server notices that we are gone.
    pub(super) async fn settled<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && self.open
            && matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Rejected | ErrorKind::Conflict)
            && let Err(failure) = self.control.query_drop("ROLLBACK").await
        {
            tracing::debug!(%failure, "the transaction of a writer that failed ends with its session");
        }
        outcome
    }
}

impl Deref for Session {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Control {
        &mut self.control
    }
}

/// Stands between a statement that was just sent and its answer.
async fn unanswered() {
    fail::fail_point!("sink::committing");
}

/// What the statements of writers rely on.
///
/// `unique_checks` stays on: MariaDB would lock a whole empty table for the
/// first of several writers that load it
/// (<https://jira.mariadb.org/browse/MDEV-515>), and tables that are loaded
/// have no unique key but the one that is always checked.
async fn settle(control: &mut Control, run: &RunName) -> Result<(bool, usize)> {
    let settle = "sink.settle";
    // The seal on the target's tables lets this run through. No gaps are
    // locked. Parents come after children, and cascades are in the log as
    // changes of their own. Days that no calendar has are stored as they
    // were at the source. Text is read in its column's own character set.
    for sql in [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        format!("SET @zdm_run = {}", quote_literal(run.pair())),
        "SET SESSION foreign_key_checks = 0, unique_checks = 1, character_set_results = NULL, \
         sql_mode = CONCAT(@@sql_mode, ',ALLOW_INVALID_DATES')"
            .to_owned(),
    ] {
        control.query_drop(sql).await.during(settle)?;
    }
    let told: Option<(u8, u64)> = control
        .query_first("SELECT @@global.local_infile, @@session.max_allowed_packet")
        .await
        .during(settle)?;
    let (infile, packet) = told.unwrap_or_default();
    // Longer statements are not faster, and take memory on both sides.
    let packet = usize::try_from(packet / 2).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 20);
    Ok((infile != 0, packet))
}
