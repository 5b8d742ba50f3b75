//! The tables themselves: which there are, and how large.

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::schema::{Selection, TableName};

use super::Cells;
use crate::connect::Control;
use crate::connect::quote::quote_literal;
use crate::error::OrMy;

/// What a table of the catalog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelationKind {
    Table,
    /// A sequence of MariaDB's, which is a table of one row.
    Sequence,
}

/// A table of the catalog that a run moves.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) name: TableName,
    pub(super) kind: RelationKind,
    pub(super) comment: Option<String>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// The databases that are the servers' own, beside ours.
pub(crate) const SYSTEM: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];

/// A condition on `TABLE_SCHEMA` and its like: neither the system's nor ours.
pub(super) fn users(column: &str, ours: &str) -> String {
    let list: Vec<_> = SYSTEM.iter().copied().chain([ours]).map(quote_literal).collect();
    format!("LOWER({column}) NOT IN ({})", list.join(", "))
}

/// Reads the selected tables, in the order of their names.
pub(super) async fn read(control: &mut Control, selection: &Selection) -> Result<Vec<Relation>> {
    let ours = control.config().schema().to_lowercase();
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_COMMENT, TABLE_ROWS, DATA_LENGTH \
           FROM information_schema.TABLES \
          WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') AND {}",
        users("TABLE_SCHEMA", &ours)
    );
    let rows: Vec<mysql_async::Row> = control.query(sql).await.during("schema.relations")?;
    let mut relations = Vec::with_capacity(rows.len());
    for row in rows {
        let name = TableName::new(row.cell::<String>(0)?, row.cell::<String>(1)?);
        if !selection.matches(&name) {
            continue;
        }
        let is_sequence = row.cell::<String>(2)? == "SEQUENCE";
        relations.push(Relation {
            name,
            kind: if is_sequence { RelationKind::Sequence } else { RelationKind::Table },
            comment: row.cell::<Option<String>>(3)?.filter(|comment| !comment.is_empty()),
            rows: row.cell::<Option<u64>>(4)?.unwrap_or(0),
            bytes: row.cell::<Option<u64>>(5)?.unwrap_or(0),
        });
    }
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(relations)
}
