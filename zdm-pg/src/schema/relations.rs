//! The tables themselves: which there are, how large, how parted.

use std::collections::HashMap;

use tokio_postgres::Transaction;
use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{Partition, Selection, TableName};

use crate::connect::quote::{quote_ident, quote_table};
use crate::error::OrPg;
use crate::schema::Cells;

/// A table of the catalog that a run moves.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) oid: Oid,
    pub(super) name: TableName,
    /// `pg_class.relreplident`: `d`, `i`, `f` or `n`.
    pub(super) identity: String,
    pub(super) comment: Option<String>,
    pub(super) options: Option<String>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Of `pg_class c` and `pg_namespace n`: ordinary and partitioned tables,
/// without partitions, temporary tables, the system's, ours (`$1`) and those
/// that belong to an extension.
pub(super) const MOVED: &str = "
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', $1)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND d.objid = c.oid AND d.deptype = 'e')";

/// The tables that [`MOVED`] leaves.
const RELATIONS: &str = "
SELECT c.oid, n.nspname, c.relname, c.relreplident::text,
       pg_catalog.obj_description(c.oid, 'pg_class'),
       pg_catalog.pg_get_partkeydef(c.oid),
       c.reloptions,
       coalesce(size.rows, 0)::float8, coalesce(size.bytes, 0)::int8
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
  LATERAL (
       SELECT sum(greatest(l.reltuples, 0)) AS rows, sum(pg_catalog.pg_table_size(l.oid)) AS bytes
         FROM pg_catalog.pg_class l
        WHERE l.relkind IN ('r', 'p')
          AND l.oid IN (SELECT c.oid UNION ALL
                        SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p WHERE c.relkind = 'p')
  ) size";

/// Reads the selected tables, in the order of their names.
pub(super) async fn read(tx: &Transaction<'_>, ours: &str, selection: &Selection) -> Result<Vec<Relation>> {
    let rows = tx.query(&format!("{RELATIONS}{MOVED}"), &[&ours]).await.during("schema.relations")?;
    let mut relations = Vec::with_capacity(rows.len());
    for row in rows {
        let name = TableName::new(row.cell::<&str>(1)?, row.cell::<&str>(2)?);
        if !selection.matches(&name) {
            continue;
        }
        let bytes = u64::try_from(row.cell::<i64>(8)?).unwrap_or(0);
        relations.push(Relation {
            oid: row.cell(0)?,
            name,
            identity: row.cell(3)?,
            comment: row.cell(4)?,
            options: options(row.cell(5)?, row.cell(6)?),
            rows: estimate(row.cell(7)?, bytes),
            bytes,
        });
    }
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(relations)
}

/// What follows the column list of a CREATE TABLE.
fn options(partition_key: Option<String>, storage: Option<Vec<String>>) -> Option<String> {
    if let Some(key) = partition_key {
        return Some(format!("PARTITION BY {key}"));
    }
    let storage = storage?;
    let list: Vec<_> = storage
        .iter()
        .filter_map(|option| option.split_once('='))
        .map(|(name, value)| {
            format!("{} = {}", quote_ident(name), crate::connect::quote::quote_literal(value))
        })
        .collect();
    (!list.is_empty()).then(|| format!("WITH ({})", list.join(", ")))
}

/// A table that was never analysed is guessed at a hundred bytes a row.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn estimate(tuples: f64, bytes: u64) -> u64 {
    // OK because a float saturates when it is cast, and this is an estimate.
    if tuples >= 1.0 { tuples as u64 } else { bytes / 100 }
}

/// Every table below a partitioned one. Checks of the partition alone stand
/// in its own statement; foreign tables hold no rows of ours.
const PARTITIONS: &str = "
SELECT r.root, c.oid, n.nspname, c.relname, c.relkind = 'r',
       pn.nspname, p.relname,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid),
       pg_catalog.pg_get_partkeydef(c.oid),
       (SELECT string_agg(format('CONSTRAINT %I %s', k.conname, pg_catalog.pg_get_constraintdef(k.oid)), ', '
                          ORDER BY k.conname)
          FROM pg_catalog.pg_constraint k
         WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.coninhcount = 0),
       c.reloptions
  FROM unnest($1::oid[]) r(root),
       LATERAL pg_catalog.pg_partition_tree(r.root) t
  JOIN pg_catalog.pg_class c ON c.oid = t.relid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid = t.parentrelid
  JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 WHERE t.level > 0 AND c.relkind IN ('r', 'p')
 ORDER BY r.root, t.level, n.nspname, c.relname";

/// A partition and its oid.
pub(super) type Part = (Oid, Partition);

/// Reads the partitions of each root, parents first.
pub(super) async fn partitions(tx: &Transaction<'_>, roots: &[Oid]) -> Result<HashMap<Oid, Vec<Part>>> {
    let mut parts: HashMap<Oid, Vec<Part>> = HashMap::new();
    for row in tx.query(PARTITIONS, &[&roots]).await.during("schema.partitions")? {
        let name = TableName::new(row.cell::<&str>(2)?, row.cell::<&str>(3)?);
        let checks = row.cell::<Option<String>>(9)?.map_or_else(String::new, |checks| format!(" ({checks})"));
        let more = options(row.cell(8)?, row.cell(10)?).map_or_else(String::new, |more| format!(" {more}"));
        let definition = format!(
            "CREATE TABLE {} PARTITION OF {}{checks} {}{more}",
            quote_table(&name.schema, &name.name),
            quote_table(row.cell(5)?, row.cell(6)?),
            row.cell::<&str>(7)?,
        );
        parts
            .entry(row.cell(0)?)
            .or_default()
            .push((row.cell(1)?, Partition { name, id: row.cell(1)?, leaf: row.cell(4)?, definition }));
    }
    Ok(parts)
}
