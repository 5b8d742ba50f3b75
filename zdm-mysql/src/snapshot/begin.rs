//! Where the stream begins, and the wait for what is in progress there.
//!
//! A transaction is in the log before a SELECT sees it: the server writes the
//! log and then commits in its engine. One that was between the two when the
//! start was read is behind no start and in no snapshot. So the start is read
//! first, and then every transaction that has written something is waited for,
//! prepared XA transactions with the others: their rows came with the PREPARE,
//! which may be before the start.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep};
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Position, Result};

use crate::changes::start;
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::connect::threads::is_about_a_text;
use crate::error::OrMy;
use crate::schema::Cells;

/// The shortest and the longest pause between two looks at the transactions.
/// `innodb_trx` is a copy that the server makes anew only for who reads it
/// 100 ms after the last reader, whoever that was: the pauses differ, so that
/// several who look do not keep one copy for ever.
/// <https://dev.mysql.com/doc/refman/en/innodb-information-schema-internal-data.html>
const PAUSE: Range<u64> = 120..600;

/// Fixes the start, then waits until whatever was in progress has ended.
///
/// # Errors
/// `Timeout`, naming who is in progress; `Config` and `Permission` in words
/// that say what to set or grant.
pub(super) async fn begin(config: &MySqlConfig, schema: &Schema) -> Result<Position> {
    let mut control = Control::connect(config, "begin").await?;
    logs_rows(&mut control, schema).await?;
    let start = start::here(&mut control).await?;
    let deadline = Instant::now() + config.begin_timeout();
    wait(&mut control, deadline).await.map_err(|error| error.during("snapshot.begin"))?;
    tracing::debug!(%start, "the start of the stream is fixed, and nothing is in progress before it");
    Ok((&start).into())
}

/// Refuses a log that does not carry whole rows: nothing that was copied could
/// be kept up with it.
async fn logs_rows(control: &mut Control, schema: &Schema) -> Result<()> {
    let sql = "SELECT @@global.log_bin, @@global.binlog_format, @@global.binlog_row_image";
    let row: Option<Row> = control.query_first(sql).await.during("snapshot.begin")?;
    let row = row.ok_or_else(|| crate::error::protocol("the server did not tell its settings"))?;
    let refuse = |message: &str| Err(Error::new(ErrorKind::Config, message).during("snapshot.begin"));
    if !row.cell::<bool>(0)? {
        return refuse("the server writes no binary log: set log_bin there and restart it");
    }
    if row.cell::<String>(1)? != "ROW" {
        return refuse(
            "the binary log does not carry rows: SET GLOBAL binlog_format = 'ROW', and reconnect writers",
        );
    }
    if row.cell::<String>(2)? == "MINIMAL" {
        return refuse(
            "the binary log leaves columns of inserted rows out: SET GLOBAL binlog_row_image = 'FULL', and \
             reconnect writers",
        );
    }
    if let Some(table) = schema.tables.iter().find(|table| table.key == zdm_core::schema::Key::Nothing) {
        return Err(Error::new(
            ErrorKind::Config,
            "a table has no key and the log does not carry its whole old rows: give it a primary key, or \
             SET GLOBAL binlog_row_image = 'FULL', and reconnect writers",
        )
        .with("table", &table.origin.name));
    }
    Ok(())
}

/// Waits until each transaction that is in progress now has ended. The session
/// has had no transaction of its own before.
pub(super) async fn wait(control: &mut Control, deadline: Instant) -> Result<()> {
    let writing: BTreeSet<u64> = writing_by_now(control, deadline).await?;
    let prepared: BTreeSet<String> = prepared(control).await?.into_iter().collect();
    loop {
        // An old copy shows who has ended, and never hides who has not.
        let left = if writing.is_empty() { Vec::new() } else { look(control, deadline).await?.writing };
        let left: Vec<_> = left.into_iter().filter(|transaction| writing.contains(&transaction.id)).collect();
        let undecided = if prepared.is_empty() {
            Vec::new()
        } else {
            self::prepared(control).await?.into_iter().filter(|xid| prepared.contains(xid)).collect()
        };
        if left.is_empty() && undecided.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(culprit(control, left.first(), undecided.first()).await);
        }
        pause().await;
    }
}

/// Who is writing now, or has ended since. A copy is of now, and not of a
/// moment that others have kept, once it shows a transaction that this session
/// opened before it looked.
async fn writing_by_now(control: &mut Control, deadline: Instant) -> Result<BTreeSet<u64>> {
    let open = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    control.query_drop(open).await.during("snapshot.begin")?;
    loop {
        let seen = look(control, deadline).await?;
        if seen.ourselves {
            control.query_drop("COMMIT").await.during("snapshot.begin")?;
            return Ok(seen.writing.into_iter().map(|transaction| transaction.id).collect());
        }
        if Instant::now() > deadline {
            return Err(Error::new(
                ErrorKind::Timeout,
                "the server tells nobody anew who is writing, since somebody reads information_schema.INNODB_TRX \
                 more often than ten times a second: let that rest until the run has begun",
            ));
        }
        pause().await;
    }
}

async fn pause() {
    sleep(Duration::from_millis(fastrand::u64(PAUSE))).await;
}

/// What the server's copy shows.
struct Look {
    writing: Vec<Writing>,
    /// Whether this session's transaction is among those that only read.
    ourselves: bool,
}

/// A transaction that has written something.
#[derive(Debug)]
struct Writing {
    id: u64,
    thread: u64,
    since: String,
}

/// Those that only read have no number of their own: they are shown by one
/// beyond 48 bits, or by 0.
async fn look(control: &mut Control, deadline: Instant) -> Result<Look> {
    let sql = "SELECT trx_id > 0 AND trx_id < (1 << 48), trx_id, trx_mysql_thread_id, trx_started \
                 FROM information_schema.INNODB_TRX \
                WHERE (trx_id > 0 AND trx_id < (1 << 48)) OR trx_mysql_thread_id = CONNECTION_ID() \
                ORDER BY trx_started";
    let rows: Vec<Row> = loop {
        match control.query(sql).await.during("snapshot.begin") {
            Err(error) if is_about_a_text(&error) && Instant::now() < deadline => pause().await,
            outcome => break outcome?,
        }
    };
    let mut seen = Look { writing: Vec::new(), ourselves: false };
    for row in &rows {
        if row.cell::<bool>(0)? {
            seen.writing.push(Writing { id: row.cell(1)?, thread: row.cell(2)?, since: row.cell(3)? });
        } else {
            seen.ourselves = true;
        }
    }
    Ok(seen)
}

/// The names of prepared XA transactions. MySQL asks for `XA_RECOVER_ADMIN`;
/// without it none is named, and `INNODB_TRX` shows them as transactions of no
/// thread. `CONVERT XID` gives the names as digits.
pub(crate) async fn prepared(control: &mut Control) -> Result<Vec<String>> {
    let sql = if control.server().is_mariadb() { "XA RECOVER" } else { "XA RECOVER CONVERT XID" };
    let rows: Vec<Row> = match control.query(sql).await.during("snapshot.begin") {
        // ER_XAER_RMERR
        Err(error) if crate::error::code(&error) == Some(1401) => Vec::new(),
        outcome => outcome?,
    };
    rows.iter()
        .map(|row| {
            let (format, gtrid, bqual): (i64, u64, u64) = (row.cell(0)?, row.cell(1)?, row.cell(2)?);
            let data: Vec<u8> = row.cell(3)?;
            Ok(format!("{format}:{gtrid}:{bqual}:{}", data.escape_ascii()))
        })
        .collect()
}

/// Names who is waited for.
async fn culprit(control: &mut Control, writing: Option<&Writing>, prepared: Option<&String>) -> Error {
    let error = |message: &str| {
        Error::new(ErrorKind::Timeout, format!("{message}; or allow for more with begin_timeout"))
    };
    let Some(transaction) = writing else {
        return error("an XA transaction is prepared and not decided: XA COMMIT or XA ROLLBACK it")
            .with("xid", prepared.map_or("?", String::as_str));
    };
    let thread = transaction.thread;
    let sql =
        format!("SELECT CONCAT(USER, '@', HOST) FROM information_schema.PROCESSLIST WHERE ID = {thread}");
    let user: Option<String> = control.query_first(sql).await.unwrap_or_default();
    error(&format!("a transaction that was in progress at the start does not end: end it, or KILL {thread}"))
        .with("thread", thread)
        .with("user", user.unwrap_or_else(|| "?".to_owned()))
        .with("since", &transaction.since)
}
