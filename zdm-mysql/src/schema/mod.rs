//! Reads the catalog: tables, and all that surrounds them.
//!
//! `information_schema` tells what columns are; the server's own words for
//! defaults, keys, constraints and options come from `SHOW CREATE TABLE`,
//! since the catalog writes some of them in a way that no server reads again.
//!
//! A partitioned table is *one* table, and its partitions are a part of its
//! options. Neither server reads its catalog in a transaction: a table that is
//! changed meanwhile is noticed by its fingerprint, which is read first.

mod cells;
mod columns;
pub(crate) mod dialect;
mod fingerprint;
pub(crate) mod labels;
mod objects;
mod relations;
mod scan;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::schema::{
    Column, Constraint, ConstraintKind, Expr, Key, Schema, Selection, Sequence, Shape, Table, TableName,
};

pub(crate) use self::cells::Cells;
pub(crate) use self::fingerprint::{fingerprint, statement as fingerprint_statement};
use self::relations::{Relation, RelationKind};
use self::written::Written;
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::connect::quote::quote_table;
use crate::error::OrMy;

/// Reads the selected tables and what surrounds them.
///
/// # Errors
///
/// When the server cannot be reached or asked; `Unsupported` when a column's
/// type or character set is not known.
pub(crate) async fn describe(config: &MySqlConfig, selection: &Selection) -> Result<Schema> {
    let mut control = Control::connect(config, "describe").await?;
    settle(&mut control).await?;
    let image: Option<String> =
        control.query_first("SELECT @@global.binlog_row_image").await.during("schema.describe")?;
    let full = image.as_deref() == Some("FULL");
    let mut schema = Schema::default();
    let mut databases = BTreeSet::new();
    for relation in relations::read(&mut control, selection).await? {
        databases.insert(relation.name.schema.to_string());
        if relation.kind == RelationKind::Sequence {
            schema.sequences.push(objects::sequence(&mut control, relation.name).await?);
            continue;
        }
        let table = table(&mut control, relation, full).await?;
        if let Some(column) = table.columns.iter().find(|column| column.identity.is_some()) {
            schema.sequences.push(counter(&table, column));
        }
        schema.tables.push(Arc::new(table));
    }
    let databases: Vec<String> = databases.into_iter().collect();
    let mut triggers = objects::triggers(&mut control, &databases).await?;
    for table in &mut schema.tables {
        if let Some(own) = triggers.remove(&table.name) {
            Arc::make_mut(table).triggers = own;
        }
    }
    schema.unmoved = objects::unmoved(&mut control, &databases).await?;
    schema.sequences.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(schema)
}

/// The shapes of the selected tables, as [`describe`] would give them.
///
/// # Errors
///
/// When the server cannot be reached or asked.
pub(crate) async fn shapes(
    config: &MySqlConfig,
    selection: &Selection,
) -> Result<BTreeMap<TableName, Shape>> {
    let mut control = Control::connect(config, "shapes").await?;
    settle(&mut control).await?;
    let mut shapes = BTreeMap::new();
    for relation in relations::read(&mut control, selection).await? {
        if relation.kind == RelationKind::Table {
            let fingerprint = fingerprint(&mut control, &relation.name).await?;
            shapes.insert(relation.name, Shape { fingerprint, partitions: BTreeSet::new() });
        }
    }
    Ok(shapes)
}

/// One table, as [`describe`] gives it, but for its triggers.
///
/// # Errors
///
/// As [`describe`].
pub(crate) async fn described(control: &mut Control, name: &TableName) -> Result<Table> {
    settle(control).await?;
    let kind = RelationKind::Table;
    let relation = Relation { name: name.clone(), kind, comment: None, rows: 0, bytes: 0 };
    table(control, relation, true).await
}

/// Names are quoted whatever the server's own setting is, and a generated
/// primary key is a column like any other: it is in the log.
async fn settle(control: &mut Control) -> Result<()> {
    let mut sql = "SET SESSION sql_quote_show_create = 1".to_owned();
    if control.server().is_mysql_since(8, 0, 30) {
        sql += ", show_gipk_in_create_table_and_information_schema = 1";
    }
    control.query_drop(sql).await.during("schema.settle")
}

async fn table(control: &mut Control, relation: Relation, full: bool) -> Result<Table> {
    let name = relation.name;
    let print = fingerprint(control, &name).await?;
    let sql = format!("SHOW CREATE TABLE {}", quote_table(&name.schema, &name.name));
    let row: Option<Row> = control.query_first(sql).await.during("schema.table")?;
    let shown: String = row.ok_or_else(|| crate::error::protocol("a table is not shown"))?.cell(1)?;
    let mut written = Written::read(&name, &shown);
    let columns = columns::read(control, &name, &mut written.columns).await?;
    let (key, key_name) = key(&columns, &written.constraints, full);
    let mut table = Table::new(control.server().engine(), name, columns, key);
    table.full_old_image = full;
    table.key_name = key_name;
    table.origin.fingerprint = print;
    table.indexes = written.indexes;
    table.constraints = written.constraints;
    table.options = written.options;
    table.comment = relation.comment;
    table.estimated_bytes = relation.bytes;
    table.estimated_rows = relation.rows;
    Ok(table)
}

/// The counter of a table, which is its own: it bears the table's name.
fn counter(table: &Table, column: &Column) -> Sequence {
    Sequence {
        name: table.name.clone(),
        origin: None,
        increment: 1,
        owner: Some((table.name.clone(), column.name.to_string())),
        identity: true,
        range: None,
        definition: String::new(),
    }
}

/// The primary key, else the first unique key over columns that are never
/// null, as InnoDB itself chooses. Without one a row is known by all of its
/// cells, if the log carries them.
fn key(columns: &[Column], constraints: &[Constraint], full: bool) -> (Key, Option<String>) {
    let positions = |names: &[String]| -> Option<Vec<usize>> {
        names.iter().map(|name| columns.iter().position(|c| c.name == *name)).collect()
    };
    let primary = constraints.iter().find_map(|constraint| match &constraint.kind {
        ConstraintKind::Primary { columns } => Some((positions(columns)?, Some(constraint.name.clone()))),
        _ => None,
    });
    let unique = || {
        constraints.iter().find_map(|constraint| match &constraint.kind {
            ConstraintKind::Unique { columns: names } => {
                let key = positions(names)?;
                // OK to index because `positions` gave them.
                key.iter().all(|at| !columns[*at].nullable).then_some((key, None))
            }
            _ => None,
        })
    };
    match primary.or_else(unique) {
        Some((key, name)) => (Key::Columns(key), name),
        None if full => (Key::FullRow, None),
        None => (Key::Nothing, None),
    }
}

/// What an expression of the server's says in words that every engine knows.
fn neutral(text: &str) -> Option<Expr> {
    dialect::SYNTAX.read(text)
}
