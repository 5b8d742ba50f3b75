//! Waiting for the transactions that are in progress, and saying for whom.
//!
//! Making a slot waits for them inside the server. Afterwards we wait once
//! more: a commit can be in the log before the slot's first position and its
//! rows still be invisible (it waits for a synchronous standby, say), so that
//! neither the stream nor a SELECT would show them.

use std::time::Duration;

use tokio::time::Instant;
use zdm_core::{Error, ErrorKind, Result};

use crate::connect::Control;
use crate::error::OrPg;

/// How often it is said for whom we wait.
const REPORT: Duration = Duration::from_secs(5);

/// Waits until every transaction that is in progress now has ended, prepared
/// ones included.
///
/// # Errors
/// `Timeout` at the deadline, naming who is still there.
pub(super) async fn settle(control: &Control, deadline: Instant) -> Result<()> {
    // Names that every version since 9.4 knows, in 64 bits. A number of our
    // own, since all that were given out before are lower. A snapshot's xmax
    // would not do: it is behind the highest number that has *ended*, and
    // whoever is in progress with a higher one would not be waited for.
    let goal: i64 = control
        .query_one("SELECT pg_catalog.txid_current()", &[])
        .await
        .and_then(|row| row.try_get(0))
        .during("changes.settle")?;
    let mut oldest = None;
    let mut watch = Watch::new();
    let mut pause = Duration::from_millis(5);
    // Not `<=`: numbers from the goal on were given out later, and ours has ended.
    while oldest.is_none_or(|oldest: i64| oldest < goal) {
        if oldest.is_some() {
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_millis(250)),
                () = watch.tick() => watch.report(control, 0).await?,
                () = tokio::time::sleep_until(deadline) => return Err(timed_out(control, 0).await),
            }
        }
        let row = control
            .query_one("SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())", &[])
            .await
            .during("changes.settle")?;
        oldest = Some(row.try_get(0).during("changes.settle")?);
    }
    Ok(())
}

/// Says from time to time for whom we wait.
#[derive(Debug)]
pub(super) struct Watch(tokio::time::Interval);

impl Watch {
    pub(super) fn new() -> Self {
        Self(tokio::time::interval_at(Instant::now() + Duration::from_secs(1), REPORT))
    }

    pub(super) async fn tick(&mut self) {
        self.0.tick().await;
    }

    pub(super) async fn report(&self, control: &Control, except: i32) -> Result<()> {
        for who in blockers(control, except).await? {
            tracing::warn!(%who, "the start of the run waits for a transaction in progress");
        }
        Ok(())
    }
}

/// The error of who has waited too long.
pub(super) async fn timed_out(control: &Control, except: i32) -> Error {
    let who = match blockers(control, except).await {
        Ok(who) if who.is_empty() => "nobody any more".to_owned(),
        Ok(who) => who.join("; "),
        Err(error) => format!("unknown: {error}"),
    };
    Error::new(
        ErrorKind::Timeout,
        "transactions in progress did not end in time: end them (COMMIT PREPARED or ROLLBACK PREPARED the \
         prepared ones), or raise begin_timeout",
    )
    .during("changes.begin")
    .with("waited_for", who)
}

/// Who has a transaction number and has not ended, oldest first, in words.
/// By the lock that each holds on its own number: unlike the number in
/// `pg_stat_activity`, any user may see it.
/// `except` is the process that does the waiting.
async fn blockers(control: &Control, except: i32) -> Result<Vec<String>> {
    let rows = control
        .query(
            "SELECT 'prepared transaction ' || pg_catalog.quote_literal(gid) || ' of ' || owner || ' in database '
                        || database || ', since ' || prepared AS who, prepared AS since
             FROM pg_catalog.pg_prepared_xacts
             UNION ALL
             SELECT DISTINCT 'process ' || a.pid || coalesce(' of ' || a.usename, '')
                        || coalesce(' in database ' || a.datname, '')
                        || coalesce(' (' || nullif(a.application_name, '') || ')', '')
                        || coalesce(', ' || a.state, '') || coalesce(', since ' || a.xact_start, ''), a.xact_start
             FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
                   AND a.pid NOT IN ($1, pg_catalog.pg_backend_pid())
             ORDER BY since NULLS FIRST LIMIT 5",
            &[&except],
        )
        .await
        .during("changes.wait")?;
    rows.iter().map(|row| row.try_get(0).during("changes.wait")).collect()
}
