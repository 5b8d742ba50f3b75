//! What the catalog says about the relations that the log names.

use hashbrown::HashSet;
use zdm_core::Result;

use super::partitions::{Belongs, Entry, Partitions};
use crate::connect::Control;
use crate::error::OrPg;

/// Reads the partitions of the run's tables, and what else the publication
/// has. `wanted` is what the log named and we did not know.
pub(super) async fn partitions(
    control: &Control,
    publication: &str,
    tables: &[u32],
    wanted: HashSet<u32>,
) -> Result<Partitions> {
    let mut entries = Vec::new();
    let rows = control
        .query(
            "SELECT p.relid::oid, r.id, p.isleaf FROM pg_catalog.unnest($1::oid[]) AS r (id)
             CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.id::regclass) AS p",
            &[&tables],
        )
        .await
        .during("changes.partitions")?;
    for row in &rows {
        entries.push(Entry {
            relation: row.try_get(0).during("changes.partitions")?,
            belongs: Belongs::To(row.try_get(1).during("changes.partitions")?),
            leaf: row.try_get(2).during("changes.partitions")?,
        });
    }
    if !wanted.is_empty() {
        let ids: Vec<u32> = wanted.iter().copied().collect();
        let rows = control
            .query(
                "SELECT c.oid FROM pg_catalog.pg_publication_tables t
                 JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname
                 JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
                 WHERE t.pubname = $1 AND c.oid = ANY ($2)",
                &[&publication, &ids],
            )
            .await
            .during("changes.partitions")?;
        for row in &rows {
            let relation = row.try_get(0).during("changes.partitions")?;
            let ours = tables.contains(&relation) || entries.iter().any(|entry| entry.relation == relation);
            if !ours {
                entries.push(Entry { relation, belongs: Belongs::Elsewhere, leaf: false });
            }
        }
    }
    Ok(Partitions::new(entries, wanted))
}

/// The number that the next transaction will get, in 64 bits.
pub(super) async fn next_transaction(control: &Control) -> Result<u64> {
    let row = control
        .query_one("SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())", &[])
        .await
        .during("changes.open")?;
    let next: i64 = row.try_get(0).during("changes.open")?;
    Ok(next.unsigned_abs())
}
