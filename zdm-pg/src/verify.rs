//! What tables hold, read as a source's are: by COPY, in short transactions.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Assembler, Batch, Budget, Cell, Format, Op};
use zdm_core::connect::{Bounds, Chunk, ChunkId, ChunkPart, ChunkSize, Reader, Verify};
use zdm_core::schema::{Selection, Table, TableName};
use zdm_core::{Error, ErrorKind, Position, Result};

use crate::config::PgConfig;
use crate::error::{OrPg, protocol};
use crate::schema;
use crate::snapshot::moment::Moment;
use crate::snapshot::order::KeyOrder;
use crate::snapshot::pool::Pool;
use crate::snapshot::range::Range;
use crate::snapshot::reread::{condition, shown};
use crate::snapshot::rows::{Form, Rows};
use crate::snapshot::{plan, point, read};
use crate::types::{ENCODING, TEXT};

/// Says what a PostgreSQL database holds.
#[derive(Debug, Clone)]
pub struct PgVerify {
    config: Arc<PgConfig>,
}

impl PgVerify {
    pub(crate) fn new(config: Arc<PgConfig>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Verify for PgVerify {
    async fn tables(&self, names: &[TableName]) -> Result<Vec<Arc<Table>>> {
        let selection = Selection::new(names.iter().map(ToString::to_string))?;
        let schema = schema::describe(&self.config, &selection).await?;
        let found = |name: &TableName| {
            schema.table(name).cloned().ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "the table is not there, or this user may not see it")
                    .with("table", name)
            })
        };
        names.iter().map(found).collect()
    }

    async fn reader(&self) -> Result<Arc<dyn Reader>> {
        Ok(Arc::new(PgReader { pool: Arc::new(Pool::new(&self.config)) }))
    }

    async fn moment(&self) -> Result<Arc<dyn Reader>> {
        Ok(Arc::new(PgReader { pool: Arc::new(Pool::of_one_moment(&self.config).await?) }))
    }
}

#[derive(Debug)]
struct PgReader {
    pool: Arc<Pool>,
}

#[async_trait]
impl Reader for PgReader {
    async fn divide(&self, table: &Arc<Table>, size: ChunkSize) -> Result<Batch> {
        let edges = plan::edges(&self.pool, table, size).await.map_err(|e| about(e, table, "verify.divide"));
        let (edges, _) = edges?;
        // Native cells, as a SELECT has them.
        let (mut native, mut deletes) = (BytesMut::new(), Assembler::new());
        for edge in edges {
            deletes.row(table, Op::Delete, true);
            for at in 0..table.columns.len() {
                let place = table.key_columns().iter().position(|key| *key == at);
                let cell = match place.and_then(|place| edge.get(place)) {
                    Some(text) => {
                        let long = |_| protocol("the keys of a division are too long");
                        let offset = u32::try_from(native.len()).map_err(long)?;
                        let len = u32::try_from(text.len()).map_err(long)?;
                        native.extend_from_slice(text.as_bytes());
                        Cell::Value { offset, len, format: Format::Native(TEXT) }
                    }
                    None => Cell::Unchanged,
                };
                deletes.cell(cell);
            }
            deletes.end_image()?;
        }
        deletes.finish(native.freeze(), Arc::clone(&ENCODING), None)
    }

    fn between(&self, table: &Table, above: Option<&Batch>, upto: Option<&Batch>) -> Result<Bounds> {
        let texts = |key: Option<&Batch>| {
            let row = key.and_then(|key| key.rows().next());
            row.map(|row| table.key_columns().iter().map(|at| shown(row.key_image().cell(*at))).collect())
                .transpose()
        };
        Ok(Range::of(texts(above)?, texts(upto)?).into())
    }

    async fn read(
        &self,
        table: Arc<Table>,
        bounds: Bounds,
        budget: Budget,
        cancel: CancellationToken,
    ) -> Result<BoxStream<'static, Result<Batch>>> {
        let id = ChunkId { table: table.origin.name.clone(), number: 0 };
        let chunk = Chunk { id, table: Arc::clone(&table), bounds };
        let parts = read::open(Arc::clone(&self.pool), chunk, Form::Text, budget, cancel).await;
        let parts = parts.map_err(|e| about(e, &table, "verify.read"))?;
        let rows = parts.filter_map(move |part| {
            let rows = match part {
                Ok(ChunkPart::Rows(rows)) => Some(Ok(rows)),
                Ok(ChunkPart::End(_)) => None,
                Err(error) => Some(Err(about(error, &table, "verify.read"))),
            };
            std::future::ready(rows)
        });
        Ok(rows.boxed())
    }

    async fn look(&self, table: &Arc<Table>, keys: &Batch) -> Result<Batch> {
        look(&self.pool, table, keys).await.map_err(|e| about(e, table, "verify.look"))
    }

    async fn here(&self) -> Result<Position> {
        let control = self.pool.take().await?;
        let row = control.query_one(&format!("SELECT {}", point::END), &[]).await.during("verify.here")?;
        let end = point::end(&row)?;
        point::flushed(&control, end).await?;
        self.pool.give(control);
        Ok(end.into())
    }
}

/// In a moment of its own: one that is kept would be as old as its keeping.
async fn look(pool: &Pool, table: &Arc<Table>, keys: &Batch) -> Result<Batch> {
    let mut rows = Rows::new(Arc::clone(table), Form::Text);
    if keys.row_count() > 0 {
        let control = pool.take().await?;
        let moment = Moment::of(pool, &control, table).await?;
        let order = KeyOrder::of(&control, table).await?.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "rows of a table without a key are found by no key")
        })?;
        let sql = moment.copy(table, &condition(&order, table, keys)?, Form::Text);
        let mut copy = control.copied_rows(&sql, "verify.look").await?;
        while let Some(row) = copy.next("verify.look").await? {
            rows.push(row)?;
        }
        drop(copy);
        moment.close(&control).await?;
        pool.give(control);
    }
    rows.finish(None)
}

fn about(error: Error, table: &Table, operation: &'static str) -> Error {
    error.with("table", &table.origin.name).during(operation)
}
