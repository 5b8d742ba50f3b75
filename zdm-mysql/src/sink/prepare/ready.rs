//! Foreign keys and triggers, while nobody writes; and the rows of before
//! that a foreign key has not looked at.

use mysql_async::prelude::Queryable;
use zdm_core::schema::{Constraint, ConstraintKind, ForeignKey, Schema, Table};
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
    let Some(found) = orphans(&mut work.control, work.schema, 5).await?.into_iter().next() else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Rejected,
        format!(
            "rows refer to parents that are not there: give them one, or delete them: {}",
            found.keys.join("; ")
        ),
    )
    .with("table", &found.table.name)
    .with("foreign key", &found.constraint.name)
    .during(DURING))
}

/// Children whose parent is not there.
pub(crate) struct Orphans<'a> {
    pub(crate) table: &'a Table,
    pub(crate) constraint: &'a Constraint,
    /// Some of the keys that they refer by.
    pub(crate) keys: Vec<String>,
}

/// Children whose parent is not there, up to `limit` keys of each foreign key
/// that the source says to hold.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn orphans<'a>(
    control: &mut Control,
    schema: &'a Schema,
    limit: usize,
) -> Result<Vec<Orphans<'a>>> {
    let mut found = Vec::new();
    for table in &schema.tables {
        for (constraint, key) in foreign_keys(table).filter(|(constraint, _)| constraint.validated) {
            let Some(parent) = schema.table(&key.references) else { continue };
            let statement = statement(table, parent, key, limit);
            let keys: Vec<String> = control.query(statement).await.during(DURING)?;
            if !keys.is_empty() {
                found.push(Orphans { table, constraint, keys });
            }
        }
    }
    Ok(found)
}

fn foreign_keys(table: &Table) -> impl Iterator<Item = (&Constraint, &ForeignKey)> {
    table.constraints.iter().filter_map(|constraint| match &constraint.kind {
        ConstraintKind::ForeignKey(key) => Some((constraint, key)),
        _ => None,
    })
}

fn statement(table: &Table, parent: &Table, key: &ForeignKey, limit: usize) -> String {
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
          WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {}) LIMIT {limit}",
        child.join(", "),
        quoted(table),
        known.join(" AND "),
        quoted(parent),
        same.join(" AND ")
    )
}
