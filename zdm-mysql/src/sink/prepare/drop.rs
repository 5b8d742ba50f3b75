//! Takes back what a run keeps on a server beside the data.

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::RunName;

use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::OrMy;
use crate::fence::triggers_of;

/// Our tables; each names runs in a column of that name.
const OURS: [&str; 6] = ["made", "chunk", "run", "switch", "marker", "seal"];

/// For how many seconds a trigger's removal waits for the transactions that
/// have its table open.
const PATIENCE: u32 = 10;

/// Removes what a run keeps on this server, source or target: its seals and
/// their triggers, its rows in our tables, and our database when no other run
/// is left there. Tables that were moved stay as they are. Nothing there:
/// nothing to do.
///
/// # Errors
///
/// `Timeout` when a transaction keeps a table open, else when the server
/// fails or a right is missing; calling again is safe.
pub async fn drop_run(config: &MySqlConfig, run: &RunName) -> Result<()> {
    let room = "sink.drop";
    let mut control = Control::holding(config, "drop").await?;
    let ours = config.schema();
    let patience = format!("SET SESSION lock_wait_timeout = {PATIENCE}");
    control.query_drop(patience).await.during(room)?;
    // First the triggers: without the rows that they read, each write to their
    // tables would fail.
    for (database, trigger) in triggers_of(&mut control, ours, Some(run)).await? {
        let sql = format!("DROP TRIGGER IF EXISTS {}", quote_table(&database, &trigger));
        control.query_drop(sql).await.during(room).map_err(|error| error.with("trigger", &trigger))?;
    }
    let there = tables(&mut control, ours).await?;
    control.query_drop("START TRANSACTION").await.during(room)?;
    let mut others = false;
    for table in OURS.iter().filter(|table| there.iter().any(|name| name == *table)) {
        let table = quote_table(ours, table);
        let sql = format!("DELETE FROM {table} WHERE `run` = {}", quote_literal(run.as_str()));
        control.query_drop(sql).await.during(room)?;
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        others |= control.query_first(sql).await.during(room)? == Some(true);
    }
    control.query_drop("COMMIT").await.during(room)?;
    // Whoever else's triggers are left read our rows.
    if others || !triggers_of(&mut control, ours, None).await?.is_empty() {
        return Ok(());
    }
    // By their names, and the database only when it is empty then: it may
    // have been somebody's before it was ours.
    for table in OURS.iter().filter(|table| there.iter().any(|name| name == *table)) {
        let sql = format!("DROP TABLE IF EXISTS {}", quote_table(ours, table));
        control.query_drop(sql).await.during(room)?;
    }
    if !there.is_empty() && tables(&mut control, ours).await?.is_empty() {
        let sql = format!("DROP DATABASE IF EXISTS {}", quote_ident(ours));
        control.query_drop(sql).await.during(room)?;
    }
    Ok(())
}

/// What is in our database.
async fn tables(control: &mut Control, ours: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {0} \
         UNION ALL SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {0}",
        quote_literal(ours)
    );
    control.query(sql).await.during("sink.drop")
}
