//! What surrounds the tables: triggers, sequences, and what is not moved.

use std::collections::BTreeMap;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::schema::{Sequence, SequenceRange, TableName, Trigger, Unmoved, UnmovedKind};

use super::Cells;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::OrMy;
use crate::fence::is_trigger_of_ours;

/// A list of databases, for `IN`.
fn list(databases: &[String]) -> String {
    databases.iter().map(|name| quote_literal(name)).collect::<Vec<_>>().join(", ")
}

/// Users' triggers of each table, in the order in which they fire.
pub(super) async fn triggers(
    control: &mut Control,
    databases: &[String],
) -> Result<BTreeMap<TableName, Vec<Trigger>>> {
    let mut triggers: BTreeMap<TableName, Vec<Trigger>> = BTreeMap::new();
    if databases.is_empty() {
        return Ok(triggers);
    }
    let sql = format!(
        "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, \
                ACTION_STATEMENT, DEFINER \
           FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA IN ({}) \
          ORDER BY 1, 2, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
        list(databases)
    );
    let rows: Vec<Row> = control.query(sql).await.during("schema.triggers")?;
    for row in rows {
        let table = TableName::new(row.cell::<String>(0)?, row.cell::<String>(1)?);
        let name: String = row.cell(2)?;
        if is_trigger_of_ours(&name) {
            continue;
        }
        let definition = format!(
            "CREATE DEFINER={} TRIGGER {} {} {} ON {} FOR EACH ROW {}",
            account(&row.cell::<String>(6)?),
            quote_table(&table.schema, &name),
            row.cell::<String>(3)?,
            row.cell::<String>(4)?,
            quote_table(&table.schema, &table.name),
            row.cell::<String>(5)?,
        );
        triggers.entry(table).or_default().push(Trigger { name, definition, mode: None });
    }
    Ok(triggers)
}

/// `user@host`, quoted: a user's name may have an `@`, a host's has none.
fn account(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", quote_ident(user), quote_ident(host)),
        None => quote_ident(text),
    }
}

/// A sequence of MariaDB's.
pub(super) async fn sequence(control: &mut Control, name: TableName) -> Result<Sequence> {
    let quoted = quote_table(&name.schema, &name.name);
    let sql = format!(
        "SELECT start_value, increment, minimum_value, maximum_value, cache_size, cycle_option FROM {quoted}"
    );
    let row: Option<Row> = control.query_first(sql).await.during("schema.sequences")?;
    let row = row.ok_or_else(|| crate::error::protocol("a sequence has no row").with("sequence", &name))?;
    let increment: i64 = row.cell(1)?;
    let range = SequenceRange {
        start: row.cell(0)?,
        least: row.cell(2)?,
        most: row.cell(3)?,
        cache: row.cell(4)?,
        cycle: row.cell(5)?,
    };
    let definition = made(&name, increment, &range);
    Ok(Sequence {
        name,
        origin: None,
        increment,
        owner: None,
        identity: false,
        range: Some(range),
        definition,
    })
}

/// CREATE SEQUENCE, as MariaDB takes it.
pub(in crate::schema) fn made(name: &TableName, increment: i64, range: &SequenceRange) -> String {
    let SequenceRange { start, least, most, cache, cycle } = range;
    format!(
        "CREATE SEQUENCE {} START WITH {start} INCREMENT BY {increment} MINVALUE {least} MAXVALUE {most} \
         CACHE {cache} {}",
        quote_table(&name.schema, &name.name),
        if *cycle { "CYCLE" } else { "NOCYCLE" },
    )
}

/// Views, routines and events of these databases, with the statement that
/// makes each as far as the user may see it.
pub(super) async fn unmoved(control: &mut Control, databases: &[String]) -> Result<Vec<Unmoved>> {
    if databases.is_empty() {
        return Ok(Vec::new());
    }
    let list = list(databases);
    let sql = format!(
        "SELECT 'VIEW' AS what, TABLE_SCHEMA AS db, TABLE_NAME AS name FROM information_schema.VIEWS \
          WHERE TABLE_SCHEMA IN ({list}) \
         UNION ALL \
         SELECT ROUTINE_TYPE, ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES \
          WHERE ROUTINE_SCHEMA IN ({list}) AND ROUTINE_TYPE IN ('FUNCTION', 'PROCEDURE') \
         UNION ALL \
         SELECT 'EVENT', EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS \
          WHERE EVENT_SCHEMA IN ({list}) ORDER BY what, db, name"
    );
    let rows: Vec<Row> = control.query(sql).await.during("schema.unmoved")?;
    let mut unmoved = Vec::with_capacity(rows.len());
    for row in rows {
        let what: String = row.cell(0)?;
        let name = TableName::new(row.cell::<String>(1)?, row.cell::<String>(2)?);
        let (kind, place) = match what.as_str() {
            "VIEW" => (UnmovedKind::View, 1),
            "EVENT" => (UnmovedKind::Event, 3),
            _ => (UnmovedKind::Routine, 2),
        };
        let sql = format!("SHOW CREATE {what} {}", quote_table(&name.schema, &name.name));
        // One that is broken, or hidden from the user, is named all the same.
        let shown: Option<Row> = control.query_first(sql).await.unwrap_or_default();
        let statement = shown.and_then(|row| row.cell::<Option<String>>(place).ok().flatten());
        unmoved.push(Unmoved { kind, name, statement: statement.unwrap_or_default() });
    }
    Ok(unmoved)
}
