//! The sequences that number columns, and those that stand alone.

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{Selection, Sequence, SequenceRange, TableName};

use crate::connect::quote::quote_table;
use crate::error::OrPg;
use crate::schema::Cells;

/// Sequences that are no column's and no extension's, and that the user may
/// read: what a cutover needs.
const ALONE: &str = "
SELECT c.oid, n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', $1)
   AND CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') END
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                      AND d.deptype IN ('a', 'i', 'e'))";

/// Owned by a column (`a` serial, `i` identity), named by a default, or alone
/// (`$2`). One that several columns use comes once, with its owner if it has
/// one.
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
         WHERE def.adrelid = ANY($1::oid[])
        UNION ALL
        SELECT alone, NULL, NULL, false FROM unnest($2::oid[]) alone) u
  JOIN pg_catalog.pg_class c ON c.oid = u.seq AND c.relkind = 'S'
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class t ON t.oid = u.rel
  LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = u.rel AND a.attnum = u.att
 ORDER BY n.nspname, c.relname, u.rel IS NULL";

/// Reads the sequences of the tables, and those that are selected by their own
/// names; `ours` is the schema of our own objects.
pub(super) async fn read(
    tx: &Transaction<'_>,
    tables: &[Oid],
    ours: &str,
    selection: &Selection,
) -> Result<Vec<Sequence>> {
    let mut alone: Vec<Oid> = Vec::new();
    for row in tx.query(ALONE, &[&ours]).await.during("schema.sequences")? {
        if selection.matches(&TableName::new(row.cell::<&str>(1)?, row.cell::<&str>(2)?)) {
            alone.push(row.cell(0)?);
        }
    }
    let rows = tx.query(SEQUENCES, &[&tables, &alone]).await.during("schema.sequences")?;
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
            let increment: i64 = row.cell(8)?;
            let range = SequenceRange {
                start: row.cell(7)?,
                least: row.cell(9)?,
                most: row.cell(10)?,
                cache: row.cell(11)?,
                cycle: row.cell(12)?,
            };
            let options = options(increment, &range);
            let definition = if identity {
                format!("SEQUENCE NAME {quoted} {options}")
            } else {
                format!("CREATE SEQUENCE {quoted} AS {} {options}", row.cell::<&str>(6)?)
            };
            let range = owner.is_none().then_some(range);
            Ok(Sequence { name, origin: None, increment, owner, identity, range, definition })
        })
        .collect::<Result<Vec<_>>>()?;
    sequences.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sequences)
}

/// The options of a sequence, as PostgreSQL takes them.
pub(in crate::schema) fn options(increment: i64, range: &SequenceRange) -> String {
    let SequenceRange { start, least, most, cache, cycle } = range;
    format!(
        "START WITH {start} INCREMENT BY {increment} MINVALUE {least} MAXVALUE {most} CACHE {cache}{}",
        if *cycle { " CYCLE" } else { "" },
    )
}
