//! Counts and digests of whole tables, by the canonical form alone, so that
//! they are the same wherever the rows are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::{Stream, TryStreamExt as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::compare::images;
use super::digest::Sum;
use super::rows::{Columns, Side};
use super::sides::Sides;
use super::unit::Unit;
use crate::Result;
use crate::change::{Batch, Budget};
use crate::connect::{Reader, Verify};
use crate::migrate::certificate::TableEvidence;
use crate::schema::{Table, TableName};

/// How many rows there are, and what they come to: the sum, modulo 2¹²⁸, of
/// each row's XXH3 of 128 bits over the [canonical form](crate::verify) of its
/// cells, each with its length before it in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Rows.
    pub rows: u64,
    /// The sum; 32 hexadecimal digits.
    #[serde(serialize_with = "hex", deserialize_with = "unhex")]
    pub digest: u128,
}

fn hex<S: Serializer>(digest: &u128, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{digest:032x}"))
}

fn unhex<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<u128, D::Error> {
    u128::from_str_radix(&String::deserialize(from)?, 16).map_err(de::Error::custom)
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {:032x}", self.rows, self.digest)
    }
}

impl From<Sum> for Count {
    fn from(sum: Sum) -> Self {
        Self { rows: sum.rows, digest: sum.digests }
    }
}

/// What the tables hold on both sides.
///
/// # Errors
/// When a side fails.
pub(super) async fn both(sides: &Sides, units: &[Arc<Unit>]) -> Result<BTreeMap<String, TableEvidence>> {
    let mut tables = BTreeMap::new();
    for unit in units {
        let (source, target) =
            futures::try_join!(one(sides, unit, Side::Source), one(sides, unit, Side::Target))
                .map_err(|error| error.with("table", unit.name()))?;
        let evidence = TableEvidence {
            sources: unit.sources.iter().map(|table| table.origin.name.to_string()).collect(),
            converted: unit.staged.origin.engine != unit.there.origin.engine,
            columns: unit.columns.names().map(str::to_owned).collect(),
            source,
            target,
        };
        tables.insert(unit.name(), evidence);
    }
    Ok(tables)
}

async fn one(sides: &Sides, unit: &Unit, side: Side) -> Result<Count> {
    let ranges = sides.whole(side, unit)?;
    summed(sides.rows(side, &ranges), &unit.columns, side).await
}

async fn summed(
    mut rows: impl Stream<Item = Result<Batch>> + Unpin,
    columns: &Columns,
    side: Side,
) -> Result<Count> {
    let (mut sum, mut scratch) = (Sum::default(), Vec::new());
    while let Some(batch) = rows.try_next().await? {
        for image in images(&batch) {
            sum.add(columns.whole(&image, side, &mut scratch)?);
        }
    }
    Ok(sum.into())
}

/// What one database holds of a table's columns, as it is now.
///
/// # Errors
/// `NotFound` and `Conflict` when the table or a column is not there; when the
/// server fails.
pub(crate) async fn counted_alone(
    verify: &dyn Verify,
    reader: &dyn Reader,
    name: &TableName,
    columns: &[String],
    one_engine: bool,
) -> Result<Count> {
    let table: Arc<Table> = verify.tables(std::slice::from_ref(name)).await?.remove(0);
    let columns = Columns::alone(&table, columns, one_engine)?;
    let all = reader.between(&table, None, None)?;
    let cancel = tokio_util::sync::CancellationToken::new();
    let _ends = cancel.clone().drop_guard();
    let rows = reader.read(Arc::clone(&table), all, Budget::new(8 << 20), cancel.clone()).await?;
    summed(rows, &columns, Side::Target).await
}
