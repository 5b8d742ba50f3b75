//! A source of one's own: a counter, whose log is the numbers themselves.
//!
//! It can be followed and not copied: it says `Unsupported` to the rest.
//!
//! Needs nothing.
//!
//!     cargo run -p zdm-examples --example 04_own_source

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Batch, BatchBuilder, Budget, Value, Xid};
use zdm_core::connect::*;
use zdm_core::pipeline::{Callback, Pipeline};
use zdm_core::schema::{Column, DataType, Key, Schema, Selection, Table, TableName};
use zdm_core::{Engine, Error, ErrorKind, Identity, Position, Result};

const ENGINE: Engine = Engine::new("counter");

/// A position is the last number that was handed over.
fn number(position: &Position) -> Result<i64> {
    let bad = |e: std::num::ParseIntError| {
        Error::new(ErrorKind::Protocol, "a counter's position is a number").caused_by(e)
    };
    position.of(&ENGINE)?.parse().map_err(bad)
}

fn at(number: i64) -> Position {
    Position::new(ENGINE, number.to_string())
}

struct Counter {
    until: i64,
}

#[async_trait]
impl Source for Counter {
    async fn identity(&self) -> Result<Identity> {
        Ok(Identity::new(ENGINE))
    }

    async fn describe(&self, _: &Selection) -> Result<Schema> {
        let columns = vec![Column::new("n", DataType::integer(64)).not_null()];
        let table = Table::new(ENGINE, TableName::new("counter", "ticks"), columns, Key::Columns(vec![0]));
        Ok(Schema { tables: vec![Arc::new(table)], ..Schema::default() })
    }

    async fn snapshot(
        &self,
        _: &RunName,
        _: &Schema,
        resume: Option<&Position>,
    ) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(Start(resume.cloned().unwrap_or(at(0)))))
    }

    /// One transaction for each number; then idle until it is cancelled.
    async fn changes(&self, options: StreamOptions) -> Result<Changes> {
        let table = Arc::clone(options.schema.tables.first().ok_or_else(nothing)?);
        let (from, until, budget) = (number(&options.from)?, self.until, options.budget);
        let numbers = stream::iter(from + 1..=until).then(move |n| {
            let (table, budget) = (Arc::clone(&table), budget.clone());
            async move {
                let mut batch = BatchBuilder::new();
                batch.begin(0);
                batch.insert(&table, [Value::Int(n).into()])?;
                batch.commit(at(n), None);
                // The permit is taken before the batch is handed over.
                let permit = budget.acquire(batch.bytes()).await;
                Ok(batch.finish_with(permit))
            }
        });
        let batches = numbers.chain(stream::pending()).take_until(options.cancel.cancelled_owned()).boxed();
        let (ack, _) = Ack::new(); // it keeps nothing for a reader
        let (_, head) = tokio::sync::watch::channel(Head { position: Some(at(until)), ..Head::default() });
        Ok(Changes { batches, ack, head })
    }

    fn reached(&self, at: &Position, goal: &Position) -> Result<bool> {
        Ok(number(at)? >= number(goal)?)
    }

    async fn release(&self, _: &RunName) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> SourceCapabilities<'_> {
        SourceCapabilities::default()
    }
}

fn nothing() -> Error {
    Error::new(ErrorKind::Unsupported, "a counter can be followed, and holds no rows to copy")
}

/// Where the stream begins. There is nothing to copy.
struct Start(Position);

#[async_trait]
impl Snapshot for Start {
    fn start(&self) -> &Position {
        &self.0
    }

    async fn plan(&self, _: &Arc<Table>, _: ChunkSize) -> Result<ChunkPlan> {
        Err(nothing())
    }

    async fn read(
        &self,
        _: Chunk,
        _: Budget,
        _: CancellationToken,
    ) -> Result<BoxStream<'static, Result<ChunkPart>>> {
        Err(nothing())
    }

    async fn reread(&self, _: &Arc<Table>, _: &Batch, _: &[Xid]) -> Result<(Batch, After)> {
        Err(nothing())
    }

    async fn flushed(&self, _: &Position) -> Result<()> {
        Ok(())
    }

    fn saw(&self, _: &Visibility, _: Xid) -> Result<bool> {
        Err(nothing())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let stop = CancellationToken::new();
    let last = stop.clone();
    let print = Callback::new(move |batch| {
        let last = last.clone();
        async move {
            for row in batch.rows() {
                println!("{row:?}");
                if row.after().is_some_and(|new| new.cell(0).value().ok() == Some(Value::Int(5))) {
                    last.cancel();
                }
            }
            Ok(())
        }
    });
    println!("{:?}", Pipeline::from(Counter { until: 5 }).to(print).run(stop).await?);
    Ok(())
}
