//! The division of a table, by quantiles of its key that the server computes.

use zdm_core::connect::{ChunkPlan, ChunkSize};
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use super::order::KeyOrder;
use super::pool::Pool;
use super::range::Range;
use crate::connect::Control;
use crate::connect::quote::quote_table;
use crate::error::OrPg;

/// Most chunks of one table; a larger table has larger chunks.
const CHUNKS: u64 = 65_536;
/// Tables below this many bytes are read whole for their quantiles, which an
/// index-only scan mostly does.
const WHOLE: u64 = 256 << 20;
/// Blocks of a larger one that are looked at for each chunk.
const BLOCKS: f64 = 32.0;

/// Divides a table.
pub(super) async fn plan(pool: &Pool, table: &Table, size: ChunkSize) -> Result<ChunkPlan> {
    let (edges, extent) = edges(pool, table, size).await?;
    let bounds = Range::between(edges).into_iter().map(Into::into).collect();
    Ok(ChunkPlan { bounds, rows: extent.rows, bytes: extent.bytes })
}

/// The keys that divide it, as the server writes them.
pub(crate) async fn edges(pool: &Pool, table: &Table, size: ChunkSize) -> Result<(Vec<Vec<String>>, Extent)> {
    let control = pool.take().await?;
    let extent = Extent::of(&control, table).await?;
    let chunks = extent.bytes.div_ceil(size.bytes.max(1)).clamp(1, CHUNKS);
    let edges = match KeyOrder::of(&control, table).await? {
        Some(order) if chunks > 1 => quantiles(&control, table, &order, &extent, chunks).await?,
        _ => Vec::new(),
    };
    pool.give(control);
    Ok((edges, extent))
}

/// How large a table is, with its partitions.
pub(crate) struct Extent {
    rows: u64,
    /// With what is stored out of line.
    bytes: u64,
    /// Of the blocks that rows lie in.
    blocks: f64,
    partitioned: bool,
}

const EXTENT: &str = "
SELECT sum(greatest(l.reltuples, 0))::float8, sum(pg_table_size(l.oid))::int8,
       sum(pg_relation_size(l.oid) / current_setting('block_size')::int8)::float8,
       bool_or(l.oid = $1 AND l.relkind = 'p')
  FROM pg_class l
 WHERE l.oid = $1 OR l.oid IN (SELECT relid FROM pg_partition_tree($1))
HAVING bool_or(l.oid = $1)";

impl Extent {
    async fn of(control: &Control, table: &Table) -> Result<Self> {
        let row = control.query_opt(EXTENT, &[&table.origin.id]).await.during("snapshot.plan")?;
        let row = row.ok_or_else(|| {
            Error::new(ErrorKind::SchemaChanged, "the table was dropped: start the run anew, or exclude it")
        })?;
        let bytes: Option<i64> = row.try_get(1).during("snapshot.plan")?;
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        let tuples = row.try_get::<_, Option<f64>>(0).during("snapshot.plan")?.unwrap_or(0.0);
        // OK because a float saturates when it is cast, and it is an estimate.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rows = if tuples >= 1.0 { tuples as u64 } else { bytes / 100 };
        Ok(Self { rows, bytes, blocks: row.get::<_, Option<f64>>(2).unwrap_or(0.0), partitioned: row.get(3) })
    }
}

/// The keys that divide the table into as many parts, in order.
async fn quantiles(
    control: &Control,
    table: &Table,
    order: &KeyOrder,
    extent: &Extent,
    chunks: u64,
) -> Result<Vec<Vec<String>>> {
    let names = || (0..order.columns.len()).map(|n| format!("k{n}"));
    let keys: Vec<_> = order.columns.iter().zip(names()).map(|(c, k)| format!("{} AS {k}", c.name)).collect();
    // By the type's own output function: a cast to text is another thing for
    // some types.
    let shown: Vec<_> = names().map(|k| format!("format('%s', {k})")).collect();
    let sql = format!(
        "SELECT {shown} FROM (
           SELECT *, row_number() OVER (ORDER BY {by}) AS place, count(*) OVER () AS total
             FROM (SELECT {keys} FROM {only}{table}{sample}) AS sample
         ) AS placed
         WHERE place < total AND (place * {chunks}) / total <> ((place - 1) * {chunks}) / total
         ORDER BY place",
        shown = shown.join(", "),
        by = order.by(names()),
        keys = keys.join(", "),
        only = if extent.partitioned { "" } else { "ONLY " },
        table = quote_table(&table.origin.name.schema, &table.origin.name.name),
        sample = sample(extent, chunks),
    );
    let rows = control.query(&sql, &[]).await.during("snapshot.plan")?;
    let key = |row: &tokio_postgres::Row| {
        (0..order.columns.len()).map(|n| row.try_get(n)).collect::<Result<Vec<String>, _>>()
    };
    rows.iter().map(key).collect::<Result<_, _>>().during("snapshot.plan")
}

/// Of a large table some blocks are enough.
fn sample(extent: &Extent, chunks: u64) -> String {
    // OK because there are at most 65,536 chunks.
    #[expect(clippy::cast_precision_loss)]
    let percent = 100.0 * BLOCKS * chunks as f64 / extent.blocks.max(1.0);
    if extent.bytes < WHOLE || percent >= 100.0 {
        return String::new();
    }
    format!(" TABLESAMPLE SYSTEM ({percent:.6})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_are_sampled_and_small_ones_read_whole() {
        let extent = |bytes: u64, blocks| Extent { rows: 0, bytes, blocks, partitioned: false };
        assert_eq!(sample(&extent(64 << 20, 8_192.0), 1), "");
        assert_eq!(sample(&extent(64 << 30, 8_388_608.0), 1_024), " TABLESAMPLE SYSTEM (0.390625)");
        // Nearly all of it is stored out of line: the few blocks are all read.
        assert_eq!(sample(&extent(64 << 30, 1_000.0), 1_024), "");
    }
}
