//! The tables behind a schema's names, partitions included.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Oid;
use zdm_core::schema::Schema;
use zdm_core::{Error, ErrorKind, Result};

use crate::connect::quote::quote_table;
use crate::error::OrPg;

/// A table that holds rows, or the root of some that do.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) oid: Oid,
    /// Quoted.
    pub(super) name: String,
    /// The arguments of the seal that is on it: run, seal and reason; none of
    /// them if it does not fire for everybody.
    pub(super) seal: Option<Vec<String>>,
}

/// A write to a leaf of its own fires no statement trigger of the root and
/// takes no lock there: each partition is a table of its own here.
const TREE: &str = r"
WITH RECURSIVE tree AS (
  SELECT pg_catalog.to_regclass(name)::oid AS oid FROM unnest($1::text[]) AS name
  UNION
  SELECT i.inhrelid
    FROM tree
    JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT c.oid, n.nspname::text, c.relname::text, t.tgargs, coalesce(t.tgenabled = 'A', false)
  FROM tree
  JOIN pg_catalog.pg_class c ON c.oid = tree.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND t.tgname = $2
 WHERE c.relkind IN ('r', 'p')
 ORDER BY c.oid";

const MISSING: &str =
    "SELECT name FROM unnest($1::text[]) AS name WHERE pg_catalog.to_regclass(name) IS NULL LIMIT 1";

/// The tables by their oid, which is the order in which they are locked.
pub(super) async fn find<C: GenericClient + Sync>(session: &C, schema: &Schema) -> Result<Vec<Found>> {
    let names: Vec<String> =
        schema.tables.iter().map(|t| quote_table(&t.name.schema, &t.name.name)).collect();
    if let Some(row) = session.query_opt(MISSING, &[&names]).await.during("fence.tables")? {
        let name: String = row.try_get(0).during("fence.tables")?;
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("the table {name} is not there: it was dropped or renamed, start the run again"),
        )
        .during("fence.tables"));
    }
    let rows = session.query(TREE, &[&names, &crate::schema::SEAL_TRIGGER]).await.during("fence.tables")?;
    rows.iter()
        .map(|row| {
            let args: Option<Vec<u8>> = row.try_get(3)?;
            let always: bool = row.try_get(4)?;
            let (schema, name): (&str, &str) = (row.try_get(1)?, row.try_get(2)?);
            Ok(Found {
                oid: row.try_get(0)?,
                name: quote_table(schema, name),
                seal: args.map(|args| if always { arguments(&args) } else { Vec::new() }),
            })
        })
        .collect::<Result<_, tokio_postgres::Error>>()
        .during("fence.tables")
}

/// `tgargs`: each argument with a zero byte behind it.
fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    bytes.split(|b| *b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_end_in_zero_bytes() {
        assert_eq!(arguments(b"main\0" as &[u8]), ["main"]);
        assert_eq!(arguments(b"main\0\0why\0" as &[u8]), ["main", "", "why"]);
    }
}
