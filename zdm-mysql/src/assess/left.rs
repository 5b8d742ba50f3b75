//! The source at its cutover: the rights that fence and seal need, and who
//! would keep the hold from being had.
//!
//! A hold waits for the transactions that have written to the run's tables.
//! Which tables one has written to is told by `performance_schema` alone, where
//! it is on and may be read. Elsewhere the default database of its session has
//! to do: one of the run's is taken for it, and of another one it is said that
//! it may be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};

use super::{Look, durable, grants, server, topology};
use crate::connect::quote::quote_literal;
use crate::connect::threads::is_about_a_text;
use crate::error::OrMy;
use crate::schema::Cells;
use crate::snapshot::prepared;

/// What a coordinator at work has decided by then.
const DECIDED: Duration = Duration::from_secs(1);

pub(super) async fn assess(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    topology::assess(look, findings).await?;
    grants::left(look, findings);
    let takes = "a crash could take back the seal and the record of the switch, and both sides would be open";
    durable::assess(look, Severity::Blocker, |_| takes, findings);
    transactions(look, findings).await?;
    undecided(look, findings).await
}

/// Transactions that have written something, and are open for longer than a
/// hold has any hope to see the end of.
async fn transactions(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    if !look.grants.anywhere("PROCESS") {
        // Told with the rights.
        return Ok(());
    }
    let long = server::long(look.config).as_secs();
    let sql = format!(
        "SELECT trx_mysql_thread_id, trx_started FROM information_schema.INNODB_TRX \
         WHERE (trx_rows_locked > 0 OR trx_rows_modified > 0) AND trx_mysql_thread_id NOT IN (0, CONNECTION_ID()) \
           AND trx_started < NOW() - INTERVAL {long} SECOND ORDER BY trx_started"
    );
    let rows: Vec<Row> = match look.control.query(sql).await.during("assess.left") {
        // It is not told now; who is in the way is met when the hold is tried.
        Err(error) if is_about_a_text(&error) => Vec::new(),
        outcome => outcome?,
    };
    if rows.is_empty() {
        return Ok(());
    }
    let writers = writers(look).await;
    let databases = databases(look).await?;
    for row in rows {
        let (thread, since): (u64, String) = (row.cell(0)?, row.cell(1)?);
        let ours = databases.get(&thread).is_none_or(|used| {
            look.schema.tables.iter().any(|table| table.origin.name.schema.eq_ignore_ascii_case(used))
        });
        let (severity, what) = match &writers {
            Some(writers) if !writers.contains(&thread) => continue,
            Some(_) => (Severity::Blocker, "writes to the tables: the hold would wait for it"),
            None if ours => (Severity::Blocker, "has written something: the hold would wait for it"),
            None => (
                Severity::Warning,
                "has written something: if to tables of the run, the hold would wait for it (a user who may read \
                 performance_schema is told)",
            ),
        };
        let message = format!("it has had a transaction open since {since} that {what}");
        let finding = Finding::new(severity, "long_transaction", format!("thread {thread}"), message);
        findings.push(finding.remedy(format!("KILL {thread}")));
    }
    Ok(())
}

/// The threads that hold a table of the run for writing; `None` where the
/// server keeps no account of it, or not for us.
async fn writers(look: &mut Look<'_>) -> Option<BTreeSet<u64>> {
    let names: Vec<String> = look
        .schema
        .tables
        .iter()
        .map(|table| {
            let name = &table.origin.name;
            format!("({}, {})", quote_literal(&name.schema), quote_literal(&name.name))
        })
        .collect();
    let kept = "SELECT COUNT(*) FROM performance_schema.setup_instruments i \
                  JOIN performance_schema.setup_consumers c ON c.NAME = 'global_instrumentation' \
                 WHERE i.NAME = 'wait/lock/metadata/sql/mdl' AND i.ENABLED = 'YES' AND c.ENABLED = 'YES'";
    if look.control.query_first::<u64, _>(kept).await.ok().flatten() != Some(1) {
        return None;
    }
    let sql = format!(
        "SELECT DISTINCT t.PROCESSLIST_ID FROM performance_schema.metadata_locks l \
           JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID \
          WHERE l.OBJECT_TYPE = 'TABLE' AND l.LOCK_STATUS = 'GRANTED' AND l.LOCK_DURATION = 'TRANSACTION' \
            AND l.LOCK_TYPE NOT IN ('SHARED_READ', 'SHARED', 'SHARED_HIGH_PRIO') AND t.PROCESSLIST_ID IS NOT NULL \
            AND (l.OBJECT_SCHEMA, l.OBJECT_NAME) IN ({})",
        names.join(", ")
    );
    look.control.query::<u64, _>(sql).await.ok().map(|threads| threads.into_iter().collect())
}

/// The default database of each session that has one.
async fn databases(look: &mut Look<'_>) -> Result<BTreeMap<u64, String>> {
    let rows: Vec<Row> = look.control.query("SHOW PROCESSLIST").await.during("assess.left")?;
    let mut databases = BTreeMap::new();
    for row in &rows {
        if let Some(database) = row.cell::<Option<String>>(3)? {
            databases.insert(row.cell(0)?, database);
        }
    }
    Ok(databases)
}

/// XA transactions that are prepared and stay so. Their tables are not told,
/// and a start waits for each of them too.
async fn undecided(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let before = prepared(&mut look.control).await?;
    if before.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(DECIDED).await;
    let now = prepared(&mut look.control).await?;
    for xid in before.iter().filter(|xid| now.contains(xid)) {
        findings.push(
            Finding::new(
                Severity::Blocker,
                "prepared_transaction",
                xid,
                "an XA transaction is prepared and not decided: the hold would wait for it",
            )
            .remedy("XA COMMIT or XA ROLLBACK it"),
        );
    }
    Ok(())
}
