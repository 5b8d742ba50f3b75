//! Whether a commit that was answered is on the server's disk.
//!
//! No session can ask for that, as PostgreSQL's can: how a server answers is a
//! setting of the whole server's. With another one a transaction comes back
//! undone after a crash, of the host or of the server alone. Rows and progress
//! are undone together then, so a run that follows goes on from there; but
//! what decides a cutover must stay.
//!
//! <https://dev.mysql.com/doc/refman/en/innodb-parameters.html#sysvar_innodb_flush_log_at_trx_commit>,
//! <https://mariadb.com/docs/server/server-usage/storage-engines/innodb/innodb-system-variables>

use mysql_async::prelude::Queryable;
use zdm_core::{Error, ErrorKind, Result};

use super::Control;
use crate::error::OrMy;

const TABLES: &str = "innodb_flush_log_at_trx_commit";
const LOG: &str = "sync_binlog";
const LOGS: &str = "log_bin";

/// The settings by which a server answers a commit before its disk has it,
/// with their values; `setting` gives the value of one, and nothing for what
/// the server has not.
pub(crate) fn lacking<'a>(setting: impl Fn(&str) -> &'a str) -> Vec<(&'static str, &'a str)> {
    let mut lacking = Vec::new();
    // MariaDB's 3 is a 1 with more of it.
    let tables = setting(TABLES);
    if !matches!(tables, "" | "1" | "3") {
        lacking.push((TABLES, tables));
    }
    // What is in a log that is written counts after a crash, and what is not
    // in it is undone in the tables.
    let log = setting(LOG);
    if matches!(setting(LOGS), "ON" | "1") && !matches!(log, "" | "1") {
        lacking.push((LOG, log));
    }
    lacking
}

/// Refuses a server whose answers do not last.
///
/// # Errors
/// `Config`, with the statement that mends it.
pub(crate) async fn check(control: &mut Control, during: &'static str) -> Result<()> {
    let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('{TABLES}', '{LOG}', '{LOGS}')");
    let settings: Vec<(String, String)> = control.query(sql).await.during(during)?;
    let setting =
        |name: &str| settings.iter().find(|(is, _)| is == name).map_or("", |(_, value)| value.as_str());
    let lacking = lacking(setting);
    if lacking.is_empty() {
        return Ok(());
    }
    let is: Vec<String> = lacking.iter().map(|(name, value)| format!("{name} is {value}")).collect();
    let mend: Vec<String> = lacking.iter().map(|(name, _)| format!("GLOBAL {name} = 1")).collect();
    Err(Error::new(
        ErrorKind::Config,
        format!(
            "a crash could take back what the server has committed ({}), and a cutover with it: run SET {}, until \
             the run is complete",
            is.join(", "),
            mend.join(", ")
        ),
    )
    .during(during))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_flushed_lasts() {
        for (tables, log, logs, names) in [
            ("1", "1", "ON", vec![]),
            ("3", "1", "ON", vec![]),
            ("1", "0", "OFF", vec![]),
            ("2", "1", "ON", vec![TABLES]),
            ("0", "100", "ON", vec![TABLES, LOG]),
            ("1", "0", "ON", vec![LOG]),
        ] {
            let setting = |name: &str| match name {
                TABLES => tables,
                LOG => log,
                LOGS => logs,
                _ => "",
            };
            let found: Vec<&str> = lacking(setting).into_iter().map(|(name, _)| name).collect();
            assert_eq!(found, names, "{tables} {log} {logs}");
        }
    }
}
