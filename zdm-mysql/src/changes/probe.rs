//! A door for tests of other crates: a stream of changes of tables that are
//! named. No part of the library's interface.

#![allow(missing_docs, reason = "hidden, and only for our own tests")]

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use zdm_core::connect::{Changes, StreamOptions};
use zdm_core::schema::{Column, Key, Schema, Table, TableName};
use zdm_core::{Identity, Position, Result};

use super::start;
use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::connect::quote::quote_literal;
use crate::error::OrMy;
use crate::position::{ENGINE, Point};
use crate::schema::labels;
use crate::types::column_type;

/// These tables of a database, keyed by their first column.
pub async fn describe(config: &MySqlConfig, database: &str, tables: &[&str]) -> Result<Schema> {
    let mut control = Control::connect(config, "probe").await?;
    let mut schema = Schema::default();
    for name in tables {
        let columns = format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, IS_NULLABLE = 'YES' \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
            quote_literal(database),
            quote_literal(name)
        );
        let rows: Vec<(String, String, Option<String>, bool)> =
            control.query(columns).await.during("probe")?;
        let mut columns = Vec::new();
        for (column, native, charset, nullable) in rows {
            let named = TableName::new(database, *name);
            let native = labels::complete(&mut control, &named, &column, native, charset.as_deref()).await?;
            let (native, neutral) = column_type(&native, charset.as_deref())?;
            let mut column = Column::new(column.as_str(), neutral).native(native.name, native.id);
            column.nullable = nullable;
            columns.push(column);
        }
        let table = Table::new(ENGINE, TableName::new(database, *name), columns, Key::Columns(vec![0]));
        schema.tables.push(Arc::new(table));
    }
    Ok(schema)
}

pub async fn changes(config: &MySqlConfig, options: StreamOptions) -> Result<Changes> {
    super::open(&Arc::new(config.clone()), &super::Undone::default(), options).await
}

pub async fn here(config: &MySqlConfig) -> Result<Position> {
    let mut control = Control::connect(config, "probe").await?;
    Ok((&start::here(&mut control).await?).into())
}

pub async fn identity(config: &MySqlConfig) -> Result<Identity> {
    start::identity(config).await
}

pub fn reached(at: &Position, goal: &Position) -> Result<bool> {
    Point::of(at)?.reached(&Point::of(goal)?)
}

/// The same place without GTIDs: as of a server that has none.
pub fn coordinates(position: &Position) -> Result<Position> {
    let point = Point::of(position)?;
    let at = point.at.ok_or_else(|| crate::error::protocol("no coordinates"))?;
    Ok((&Point::at(at)).into())
}
