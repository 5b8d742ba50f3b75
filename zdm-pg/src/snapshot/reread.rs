//! Some rows, by key.

use std::sync::Arc;

use bytes::BytesMut;
use zdm_core::change::{Batch, CellRef, Encoding as _, Format, RowRef, Xid};
use zdm_core::connect::After;
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use super::held::{Held, Keeper};
use super::order::KeyOrder;
use super::pool::Pool;
use super::range::literal;
use super::rows::{Form, Rows};
use crate::types::{PgEncoding, TEXT, text};

const ROOM: &str = "snapshot.reread";

/// Where rows are read again.
#[derive(Debug)]
pub(super) struct Rereads {
    pool: Arc<Pool>,
    held: Keeper,
}

impl Rereads {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, held: Keeper::default() }
    }

    /// Reads the rows that are there of those that the deletes in `keys`
    /// name, in a moment that has seen all of `behind`.
    pub(super) async fn reread(
        &self,
        table: &Arc<Table>,
        keys: &Batch,
        behind: &[Xid],
    ) -> Result<(Batch, After)> {
        // One at a time, and given back only whole: after an error, or
        // dropped, the moment ends with its connection.
        let mut place = self.held.place().await;
        let held = match place.take() {
            Some(held) if held.will_do(behind)? => held.enter(&self.pool, table).await?,
            _ => None,
        };
        let held = match held {
            Some(held) => held,
            None => {
                let held = Held::open(&self.pool, table, behind).await?;
                self.held.expire(&held);
                held
            }
        };
        let mut rows = Rows::new(Arc::clone(table), Form::Text);
        if keys.row_count() > 0 {
            let order = KeyOrder::of(&held.control, table).await?.ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, "rows of a table without a key cannot be read again")
            })?;
            let sql = held.copy(table, &condition(&order, table, keys)?);
            let mut copy = held.control.copied_rows(&sql, ROOM).await?;
            while let Some(row) = copy.next(ROOM).await? {
                rows.push(row)?;
            }
        }
        let after = held.after();
        *place = Some(held);
        Ok((rows.finish(None)?, after))
    }
}

/// The key is one of these: as an EXISTS, so that a key which is named twice
/// gives its row once.
pub(crate) fn condition(order: &KeyOrder, table: &Table, keys: &Batch) -> Result<String> {
    let mut tuples = Vec::with_capacity(keys.row_count());
    for row in keys.rows() {
        tuples.push(tuple(order, table, row)?);
    }
    let names: Vec<_> = (0..order.columns.len()).map(|n| format!("k{n}")).collect();
    let equal: Vec<_> = order
        .columns
        .iter()
        .zip(&names)
        .map(|(column, name)| format!("t.{} {} v.{name}", column.name, column.operators.equal))
        .collect();
    Ok(format!(
        "EXISTS (SELECT FROM (VALUES {}) AS v ({}) WHERE {})",
        tuples.join(", "),
        names.join(", "),
        equal.join(" AND ")
    ))
}

fn tuple(order: &KeyOrder, table: &Table, row: RowRef<'_>) -> Result<String> {
    if row.table().columns.len() != table.columns.len() {
        return Err(Error::new(ErrorKind::Config, "the keys to read again are of another table"));
    }
    let image = row.key_image();
    let mut literals = Vec::with_capacity(order.columns.len());
    for (column, at) in order.columns.iter().zip(table.key_columns()) {
        literals.push(literal(&shown(image.cell(*at))?, column));
    }
    Ok(format!("({})", literals.join(", ")))
}

/// The text of a key cell.
pub(crate) fn shown(cell: CellRef<'_>) -> Result<String> {
    let mut out = BytesMut::new();
    match cell.raw() {
        Some((Format::Native(TEXT), bytes)) if cell.encoding().name() == PgEncoding.name() => {
            out.extend_from_slice(bytes);
        }
        Some(_) => text::write_value(&cell.value()?, &mut out)?,
        None => {
            return Err(Error::new(ErrorKind::Protocol, "a key to read again has no value")
                .with("column", &cell.column().name));
        }
    }
    String::from_utf8(out.to_vec()).map_err(|error| {
        Error::new(ErrorKind::Protocol, "a key to read again is not text")
            .with("column", &cell.column().name)
            .caused_by(error)
    })
}
