//! The sequences that number columns.

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{Sequence, TableName};

use crate::connect::quote::quote_table;
use crate::error::OrPg;
use crate::schema::Cells;

/// Owned by a column (`a` serial, `i` identity), or named by a default. One
/// that several columns use comes once, with its owner if it has one.
const SEQUENCES: &str = "
SELECT DISTINCT ON (n.nspname, c.relname)
       n.nspname, c.relname, tn.nspname, t.relname, a.attname, u.identity,
       pg_catalog.format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
       s.seqcache, s.seqcycle
  FROM (SELECT d.objid AS seq, d.refobjid AS rel, d.refobjsubid AS att, d.deptype = 'i' AS identity
          FROM pg_catalog.pg_depend d
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
           AND d.refobjid = ANY($1::oid[]) AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
        UNION ALL
        SELECT d.refobjid, NULL, NULL, false
          FROM pg_catalog.pg_attrdef def
          JOIN pg_catalog.pg_depend d
            ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = def.oid
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
         WHERE def.adrelid = ANY($1::oid[])) u
  JOIN pg_catalog.pg_class c ON c.oid = u.seq AND c.relkind = 'S'
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class t ON t.oid = u.rel
  LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = u.rel AND a.attnum = u.att
 ORDER BY n.nspname, c.relname, u.rel IS NULL";

/// Reads the sequences of the tables.
pub(super) async fn read(tx: &Transaction<'_>, tables: &[Oid]) -> Result<Vec<Sequence>> {
    let rows = tx.query(SEQUENCES, &[&tables]).await.during("schema.sequences")?;
    let mut sequences = rows
        .iter()
        .map(|row| {
            let name = TableName::new(row.cell::<&str>(0)?, row.cell::<&str>(1)?);
            let owner = match (row.cell::<Option<&str>>(2)?, row.cell::<Option<&str>>(3)?, row.cell(4)?) {
                (Some(schema), Some(table), Some(column)) => Some((TableName::new(schema, table), column)),
                _ => None,
            };
            let identity: bool = row.cell(5)?;
            let quoted = quote_table(&name.schema, &name.name);
            let options = format!(
                "START WITH {} INCREMENT BY {} MINVALUE {} MAXVALUE {} CACHE {}{}",
                row.cell::<i64>(7)?,
                row.cell::<i64>(8)?,
                row.cell::<i64>(9)?,
                row.cell::<i64>(10)?,
                row.cell::<i64>(11)?,
                if row.cell(12)? { " CYCLE" } else { "" },
            );
            let definition = if identity {
                format!("SEQUENCE NAME {quoted} {options}")
            } else {
                format!("CREATE SEQUENCE {quoted} AS {} {options}", row.cell::<&str>(6)?)
            };
            Ok(Sequence { name, origin: None, increment: row.cell(8)?, owner, identity, definition })
        })
        .collect::<Result<Vec<_>>>()?;
    sequences.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sequences)
}
