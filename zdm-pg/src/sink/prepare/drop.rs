//! Takes back what a run keeps in a database beside the data.

use tokio_postgres::Transaction;
use zdm_core::Result;
use zdm_core::connect::RunName;

use crate::config::PgConfig;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_table};
use crate::error::OrPg;
use crate::schema::{Cells, SEAL_TRIGGER};

/// The tables of ours that name a run, and those of their tables that are
/// there.
const OURS: &str = "
SELECT c.relname
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'run' AND NOT a.attisdropped
 WHERE c.relnamespace = pg_catalog.to_regnamespace($1) AND c.relkind = 'r'
 ORDER BY c.relname";

/// A seal's first argument is its run's pair (`$2`; null for those of all runs).
const SEALED: &str = "
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE t.tgname = $1 AND NOT t.tgisinternal
   AND ($2::text IS NULL OR split_part(encode(t.tgargs, 'escape'), '\\000', 1) = $2)";

/// Removes what a run keeps in this database: its seals, its rows in our
/// tables, and our schema when no other run is left there. Tables that were
/// moved stay as they are. Nothing there: nothing to do.
///
/// # Errors
///
/// When the database fails or a right is missing; calling again is safe.
pub async fn drop_run(config: &PgConfig, run: &RunName) -> Result<()> {
    let room = "sink.drop";
    let mut control = Control::holding(config, "drop").await?;
    let tx = control.transaction().await.during(room)?;
    let ours = quote_ident(config.schema());
    // Before anything else: a seal outlives the row that has opened it.
    tx.batch_execute("SET LOCAL lock_timeout = '10s'").await.during(room)?;
    unseal(&tx, Some(run)).await?;
    let mut others = false;
    for row in tx.query(OURS, &[&ours]).await.during(room)? {
        let table = quote_table(config.schema(), row.cell(0)?);
        let sql = format!("DELETE FROM {table} WHERE run = $1");
        tx.execute(&sql, &[&run.as_str()]).await.during(room)?;
        let sql = format!("SELECT EXISTS (SELECT FROM {table})");
        others |= tx.query_one(&sql, &[]).await.during(room)?.cell::<bool>(0)?;
    }
    if !others {
        unseal(&tx, None).await?;
        tx.batch_execute(&format!("DROP SCHEMA IF EXISTS {ours} CASCADE")).await.during(room)?;
    }
    tx.commit().await.during(room)
}

async fn unseal(tx: &Transaction<'_>, run: Option<&RunName>) -> Result<()> {
    let run = run.map(RunName::pair);
    for row in tx.query(SEALED, &[&SEAL_TRIGGER, &run]).await.during("sink.drop")? {
        let table = quote_table(row.cell(0)?, row.cell(1)?);
        let sql = format!("DROP TRIGGER {} ON {table}", quote_ident(SEAL_TRIGGER));
        tx.batch_execute(&sql).await.during("sink.drop")?;
    }
    Ok(())
}
