//! A fingerprint of a table's shape, cheap enough to ask for at every chunk.
//!
//! It covers each column's name, type, collation, whether it is null and
//! whether it is computed, in their order, and the key. Neither server keeps a
//! number that a rewriting ALTER changes and a TRUNCATE leaves alone, and a
//! TRUNCATE is no change of shape; a rewriting ALTER that leaves all this as
//! it was (a column dropped and made again) is seen in the log, where it is a
//! statement that names the table.

use mysql_async::prelude::Queryable;
use zdm_core::schema::TableName;
use zdm_core::{Error, ErrorKind, Result};

use crate::connect::Control;
use crate::connect::quote::quote_literal;
use crate::error::OrMy;

/// The statement that asks for it: one row of one text, null when the table is
/// not there. Keys by their columns: the primary one, else all unique ones.
pub(crate) fn statement(table: &TableName) -> String {
    let of = format!(
        "TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        quote_literal(&table.schema),
        quote_literal(&table.name)
    );
    format!(
        "SELECT SHA2(CONCAT_WS('\\n', \
           (SELECT GROUP_CONCAT(CONCAT_WS(' ', COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, IFNULL(COLLATION_NAME, '-'), \
                     EXTRA LIKE '%VIRTUAL%' OR EXTRA LIKE '%STORED%' OR EXTRA LIKE '%PERSISTENT%') \
                     ORDER BY ORDINAL_POSITION SEPARATOR '\\n') \
              FROM information_schema.COLUMNS WHERE {of}), \
           (SELECT GROUP_CONCAT(CONCAT_WS(' ', CONSTRAINT_NAME, COLUMN_NAME) \
                     ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION SEPARATOR '\\n') \
              FROM information_schema.KEY_COLUMN_USAGE \
             WHERE {of} AND REFERENCED_TABLE_NAME IS NULL \
               AND (CONSTRAINT_NAME = 'PRIMARY' OR NOT EXISTS ( \
                     SELECT 1 FROM information_schema.TABLE_CONSTRAINTS \
                      WHERE {of} AND CONSTRAINT_TYPE = 'PRIMARY KEY')))), 256) \
          FROM DUAL WHERE EXISTS (SELECT 1 FROM information_schema.COLUMNS WHERE {of})"
    )
}

/// The fingerprint of a table, as [`describe`](super::describe) keeps it.
///
/// # Errors
/// `SchemaChanged` when the table is gone.
pub(crate) async fn fingerprint(control: &mut Control, table: &TableName) -> Result<String> {
    let found: Option<Option<String>> =
        control.query_first(statement(table)).await.during("schema.fingerprint")?;
    found.flatten().ok_or_else(|| {
        Error::new(ErrorKind::SchemaChanged, "a table of this run was dropped: start the run anew")
            .with("table", table)
            .during("schema.fingerprint")
    })
}
