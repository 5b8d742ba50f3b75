//! The columns of tables.

use std::collections::HashMap;

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{Column, Equality, Generated, IdentityColumn};

use super::made::Types;
use crate::error::OrPg;
use crate::schema::Cells;
use crate::schema::dialect::SYNTAX;

const COLUMNS: &str = "
SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid, a.atttypmod,
       a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attgenerated::text, a.attidentity::text,
       CASE WHEN a.attcollation <> t.typcollation THEN format('%I.%I', cn.nspname, co.collname) END,
       pg_catalog.col_description(a.attrelid, a.attnum), coalesce(co.collisdeterministic, true)
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
 WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum";

/// Reads the columns of each table, in the order of their numbers.
pub(super) async fn read(
    tx: &Transaction<'_>,
    tables: &[Oid],
    types: &Types,
) -> Result<HashMap<Oid, Vec<Column>>> {
    let mut columns: HashMap<Oid, Vec<Column>> = HashMap::new();
    for row in tx.query(COLUMNS, &[&tables]).await.during("schema.columns")? {
        let own = row.cell(3)?;
        let (oid, data_type) = types.neutral(own, row.cell(4)?);
        let mut column = Column::new(row.cell::<&str>(1)?, data_type).native(row.cell::<&str>(2)?, oid);
        column.nullable = !row.cell::<bool>(5)?;
        let expression: Option<String> = row.cell(6)?;
        column.neutral = expression.as_deref().and_then(|text| SYNTAX.read(text));
        match row.cell::<&str>(7)? {
            "" => column.default = expression,
            kind => {
                column.generated =
                    Some(Generated { expression: expression.unwrap_or_default(), stored: kind == "s" });
            }
        }
        column.identity = match row.cell::<&str>(8)? {
            "a" => Some(IdentityColumn::Always),
            "d" => Some(IdentityColumn::ByDefault),
            _ => None,
        };
        column.collation = row.cell(9)?;
        column.comment = row.cell(10)?;
        column.equality = equality(row.cell(11)?, types.base_name(own));
        column.domain = types.domain(own);
        columns.entry(row.cell(0)?).or_default().push(column);
    }
    Ok(columns)
}

/// When two texts are equal. A nondeterministic collation may fold anything;
/// blanks behind a `char(n)` are its padding.
fn equality(deterministic: bool, type_name: &str) -> Equality {
    Equality {
        ignores_case: !deterministic || type_name == "citext",
        ignores_accents: !deterministic,
        ignores_trailing_blanks: type_name == "bpchar",
    }
}
