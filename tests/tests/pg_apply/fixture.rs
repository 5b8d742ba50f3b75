//! One server for all modules, a database for each case, and changes in few
//! words.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use zdm_core::change::{Batch, BatchBuilder, Field, Value};
use zdm_core::connect::{
    Bounds, Checkpoint, ChunkDone, ChunkId, ChunkRecord, Epoch, Progress, Purpose, Record, Reread, RunName,
    Sink, Writer, WriterOptions,
};
use zdm_core::schema::{Column, DataType, Key, Schema, Table, TableName};
use zdm_core::{Engine, Identity, Position, Result};
use zdm_pg::PgSink;
use zdm_pg::config::PgConfig;
use zdm_servers::postgres::{Database, PgOptions, Postgres};

pub(crate) const ENGINE: Engine = Engine::new("postgresql");
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One server and one runtime for the whole file; a database for each case.
pub(crate) fn test(case: impl Future<Output = ()>) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(case);
}

pub(crate) async fn server() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER.get_or_init(|| async { Postgres::start(PgOptions::new()).await.unwrap() }).await
}

pub(crate) struct Case {
    pub(crate) database: Database,
    pub(crate) sink: PgSink,
    pub(crate) checkpoint: Arc<dyn Checkpoint>,
    pub(crate) run: RunName,
    pub(crate) at: AtomicUsize,
    pub(crate) hold_back: Option<usize>,
    pub(crate) reread: Option<Arc<dyn Reread>>,
}

pub(crate) async fn case(ddl: &str) -> Case {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("case_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let database = server().await.create_database(&name).await.unwrap();
    database.execute(ddl).await.unwrap();
    let sink = PgSink::new(PgConfig::parse(&database.url()).unwrap());
    let checkpoint = sink.checkpoint().unwrap();
    let mut record = Record::new(RunName::default(), Identity::new(ENGINE).with("system", 7));
    record.position = Some(position(0));
    checkpoint.create(&record).await.unwrap();
    let (run, at) = (RunName::default(), AtomicUsize::new(0));
    Case { database, sink, checkpoint, run, at, hold_back: None, reread: None }
}

impl Case {
    pub(crate) async fn writer(&self, purpose: Purpose, epoch: u64) -> Result<Box<dyn Writer>> {
        let schema = Arc::new(Schema::default());
        let mut options = WriterOptions::new(self.run.clone(), Epoch(epoch), purpose, schema);
        options.hold_back = self.hold_back.unwrap_or(options.hold_back);
        if let Some(source) = &self.reread {
            options = options.reread(Arc::clone(source));
        }
        self.sink.writer(options).await
    }

    pub(crate) fn next(&self) -> Progress {
        let at = self.at.fetch_add(1, Ordering::Relaxed);
        Progress::Stream { from: position(at), to: position(at + 1), changes: 1, goals: Vec::new() }
    }

    /// One group, in a writer of its own.
    pub(crate) async fn apply(&self, build: impl FnOnce(&mut BatchBuilder)) -> Result<()> {
        let mut writer = self.writer(Purpose::Apply, 1).await?;
        writer.write(batch(build)).await?;
        writer.commit(self.next()).await
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.database.query(sql).await.unwrap();
        rows.into_iter()
            .map(|row| row.into_iter().map(|c| c.unwrap_or("-".into())).collect::<Vec<_>>().join("|"))
            .collect()
    }

    pub(crate) async fn expect(&self, sql: &str, rows: &[&str]) {
        assert_eq!(self.rows(sql).await, rows, "{sql}");
    }
}

pub(crate) fn position(at: usize) -> Position {
    Position::new(ENGINE, format!("0/{at:X}"))
}

pub(crate) fn batch(build: impl FnOnce(&mut BatchBuilder)) -> Batch {
    let mut log = BatchBuilder::new();
    build(&mut log);
    log.finish()
}

pub(crate) fn table(name: &str, columns: &[(&str, DataType)], key: Key) -> Arc<Table> {
    let columns = columns.iter().map(|(name, data_type)| Column::new(*name, data_type.clone())).collect();
    Arc::new(Table::new(ENGINE, TableName::new("public", name), columns, key))
}

pub(crate) const INT: DataType = DataType::integer(64);

/// `id, u, v`, with the key on `id`.
pub(crate) fn plain() -> Arc<Table> {
    table("t", &[("id", INT), ("u", INT), ("v", DataType::text())], Key::Columns(vec![0]))
}

pub(crate) const PLAIN: &str = "CREATE TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE, v text NOT NULL)";

pub(crate) fn n(number: i64) -> Field<'static> {
    Value::Int(number).into()
}

pub(crate) fn s(text: &str) -> Field<'_> {
    Value::from(text).into()
}

pub(crate) fn d(text: &str) -> Field<'_> {
    Value::Decimal(text.into()).into()
}

pub(crate) const SAME: Field<'static> = Field::Unchanged;

pub(crate) type Old = Option<[Field<'static>; 3]>;

pub(crate) fn key(id: i64) -> Old {
    Some([n(id), SAME, SAME])
}

pub(crate) fn chunk(number: u32) -> ChunkId {
    ChunkId { table: TableName::new("public", "t"), number }
}

pub(crate) fn done(number: u32) -> Progress {
    let done = ChunkDone { rows: 1, after: position(9), visibility: None };
    Progress::Chunk { id: chunk(number), done }
}

pub(crate) async fn planned(ddl: &str) -> Case {
    let case = case(ddl).await;
    let chunks: Vec<_> = (0..3)
        .map(|number| ChunkRecord { id: chunk(number), bounds: Bounds(number.to_string()), done: None })
        .collect();
    case.checkpoint.plan(&case.run, Epoch(1), &chunks).await.unwrap();
    // A second plan of the same table changes nothing.
    case.checkpoint.plan(&case.run, Epoch(1), &chunks[..1]).await.unwrap();
    case
}
