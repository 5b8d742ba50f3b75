//! The source's binary log: whether it is there, carries whole rows of our
//! tables, and is kept for long enough.

use std::collections::BTreeSet;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};

use super::Look;
use crate::error::OrMy;

/// Bytes a second that a copy makes at least, on a machine of no merit.
const PACE: u64 = 10 << 20;
/// How long the log should be kept in any case, in seconds.
const DAY: f64 = 86_400.0;

pub(super) async fn assess(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    if !look.is_on("log_bin") {
        findings.push(
            Finding::new(Severity::Blocker, "log_bin", "server", "the server writes no binary log")
                .remedy("set log_bin (and server_id) in the server's option file, and restart it"),
        );
        return Ok(());
    }
    contents(look, findings);
    retention(look, findings);
    filters(look, findings).await
}

fn contents(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let format = look.setting("binlog_format");
    // MySQL 9 may know no other one.
    if !format.is_empty() && format != "ROW" {
        findings.push(
            Finding::new(
                Severity::Blocker,
                "binlog_format",
                "server",
                format!("binlog_format is {format}, so the log does not carry rows"),
            )
            .remedy("SET GLOBAL binlog_format = 'ROW', write it into the option file, and reconnect writers"),
        );
    }
    match look.setting("binlog_row_image") {
        "MINIMAL" => findings.push(
            Finding::new(
                Severity::Blocker,
                "binlog_row_image",
                "server",
                "the log leaves out columns of inserted rows that have a default",
            )
            .remedy("SET GLOBAL binlog_row_image = 'FULL', and reconnect writers"),
        ),
        "NOBLOB" => findings.push(
            Finding::new(
                Severity::Warning,
                "binlog_row_image",
                "server",
                "the log leaves out large columns that did not change: such rows are read again where they are \
                 missing, and cannot be filtered by those columns",
            )
            .remedy("SET GLOBAL binlog_row_image = 'FULL', and reconnect writers"),
        ),
        _ => {}
    }
    if look.setting("binlog_row_value_options").contains("PARTIAL_JSON") {
        findings.push(
            Finding::new(
                Severity::Warning,
                "binlog_row_value_options",
                "server",
                "the log carries what changed in a JSON value and not the value: such rows may have to be read again",
            )
            .remedy("SET GLOBAL binlog_row_value_options = '', and reconnect writers"),
        );
    }
    if look.is_on("binlog_encryption") || look.is_on("encrypt_binlog") {
        findings.push(Finding::new(
            Severity::Note,
            "binlog_encryption",
            "server",
            "the log is encrypted on disk and in clear on the connection: connect with ssl-mode=verify_identity",
        ));
    }
    if !look.control.server().is_mariadb() && look.setting("gtid_mode") != "ON" {
        findings.push(Finding::new(
            Severity::Note,
            "gtid_mode",
            "server",
            "without GTIDs the run goes by this server's files: it cannot go on with another server after a failover",
        ));
    }
}

fn retention(look: &Look<'_>, findings: &mut Vec<Finding>) {
    let number = |name: &str| look.setting(name).parse::<f64>().ok().filter(|kept| *kept > 0.0);
    let kept =
        number("binlog_expire_logs_seconds").or_else(|| number("expire_logs_days").map(|days| days * DAY));
    let purges = look.setting("binlog_expire_logs_auto_purge");
    let Some(kept) = kept.filter(|_| purges.is_empty() || look.is_on("binlog_expire_logs_auto_purge")) else {
        return;
    };
    let bytes: u64 = look.schema.tables.iter().map(|table| table.estimated_bytes).sum();
    // OK because it is an estimate.
    #[expect(clippy::cast_precision_loss)]
    let copy = (bytes / PACE) as f64;
    if kept < DAY.max(copy * 2.0) {
        findings.push(
            Finding::new(
                Severity::Warning,
                "binlog_retention",
                "server",
                format!(
                    "the log is kept for {:.1} hours, and the copy may take {:.1}: what is purged before it is read \
                     ends the run",
                    kept / 3600.0,
                    copy / 3600.0
                ),
            )
            .remedy(if look.settings.contains_key("binlog_expire_logs_seconds") {
                "SET GLOBAL binlog_expire_logs_seconds = 604800"
            } else {
                "SET GLOBAL expire_logs_days = 7"
            }),
        );
    }
}

/// Databases that the server leaves out of its log. A right that is missing
/// here is told with the rights.
async fn filters(look: &mut Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let statement = look.control.server().show_log_end();
    let row: Option<Row> = look.control.query_first(statement).await.during("assess.log").unwrap_or_default();
    let list = |place: usize| -> Vec<String> {
        let text = row.as_ref().and_then(|row| row.get_opt::<String, _>(place)).and_then(Result::ok);
        text.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let (only, never) = (list(2), list(3));
    if !only.is_empty() || !never.is_empty() {
        findings.push(
            Finding::new(
                Severity::Warning,
                "binlog_filter",
                "server",
                "the server leaves databases out of its log, and with them each TRUNCATE and ALTER by a session \
                 whose default database is left out, whatever its table: none may come while the run goes on",
            )
            .remedy("take binlog_do_db and binlog_ignore_db away, and restart the server"),
        );
    }
    let databases: BTreeSet<&str> =
        look.schema.tables.iter().map(|table| table.origin.name.schema.as_str()).collect();
    for database in databases {
        let named = |list: &[String]| list.iter().any(|name| name == database);
        if (!only.is_empty() && !named(&only)) || named(&never) {
            findings.push(
                Finding::new(
                    Severity::Blocker,
                    "binlog_filter",
                    database,
                    "the server leaves this database out of its log",
                )
                .remedy("take it out of binlog_do_db and binlog_ignore_db, and restart the server"),
            );
        }
    }
    Ok(())
}
