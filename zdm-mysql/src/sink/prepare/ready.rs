//! Foreign keys and triggers, while nobody writes; and the rows of before
//! that a foreign key has not looked at.

use mysql_async::prelude::Queryable;
use zdm_core::connect::{Finding, Severity};
use zdm_core::schema::{Constraint, ConstraintKind, ForeignKey, Schema, Table, TableName};
use zdm_core::{Error, ErrorKind, Result};

use super::{DURING, Work, ddl, quoted};
use crate::connect::Control;
use crate::connect::quote::quote_ident;
use crate::error::OrMy;

/// The session has `foreign_key_checks = 0`, by which no row is read.
pub(super) async fn make(work: &mut Work<'_>) -> Result<()> {
    let (schema, state) = (work.schema, work.state().await?);
    for table in &schema.tables {
        let Some(existing) = state.table(&table.name) else { continue };
        let missing: Vec<String> = foreign_keys(table)
            .filter(|(constraint, _)| !existing.foreign_keys.contains(&constraint.name))
            .filter_map(|(constraint, key)| ddl::foreign_key(schema, constraint, key))
            .map(|text| format!("ADD {text}"))
            .collect();
        if !missing.is_empty() {
            let sql = format!("ALTER TABLE {} {}", quoted(table), missing.join(", "));
            work.run(table, "its foreign keys", &sql).await?;
        }
        for trigger in table.triggers.iter().filter(|trigger| !existing.triggers.contains(&trigger.name)) {
            if table.keeps_name() {
                work.run(table, "a trigger", &trigger.definition).await?;
            } else {
                tracing::warn!(table = %table.name, trigger = trigger.name, "not moved: make it by hand");
            }
        }
    }
    Ok(())
}

/// Names children whose parent is not there, where the source says that there
/// are none.
///
/// # Errors
/// `Rejected`, with the first of them.
pub(super) async fn validate(work: &mut Work<'_>) -> Result<()> {
    let Some(found) = orphans(&mut work.control, work.schema, DURING).await?.into_iter().next() else {
        return Ok(());
    };
    let message =
        format!("rows refer to parents that are not there: give them one, or delete them: {}", found.rows);
    Err(Error::new(ErrorKind::Rejected, message)
        .with("table", found.table)
        .with("foreign key", found.foreign_key)
        .during(DURING))
}

/// The same, while changes are still applied.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn assess_orphans(control: &mut Control, schema: &Schema) -> Result<Vec<Finding>> {
    let found = orphans(control, schema, "assess.orphans").await?;
    let finding = |Orphans { table, foreign_key, rows }| {
        let message = format!(
            "rows refer by {foreign_key} to parents that are not there, and the source says that there are none \
             such: compare both sides before you cut over: {rows}"
        );
        Finding::new(Severity::Blocker, "orphans", table, message)
    };
    Ok(found.into_iter().map(finding).collect())
}

/// The first few rows without their parent, by one foreign key.
struct Orphans {
    table: TableName,
    foreign_key: String,
    rows: String,
}

async fn orphans(control: &mut Control, schema: &Schema, during: &'static str) -> Result<Vec<Orphans>> {
    let mut all = Vec::new();
    for table in &schema.tables {
        for (constraint, key) in foreign_keys(table).filter(|(constraint, _)| constraint.validated) {
            let Some(parent) = schema.table(&key.references) else { continue };
            let found: Vec<String> = control.query(query(table, parent, key)).await.during(during)?;
            if !found.is_empty() {
                let (table, foreign_key) = (table.name.clone(), constraint.name.to_string());
                all.push(Orphans { table, foreign_key, rows: found.join("; ") });
            }
        }
    }
    Ok(all)
}

fn foreign_keys(table: &Table) -> impl Iterator<Item = (&Constraint, &ForeignKey)> {
    table.constraints.iter().filter_map(|constraint| match &constraint.kind {
        ConstraintKind::ForeignKey(key) => Some((constraint, key)),
        _ => None,
    })
}

fn query(table: &Table, parent: &Table, key: &ForeignKey) -> String {
    let child: Vec<String> = key.columns.iter().map(|name| format!("c.{}", quote_ident(name))).collect();
    let same: Vec<String> = key
        .referenced
        .iter()
        .zip(&child)
        .map(|(name, child)| format!("p.{} = {child}", quote_ident(name)))
        .collect();
    let known: Vec<String> = child.iter().map(|child| format!("{child} IS NOT NULL")).collect();
    format!(
        "SELECT CONVERT(CONCAT_WS(', ', {}) USING utf8mb4) FROM {} c \
          WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {}) LIMIT 5",
        child.join(", "),
        quoted(table),
        known.join(" AND "),
        quoted(parent),
        same.join(" AND ")
    )
}
