//! The source at its cutover: the rights that fence and seal need, and who
//! would keep the hold from being had.
//!
//! What the run itself has there by now, its slot and its sessions, is not
//! looked at.

use zdm_core::Result;
use zdm_core::connect::{Finding, Severity};

use super::{Look, server, tables};
use crate::connect::quote::quote_literal;
use crate::error::OrPg;
use crate::schema::Cells;

/// Sessions with a lock on the tables that a hold cannot share, and open for
/// longer than a hold has any hope to see the end of.
const SESSIONS: &str = "
SELECT a.pid, coalesce(a.usename, '?')::text, coalesce(a.state, '?'), a.xact_start::text
  FROM pg_catalog.pg_stat_activity a
 WHERE a.xact_start < pg_catalog.clock_timestamp() - $2 * interval '1 second'
   AND a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks l
                   JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = current_database()
                  WHERE l.relation = ANY($1::oid[]) AND l.granted
                    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
 ORDER BY a.xact_start";

/// Prepared transactions that have such a lock. One that is ended by a
/// coordinator at work is not that old.
const PREPARED: &str = "
SELECT p.gid, p.owner::text, p.prepared::text
  FROM pg_catalog.pg_prepared_xacts p
 WHERE p.database = current_database()
   AND p.prepared < pg_catalog.clock_timestamp() - interval '1 second'
   AND EXISTS (SELECT FROM pg_catalog.pg_locks x
                 JOIN pg_catalog.pg_locks l ON l.virtualtransaction = x.virtualtransaction AND l.pid IS NULL
                WHERE x.pid IS NULL AND x.locktype = 'transactionid' AND x.transactionid = p.transaction
                  AND l.relation = ANY($1::oid[]) AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
 ORDER BY p.prepared";

pub(super) async fn assess(look: &Look<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    server::rights(look, findings).await?;
    tables::assess(look, findings).await?;
    let long = look.config.begin_timeout().min(server::LONG).as_secs_f64();
    for row in look.control.query(SESSIONS, &[&look.oids, &long]).await.during("assess.left")? {
        let pid: i32 = row.cell(0)?;
        let message = format!(
            "{} has had a transaction open since {} ({}) that writes to the tables: the hold would wait for it",
            row.cell::<&str>(1)?,
            row.cell::<&str>(3)?,
            row.cell::<&str>(2)?
        );
        let subject = format!("process {pid}");
        let remedy = format!("SELECT pg_terminate_backend({pid})");
        findings.push(Finding::new(Severity::Blocker, "long_transaction", subject, message).remedy(remedy));
    }
    for row in look.control.query(PREPARED, &[&look.oids]).await.during("assess.left")? {
        let gid: &str = row.cell(0)?;
        let message = format!(
            "prepared by {} at {}, it writes to the tables and is not ended: the hold would wait for it",
            row.cell::<&str>(1)?,
            row.cell::<&str>(2)?
        );
        let remedy = format!("COMMIT PREPARED or ROLLBACK PREPARED {}", quote_literal(gid));
        findings.push(Finding::new(Severity::Blocker, "prepared_transaction", gid, message).remedy(remedy));
    }
    Ok(())
}
