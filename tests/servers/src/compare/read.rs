//! Reads a table as canonical text.

use std::pin::pin;

use futures::TryStreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use super::across::Side;
use super::canonical::canonical;
use super::expressions;
use super::kind::{Family, Kind};
use crate::error::{Doing, Error, Result};

/// How a side says text in one way. Each side is read in a transaction that
/// sees one state of it.
const POSTGRES: &str = "SET timezone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; \
     SET intervalstyle = 'postgres'; SET datestyle = 'ISO, MDY'; SET row_security = off";
const MYSQL: &str = "SET NAMES utf8mb4; SET time_zone = '+00:00'; SET sql_mode = ''";

/// One column of the comparison.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) family: Family,
    pub(super) kind: Kind,
}

/// A row, cell by cell.
pub(super) type Cells = Vec<Option<String>>;

/// Hands every row of a table to `each`.
pub(super) async fn read(
    side: &Side,
    table: &str,
    columns: &[Column],
    mut each: impl FnMut(Cells) + Send,
) -> Result<()> {
    let doing = || format!("reading {table} for a comparison");
    let kinds: Vec<Kind> = columns.iter().map(|column| column.kind).collect();
    let finish = |cells: Vec<Option<String>>| -> Cells {
        cells.into_iter().zip(&kinds).map(|(cell, &kind)| cell.map(|text| canonical(kind, text))).collect()
    };
    match side {
        Side::Postgres(database, schema) | Side::Seen(database, schema, _) => {
            let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            let wanted: Vec<String> = columns
                .iter()
                .map(|column| expressions::postgres(&quote(&column.name), column.family, column.kind))
                .collect();
            let sql = format!("SELECT {} FROM {}.{}", wanted.join(", "), quote(schema), quote(table));
            let client = database.connect().await?;
            client.batch_execute(POSTGRES).await.doing(doing)?;
            if let Side::Seen(_, _, snapshot) = side {
                let snapshot = snapshot.replace('\'', "''");
                let see =
                    format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'");
                client.batch_execute(&see).await.doing(doing)?;
            }
            let none: [&str; 0] = [];
            let mut rows = pin!(client.query_raw(&sql, none).await.doing(doing)?);
            while let Some(row) = rows.try_next().await.doing(doing)? {
                let cells = (0..columns.len()).map(|at| row.try_get(at)).collect::<Result<Vec<_>, _>>();
                each(finish(cells.doing(doing)?));
            }
        }
        Side::MySql(database) => {
            let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
            let wanted: Vec<String> = columns
                .iter()
                .map(|column| expressions::mysql(&quote(&column.name), column.family, column.kind))
                .collect();
            let sql = format!("SELECT {} FROM {}", wanted.join(", "), quote(table));
            let mut connection = database.connect().await?;
            connection.query_drop(MYSQL).await.doing(doing)?;
            let mut result = connection.query_iter(sql).await.doing(doing)?;
            while let Some(row) = result.next().await.doing(doing)? {
                each(finish(cells(row).doing(doing)?));
            }
            drop(result);
            connection.disconnect().await.doing(doing)?;
        }
    }
    Ok(())
}

/// Every expression is text, or null.
fn cells(row: Row) -> Result<Cells> {
    let text = |value| match value {
        Value::NULL => Ok(None),
        Value::Bytes(bytes) => String::from_utf8(bytes).map(Some).doing(|| "reading text".into()),
        other => Err(Error::new("reading text").because(format!("it is {}", other.as_sql(false)))),
    };
    row.unwrap().into_iter().map(text).collect()
}
