//! A fingerprint of a table's shape, cheap enough to ask for at every chunk.
//!
//! It covers each column's number, name and type, what tells of an
//! `ALTER COLUMN … TYPE … USING` that keeps the type and changes the values
//! (it writes no row to the log), and the partitions that were attached.
//!
//! * Of such an ALTER tells the transaction that wrote the column's catalog
//!   row last; of a column with a default the default's own number, since the
//!   ALTER makes that anew. VACUUM FULL writes the row of a column that was
//!   added with a default, and makes no default anew.
//! * The file node is not there, since VACUUM FULL, CLUSTER and TRUNCATE change
//!   it and no shape.
//! * A partition that was made as one is not there: it was empty, its rows are
//!   in the log, and new ones are routine. One that was attached brought rows
//!   that are in no log. Its own columns tell: attaching writes their catalog
//!   rows anew, and never that of its system columns.
//! * A partition whose rows are in no log is there, however it came: one that
//!   is not logged or is on a foreign server. The server lets both into a
//!   published table without a word.
//!
//! A false alarm remains, and is safe: a changed default or storage mode
//! writes a catalog row too, and so does VACUUM FULL where the default of a
//! column that was added with one has been dropped. That a partition that was
//! made as one is *detached* shows only while the run has it in its schema.

use std::collections::HashMap;

use tokio_postgres::GenericClient;
use tokio_postgres::types::Oid;
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use crate::error::OrPg;
use crate::schema::Cells;

/// The raw `xmin` and `cmin` stay when a catalog row is frozen (since 9.4), also
/// when the catalog is rewritten.
const FINGERPRINTS: &str = "
SELECT r.oid,
       to_hex(hashtextextended(
         coalesce((SELECT string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,
                                               coalesce('d' || d.oid, a.xmin::text)),
                            ',' ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a
            LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped), '') COLLATE \"C\"
         || coalesce((SELECT string_agg(p.relid::oid::text, ',' ORDER BY p.relid::oid)
                        FROM pg_catalog.pg_partition_tree(r.oid) p
                        JOIN pg_catalog.pg_class l ON l.oid = p.relid
                       WHERE c.relkind = 'p' AND p.level > 0
                         AND (l.relpersistence <> 'p' OR l.relkind = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_attribute own, pg_catalog.pg_attribute system
                                      WHERE own.attrelid = p.relid AND own.attnum > 0 AND NOT own.attisdropped
                                        AND system.attrelid = p.relid AND system.attnum = -6
                                        AND (own.xmin <> system.xmin OR own.cmin::text <> system.cmin::text)))), ''), 0))
  FROM unnest($1::oid[]) r(oid)
  JOIN pg_catalog.pg_class c ON c.oid = r.oid";

/// Whether every partition that the table was described with still belongs to it.
///
/// # Errors
///
/// When the server cannot be asked.
pub(crate) async fn has_its_partitions(client: &(impl GenericClient + Sync), table: &Table) -> Result<bool> {
    if table.partitions.is_empty() {
        return Ok(true);
    }
    let (spaces, names): (Vec<&str>, Vec<&str>) =
        table.partitions.iter().map(|p| (p.name.schema.as_str(), p.name.name.as_str())).unzip();
    let sql = "
        SELECT count(*) FROM pg_catalog.pg_partition_tree($1::oid::regclass) p
          JOIN pg_catalog.pg_class c ON c.oid = p.relid
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          JOIN unnest($2::text[], $3::text[]) w(nsp, rel) ON w.nsp = n.nspname AND w.rel = c.relname";
    let row =
        client.query_one(sql, &[&table.origin.id, &spaces, &names]).await.during("schema.fingerprint")?;
    Ok(usize::try_from(row.cell::<i64>(0)?) == Ok(names.len()))
}

/// The fingerprint of the table with that oid, as [`describe`](super::describe)
/// keeps it in [`Origin::fingerprint`](zdm_core::schema::Origin).
///
/// # Errors
///
/// `SchemaChanged` when the table is gone.
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
