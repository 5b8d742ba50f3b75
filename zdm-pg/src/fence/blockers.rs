//! Who is in the way of a hold, in words that help to find him.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Oid;
use zdm_core::Result;

use crate::error::OrPg;

/// Sessions that have a lock on the tables which a hold cannot share; asked
/// by the locks and not by who blocks whom, so that it tells after a try as
/// well. What another user's session does is shown to members of
/// `pg_read_all_stats` only.
const SESSIONS: &str = r"
SELECT pg_catalog.format('process %s (%s, user %s, transaction open for %s s, query begun %s ago: %s)',
         b.pid, coalesce(nullif(a.application_name, ''), 'no application name'),
         coalesce(a.usename::text, 'unknown'),
         coalesce(pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::numeric, 1)::text, '?'),
         coalesce(pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp() - a.query_start)::text, '?'),
         coalesce(nullif(pg_catalog.left(pg_catalog.regexp_replace(a.query, '\s+', ' ', 'g'), 80), ''), 'hidden'))
  FROM (SELECT DISTINCT l.pid
          FROM pg_catalog.pg_locks l
          JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
         WHERE l.relation = ANY($2::oid[]) AND l.granted AND l.pid <> $1
           AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')) AS b
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
 ORDER BY a.xact_start LIMIT 5";

/// Prepared transactions that have locks on the tables. They have no process.
const PREPARED: &str = r"
SELECT pg_catalog.format('prepared transaction %L of %s since %s: COMMIT PREPARED or ROLLBACK PREPARED it',
         p.gid, p.owner, pg_catalog.date_trunc('second', p.prepared))
  FROM pg_catalog.pg_prepared_xacts p
 WHERE p.database = pg_catalog.current_database()
   AND EXISTS (SELECT FROM pg_catalog.pg_locks x
                 JOIN pg_catalog.pg_locks l ON l.virtualtransaction = x.virtualtransaction AND l.pid IS NULL
                WHERE x.pid IS NULL AND x.locktype = 'transactionid' AND x.transactionid = p.transaction
                  AND l.relation = ANY($1::oid[]))
 ORDER BY p.prepared LIMIT 5";

/// Names who keeps process `pid` from holding `tables`; empty if nobody does.
pub(super) async fn find<C: GenericClient + Sync>(
    session: &C,
    pid: i32,
    tables: &[Oid],
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for row in session.query(SESSIONS, &[&pid, &tables]).await.during("fence.blockers")? {
        found.push(row.try_get(0).during("fence.blockers")?);
    }
    for row in session.query(PREPARED, &[&tables]).await.during("fence.blockers")? {
        found.push(row.try_get(0).during("fence.blockers")?);
    }
    Ok(found)
}

/// The table whose lock process `pid` waits for, if it waits for one.
pub(super) async fn waits_for<C: GenericClient + Sync>(session: &C, pid: i32) -> Result<Option<Oid>> {
    let sql =
        "SELECT relation FROM pg_catalog.pg_locks WHERE pid = $1 AND NOT granted AND relation IS NOT NULL";
    let row = session.query_opt(sql, &[&pid]).await.during("fence.blockers")?;
    row.map(|row| row.try_get(0)).transpose().during("fence.blockers")
}
