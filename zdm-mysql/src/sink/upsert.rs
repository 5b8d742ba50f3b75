//! Whole rows put in their places by one statement, whether a row is there or
//! not.
//!
//! `ON DUPLICATE KEY UPDATE` takes a row of another key for the same if it
//! clashes with it in *any* unique key. So it is used only while the target's
//! table has no unique key but the run's own, as the server says it within the
//! transaction: what has touched a table keeps DDL away from it until the end.
//! And only for keys that no server rounds or folds: else two rows might become
//! one without a word, where an INSERT fails.
//!
//! <https://dev.mysql.com/doc/refman/en/insert-on-duplicate.html>

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::schema::Table;

use super::pack::Pack;
use super::session::Session;
use super::shape::Shape;
use crate::connect::Server;
use crate::connect::quote::quote_literal;
use crate::error::OrMy;
use crate::schema::Cells;
use crate::types::Kind;

/// For fewer rows it is not worth the question.
const WORTH: usize = 16;

/// Whether so many rows of a table are to be put by [`statement`].
pub(super) async fn suits(session: &mut Session, shape: &Shape, rows: usize) -> Result<bool> {
    if rows < WORTH || shape.respelled || shape.has_more_unique_keys() || !is_exact(&shape.table) {
        return Ok(false);
    }
    session.begin().await?;
    let touch = format!("SELECT 1 FROM {} LIMIT 0", shape.name);
    session.query_drop(touch).await.during("sink.apply")?;
    let name = &shape.table.name;
    let sql = format!(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
          WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND NON_UNIQUE = 0",
        quote_literal(&name.schema),
        quote_literal(&name.name)
    );
    let rows: Vec<Row> = session.query(sql).await.during("sink.apply")?;
    let parts =
        rows.iter().map(|row| Ok(Part { index: row.cell(0)?, column: row.cell(1)?, prefix: row.cell(2)? }));
    Ok(is_key_alone(&shape.table, &parts.collect::<Result<Vec<_>>>()?))
}

/// Whether a key is stored as it was sent, or refused.
fn is_exact(table: &Table) -> bool {
    table.key_columns().iter().filter_map(|&at| table.columns.get(at)).all(|column| {
        matches!(Kind::of(column), Some(Kind::Integer { .. } | Kind::Date | Kind::Varbinary | Kind::Uuid))
    })
}

/// An INSERT of all the columns that are written, or the same row set to
/// them.
pub(super) fn statement(shape: &Shape, server: Server) -> Pack {
    // What `VALUES()` says is deprecated, and told as a warning, since MySQL
    // has this alias.
    let alias = server.is_mysql_since(8, 0, 19);
    let new = |name: &str| match alias {
        true => format!("{name} = zdm_new.{name}"),
        false => format!("{name} = VALUES({name})"),
    };
    let set: Vec<String> = shape
        .columns
        .iter()
        .filter(|column| !column.in_key || shape.is_all_key())
        .map(|column| new(&column.name))
        .collect();
    let head = format!("INSERT INTO {} ({}) VALUES ", shape.name, shape.names());
    let alias = if alias { " AS zdm_new" } else { "" };
    Pack::putting(head, format!("{alias} ON DUPLICATE KEY UPDATE {}", set.join(", ")))
}

/// A column of a unique index.
struct Part {
    index: String,
    /// `None` for an expression.
    column: Option<String>,
    prefix: Option<u64>,
}

/// Whether these are of one index, and that is the run's key.
fn is_key_alone(table: &Table, parts: &[Part]) -> bool {
    let key = table.key_columns();
    let in_key = |part: &Part| {
        part.prefix.is_none()
            && part.column.as_ref().is_some_and(|name| {
                key.iter().any(|&at| table.columns.get(at).is_some_and(|c| c.name.eq_ignore_ascii_case(name)))
            })
    };
    !parts.is_empty()
        && parts.len() == key.len()
        && parts.iter().all(|part| in_key(part) && part.index == parts[0].index)
}

#[cfg(test)]
mod tests {
    use zdm_core::schema::{Column, DataType, Key, TableName};

    use super::*;
    use crate::position::ENGINE;

    #[test]
    fn only_the_run_s_own_key_is_enough() {
        let columns = ["a", "b", "c"].map(|name| Column::new(name, DataType::integer(64)));
        let table = Table::new(ENGINE, TableName::new("d", "t"), columns.to_vec(), Key::Columns(vec![0, 1]));
        let part = |index: &str, column: Option<&str>, prefix| Part {
            index: index.to_owned(),
            column: column.map(str::to_owned),
            prefix,
        };
        let key = || vec![part("PRIMARY", Some("A"), None), part("PRIMARY", Some("b"), None)];
        assert!(is_key_alone(&table, &key()));
        let and = |more: Part| key().into_iter().chain([more]).collect::<Vec<_>>();
        for parts in [
            vec![],
            vec![part("PRIMARY", Some("a"), None)],
            and(part("u", Some("c"), None)),
            and(part("u", None, None)),
            vec![part("PRIMARY", Some("a"), None), part("u", Some("b"), None)],
            vec![part("PRIMARY", Some("a"), Some(3)), part("PRIMARY", Some("b"), None)],
            vec![part("PRIMARY", Some("a"), None), part("PRIMARY", Some("c"), None)],
        ] {
            assert!(!is_key_alone(&table, &parts));
        }
    }
}
