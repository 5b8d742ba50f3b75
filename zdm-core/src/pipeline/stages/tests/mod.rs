//! Tests of the stages, by what they are about.

mod properties;
mod rows;
mod shapes;

use std::sync::Arc;

use super::Stages;
use super::stage::Stage;
use crate::change::{Batch, BatchBuilder, Change, Field, Item, OwnedField, Value};
use crate::connect::{Finding, Severity};
use crate::pipeline::Transform;
use crate::schema::{Column, DataType, Key, Schema, Table, TableName};
use crate::{Engine, Position};

const ENGINE: Engine = Engine::new("test");

/// `public.users (id, tenant, name)`, keyed by id and tenant.
fn users() -> Table {
    named("users")
}

fn named(name: &str) -> Table {
    let columns = vec![
        Column::new("id", DataType::integer(64)).not_null(),
        Column::new("tenant", DataType::integer(64)).not_null(),
        Column::new("name", DataType::text()),
    ];
    Table::new(ENGINE, TableName::new("public", name), columns, Key::Columns(vec![0, 1]))
}

fn full(mut table: Table) -> Table {
    table.full_old_image = true;
    table
}

fn schema(tables: impl IntoIterator<Item = Table>) -> Schema {
    Schema { tables: tables.into_iter().map(Arc::new).collect(), ..Schema::default() }
}

fn built<S: Stage>(stages: Stages<S>) -> Arc<dyn Transform> {
    stages.build().unwrap()
}

/// A cell: `Some(number)`, or what the log did not carry.
fn row<'a>(id: i64, tenant: i64, name: Option<&'a str>) -> [Field<'a>; 3] {
    let name = name.map_or(Field::Unchanged, |name| Value::from(name).into());
    [Value::Int(id).into(), Value::Int(tenant).into(), name]
}

fn position(n: u64) -> Position {
    Position::new(ENGINE, n.to_string())
}

/// Builds a transaction around what `f` adds.
fn transaction(f: impl FnOnce(&mut BatchBuilder)) -> Batch {
    let mut builder = BatchBuilder::new();
    builder.begin(1);
    f(&mut builder);
    builder.commit(position(1), None);
    builder.finish()
}

/// The rows as `insert (1, 7, a)`, an old image before a `>`, `?` for what is
/// not carried.
fn shown(batch: &Batch) -> Vec<String> {
    let image = |fields: Vec<(smol_str::SmolStr, OwnedField)>| {
        let cells: Vec<String> = fields
            .into_iter()
            .map(|(_, field)| match field {
                OwnedField::Value(value) => value.to_string(),
                OwnedField::Unchanged => "?".to_owned(),
            })
            .collect();
        format!("({})", cells.join(", "))
    };
    let show = |change: Change| {
        let op = format!("{:?}", change.op).to_lowercase();
        let images: Vec<String> = change.before.into_iter().chain(change.after).map(image).collect();
        format!("{op} {}", images.join(" > "))
    };
    batch.rows().map(|row| show(Change::from_row(row).unwrap())).collect()
}

/// What is not a row.
fn boundaries(batch: &Batch) -> Vec<String> {
    batch.items().iter().filter(|i| !matches!(i, Item::Rows(_))).map(|item| format!("{item:?}")).collect()
}

fn codes(findings: &[Finding], severity: Severity) -> Vec<&str> {
    findings.iter().filter(|f| f.severity == severity).map(|f| f.code.as_str()).collect()
}
