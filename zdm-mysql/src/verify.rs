//! What tables hold, read as a source's are: in the text protocol, in short
//! transactions.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Batch, BatchBuilder, Budget, Field, Value};
use zdm_core::connect::{Bounds, ChunkSize, Reader, Verify};
use zdm_core::schema::{Selection, Table, TableName};
use zdm_core::{Error, ErrorKind, Position, Result};

use crate::config::MySqlConfig;
use crate::connect::Control;
use crate::error::protocol;
use crate::position::Point;
use crate::schema;
use crate::snapshot::key::key_columns;
use crate::snapshot::moment::{self, Moment};
use crate::snapshot::plan::Extent;
use crate::snapshot::range::Range;
use crate::snapshot::reread;
use crate::snapshot::rows::Rows;
use crate::snapshot::session::{Pool, Session};
use crate::snapshot::split;
use crate::types::write_literal;

/// Says what a MySQL or MariaDB server holds.
#[derive(Debug, Clone)]
pub struct MySqlVerify {
    config: Arc<MySqlConfig>,
}

impl MySqlVerify {
    pub(crate) fn new(config: Arc<MySqlConfig>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Verify for MySqlVerify {
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
        Ok(Arc::new(MySqlReader { pool: Arc::new(Pool::new(&self.config)), moment: None }))
    }

    async fn moment(&self) -> Result<Arc<dyn Reader>> {
        let pool = Arc::new(Pool::new(&self.config));
        let mut session = pool.take().await?;
        Moment::of_all(&mut session).await?;
        Ok(Arc::new(MySqlReader { pool, moment: Some(Arc::new(Mutex::new(Some(session)))) }))
    }
}

#[derive(Debug)]
struct MySqlReader {
    pool: Arc<Pool>,
    /// The one connection that has a moment open, for one read at a time; `None`
    /// in it once a read has failed, and the moment is gone.
    moment: Option<Arc<Mutex<Option<Session>>>>,
}

/// A connection on loan.
#[derive(Debug)]
enum Lent {
    /// From the pool.
    Idle(Session, Arc<Pool>),
    /// That of the moment, and its place.
    Moment(Session, OwnedMutexGuard<Option<Session>>),
}

impl Lent {
    fn session(&mut self) -> &mut Session {
        match self {
            Self::Idle(session, _) | Self::Moment(session, _) => session,
        }
    }

    /// Ends what was read, so that no table is locked, and gives it back.
    async fn back(self) -> Result<()> {
        match self {
            Self::Idle(mut session, pool) => {
                session.run("COMMIT").await?;
                pool.give(session);
            }
            Self::Moment(mut session, mut place) => {
                session.run(Moment::LEAVE).await?;
                *place = Some(session);
            }
        }
        Ok(())
    }
}

impl MySqlReader {
    /// A connection on which a transaction has the table open.
    async fn open(&self, table: &Table) -> Result<Lent> {
        let Some(moment) = &self.moment else {
            let mut session = self.pool.take().await?;
            Moment::plain(&mut session, table).await?;
            return Ok(Lent::Idle(session, Arc::clone(&self.pool)));
        };
        let mut place = Arc::clone(moment).lock_owned().await;
        let mut session = place.take().ok_or_else(|| {
            Error::new(ErrorKind::Gap, "the moment that was to be read is gone with its connection")
        })?;
        Moment::enter(&mut session, table).await?;
        Ok(Lent::Moment(session, place))
    }
}

#[async_trait]
impl Reader for MySqlReader {
    async fn divide(&self, table: &Arc<Table>, size: ChunkSize) -> Result<Batch> {
        divide(&self.pool, table, size).await.map_err(|e| about(e, table, "verify.divide"))
    }

    fn between(&self, table: &Table, above: Option<&Batch>, upto: Option<&Batch>) -> Result<Bounds> {
        let literals = |key: Option<&Batch>| key.map(|key| literals(table, key)).transpose();
        Ok(Range::written(literals(above)?, literals(upto)?).into())
    }

    async fn read(
        &self,
        table: Arc<Table>,
        bounds: Bounds,
        budget: Budget,
        cancel: CancellationToken,
    ) -> Result<BoxStream<'static, Result<Batch>>> {
        let range = Range::try_from(&bounds)?;
        let opened = until(&cancel, self.select(&table, &range)).await;
        let lent = opened.map_err(|e| about(e, &table, "verify.read"))?;
        let rows = Rows::new(Arc::clone(&table));
        let reading = Reading { lent, rows, next: None, more: true };
        let batches = stream::try_unfold(Some(reading), move |reading| {
            let (cancel, budget) = (cancel.clone(), budget.clone());
            async move {
                let Some(mut reading) = reading else { return Ok(None) };
                if until(&cancel, reading.fill()).await? {
                    let batch = until(&cancel, reading.rows.take(&budget)).await?;
                    return Ok(Some((batch, Some(reading))));
                }
                until(&cancel, reading.close()).await?;
                Ok(None)
            }
        });
        Ok(batches.map(move |batch| batch.map_err(|e| about(e, &table, "verify.read"))).boxed())
    }

    async fn look(&self, table: &Arc<Table>, keys: &Batch) -> Result<Batch> {
        self.named(table, keys).await.map_err(|e| about(e, table, "verify.look"))
    }

    /// At once, as [`Snapshot::flushed`](zdm_core::connect::Snapshot::flushed)
    /// is here: a transaction is on disk before any SELECT sees it.
    async fn here(&self) -> Result<Position> {
        let mut session = self.pool.take().await?;
        let end = session.log_end().await.map_err(|error| error.during("verify.here"))?;
        self.pool.give(session);
        Ok((&Point::at(end)).into())
    }
}

impl MySqlReader {
    async fn select(&self, table: &Table, range: &Range) -> Result<Lent> {
        let mut lent = self.open(table).await?;
        let condition = match key_columns(table) {
            Ok(Some(key)) if range.is_bounded() => range.condition(&key)?,
            Ok(None) if range.is_bounded() => {
                return Err(Error::new(
                    ErrorKind::SchemaChanged,
                    "the key of a table is gone: make it again",
                ));
            }
            Err(error) if range.is_bounded() => return Err(error),
            _ => "TRUE".to_owned(),
        };
        let sql = moment::rows(table, &condition, range.is_bounded());
        lent.session().wire.select(&sql).await.map_err(moment::failed)?;
        Ok(lent)
    }

    /// Without a place in the log: a target may keep none.
    async fn named(&self, table: &Arc<Table>, keys: &Batch) -> Result<Batch> {
        let mut rows = Rows::new(Arc::clone(table));
        if keys.row_count() > 0 {
            let mut lent = self.open(table).await?;
            let sql = moment::rows(table, &reread::condition(table, keys)?, false);
            let wire = &mut lent.session().wire;
            wire.select(&sql).await.map_err(moment::failed)?;
            while let Some(row) = wire.next_row().await.map_err(moment::failed)? {
                rows.push(&row)?;
            }
            lent.back().await?;
        }
        rows.finish(None)
    }
}

/// Rows on their way. Dropped, the connection ends and with it the query.
struct Reading {
    lent: Lent,
    rows: Rows,
    /// A row that is to begin the next batch.
    next: Option<BytesMut>,
    /// There may be rows that were not read.
    more: bool,
}

impl Reading {
    /// Gathers rows until a batch is full; `false` if there is none left.
    async fn fill(&mut self) -> Result<bool> {
        if let Some(row) = self.next.take() {
            self.rows.push(&row)?;
        }
        while self.more {
            let Some(row) = self.lent.session().wire.next_row().await.map_err(moment::failed)? else {
                self.more = false;
                break;
            };
            if self.rows.is_full(row.len()) {
                self.next = Some(row);
                return Ok(true);
            }
            self.rows.push(&row)?;
        }
        Ok(!self.rows.is_empty())
    }

    async fn close(self) -> Result<()> {
        self.lent.back().await
    }
}

/// By the index alone where the key is one whole number; else the key is
/// walked, from one edge to the next.
async fn divide(pool: &Pool, table: &Arc<Table>, size: ChunkSize) -> Result<Batch> {
    let mut edges = BatchBuilder::new();
    let Ok(Some(key)) = key_columns(table) else { return Ok(edges.finish()) };
    let mut control = Control::connect(pool.config(), "divide").await?;
    let extent = Extent::of(&mut control, table).await?;
    let part = extent.part(size);
    if let Some(number) = split::number(table)
        && let Some(bounds) = split::bounds(&mut control, table, number, part, extent.rows()).await?
    {
        for bound in bounds.into_iter().flatten() {
            let number: i128 = bound.parse().map_err(|_| protocol("a bound is no whole number"))?;
            let value = match i64::try_from(number) {
                Ok(number) => Value::Int(number),
                // OK to fall back: a column's numbers have 64 bits.
                Err(_) => Value::UInt(u64::try_from(number).unwrap_or(u64::MAX)),
            };
            let at = table.key_columns()[0];
            let fields = (0..table.columns.len())
                .map(|column| if column == at { Field::Value(value.clone()) } else { Field::Unchanged });
            edges.delete(table, fields)?;
        }
        return Ok(edges.finish());
    }
    let mut session = pool.take().await?;
    let mut above: Option<Vec<String>> = None;
    let order: Vec<_> = key.iter().map(|column| column.compared()).collect();
    loop {
        let range = Range::written(above.take(), None);
        // The whole row, by the encoding of all others.
        let rows = moment::rows(table, &range.condition(&key)?, true);
        let sql = format!("{rows} ORDER BY {} LIMIT 1 OFFSET {}", order.join(", "), part - 1);
        session.wire.select(&sql).await?;
        let mut found = Rows::new(Arc::clone(table));
        while let Some(row) = session.wire.next_row().await? {
            found.push(&row)?;
        }
        let found = found.finish(None)?;
        let Some(row) = found.rows().next() else { break };
        let image = row.key_image();
        let mut fields = vec![Field::Unchanged; table.columns.len()];
        for at in table.key_columns() {
            fields[*at] = Field::Value(image.cell(*at).value()?);
        }
        edges.delete(table, fields)?;
        match literals(table, &found) {
            Ok(key) => above = Some(key),
            // It cannot be written as a bound: the table is read as a whole.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                edges = BatchBuilder::new();
                break;
            }
            Err(error) => return Err(error),
        }
    }
    pool.give(session);
    Ok(edges.finish())
}

/// The key of the first row of a batch, as statements compare with it.
fn literals(table: &Table, key: &Batch) -> Result<Vec<String>> {
    let columns = key_columns(table)?.unwrap_or_default();
    let row = key.rows().next().ok_or_else(|| Error::new(ErrorKind::Config, "a bound names no key"))?;
    let image = row.key_image();
    let mut literals = Vec::with_capacity(columns.len());
    for (column, at) in columns.iter().zip(table.key_columns()) {
        if !column.is_compared_as_it_is() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a table is keyed by a type whose values cannot be bounds",
            )
            .with("column", &table.columns[*at].name));
        }
        let mut literal = BytesMut::new();
        write_literal(image.cell(*at), &table.columns[*at], &mut literal)?;
        literals.push(String::from_utf8_lossy(&literal).into_owned());
    }
    Ok(literals)
}

fn about(error: Error, table: &Table, operation: &'static str) -> Error {
    error.with("table", &table.origin.name).during(operation)
}

/// A future's outcome, unless the token is cancelled first.
async fn until<T>(cancel: &CancellationToken, future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::cancelled()),
        outcome = future => outcome,
    }
}
