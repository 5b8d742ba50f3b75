//! What the tables of a memory database hold.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;

use super::MemoryDatabase;
use super::faults::Point;
use super::row::{Place, Row, weight};
use super::snapshot::{hex, place_of, unhex};
use super::state::Stored;
use crate::change::{Batch, BatchBuilder, Budget, Field};
use crate::connect::{Bounds, ChunkSize, Reader, Verify};
use crate::schema::{Table, TableName};
use crate::{Error, ErrorKind, Position, Result};

/// Rows of a batch.
const ROWS: usize = 256;

#[async_trait]
impl Verify for MemoryDatabase {
    async fn tables(&self, names: &[TableName]) -> Result<Vec<Arc<Table>>> {
        let state = self.lock();
        let table = |name: &TableName| {
            let stored = state.tables.get(name).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "there is no such table").with("table", name)
            })?;
            let mut table = (*stored.table).clone();
            table.estimated_rows = stored.rows.len() as u64;
            table.estimated_bytes = stored.rows.values().map(|row| weight(row)).sum();
            Ok(Arc::new(table))
        };
        names.iter().map(table).collect()
    }

    async fn reader(&self) -> Result<Arc<dyn Reader>> {
        Ok(Arc::new(MemoryReader { db: self.clone(), life: self.lock().life, kept: None }))
    }

    async fn moment(&self) -> Result<Arc<dyn Reader>> {
        self.hit(Point::Read).await?.answer(())?;
        let state = self.lock();
        Ok(Arc::new(MemoryReader { db: self.clone(), life: state.life, kept: Some(state.tables.clone()) }))
    }
}

struct MemoryReader {
    db: MemoryDatabase,
    life: u64,
    /// The tables of a moment.
    kept: Option<BTreeMap<TableName, Stored>>,
}

impl MemoryReader {
    fn select<T>(&self, table: &Table, look: impl FnOnce(&Stored) -> Result<T>) -> Result<T> {
        let state = self.db.lock();
        state.alive(self.life)?;
        let stored = self
            .kept
            .as_ref()
            .unwrap_or(&state.tables)
            .get(&table.origin.name)
            .filter(|stored| stored.table.origin.fingerprint == table.origin.fingerprint);
        look(stored.ok_or_else(|| {
            Error::new(ErrorKind::SchemaChanged, "the table was changed since it was described")
                .with("table", &table.origin.name)
        })?)
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn divide(&self, table: &Arc<Table>, size: ChunkSize) -> Result<Batch> {
        self.select(table, |stored| {
            let (mut edges, mut filled) = (BatchBuilder::new(), 0);
            for row in stored.rows.values() {
                if filled >= size.bytes.max(1) && table.has_key() {
                    edges.delete(table, key_of(table, row))?;
                    filled = 0;
                }
                filled += weight(row);
            }
            Ok(edges.finish())
        })
    }

    fn between(&self, table: &Table, above: Option<&Batch>, upto: Option<&Batch>) -> Result<Bounds> {
        let place = |key: Option<&Batch>| match key.and_then(|key| key.rows().next()) {
            Some(row) => place_of(table, row).map(|place| hex(&place)),
            None => Ok(String::new()),
        };
        Ok(Bounds(format!("{}..{}", place(above)?, place(upto)?)))
    }

    async fn read(
        &self,
        table: Arc<Table>,
        bounds: Bounds,
        budget: Budget,
        cancel: CancellationToken,
    ) -> Result<BoxStream<'static, Result<Batch>>> {
        self.db.hit(Point::Read).await?.answer(())?;
        let range = range(&bounds)?;
        let rows: Vec<Row> = self.select(&table, |stored| {
            Ok(stored.rows.iter().filter(|(p, _)| within(p, &range)).map(|(_, r)| r.clone()).collect())
        })?;
        let mut batches = Vec::new();
        for rows in rows.chunks(ROWS) {
            let mut batch = BatchBuilder::new();
            for row in rows {
                batch.insert(&table, row.iter().map(|value| Field::Value(value.clone())))?;
            }
            batches.push(batch);
        }
        let handed = stream::iter(batches).then(move |batch| {
            let (budget, cancel) = (budget.clone(), cancel.clone());
            async move {
                tokio::select! {
                    permit = budget.acquire(batch.bytes()) => Ok(batch.finish_with(permit)),
                    () = cancel.cancelled() => Err(Error::cancelled()),
                }
            }
        });
        Ok(handed.boxed())
    }

    async fn look(&self, table: &Arc<Table>, keys: &Batch) -> Result<Batch> {
        self.db.hit(Point::Reread).await?.answer(())?;
        if !table.has_key() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "rows of a table with no key are found by no key",
            ));
        }
        let mut found = BatchBuilder::new();
        self.select(table, |stored| {
            for row in keys.rows() {
                if let Some(row) = stored.rows.get(&place_of(table, row)?) {
                    found.insert(table, row.iter().map(|value| Field::Value(value.clone())))?;
                }
            }
            Ok(())
        })?;
        Ok(found.finish())
    }

    async fn here(&self) -> Result<Position> {
        let end = self.db.lock().end;
        self.db
            .until(|state| {
                state.alive(self.life)?;
                Ok((state.flushed >= end).then_some(()))
            })
            .await?;
        Ok(end.into())
    }
}

fn key_of<'r>(table: &Table, row: &'r Row) -> Vec<Field<'r>> {
    let field = |(at, value): (usize, &'r crate::change::Value<'static>)| {
        if table.key_columns().contains(&at) { Field::Value(value.clone()) } else { Field::Unchanged }
    };
    row.iter().enumerate().map(field).collect()
}

type Range = (Bound<Place>, Bound<Place>);

fn within(place: &Place, (above, upto): &Range) -> bool {
    let above = match above {
        Bound::Excluded(above) => place > above,
        _ => true,
    };
    let upto = match upto {
        Bound::Included(upto) => place <= upto,
        _ => true,
    };
    above && upto
}

fn range(bounds: &Bounds) -> Result<Range> {
    let broken = || {
        Error::new(ErrorKind::Protocol, "these bounds are not of the memory engine").with("bounds", &bounds.0)
    };
    let (above, upto) = bounds.0.split_once("..").ok_or_else(broken)?;
    let (above, upto) = (unhex(above).ok_or_else(broken)?, unhex(upto).ok_or_else(broken)?);
    let above = if above.is_empty() { Bound::Unbounded } else { Bound::Excluded(above) };
    let upto = if upto.is_empty() { Bound::Unbounded } else { Bound::Included(upto) };
    Ok((above, upto))
}
