//! The division of a table: where it is keyed by one whole number, by its index
//! alone ([`split`]); else its key is walked in the server, from one bound to
//! the next, so many rows apart.

use mysql_async::prelude::Queryable;
use zdm_core::Result;
use zdm_core::connect::{ChunkPlan, ChunkSize};
use zdm_core::schema::Table;

use super::key::{KeyColumn, key_columns};
use super::range::Range;
use super::session::{Pool, Session};
use super::split;
use crate::connect::Control;
use crate::connect::quote::{quote_ident, quote_literal, quote_table};
use crate::error::OrMy;
use crate::schema::Cells;

/// Most chunks of one table; a larger table has larger chunks.
const CHUNKS: u64 = 65_536;
/// Below this many bytes the statistics may still be those of an empty table.
const SURE: u64 = 16 << 20;
/// Rows whose length is looked at then.
const SAMPLE: u64 = 1_000;
/// What InnoDB adds to a row: its header, and two hidden columns.
/// <https://dev.mysql.com/doc/refman/en/innodb-row-format.html>
const OVERHEAD: u64 = 20;

/// Divides a table.
pub(crate) async fn plan(pool: &Pool, table: &Table, size: ChunkSize) -> Result<ChunkPlan> {
    let mut control = Control::connect(pool.config(), "plan").await?;
    let extent = Extent::of(&mut control, table).await?;
    let Some(key) = key_columns(table)? else {
        let bounds = vec![Range::default().into()];
        return Ok(ChunkPlan { bounds, rows: extent.rows, bytes: extent.bytes });
    };
    let chunk = extent.part(size);
    let split = match split::number(table) {
        Some(number) => split::bounds(&mut control, table, number, chunk, extent.rows).await?,
        None => None,
    };
    let bounds = match split {
        Some(bounds) => bounds,
        None => {
            // By a session whose answers are in no character set: keys are
            // shown as ASCII, and compared in the session's that will read
            // them.
            let mut session = pool.take().await?;
            let bounds = walk(&mut session, table, &key, chunk).await?;
            pool.give(session);
            bounds
        }
    };
    let rows = extent.rows.max(chunk.saturating_mul(u64::try_from(bounds.len()).unwrap_or(0)));
    let bytes = extent.bytes.max(rows.saturating_mul(extent.row));
    Ok(ChunkPlan { bounds: Range::between(bounds).into_iter().map(Into::into).collect(), rows, bytes })
}

/// The keys that end each chunk but the last.
async fn walk(
    session: &mut Session,
    table: &Table,
    key: &[KeyColumn],
    mut chunk: u64,
) -> Result<Vec<Vec<String>>> {
    let shown: Vec<_> = key.iter().map(|column| column.shown.as_str()).collect();
    let order: Vec<_> = key.iter().map(|column| column.compared.as_str()).collect();
    let index = table.key_name.as_ref().map(|name| format!(" FORCE INDEX ({})", quote_ident(name)));
    let mut bounds: Vec<Vec<String>> = Vec::new();
    loop {
        let range = bounds.last().map_or_else(Range::default, |bound| Range::above(bound.clone()));
        let sql = format!(
            "SELECT {} FROM {} AS t{} WHERE {} ORDER BY {} LIMIT 1 OFFSET {}",
            shown.join(", "),
            quote_table(&table.origin.name.schema, &table.origin.name.name),
            index.as_deref().unwrap_or_default(),
            range.condition(key)?,
            order.join(", "),
            chunk - 1,
        );
        let rows = session.wire.query(&sql).await?;
        let Some(row) = rows.first() else { break };
        let bound = (0..key.len()).map(|at| row.text(at).map(str::to_owned)).collect::<Result<Vec<_>>>()?;
        bounds.push(bound);
        // The statistics were far off: go on in larger steps.
        if u64::try_from(bounds.len()).is_ok_and(|count| count.is_multiple_of(CHUNKS / 4)) {
            chunk = chunk.saturating_mul(4);
        }
    }
    Ok(bounds)
}

/// How large a table is.
pub(crate) struct Extent {
    rows: u64,
    /// Of the clustered index, with what is stored out of line.
    bytes: u64,
    /// Bytes of one row.
    row: u64,
}

impl Extent {
    /// Rows of a part of that size.
    pub(crate) fn part(&self, size: ChunkSize) -> u64 {
        (size.bytes / self.row.max(1)).max(self.rows.div_ceil(CHUNKS)).max(1)
    }

    /// Rows that it has, about.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) async fn of(control: &mut Control, table: &Table) -> Result<Self> {
        let name = &table.origin.name;
        let sql = format!(
            "SELECT TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES \
              WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            quote_literal(&name.schema),
            quote_literal(&name.name)
        );
        let row: Option<mysql_async::Row> = control.query_first(sql).await.during("snapshot.plan")?;
        let number = |place| -> Result<u64> {
            Ok(row.as_ref().map(|row| row.cell::<Option<u64>>(place)).transpose()?.flatten().unwrap_or(0))
        };
        let (rows, bytes) = (number(0)?, number(1)?);
        if rows > 0 && bytes >= SURE {
            return Ok(Self { rows, bytes, row: (bytes / rows).max(1) });
        }
        let row = sample(control, table).await?;
        Ok(Self { rows, bytes, row })
    }
}

/// The length of a row, by some.
async fn sample(control: &mut Control, table: &Table) -> Result<u64> {
    let names: Vec<_> =
        table.columns.iter().filter(|c| c.is_written()).map(|c| quote_ident(&c.name)).collect();
    let lengths: Vec<_> = names.iter().map(|name| format!("IFNULL(LENGTH({name}), 0)")).collect();
    let sum = if lengths.is_empty() { "0".to_owned() } else { lengths.join(" + ") };
    let sql = format!(
        "SELECT CAST(IFNULL(AVG(length), 0) AS UNSIGNED) FROM (SELECT {sum} AS length FROM {} LIMIT {SAMPLE}) AS t",
        quote_table(&table.origin.name.schema, &table.origin.name.name)
    );
    let length: Option<u64> = control.query_first(sql).await.during("snapshot.plan")?;
    Ok(length.unwrap_or(0) + OVERHEAD)
}
