//! The source's settings, its room for one more reader, and who would make
//! the start wait.

use std::time::Duration;

use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};

use super::Look;
use crate::connect::quote::{quote_ident, quote_literal};
use crate::error::OrPg;
use crate::schema::Cells;

/// A transaction this old is worth a word, or one as old as a start may wait.
pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) async fn assess(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    settings(look, findings).await?;
    slots(look, findings).await?;
    rights(look, findings).await?;
    waits(look, findings).await
}

async fn settings(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let room = "assess.settings";
    if look.control.server_version_num() < 120_000 {
        findings.push(Finding::new(
            Severity::Blocker,
            "version",
            "server",
            "PostgreSQL 12 or later is needed",
        ));
    }
    let slot = look.config.slot().map_or_else(|| format!("zdm_{}", look.run), str::to_owned);
    let sql = "
        SELECT current_setting('wal_level'),
               current_setting('max_replication_slots')::int8
                 - (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name <> $1),
               current_setting('max_wal_senders')::int8
                 - (SELECT count(*) FROM pg_catalog.pg_stat_replication),
               pg_catalog.pg_is_in_recovery(),
               coalesce(nullif(current_setting('max_slot_wal_keep_size', true), ''), '-1'),
               pg_catalog.pg_size_bytes(
                 CASE WHEN coalesce(current_setting('max_slot_wal_keep_size', true), '-1') = '-1' THEN '0'
                      ELSE current_setting('max_slot_wal_keep_size') END),
               (SELECT active FROM pg_catalog.pg_replication_slots WHERE slot_name = $1),
               pg_catalog.getdatabaseencoding()::text, current_database()::text";
    let row = look.control.query_one(sql, &[&slot]).await.during(room)?;
    if row.cell::<&str>(0)? != "logical" {
        findings.push(
            Finding::new(
                Severity::Blocker,
                "wal_level",
                "server",
                format!("wal_level is {}, so the log does not carry rows", row.cell::<&str>(0)?),
            )
            .remedy("ALTER SYSTEM SET wal_level = logical; and restart the server"),
        );
    }
    for (free, setting, what) in [
        (row.cell::<i64>(1)?, "max_replication_slots", "no replication slot is free"),
        (row.cell::<i64>(2)?, "max_wal_senders", "no log sender is free"),
    ] {
        if free < 1 {
            findings.push(
                Finding::new(Severity::Blocker, setting, "server", what).remedy(format!(
                    "drop what is no longer used, or raise {setting} and restart the server"
                )),
            );
        }
    }
    if row.cell(3)? {
        findings.push(Finding::new(
            Severity::Blocker,
            "standby",
            "server",
            "this is a standby, which can neither be published nor sealed: connect to its primary",
        ));
    }
    let bytes: u64 = look.schema.tables.iter().map(|table| table.estimated_bytes).sum();
    let keep = u64::try_from(row.cell::<i64>(5)?).unwrap_or(0);
    if keep > 0 {
        let severity = if keep < bytes { Severity::Warning } else { Severity::Note };
        findings.push(
            Finding::new(
                severity,
                "max_slot_wal_keep_size",
                "server",
                format!(
                    "the server drops our slot when the log grows by {} while tables of {bytes} bytes are copied",
                    row.cell::<&str>(4)?
                ),
            )
            .remedy("ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf()"),
        );
    }
    if row.cell::<Option<bool>>(6)? == Some(true) {
        findings.push(Finding::new(
            Severity::Blocker,
            "slot_in_use",
            &slot,
            "another process reads from this run's slot: end it, or name this run otherwise",
        ));
    }
    if row.cell::<&str>(7)? == "SQL_ASCII" {
        findings.push(Finding::new(
            Severity::Warning,
            "encoding",
            row.cell::<&str>(8)?,
            "the encoding is SQL_ASCII, so its text may be any bytes: what is not UTF-8 stops the run, so correct \
             it first",
        ));
    }
    Ok(())
}

/// What could take the run's slot from it later.
async fn slots(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let sql = "
        SELECT coalesce(nullif(current_setting('idle_replication_slot_timeout', true), ''), '0'),
               (SELECT count(*) FROM pg_catalog.pg_stat_replication r
                 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s
                                    WHERE s.active_pid = r.pid AND s.slot_type = 'logical'))";
    let row = look.control.query_one(sql, &[]).await.during("assess.slots")?;
    let idle: &str = row.cell(0)?;
    if idle != "0" {
        findings.push(
            Finding::new(
                Severity::Warning,
                "idle_replication_slot_timeout",
                "server",
                format!("the server gives up a slot that nobody has read for {idle}: a run that stands still for longer must start anew"),
            )
            .remedy("ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf()"),
        );
    }
    if row.cell::<i64>(1)? > 0 {
        findings.push(Finding::new(
            Severity::Note,
            "standbys",
            "server",
            "if one of the server's standbys takes over, the run is refused there, since what the target has may \
             never have come to it: the run then starts anew",
        ));
    }
    Ok(())
}

pub(super) async fn rights(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let sql = "
        SELECT r.rolsuper OR r.rolreplication OR EXISTS (
                 SELECT FROM pg_catalog.pg_roles m
                  WHERE m.rolname IN ('rds_replication', 'rds_superuser', 'azure_pg_admin', 'cloudsqlsuperuser')
                    AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER')),
               pg_catalog.has_database_privilege(current_database(), 'CREATE'),
               current_user::text, current_database()::text
          FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";
    let row = look.control.query_one(sql, &[]).await.during("assess.rights")?;
    let (user, database) = (row.cell::<&str>(2)?, row.cell::<&str>(3)?);
    if !row.cell::<bool>(0)? {
        findings.push(
            Finding::new(Severity::Blocker, "replication", user, "the user may not read the log")
                .remedy(format!("ALTER ROLE {} REPLICATION", quote_ident(user))),
        );
    }
    if !row.cell::<bool>(1)? {
        findings.push(
            Finding::new(
                Severity::Blocker,
                "create",
                database,
                "the user may make neither the publication nor the schema for the seal",
            )
            .remedy(format!(
                "GRANT CREATE ON DATABASE {} TO {}",
                quote_ident(database),
                quote_ident(user)
            )),
        );
    }
    Ok(())
}

/// The slot is made when every transaction that is open has ended, in
/// whatever database of the server.
async fn waits(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    // By the lock that each holds on its number: one that only reads has none
    // and is not waited for. Since when may be hidden; that it is there is not.
    let sql = "
        SELECT DISTINCT a.pid, coalesce(a.usename, '?')::text, coalesce(a.state, '?'), a.xact_start::text
          FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
           AND a.pid <> pg_catalog.pg_backend_pid()
           AND coalesce(a.xact_start < clock_timestamp() - $1 * interval '1 second', true)
         ORDER BY 4, 1";
    let long = look.config.begin_timeout().min(LONG).as_secs_f64();
    let mut hidden = 0;
    for row in look.control.query(sql, &[&long]).await.during("assess.waits")? {
        let pid: i32 = row.cell(0)?;
        let Some(since) = row.cell::<Option<&str>>(3)? else {
            hidden += 1;
            continue;
        };
        findings.push(
            Finding::new(
                Severity::Warning,
                "long_transaction",
                format!("process {pid}"),
                format!(
                    "{} has had a transaction open since {since} ({}): the start waits until it ends",
                    row.cell::<&str>(1)?,
                    row.cell::<&str>(2)?
                ),
            )
            .remedy(format!("SELECT pg_terminate_backend({pid})")),
        );
    }
    if hidden > 0 {
        let message = format!(
            "{hidden} transactions of others are open, and the user may not see since when: the start waits until \
             they end"
        );
        let finding = Finding::new(Severity::Note, "hidden_transactions", "server", message);
        findings.push(finding.remedy("GRANT pg_read_all_stats TO the user of the source"));
    }
    let sql = "SELECT gid, prepared::text, database::text FROM pg_catalog.pg_prepared_xacts";
    for row in look.control.query(sql, &[]).await.during("assess.waits")? {
        let gid: &str = row.cell(0)?;
        let (prepared, database): (&str, &str) = (row.cell(1)?, row.cell(2)?);
        findings.push(
            Finding::new(
                Severity::Warning,
                "prepared_transaction",
                gid,
                format!("prepared in {database} at {prepared} and not ended: the start waits for it"),
            )
            .remedy(format!("COMMIT PREPARED or ROLLBACK PREPARED {}", quote_literal(gid))),
        );
    }
    let large = "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)";
    if look.control.query_one(large, &[]).await.during("assess.waits")?.cell(0)? {
        findings.push(Finding::new(
            Severity::Warning,
            "large_objects",
            "database",
            "large objects are not in the log and are not moved: dump and restore them at the cutover",
        ));
    }
    Ok(())
}
