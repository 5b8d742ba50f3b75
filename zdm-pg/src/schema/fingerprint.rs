//! A fingerprint of a table's shape, cheap enough to ask for at every chunk.
//!
//! It covers each column's number, name, type and the transaction that wrote
//! its catalog row last, and the partitions. That transaction is there for an
//! `ALTER COLUMN … TYPE … USING` that keeps the type and changes the values:
//! it writes no row to the log. The file node is not there, since VACUUM FULL,
//! CLUSTER and TRUNCATE change it and no shape. A false alarm remains, and is
//! safe: a changed default or storage mode writes a column's catalog row too.

use std::collections::HashMap;

use tokio_postgres::GenericClient;
use tokio_postgres::types::Oid;
use zdm_core::{Error, ErrorKind, Result};

use crate::error::OrPg;
use crate::schema::Cells;

/// The raw `xmin` stays when a catalog row is frozen (since 9.4), also when
/// the catalog is rewritten.
const FINGERPRINTS: &str = "
SELECT r.oid,
       to_hex(hashtextextended(
         coalesce((SELECT string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.xmin),
                            ',' ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped), '') COLLATE \"C\"
         || coalesce((SELECT string_agg(p.relid::oid::text, ',' ORDER BY p.relid::oid)
                        FROM pg_catalog.pg_partition_tree(r.oid) p
                       WHERE c.relkind = 'p'), ''), 0))
  FROM unnest($1::oid[]) r(oid)
  JOIN pg_catalog.pg_class c ON c.oid = r.oid";

/// The fingerprint of the table with that oid, as [`describe`](super::describe)
/// keeps it in [`Origin::fingerprint`](zdm_core::schema::Origin).
///
/// # Errors
///
/// `SchemaChanged` when the table is gone.
#[allow(dead_code, reason = "the snapshot, which asks for it at each chunk, is being built")]
pub(crate) async fn fingerprint(client: &(impl GenericClient + Sync), oid: Oid) -> Result<String> {
    fingerprints(client, &[oid]).await?.remove(&oid).ok_or_else(|| {
        Error::new(ErrorKind::SchemaChanged, "a table of this run was dropped: start the run anew")
            .with("oid", oid)
            .during("schema.fingerprint")
    })
}

/// The fingerprints of those of the tables that are there.
pub(super) async fn fingerprints(
    client: &(impl GenericClient + Sync),
    tables: &[Oid],
) -> Result<HashMap<Oid, String>> {
    let rows = client.query(FINGERPRINTS, &[&tables]).await.during("schema.fingerprint")?;
    rows.iter().map(|row| Ok((row.cell(0)?, row.cell(1)?))).collect()
}
