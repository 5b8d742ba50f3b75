//! A cutover that is given up when the target has its triggers and foreign
//! keys already, and cannot take them back: nothing is applied to it so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use zdm_core::change::{Batch, Value};
use zdm_core::connect::{Checkpoint, Progress, RunName, Sink, SinkCapabilities, Step, Writer, WriterOptions};
use zdm_core::gate::NoGate;
use zdm_core::memory::{ENGINE, MemoryDatabase, MemorySink};
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Migration, Options};
use zdm_core::schema::{Column, DataType, Key, Schema, Table, TableName};
use zdm_core::{Error, ErrorKind, Identity, Result};

/// How often a target that is ready refuses to step back: as often as undoing
/// a cutover tries.
const REFUSALS: usize = 2;

/// A target on which `Ready` is done and its answer lost, and which then
/// refuses to step back for a while.
struct Stuck {
    inner: MemorySink,
    ready: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    wrong: Arc<Mutex<Vec<Batch>>>,
}

struct Watched {
    inner: Box<dyn Writer>,
    ready: Arc<AtomicBool>,
    wrong: Arc<Mutex<Vec<Batch>>>,
}

fn lost() -> Error {
    Error::new(ErrorKind::Connection, "the connection was lost")
}

#[async_trait]
impl Sink for Stuck {
    async fn identity(&self) -> Result<Identity> {
        self.inner.identity().await
    }

    async fn prepare(&self, run: &RunName, schema: &Schema, step: Step) -> Result<()> {
        if self.ready.load(Ordering::SeqCst) && self.refused.load(Ordering::SeqCst) < REFUSALS {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(lost());
        }
        self.inner.prepare(run, schema, step).await?;
        self.ready.store(step == Step::Ready, Ordering::SeqCst);
        if step == Step::Ready { Err(lost()) } else { Ok(()) }
    }

    async fn adopt(&self, run: &RunName, schema: &Schema) -> Result<()> {
        self.inner.adopt(run, schema).await
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn Writer>> {
        let inner = self.inner.writer(options).await?;
        Ok(Box::new(Watched { inner, ready: Arc::clone(&self.ready), wrong: Arc::clone(&self.wrong) }))
    }

    fn checkpoint(&self) -> Option<Arc<dyn Checkpoint>> {
        self.inner.checkpoint()
    }

    fn capabilities(&self) -> SinkCapabilities<'_> {
        self.inner.capabilities()
    }
}

#[async_trait]
impl Writer for Watched {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        if batch.row_count() > 0 && self.ready.load(Ordering::SeqCst) {
            self.wrong.lock().unwrap().push(batch.clone());
        }
        self.inner.write(batch).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.inner.flush().await
    }

    async fn commit(&mut self, progress: Progress) -> Result<()> {
        self.inner.commit(progress).await
    }
}

fn table() -> TableName {
    TableName::new("public", "t")
}

async fn insert(db: &MemoryDatabase, id: i64) {
    let mut transaction = db.begin();
    transaction.insert(&table(), vec![Value::Int(id)]).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn nothing_is_applied_before_the_target_has_stepped_back() {
    let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
    let columns = vec![Column::new("id", DataType::integer(64)).not_null()];
    old.create_table(Table::new(ENGINE, table(), columns, Key::Columns(vec![0]))).unwrap();
    insert(&old, 1).await;
    let (ready, refused, wrong) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<Mutex<Vec<Batch>>>)>::default();
    let sink = Stuck {
        inner: new.sink(),
        ready: Arc::clone(&ready),
        refused: Arc::clone(&refused),
        wrong: Arc::clone(&wrong),
    };
    let mut options = Options::default();
    options.retry.first = Duration::from_millis(10);
    let migration = Migration::between(old.source(), sink).options(options).build().unwrap();
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();

    let options = CutoverOptions::default().lease(Duration::from_millis(500));
    let error = running.cutover(Arc::new(NoGate), options).await.unwrap_err();
    assert!(error.to_string().contains("not undone"), "{error}");
    assert!(ready.load(Ordering::SeqCst), "the target is as the application would need it");
    // The source is open.
    insert(&old, 2).await;
    let arrived = async {
        while new.rows(&table()).unwrap() != old.rows(&table()).unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), arrived).await.unwrap();
    assert_eq!(refused.load(Ordering::SeqCst), REFUSALS);
    assert!(!ready.load(Ordering::SeqCst));
    assert_eq!(wrong.lock().unwrap().len(), 0, "rows were applied to a target that was ready");
    running.stop().await.unwrap();
}
