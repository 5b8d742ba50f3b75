//! One chunk as a stream.

use std::sync::Arc;

use bytes::BytesMut;
use futures::stream::{self, Stream};
use tokio_util::sync::CancellationToken;
use zdm_core::change::Budget;
use zdm_core::connect::{Chunk, ChunkPart};
use zdm_core::{Error, ErrorKind, Result};

use super::key::key_columns;
use super::moment::{self, Moment};
use super::range::Range;
use super::rows::Rows;
use super::session::{Pool, Session};

/// Opens a chunk. Nothing that can be known at once is left to the stream: a
/// table that changed is an error here.
pub(super) async fn open(
    pool: Arc<Pool>,
    chunk: Chunk,
    budget: Budget,
    cancel: CancellationToken,
) -> Result<impl Stream<Item = Result<ChunkPart>> + Send + 'static> {
    let range = Range::try_from(&chunk.bounds)?;
    let (session, moment) = until(&cancel, start(&pool, &chunk, &range)).await?;
    let reading =
        Reading { pool, session, moment, rows: Rows::new(chunk.table), next: None, budget, more: true };
    Ok(stream::try_unfold(Some(reading), move |reading| {
        let cancel = cancel.clone();
        async move {
            let Some(mut reading) = reading else { return Ok(None) };
            if until(&cancel, reading.fill()).await? {
                let batch = until(&cancel, reading.rows.take(&reading.budget)).await?;
                return Ok(Some((ChunkPart::Rows(batch), Some(reading))));
            }
            let Reading { pool, mut session, moment, .. } = reading;
            let after = until(&cancel, moment.close(&mut session)).await?;
            pool.give(session);
            Ok(Some((ChunkPart::End(after), None)))
        }
    }))
}

async fn start(pool: &Pool, chunk: &Chunk, range: &Range) -> Result<(Session, Moment)> {
    let mut session = pool.take().await?;
    let moment = Moment::open(pool, &mut session, &chunk.table).await?;
    let condition = if range.is_bounded() {
        let key = key_columns(&chunk.table)?.ok_or_else(|| {
            Error::new(
                ErrorKind::SchemaChanged,
                "the key of a table is gone: make it again, or start the run anew",
            )
        })?;
        range.condition(&key)?
    } else {
        "TRUE".to_owned()
    };
    let sql = moment::rows(&chunk.table, &condition, range.is_bounded());
    session.wire.select(&sql).await.map_err(moment::failed)?;
    Ok((session, moment))
}

/// A chunk that is being read. Dropped, its connection ends and with it the
/// query.
struct Reading {
    pool: Arc<Pool>,
    session: Session,
    moment: Moment,
    rows: Rows,
    /// A row that is to begin the next batch.
    next: Option<BytesMut>,
    budget: Budget,
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
            let Some(row) = self.session.wire.next_row().await.map_err(moment::failed)? else {
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
}

/// A future's outcome, unless the token is cancelled first.
async fn until<T>(cancel: &CancellationToken, future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::cancelled()),
        outcome = future => outcome,
    }
}
