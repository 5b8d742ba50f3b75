//! How tables are divided into parts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::compare::Part;
use super::rows::{KeyValues, Side};
use super::sides::{Ranges, Sides};
use super::unit::Unit;
use crate::change::{Batch, BatchBuilder, Field, Op};
use crate::connect::{ChunkSize, Reader};
use crate::schema::Table;
use crate::{ErrorKind, Result};

/// The keys at which a table is divided, as values: they outlive the process
/// that has chosen them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Division {
    /// For each table of the source the edges of its ranges.
    source: Vec<Vec<KeyValues>>,
    /// Those of the target.
    target: Vec<KeyValues>,
    /// Whether the ranges of both belong to each other, one to one; else all
    /// of one side belong to all of the other.
    together: bool,
}

impl Division {
    /// Divides the tables of a unit.
    ///
    /// # Errors
    /// When a side fails.
    pub(super) async fn of(sides: &Sides, unit: &Unit, size: ChunkSize) -> Result<Self> {
        let mut source = Vec::with_capacity(unit.sources.len());
        for table in &unit.sources {
            let edges = sides.source.divide(table, size).await?;
            if unit.ordered
                && let Some(target) = across(sides, unit, edges.clone())?
            {
                return Ok(Self { source: vec![keys(&edges)?], target, together: true });
            }
            source.push(keys(&edges)?);
        }
        let target = keys(&sides.target.divide(&unit.there, size).await?)?;
        Ok(Self { source, target, together: false })
    }

    /// The parts, in an order that is always the same.
    ///
    /// # Errors
    /// `Unsupported` where a server cannot be given such a key as a bound.
    pub(super) fn parts(&self, sides: &Sides, unit: &Unit) -> Result<Vec<Part>> {
        let mut source: Vec<Ranges> = Vec::new();
        for (table, edges) in unit.sources.iter().zip(&self.source) {
            source.push(ranges(&*sides.source, table, edges)?);
        }
        let target = ranges(&*sides.target, &unit.there, &self.target)?;
        let rows = unit.sources.iter().map(|table| table.estimated_rows).sum::<u64>();
        let rows = rows.max(unit.there.estimated_rows);
        if !self.together {
            return Ok(vec![Part { source: source.into_iter().flatten().collect(), target, rows }]);
        }
        let each = rows / (target.len() as u64).max(1);
        let source = source.into_iter().flatten();
        let pairs = source.zip(target).map(|(source, target)| (vec![source], vec![target]));
        Ok(pairs.map(|(source, target)| Part { source, target, rows: each }).collect())
    }
}

/// The ranges between edges: one more than there are edges.
fn ranges(reader: &dyn Reader, table: &Arc<Table>, edges: &[KeyValues]) -> Result<Ranges> {
    let mut bounds = Vec::with_capacity(edges.len());
    for edge in edges {
        let mut fields = vec![Field::Unchanged; table.columns.len()];
        for (at, value) in table.key_columns().iter().zip(edge) {
            fields[*at] = Field::Value(value.clone());
        }
        let mut batch = BatchBuilder::new();
        batch.delete(table, fields)?;
        bounds.push(batch.finish());
    }
    let above = std::iter::once(None).chain(bounds.iter().map(Some));
    let upto = bounds.iter().map(Some).chain(std::iter::once(None));
    above
        .zip(upto)
        .map(|(above, upto)| Ok((Arc::clone(table), reader.between(table, above, upto)?)))
        .collect()
}

/// The keys that edges of the source are at the target; `None` where a stage
/// drops one, or cannot tell, or the target cannot be asked for such a range.
fn across(sides: &Sides, unit: &Unit, edges: Batch) -> Result<Option<Vec<KeyValues>>> {
    let count = edges.row_count();
    let staged = match sides.staged(Side::Source, edges) {
        Ok(staged) => staged,
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Rejected) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let staged = keys(&staged)?;
    if staged.len() != count {
        return Ok(None);
    }
    match ranges(&*sides.target, &unit.there, &staged) {
        Ok(_) => Ok(Some(staged)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}

/// The key of each delete of a batch.
fn keys(batch: &Batch) -> Result<Vec<KeyValues>> {
    let deletes = batch.rows().filter(|row| row.op() == Op::Delete);
    deletes
        .map(|row| {
            let (image, key) = (row.key_image(), row.table().key_columns());
            key.iter().map(|at| Ok(image.cell(*at).value()?.into_owned())).collect()
        })
        .collect()
}
