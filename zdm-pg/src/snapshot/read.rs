//! One chunk as a stream.

use std::sync::Arc;

use futures::stream::{self, Stream};
use tokio_util::sync::CancellationToken;
use zdm_core::change::Budget;
use zdm_core::connect::{Chunk, ChunkPart};
use zdm_core::{Error, ErrorKind, Result};

use super::moment::Moment;
use super::order::KeyOrder;
use super::pool::Pool;
use super::range::Range;
use super::rows::{Form, Rows};
use crate::connect::{Control, CopiedRow, CopiedRows};

const ROOM: &str = "snapshot.read";

/// Opens a chunk. Nothing that can be known at once is left to the stream: a
/// table that changed is an error here.
pub(crate) async fn open(
    pool: Arc<Pool>,
    chunk: Chunk,
    form: Form,
    budget: Budget,
    cancel: CancellationToken,
) -> Result<impl Stream<Item = Result<ChunkPart>> + Send + 'static> {
    let range = Range::try_from(&chunk.bounds)?;
    let (control, moment, copy) = until(&cancel, start(&pool, &chunk, &range, form)).await?;
    let reading =
        Reading { pool, control, moment, copy, rows: Rows::new(chunk.table, form), next: None, budget };
    Ok(stream::try_unfold(Some(reading), move |reading| {
        let cancel = cancel.clone();
        async move {
            let Some(mut reading) = reading else { return Ok(None) };
            if until(&cancel, reading.fill()).await? {
                let batch = until(&cancel, reading.rows.take(&reading.budget)).await?;
                return Ok(Some((ChunkPart::Rows(batch), Some(reading))));
            }
            let Reading { pool, control, moment, copy, .. } = reading;
            drop(copy);
            let after = until(&cancel, moment.close(&control)).await?;
            pool.give(control);
            Ok(Some((ChunkPart::End(after), None)))
        }
    }))
}

async fn start(
    pool: &Pool,
    chunk: &Chunk,
    range: &Range,
    form: Form,
) -> Result<(Control, Moment, CopiedRows)> {
    let control = pool.take().await?;
    let moment = Moment::of(pool, &control, &chunk.table).await?;
    let condition = if range.is_bounded() {
        let order = KeyOrder::of(&control, &chunk.table).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::SchemaChanged,
                "the key of a table is gone: make it again, or start the run anew",
            )
        })?;
        range.condition(&order)?
    } else {
        "true".to_owned()
    };
    let sql = moment.copy(&chunk.table, &condition, form);
    let copy = control.copied_rows(&sql, ROOM).await?;
    Ok((control, moment, copy))
}

/// A chunk that is being read. Dropped, its connection ends and with it the
/// query.
struct Reading {
    pool: Arc<Pool>,
    control: Control,
    moment: Moment,
    copy: CopiedRows,
    rows: Rows,
    /// A row that is to begin the next batch.
    next: Option<CopiedRow>,
    budget: Budget,
}

impl Reading {
    /// Gathers rows until a batch is full; `false` if there is none left.
    async fn fill(&mut self) -> Result<bool> {
        loop {
            let next = match self.next.take() {
                None => self.copy.next(ROOM).await?,
                next => next,
            };
            let Some(row) = next else { break };
            if self.rows.is_full(row.len()) {
                self.next = Some(row);
                return Ok(true);
            }
            self.rows.push(row)?;
            // One that is large is handed over before the next is waited for.
            if self.rows.is_full(0) {
                return Ok(true);
            }
        }
        self.rows.end()?;
        Ok(!self.rows.is_empty())
    }
}

/// A future's outcome, unless the token is cancelled first.
async fn until<T>(cancel: &CancellationToken, future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::cancelled()),
        outcome = future => outcome,
    }
}
