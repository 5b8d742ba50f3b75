//! The seal: a trigger on each table that refuses every writer but the run's.
//!
//! A trigger bears the run's pair, the number of this seal, and the reason. It
//! refuses unless the session's `zdm.run` is that pair, or the seal's number
//! is in `opened`. Refusing is what happens when a row is *not* seen: a
//! transaction with an old snapshot, which waited for our lock, does not see
//! what we wrote, and must be refused all the same. For the same reason a
//! seal's number is never used again.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Oid;
use zdm_core::connect::RunName;
use zdm_core::{ErrorKind, Result};

use super::record;
use super::tables::Found;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::{self, OrPg};
use crate::schema::SEAL_TRIGGER;

/// The same for all that make our schema: one at a time.
const TURN: i64 = 0x007a_646d_7365_616c;

/// For how long taking triggers off waits for a table.
const SWEEP: &str = "100ms";

/// Makes our schema, tables and function where they are missing.
pub(super) async fn make(session: &mut Control, ours: &str) -> Result<()> {
    let make = "fence.make";
    let (switch, opened) = (quote_table(ours, "switch"), quote_table(ours, "opened"));
    let function = format!("{}()", quote_table(ours, "seal"));
    let there = "SELECT pg_catalog.to_regclass($1) IS NOT NULL AND pg_catalog.to_regclass($2) IS NOT NULL \
                 AND pg_catalog.to_regprocedure($3) IS NOT NULL";
    let there: bool = session
        .query_one(there, &[&switch, &opened, &function])
        .await
        .and_then(|row| row.try_get(0))
        .during(make)?;
    if there {
        return Ok(());
    }
    let transaction = session.transaction().await.during(make)?;
    transaction.execute("SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&TURN]).await.during(make)?;
    let schema = quote_ident(ours);
    let there: bool = transaction
        .query_one("SELECT pg_catalog.to_regnamespace($1) IS NOT NULL", &[&schema])
        .await
        .and_then(|row| row.try_get(0))
        .during(make)?;
    // Asked first: IF NOT EXISTS needs the right to create all the same.
    if !there {
        let sql = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
        transaction.batch_execute(&sql).await.during(make)?;
    }
    let sql = format!(
        "{}; CREATE TABLE IF NOT EXISTS {opened} (seal text PRIMARY KEY, run text NOT NULL); {}",
        record::definition(ours),
        function_definition(ours)
    );
    transaction.batch_execute(&sql).await.during(make)?;
    transaction.commit().await.during(make)
}

/// With its owner's rights, since any writer must be able to ask `opened`.
fn function_definition(ours: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
         SET search_path TO pg_catalog, pg_temp AS $zdm$
BEGIN
  IF current_setting('zdm.run', true) = TG_ARGV[0] THEN
    RETURN NULL;
  END IF;
  IF EXISTS (SELECT FROM {} WHERE seal = TG_ARGV[1]) THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION USING
    ERRCODE = 'read_only_sql_transaction',
    MESSAGE = format('%I.%I is sealed: %s', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[2]),
    HINT = 'Connect to the database that holds the data now; this one takes no more writes.';
END $zdm$",
        quote_table(ours, "seal"),
        quote_table(ours, "opened")
    )
}

/// Seals the tables, in the caller's transaction. One that is sealed for the
/// run stays as it is, unless its seal was taken off.
pub(super) async fn put<C: GenericClient + Sync>(
    session: &C,
    ours: &str,
    run: &RunName,
    tables: &[Found],
    reason: &str,
) -> Result<()> {
    let opened = opened(session, ours, tables).await?;
    let seal: String = session
        .query_one(
            "SELECT pg_catalog.md5(pg_catalog.random()::text || pg_catalog.clock_timestamp()::text)",
            &[],
        )
        .await
        .and_then(|row| row.try_get(0))
        .during("fence.seal")?;
    let trigger = quote_ident(SEAL_TRIGGER);
    let mut sql = String::new();
    for Found { name, seal: found, .. } in tables {
        match found.as_deref() {
            Some([of, number, _]) if of == run.pair() && !opened.contains(number) => continue,
            _ => {}
        }
        // Creating and enabling take no more than the hold has already; a hold
        // has removed open seals before.
        sql += &format!(
            "{drop}CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {name} \
             FOR EACH STATEMENT EXECUTE FUNCTION {function}({run}, {seal}, {reason}); \
             ALTER TABLE {name} ENABLE ALWAYS TRIGGER {trigger};",
            drop = if found.is_some() { format!("DROP TRIGGER {trigger} ON {name};") } else { String::new() },
            function = quote_table(ours, "seal"),
            run = quote_literal(run.pair()),
            seal = quote_literal(&seal),
            reason = quote_literal(reason),
        );
    }
    session.batch_execute(&sql).await.during("fence.seal")
}

/// The tables with a seal that was taken off and whose trigger is still there,
/// each with what removes it.
pub(super) async fn stale<C: GenericClient + Sync>(
    session: &C,
    ours: &str,
    tables: &[Found],
) -> Result<Vec<(Oid, String)>> {
    let opened = opened(session, ours, tables).await?;
    let is_open = |t: &&Found| number(t).is_some_and(|number| opened.iter().any(|open| open == number));
    let drop = |t: &Found| format!("DROP TRIGGER IF EXISTS {} ON {}", quote_ident(SEAL_TRIGGER), t.name);
    Ok(tables.iter().filter(is_open).map(|t| (t.oid, drop(t))).collect())
}

/// Which of the seals on the tables were taken off.
async fn opened<C: GenericClient + Sync>(session: &C, ours: &str, tables: &[Found]) -> Result<Vec<String>> {
    let seals: Vec<&str> = tables.iter().filter_map(number).collect();
    let sql = format!("SELECT seal FROM {} WHERE seal = ANY($1)", quote_table(ours, "opened"));
    let rows = session.query(&sql, &[&seals]).await.during("fence.seal")?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().during("fence.seal")
}

fn number(table: &Found) -> Option<&str> {
    table.seal.as_ref().and_then(|args| args.get(1)).map(String::as_str)
}

/// Takes the run's seals off, all at one moment and without a lock on any
/// table. Whether there was one.
pub(super) async fn open(session: &mut Control, ours: &str, run: &RunName, tables: &[Found]) -> Result<bool> {
    let ours_only =
        |t: &&Found| t.seal.as_ref().is_some_and(|args| args.first().is_some_and(|r| r == run.pair()));
    let mut seals: Vec<&str> = tables.iter().filter(ours_only).filter_map(number).collect();
    seals.sort_unstable();
    seals.dedup();
    if seals.is_empty() {
        return Ok(false);
    }
    let sql = format!(
        "INSERT INTO {} (seal, run) SELECT seal, $2 FROM unnest($1::text[]) AS seal ON CONFLICT DO NOTHING",
        quote_table(ours, "opened")
    );
    session.execute(&sql, &[&seals, &run.pair()]).await.during("fence.unseal")?;
    Ok(true)
}

/// Removes triggers that no longer refuse anybody, where that makes nobody
/// wait for long. What is left does no harm, and goes at the next call.
pub(super) async fn sweep(session: &mut Control, tables: &[Found]) {
    for table in tables.iter().filter(|t| t.seal.is_some()) {
        let sql = format!(
            "SET LOCAL lock_timeout = '{SWEEP}'; DROP TRIGGER IF EXISTS {} ON {}",
            quote_ident(SEAL_TRIGGER),
            table.name
        );
        let Ok(transaction) = session.transaction().await else { return };
        let dropped = match transaction.batch_execute(&sql).await {
            Ok(()) => transaction.commit().await,
            Err(error) => Err(error),
        };
        if let Err(error) = dropped.map_err(error::from_client) {
            tracing::debug!(table = table.name, %error, "an open seal's trigger stays for now");
            if error.kind() == ErrorKind::Timeout {
                // The next ones would make the caller wait as long.
                return;
            }
        }
    }
}
