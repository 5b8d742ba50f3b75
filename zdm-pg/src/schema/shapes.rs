//! The shapes of tables, in three queries of the catalog.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::types::Oid;
use zdm_core::Result;
use zdm_core::schema::{Selection, Shape, TableName};

use super::fingerprint::fingerprints;
use super::relations::MOVED;
use crate::config::PgConfig;
use crate::connect::Control;
use crate::error::OrPg;
use crate::schema::Cells;

/// Those that [`describe`](super::describe) gives partitions of.
const PARTITIONS: &str = "
SELECT r.root, array_agg(c.oid)
  FROM unnest($1::oid[]) r(root),
       LATERAL pg_catalog.pg_partition_tree(r.root) t
  JOIN pg_catalog.pg_class c ON c.oid = t.relid
 WHERE t.level > 0 AND c.relkind IN ('r', 'p')
 GROUP BY r.root";

/// The shapes of the selected tables, by name.
///
/// # Errors
///
/// When the server cannot be reached or asked.
pub(crate) async fn shapes(config: &PgConfig, selection: &Selection) -> Result<BTreeMap<TableName, Shape>> {
    let during = "schema.shapes";
    let mut control = Control::connect(config, "shapes").await?;
    // One moment for all three.
    let tx = control
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .during(during)?;
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace {MOVED}"
    );
    let mut tables: Vec<(Oid, TableName)> = Vec::new();
    for row in tx.query(&sql, &[&config.schema()]).await.during(during)? {
        let name = TableName::new(row.cell::<&str>(1)?, row.cell::<&str>(2)?);
        if selection.matches(&name) {
            tables.push((row.cell(0)?, name));
        }
    }
    let oids: Vec<Oid> = tables.iter().map(|(oid, _)| *oid).collect();
    let mut prints = fingerprints(&tx, &oids).await?;
    let mut parts: HashMap<Oid, BTreeSet<u32>> = HashMap::new();
    for row in tx.query(PARTITIONS, &[&oids]).await.during(during)? {
        parts.insert(row.cell(0)?, row.cell::<Vec<Oid>>(1)?.into_iter().collect());
    }
    tx.commit().await.during(during)?;
    Ok(tables
        .into_iter()
        .map(|(oid, name)| {
            let fingerprint = prints.remove(&oid).unwrap_or_default();
            (name, Shape { fingerprint, partitions: parts.remove(&oid).unwrap_or_default() })
        })
        .collect())
}
