//! The row that a seal is, and the triggers that read it.
//!
//! A trigger looks twice. The first look takes no lock: where it says that
//! the table is sealed the writer is refused, and waits for nobody. Else it
//! looks again with a shared lock: it waits for a hold, sees what was
//! committed last even if its own transaction has an older snapshot, and
//! keeps the next hold waiting until its transaction has ended.

use std::fmt::Write as _;

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::RunName;
use zdm_core::schema::{Schema, TableName};

use super::record;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::{OrMy, code};

/// What the names of our triggers begin with.
const PREFIX: &str = "zdm_seal_";

/// The longest name of a trigger, in characters; both servers say so.
const LONGEST: usize = 64;

/// For how many seconds taking triggers off waits for a table.
const SWEEP: u32 = 1;

/// Whether a trigger of that name is the fence's own, and no part of what a
/// run moves.
pub(crate) fn is_trigger_of_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The triggers of a run, or of all runs, which go by the rows of one
/// database of ours: database and name.
///
/// # Errors
/// When the server fails. Without the right TRIGGER on its table none is seen.
pub(crate) async fn triggers_of(
    session: &mut Control,
    ours: &str,
    run: Option<&RunName>,
) -> Result<Vec<(String, String)>> {
    let mut rows = rows_of(ours);
    if let Some(run) = run {
        let _ = write!(rows, "{} AND", quote_literal(run.pair()));
    }
    let all = format!(
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.TRIGGERS \
          WHERE LEFT(TRIGGER_NAME, {}) = {} AND LOCATE({}, ACTION_STATEMENT) > 0",
        PREFIX.len(),
        quote_literal(PREFIX),
        quote_literal(&rows),
    );
    session.query(all).await.during("fence.find")
}

/// Whether our tables are there.
pub(super) async fn exists(session: &mut Control, ours: &str) -> Result<bool> {
    let both = format!(
        "SELECT COUNT(*) FROM information_schema.tables \
         WHERE table_schema = {} AND table_name IN ('switch', 'seal', 'marker')",
        quote_literal(ours)
    );
    let there: Option<u64> = session.query_first(both).await.during("fence.find")?;
    Ok(there == Some(3))
}

/// Makes our database and its tables where they are missing.
pub(super) async fn make(session: &mut Control, ours: &str) -> Result<()> {
    if exists(session, ours).await? {
        return Ok(());
    }
    let make = "fence.make";
    let there = format!(
        "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = {}",
        quote_literal(ours)
    );
    let there: Option<u64> = session.query_first(there).await.during(make)?;
    // Asked first: IF NOT EXISTS needs the right to create all the same.
    if there != Some(1) {
        session
            .query_drop(format!("CREATE DATABASE IF NOT EXISTS {}", quote_ident(ours)))
            .await
            .during(make)?;
    }
    let table = "ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin";
    session.query_drop(format!("{} {table}", record::definition(ours))).await.during(make)?;
    let seal = format!(
        "CREATE TABLE IF NOT EXISTS {} (`run` varchar(40) NOT NULL, `side` varchar(64) NOT NULL, \
         `sealed` tinyint NOT NULL, `reason` varchar(1000) NOT NULL, `held` bigint unsigned NOT NULL, \
         PRIMARY KEY (`run`, `side`)) {table} COMMENT = 'Which tables take no more writes (zdm).'",
        quote_table(ours, "seal")
    );
    session.query_drop(seal).await.during(make)?;
    let marker = format!(
        "CREATE TABLE IF NOT EXISTS {} (`run` varchar(40) NOT NULL PRIMARY KEY, \
         `number` bigint unsigned NOT NULL) {table} COMMENT = 'Points in the log (zdm).'",
        quote_table(ours, "marker")
    );
    session.query_drop(marker).await.during(make)
}

/// Commits something, behind all that has committed before.
pub(super) async fn mark(session: &mut Control, ours: &str, run: &RunName) -> Result<()> {
    let write = format!(
        "INSERT INTO {} (`run`, `number`) VALUES (?, 1) ON DUPLICATE KEY UPDATE `number` = `number` + 1",
        quote_table(ours, "marker")
    );
    session.exec_drop(write, (run.as_str(),)).await.during("fence.marker")
}

/// The databases that a schema's tables are in, sorted: the rows of its seal.
pub(super) fn sides(schema: &Schema) -> Vec<&str> {
    let mut sides: Vec<&str> = schema.tables.iter().map(|table| table.name.schema.as_str()).collect();
    sides.sort_unstable();
    sides.dedup();
    sides
}

/// The same, as a list of SQL.
pub(super) fn list(schema: &Schema) -> String {
    sides(schema).into_iter().map(quote_literal).collect::<Vec<_>>().join(", ")
}

/// Makes the rows say so, all at one moment.
pub(super) async fn put(
    session: &mut Control,
    ours: &str,
    run: &RunName,
    schema: &Schema,
    sealed: bool,
    reason: &str,
) -> Result<()> {
    let sides = sides(schema);
    if sides.is_empty() {
        return Ok(());
    }
    let reason: String = reason.chars().take(1000).collect();
    let rows: Vec<String> = sides
        .iter()
        .map(|side| {
            format!(
                "({}, {}, {}, {}, 0)",
                quote_literal(run.pair()),
                quote_literal(side),
                u8::from(sealed),
                quote_literal(&reason)
            )
        })
        .collect();
    // Each row has one key alone, so the other one to clash with that makes
    // this statement dangerous elsewhere does not exist.
    let put = format!(
        "INSERT INTO {} (`run`, `side`, `sealed`, `reason`, `held`) VALUES {} \
         ON DUPLICATE KEY UPDATE `sealed` = VALUES(`sealed`), `reason` = VALUES(`reason`)",
        quote_table(ours, "seal"),
        rows.join(", ")
    );
    session.query_drop(put).await.during("fence.seal")
}

/// Makes rows that say nothing yet, where there are none.
pub(super) async fn place(session: &mut Control, ours: &str, run: &RunName, schema: &Schema) -> Result<()> {
    for side in sides(schema) {
        let place = format!(
            "INSERT IGNORE INTO {} (`run`, `side`, `sealed`, `reason`, `held`) VALUES (?, ?, 0, '', 0)",
            quote_table(ours, "seal")
        );
        session.exec_drop(place, (run.pair(), side)).await.during("fence.seal")?;
    }
    Ok(())
}

/// Gives a table its triggers, where it has them not yet. Waits for the
/// transactions that have the table open, for as long as the session's
/// `lock_wait_timeout` says.
pub(super) async fn arm(session: &mut Control, ours: &str, run: &RunName, table: &TableName) -> Result<()> {
    let known = format!(
        "SELECT trigger_name FROM information_schema.triggers \
         WHERE trigger_schema = {} AND event_object_schema = {0} AND event_object_table = {}",
        quote_literal(&table.schema),
        quote_literal(&table.name)
    );
    let known: Vec<String> = session.query(known).await.during("fence.arm")?;
    for event in ["INSERT", "UPDATE", "DELETE"] {
        let name = trigger(event, run, table);
        if !known.contains(&name) {
            let create = definition(ours, run, table, event, &name);
            match session.query_drop(create).await.during("fence.arm") {
                // ER_TRG_ALREADY_EXISTS: another process of the run was faster.
                Err(error) if code(&error) == Some(1359) => {}
                outcome => outcome.map_err(|error| {
                    let error = error.with("table", table);
                    if code(&error) == Some(1419) {
                        return error.with(
                            "to mend it",
                            "SET GLOBAL log_bin_trust_function_creators = 1, or grant SUPER",
                        );
                    }
                    error
                })?,
            }
        }
    }
    Ok(())
}

/// Removes the triggers, where that makes nobody wait for long. What is left
/// refuses nobody, and goes at the next call.
pub(super) async fn disarm(session: &mut Control, run: &RunName, schema: &Schema) {
    let patience = format!("SET SESSION lock_wait_timeout = {SWEEP}");
    let mut outcome = session.query_drop(patience).await.during("fence.disarm");
    'all: for table in &schema.tables {
        for event in ["INSERT", "UPDATE", "DELETE"] {
            let name = quote_table(&table.name.schema, &trigger(event, run, &table.name));
            if outcome.is_err() {
                break 'all;
            }
            outcome =
                session.query_drop(format!("DROP TRIGGER IF EXISTS {name}")).await.during("fence.disarm");
        }
    }
    if let Err(error) = outcome {
        tracing::debug!(%error, "an open seal's triggers stay for now");
    }
}

/// A trigger's name: it must be the only one of its database, and say whose
/// it is.
fn trigger(event: &str, run: &RunName, table: &TableName) -> String {
    let mut name = format!("{PREFIX}{}_{}_{}", event.to_ascii_lowercase(), run.pair(), table.name);
    if name.chars().count() > LONGEST {
        let mark = format!("_{:016x}", fnv(name.as_bytes()));
        name = name.chars().take(LONGEST - mark.len()).collect();
        name += &mark;
    }
    name
}

/// FNV-1a, 64 bits: the same in every release, which a hash of the standard
/// library need not be.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a trigger's reading of its row begins with, up to the run.
fn rows_of(ours: &str) -> String {
    format!("FROM {} WHERE `run` = ", quote_table(ours, "seal"))
}

fn definition(ours: &str, run: &RunName, table: &TableName, event: &str, name: &str) -> String {
    let run = quote_literal(run.pair());
    let look = format!("{}{run} AND `side` = {}", rows_of(ours), quote_literal(&table.schema));
    let mut sql = format!(
        "CREATE TRIGGER {} BEFORE {event} ON {} FOR EACH ROW ",
        quote_table(&table.schema, name),
        quote_table(&table.schema, &table.name)
    );
    // Nothing is declared: for each row that a trigger is asked about, the
    // servers make its variables, and whether it comes to them or not. So it
    // is a variable of the session's. MESSAGE_TEXT takes 128 characters. 1290
    // is what a server that was made read-only says, and what applications
    // know.
    let seen = "SELECT IF(`sealed`, `reason`, NULL) INTO @zdm_reason";
    let _ = write!(
        sql,
        "BEGIN \
           IF NOT (@zdm_run <=> {run}) THEN \
             SET @zdm_reason = NULL; \
             {seen} {look}; \
             IF @zdm_reason IS NULL THEN \
               {seen} {look} LOCK IN SHARE MODE; \
             END IF; \
             IF @zdm_reason IS NOT NULL THEN \
               SET @zdm_reason = LEFT(CONCAT({sealed}, @zdm_reason), 128); \
               SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = @zdm_reason; \
             END IF; \
           END IF; \
         END",
        sealed = quote_literal(&format!("{} is sealed: ", table.name)),
    );
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigger_names_fit_and_differ() {
        let run: RunName = "main".parse().unwrap();
        let long = |end: &str| TableName::new("shop", format!("{}{end}", "é".repeat(63)));
        let short = trigger("INSERT", &run, &TableName::new("shop", "orders"));
        assert_eq!(short, "zdm_seal_insert_main_orders");
        let (a, b) = (trigger("UPDATE", &run, &long("a")), trigger("UPDATE", &run, &long("b")));
        assert!(a.chars().count() == 64 && a != b && is_trigger_of_ours(&a), "{a} {b}");
    }
}
