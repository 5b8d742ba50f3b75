//! A sink of one's own: whole transactions as JSON lines on standard output.
//!
//! A sink that cannot keep progress together with its rows has no checkpoint
//! of its own, and the pipeline is then at least once.
//!
//! Needs nothing: the source is in memory.
//!
//!     cargo run -p zdm-examples --example 03_own_sink

use std::io::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Batch, Change, Value};
use zdm_core::connect::{Checkpoint, Progress, RunName, Sink, SinkCapabilities, Step, Writer, WriterOptions};
use zdm_core::memory::{ENGINE, MemoryDatabase};
use zdm_core::pipeline::Pipeline;
use zdm_core::schema::{Column, DataType, Key, Schema, Table, TableName};
use zdm_core::{Engine, Error, ErrorKind, Identity, Result};

/// Tells when something was committed.
struct JsonLines {
    committed: mpsc::UnboundedSender<()>,
}

#[async_trait]
impl Sink for JsonLines {
    async fn identity(&self) -> Result<Identity> {
        Ok(Identity::new(Engine::new("json_lines")))
    }

    async fn prepare(&self, _: &RunName, _: &Schema, _: Step) -> Result<()> {
        Ok(()) // lines need no tables
    }

    /// Nobody follows back into a file.
    async fn adopt(&self, _: &RunName, _: &Schema) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "a file is not followed back into"))
    }

    async fn writer(&self, _: WriterOptions) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Lines { pending: Vec::new(), committed: self.committed.clone() }))
    }

    fn checkpoint(&self) -> Option<Arc<dyn Checkpoint>> {
        None
    }

    fn capabilities(&self) -> SinkCapabilities<'_> {
        SinkCapabilities::default()
    }
}

struct Lines {
    pending: Vec<u8>,
    committed: mpsc::UnboundedSender<()>,
}

#[async_trait]
impl Writer for Lines {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        let failed = |error: serde_json::Error| {
            Error::new(ErrorKind::Other, "a row has no JSON form").caused_by(error)
        };
        for row in batch.rows() {
            serde_json::to_writer(&mut self.pending, &Change::from_row(row)?).map_err(failed)?;
            self.pending.push(b'\n');
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// `Ok` means durable, as far as standard output can be.
    async fn commit(&mut self, _: Progress) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&self.pending).and_then(|()| out.flush());
        written.map_err(|e| Error::new(ErrorKind::Other, "cannot write to standard output").caused_by(e))?;
        if !std::mem::take(&mut self.pending).is_empty() {
            let _ = self.committed.send(()); // nobody listens at the end
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let db = MemoryDatabase::new();
    let users = TableName::new("public", "users");
    let columns = vec![Column::new("id", DataType::integer(64)).not_null()];
    db.create_table(Table::new(ENGINE, users.clone(), columns, Key::Columns(vec![0])))?;

    let (committed, mut commits) = mpsc::unbounded_channel();
    let pipeline = Pipeline::from(db.source()).to(JsonLines { committed });
    let mut running = pipeline.start(CancellationToken::new())?;
    running.followed().await?;
    let mut transaction = db.begin();
    for id in 1..=3 {
        transaction.insert(&users, vec![Value::Int(id)]).await?;
    }
    transaction.commit().await?;
    commits.recv().await;
    running.stop().await?;
    Ok(())
}
