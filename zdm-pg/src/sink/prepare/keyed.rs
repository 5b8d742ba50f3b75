//! The key of each table, and nothing else yet: rows of different chunks may
//! come from different moments, but never two of one key.

use zdm_core::Result;
use zdm_core::schema::{ConstraintKind, Key, Table};

use super::state::Existing;
use super::{Work, fit, quoted};
use crate::connect::quote::quote_ident;

/// What builds a key.
struct Builder {
    name: Option<String>,
    sql: String,
    /// Whether the name is of an index or constraint that the replica identity
    /// must name, since it is not the primary key.
    identity: bool,
}

/// Builds the keys that are missing.
pub(super) async fn make(work: &mut Work<'_>) -> Result<()> {
    let state = work.state().await?;
    for table in work.tables() {
        let Some(existing) = state.table(&table.name) else { continue };
        match &table.key {
            Key::Columns(_) => build(work, table, existing).await?,
            // So that the way back has old rows in its log, too.
            Key::FullRow if fit::is_native(table) => {
                let sql = format!("ALTER TABLE {} REPLICA IDENTITY FULL", quoted(table));
                work.run(table, "the replica identity", &sql).await?;
            }
            Key::FullRow | Key::Nothing => {}
        }
    }
    Ok(())
}

async fn build(work: &Work<'_>, table: &Table, existing: &Existing) -> Result<()> {
    let builder = builder(work, table);
    let there = match &builder.name {
        Some(name) => existing.constraints.contains_key(name) || existing.indexes.contains(name),
        None => false,
    };
    let primary = existing.constraints.values().any(|present| present.kind == "p");
    if !there && (builder.identity || !primary) {
        work.run(table, "the key", &builder.sql).await?;
    }
    if let (true, Some(name)) = (builder.identity, &builder.name) {
        let sql = format!("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", quoted(table), quote_ident(name));
        work.run(table, "the replica identity", &sql).await?;
    }
    Ok(())
}

/// The primary key by its own text and name; else the unique index or
/// constraint over the key's columns; else a primary key over them.
fn builder(work: &Work<'_>, table: &Table) -> Builder {
    let columns = fit::key_columns(table);
    let add = |name: &str, text: &str| {
        format!("ALTER TABLE {} ADD CONSTRAINT {} {text}", quoted(table), quote_ident(name))
    };
    let constraint = table.constraints.iter().find(|c| match &c.kind {
        ConstraintKind::Primary { columns: own } => {
            Some(&c.name) == table.key_name.as_ref() && *own == columns
        }
        ConstraintKind::Unique { columns: own } => table.key_name.is_none() && *own == columns,
        _ => false,
    });
    if let Some((constraint, text)) =
        constraint.and_then(|c| fit::constraint(work.schema, table, c).map(|text| (c, text)))
    {
        return Builder {
            name: Some(constraint.name.clone()),
            sql: add(&constraint.name, &text),
            identity: table.key_name.is_none(),
        };
    }
    let index = table.indexes.iter().find(|i| {
        table.key_name.is_none() && i.unique && i.columns.as_ref().is_some_and(|own| *own == columns)
    });
    if let Some((index, sql)) = index.and_then(|i| fit::index(table, i).map(|sql| (i, sql))) {
        return Builder { name: Some(index.name.clone()), sql, identity: true };
    }
    let quoted_columns: Vec<_> = columns.iter().map(|column| quote_ident(column)).collect();
    let text = format!("PRIMARY KEY ({})", quoted_columns.join(", "));
    let sql = match &table.key_name {
        Some(name) => add(name, &text),
        None => format!("ALTER TABLE {} ADD {text}", quoted(table)),
    };
    Builder { name: table.key_name.clone(), sql, identity: false }
}
