//! What was answered stays, though the server dies at the next moment: of a
//! fence, a checkpoint, a writer and what makes tables ready, at servers whose default is to answer
//! before anything is flushed.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::sync::Arc;

use zdm_core::change::{BatchBuilder, Value};
use zdm_core::connect::{
    Bounds, Checkpoint, ChunkDone, ChunkId, ChunkRecord, Epoch, Fence, HoldOptions, Phase, Progress, Purpose,
    Record, RunName, Sink, Source, Step, SwitchRecord, SwitchState, WriterOptions,
};
use zdm_core::schema::{Column, DataType, Key, Schema, Selection, Table, TableName};
use zdm_core::{Engine, Identity, Position};
use zdm_pg::config::PgConfig;
use zdm_pg::{PgFence, PgSink, PgSource};
use zdm_servers::postgres::{Database, PgOptions, Postgres};

const ENGINE: Engine = Engine::new("postgresql");

/// A server that flushes nothing which it was not asked to flush.
struct Home {
    server: Postgres,
    database: Database,
    run: RunName,
    schema: Arc<Schema>,
}

impl Home {
    async fn new() -> Self {
        let options = PgOptions::new()
            .setting("synchronous_commit", "off")
            .setting("wal_writer_delay", "10s")
            .setting("autovacuum", "off");
        let server = Postgres::start(options).await.unwrap();
        let database = server.create_database("shop").await.unwrap();
        database
            .execute("CREATE TABLE t (id bigint PRIMARY KEY); CREATE TABLE control (n int)")
            .await
            .unwrap();
        let columns = vec![Column::new("id", DataType::integer(64))];
        let table = Table::new(ENGINE, TableName::new("public", "t"), columns, Key::Columns(vec![0]));
        let mut schema = Schema::default();
        schema.tables.push(Arc::new(table));
        let home = Self { server, database, run: RunName::default(), schema: Arc::new(schema) };
        home.forgets().await;
        home
    }

    fn config(&self) -> Arc<PgConfig> {
        Arc::new(PgConfig::parse(&self.database.url()).unwrap())
    }

    /// The server dies, with all that is in its memory alone.
    async fn crash(&self) {
        self.server.kill().await.unwrap();
        self.server.start_again().await.unwrap();
    }

    /// What nobody asked to be flushed is lost; now and then the server
    /// happens to flush it all the same.
    async fn forgets(&self) {
        for n in 0..10 {
            self.database.execute("SET synchronous_commit = on; CHECKPOINT").await.unwrap();
            self.database.execute(&format!("INSERT INTO control VALUES ({n})")).await.unwrap();
            self.crash().await;
            let kept =
                self.database.value(&format!("SELECT count(*) FROM control WHERE n = {n}")).await.unwrap();
            if kept == "0" {
                return;
            }
        }
        panic!("this server flushes what it was not asked to flush: nothing here can fail");
    }

    /// Whether a seal refuses a write, which is not left there.
    async fn sealed(&self) -> bool {
        let mut client = self.database.connect().await.unwrap();
        let attempt = client.transaction().await.unwrap();
        attempt.batch_execute("INSERT INTO t VALUES (-1)").await.is_err()
    }
}

#[tokio::test]
async fn what_a_fence_has_answered_outlives_its_server() {
    let home = Home::new().await;
    let (fence, run) = (PgFence::new(home.config()), &home.run);
    // Makes the tables of its own; what is asked about comes behind it.
    fence.arm(run, &home.schema, HoldOptions::default()).await.unwrap();
    home.crash().await;

    let record = SwitchRecord {
        run: run.clone(),
        state: SwitchState::Preparing,
        epoch: Epoch(7),
        target: "db2/shop".to_owned(),
        position: None,
        leg: 1,
        back: None,
        lease_until: 1,
        note: None,
    };
    fence.swap(run, None, Some(&record)).await.unwrap();
    home.crash().await;
    assert_eq!(fence.record(run).await.unwrap(), Some(record.clone()), "the record PREPARING");

    let hold = fence.hold(run, &home.schema, HoldOptions::default()).await.unwrap();
    let switched =
        SwitchRecord { state: SwitchState::Switched, position: Some(position("0/1")), ..record.clone() };
    hold.seal(&record, &switched).await.unwrap();
    home.crash().await;
    assert_eq!(fence.record(run).await.unwrap(), Some(switched.clone()), "the record SWITCHED");
    assert!(home.sealed().await, "the seal of the source");

    fence.swap(run, Some(&switched), None).await.unwrap();
    home.crash().await;
    assert_eq!(fence.record(run).await.unwrap(), None, "no record");

    // As the side that opens.
    fence.unseal(run, &home.schema, 1).await.unwrap();
    home.crash().await;
    assert!(!home.sealed().await, "the target was opened");
    fence.seal(run, &home.schema, "not open yet").await.unwrap();
    home.crash().await;
    assert!(home.sealed().await, "the seal of the target");
}

#[tokio::test]
async fn what_a_checkpoint_and_a_writer_have_answered_outlives_their_server() {
    let home = Home::new().await;
    let (sink, run) = (PgSink::new(PgConfig::parse(&home.database.url()).unwrap()), &home.run);
    let checkpoint = sink.checkpoint().unwrap();
    // Each is read by somebody else: a session that is lost is another's story.
    let load = async || zdm_pg::PgCheckpoint::new(home.config()).load(run).await.unwrap();
    let mut first = Record::new(run.clone(), Identity::new(ENGINE).with("system", 7));
    first.position = Some(position("0/0"));
    checkpoint.create(&first).await.unwrap();
    home.crash().await;
    assert_eq!(load().await.map(|state| state.record), Some(first), "the record");

    let raised = sink.checkpoint().unwrap().raise(run).await.unwrap().record;
    home.crash().await;
    assert_eq!(load().await.unwrap().record.epoch, Epoch(2), "the raised epoch");

    let copying = Record { phase: Phase::Copying, ..raised.clone() };
    sink.checkpoint().unwrap().swap(&raised, &copying).await.unwrap();
    home.crash().await;
    assert_eq!(load().await.unwrap().record.phase, Phase::Copying, "the phase");

    let id = ChunkId { table: TableName::new("public", "t"), number: 0 };
    let planned = ChunkRecord { id: id.clone(), bounds: Bounds("all".to_owned()), done: None };
    sink.checkpoint().unwrap().plan(run, Epoch(2), &[planned]).await.unwrap();
    home.crash().await;
    assert_eq!(load().await.unwrap().chunks.len(), 1, "the plan");

    let write = async |id: i64, purpose, progress| {
        let options = WriterOptions::new(run.clone(), Epoch(2), purpose, Arc::clone(&home.schema));
        let mut writer = sink.writer(options).await.unwrap();
        let mut log = BatchBuilder::new();
        log.insert(&home.schema.tables[0], [Value::Int(id).into()]).unwrap();
        writer.write(log.finish()).await.unwrap();
        writer.commit(progress).await.unwrap();
    };
    let done = ChunkDone { rows: 1, after: position("0/9"), visibility: None };
    write(1, Purpose::Load, Progress::Chunk { id, done }).await;
    home.crash().await;
    assert!(load().await.unwrap().chunks[0].done.is_some(), "the chunk");

    let (from, to) = (position("0/0"), position("0/10"));
    write(2, Purpose::Apply, Progress::Stream { from, to, changes: 1, goals: Vec::new() }).await;
    home.crash().await;
    assert_eq!(load().await.unwrap().record.position, Some(position("0/10")), "the position");
    let rows = home.database.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t").await.unwrap();
    assert_eq!(rows, "1 2", "the rows");

    let (from, to) = (position("0/10"), position("0/11"));
    let progress = Progress::Stream { from, to, changes: 0, goals: Vec::new() };
    sink.checkpoint().unwrap().advance(run, Epoch(2), &progress).await.unwrap();
    home.crash().await;
    assert_eq!(load().await.unwrap().record.position, Some(position("0/11")), "a position without rows");
}

/// What the commit point of a cutover, which is in another server, relies on.
#[tokio::test]
async fn what_was_made_ready_outlives_its_server() {
    let home = Home::new().await;
    home.database
        .execute(
            "CREATE TABLE child (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, t bigint REFERENCES t);
             CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER fire BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION fire();
             SELECT setval('child_id_seq', 500)",
        )
        .await
        .unwrap();
    let source = PgSource::new(PgConfig::parse(&home.database.url()).unwrap());
    let only = Selection::new(["public.t", "public.child"]).unwrap();
    let schema = source.describe(&only).await.unwrap();
    let target = home.server.create_database("new").await.unwrap();
    let sink = PgSink::new(PgConfig::parse(&target.url()).unwrap());

    let on = "SELECT count(*) FROM pg_trigger WHERE tgname = 'fire' AND tgenabled = 'O'";
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f'";
    for (step, ready) in
        [(Step::Finished, "0"), (Step::Ready, "1"), (Step::Finished, "0"), (Step::Ready, "1")]
    {
        sink.prepare(&home.run, &schema, step).await.unwrap();
        home.crash().await;
        assert_eq!(target.value(on).await.unwrap(), ready, "the trigger at {step:?}");
        assert_eq!(target.value(keys).await.unwrap(), ready, "the foreign key at {step:?}");
    }

    let values = source.capabilities().sequences.unwrap().read(&schema).await.unwrap();
    sink.capabilities().sequences.unwrap().set(&schema, &values, 1000).await.unwrap();
    home.crash().await;
    assert_eq!(target.value("SELECT nextval('child_id_seq')").await.unwrap(), "1501");
}

fn position(at: &str) -> Position {
    Position::new(ENGINE, at)
}
