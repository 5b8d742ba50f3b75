//! The source's other settings, and who would make the start wait.

use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};

use super::{Look, durable};
use crate::config::MySqlConfig;
use crate::connect::threads::{appliers, is_about_a_text};
use crate::error::OrMy;
use crate::schema::Cells;
use crate::snapshot::prepared;

/// A transaction this old is worth a word, or one as old as a start may wait.
const LONG: Duration = Duration::from_secs(60);

pub(super) fn long(config: &MySqlConfig) -> Duration {
    config.begin_timeout().min(LONG)
}

pub(super) async fn assess(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    settings(look, findings);
    replica(look, findings).await?;
    waits(look, findings).await
}

fn settings(look: &Look<'_>, findings: &mut Vec<Finding>) {
    if look.setting("server_id") == "0" {
        findings.push(
            Finding::new(
                Severity::Blocker,
                "server_id",
                "server",
                "the server has no id, so nobody may read its log",
            )
            .remedy("SET GLOBAL server_id = 1, and write it into the option file"),
        );
    }
    let takes = |name: &str| match name {
        "sync_binlog" => {
            "a crash of its host may take back what the run has copied and read already; a cutover is refused"
        }
        _ => "a crash may leave its tables behind its own log; a cutover is refused",
    };
    durable::assess(look, Severity::Warning, takes, findings);
    let case = look.setting("lower_case_table_names");
    if !case.is_empty() && case != "0" {
        findings.push(Finding::new(
            Severity::Note,
            "lower_case_table_names",
            "server",
            format!("lower_case_table_names is {case}: names of tables are moved as this server shows them"),
        ));
    }
    if look.is_on("log_bin")
        && !look.is_on("log_bin_trust_function_creators")
        && !look.grants.anywhere("SUPER")
    {
        findings.push(
            Finding::new(
                Severity::Warning,
                "log_bin_trust_function_creators",
                "server",
                "the user may not make the triggers by which a cutover keeps writers out",
            )
            .remedy("SET GLOBAL log_bin_trust_function_creators = 1"),
        );
    }
}

/// A replica that does not log what it replicates.
async fn replica(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    if look.is_on("log_slave_updates") || look.is_on("log_replica_updates") {
        return Ok(());
    }
    let appliers = appliers(&mut look.control, "assess.replica").await?;
    let applies =
        |doing: &String| doing.starts_with("Slave") || doing.starts_with("Replica") || doing == "Connect";
    if appliers.iter().any(applies) {
        findings.push(
            Finding::new(
                Severity::Blocker,
                "log_replica_updates",
                "server",
                "this is a replica, and what it replicates is not in its own log",
            )
            .remedy("set log_slave_updates (log_replica_updates) and restart it, or name the primary as the source"),
        );
    }
    Ok(())
}

/// The start waits for every transaction that has written something.
async fn waits(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    if !look.grants.anywhere("PROCESS") {
        // Told with the rights.
        return Ok(());
    }
    let long = long(look.config).as_secs();
    let sql = format!(
        "SELECT trx_mysql_thread_id, trx_started FROM information_schema.INNODB_TRX \
         WHERE trx_id > 0 AND trx_id < (1 << 48) AND trx_mysql_thread_id > 0 \
           AND trx_started < NOW() - INTERVAL {long} SECOND ORDER BY trx_started"
    );
    let rows: Vec<Row> = match look.control.query(sql).await.during("assess.waits") {
        // The start asks again until the server can say it.
        Err(error) if is_about_a_text(&error) => Vec::new(),
        outcome => outcome?,
    };
    for row in rows {
        let thread: u64 = row.cell(0)?;
        findings.push(
            Finding::new(
                Severity::Warning,
                "long_transaction",
                format!("thread {thread}"),
                format!(
                    "it has had a transaction open since {}: the start waits until it ends",
                    row.cell::<String>(1)?
                ),
            )
            .remedy(format!("KILL {thread}")),
        );
    }
    for xid in prepared(&mut look.control).await? {
        findings.push(
            Finding::new(
                Severity::Warning,
                "prepared_transaction",
                &xid,
                "an XA transaction is prepared and not decided: the start waits for it",
            )
            .remedy("XA COMMIT or XA ROLLBACK it"),
        );
    }
    Ok(())
}
