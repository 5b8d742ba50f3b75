//! What a run waits for before it keeps what it has read, and what it tells
//! its source: between two databases in memory, by a clock that jumps.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zdm_core::change::Value;
use zdm_core::connect::{RunName, Source as _, StreamOptions};
use zdm_core::gate::NoGate;
use zdm_core::memory::{ENGINE, Fault, MemoryDatabase, Point, Row};
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Migration, Options, Running};
use zdm_core::pipeline::Stages;
use zdm_core::schema::{Column, DataType, Key, Schema, Selection, Table, TableName};
use zdm_core::{ErrorKind, Position};

/// Longer than anything takes that does not wait for something.
const LONG: Duration = Duration::from_secs(100);

fn table() -> TableName {
    TableName::new("public", "t")
}

/// With a table whose log leaves values out that did not change.
fn database() -> MemoryDatabase {
    let db = MemoryDatabase::new();
    let columns =
        vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("v", DataType::text())];
    db.create_table(Table::new(ENGINE, table(), columns, Key::Columns(vec![0]))).unwrap();
    db.set_toasted(&table(), &["v"]).unwrap();
    db
}

fn row(id: i64, v: &'static str) -> Row {
    vec![Value::Int(id), Value::from(v)]
}

async fn insert(db: &MemoryDatabase, id: i64, v: &'static str) {
    let mut transaction = db.begin();
    transaction.insert(&table(), row(id, v)).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn set(db: &MemoryDatabase, id: i64, v: &'static str) {
    let mut transaction = db.begin();
    assert!(transaction.update(&table(), &[Value::Int(id)], |row| row[1] = Value::from(v)).await.unwrap());
    transaction.commit().await.unwrap();
}

/// Waits until a point was passed so often.
async fn passed(db: &MemoryDatabase, point: Point, times: u64) {
    let passed = async {
        while db.faults().passed(point) < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG * 2, passed).await.expect("it never comes there");
}

async fn follows(mut running: Running) {
    tokio::time::timeout(LONG * 10, running.followed()).await.expect("it never follows").unwrap();
    running.stop().await.unwrap();
}

/// A migration of the rows from 10 on, whose copy waits before it reads its
/// only chunk. Row 1, which is not among them, has been there all along.
async fn enters_meanwhile(old: &MemoryDatabase, new: &MemoryDatabase) -> Running {
    insert(old, 1, "large").await;
    insert(old, 20, "small").await;
    old.faults().plan(Point::Read, 1, Fault::Delay(LONG));
    let stages = Stages::new().filter(["id"], |row| Ok(row.integer(0)? >= Some(10))).build().unwrap();
    let migration = Migration::between(old.source(), new.sink()).through(stages).build().unwrap();
    let running = migration.start(CancellationToken::new());
    passed(old, Point::Read, 1).await;
    running
}

/// A log may show a commit that no SELECT sees yet. Read too early, its row is
/// taken for gone, and nothing brings it again.
#[tokio::test(start_paused = true)]
async fn a_row_read_again_is_waited_for_until_a_select_sees_it() {
    let (old, new) = (database(), MemoryDatabase::new());
    let running = enters_meanwhile(&old, &new).await;
    let mut transaction = old.begin();
    transaction.update(&table(), &[Value::Int(1)], |row| row[0] = Value::Int(10)).await.unwrap();
    let unseen = transaction.commit_unseen().unwrap();
    passed(&old, Point::Reread, 1).await;
    tokio::time::sleep(LONG).await;
    unseen.show();
    follows(running).await;
    assert_eq!(new.rows(&table()).unwrap(), [row(10, "large"), row(20, "small")]);
}

/// What was read again is of a later moment than the stream: a source that
/// crashes may take it back.
#[tokio::test(start_paused = true)]
async fn a_row_read_again_is_kept_only_when_the_source_has_flushed_it() {
    let (old, new) = (database(), MemoryDatabase::new());
    let running = enters_meanwhile(&old, &new).await;
    let mut transaction = old.begin();
    transaction.update(&table(), &[Value::Int(1)], |row| row[0] = Value::Int(10)).await.unwrap();
    // So that the chunk does not see it either.
    let unseen = transaction.commit_unseen().unwrap();
    old.faults().plan(Point::Reread, 1, Fault::Delay(LONG));
    passed(&old, Point::Reread, 1).await;
    unseen.show();
    old.set_flush_lags(true);
    set(&old, 10, "never was").await;
    tokio::time::sleep(LONG * 2).await;
    assert_eq!(new.rows(&table()).unwrap(), [row(20, "small")]);
    old.crash();
    old.set_flush_lags(false);
    follows(running).await;
    assert_eq!(new.rows(&table()).unwrap(), [row(10, "large"), row(20, "small")]);
}

/// The same for a chunk.
#[tokio::test(start_paused = true)]
async fn a_chunk_is_kept_only_when_the_source_has_flushed_what_it_saw() {
    let (old, new) = (database(), MemoryDatabase::new());
    insert(&old, 1, "was").await;
    old.faults().plan(Point::Read, 1, Fault::Delay(LONG));
    let migration = Migration::between(old.source(), new.sink()).build().unwrap();
    let running = migration.start(CancellationToken::new());
    passed(&old, Point::Read, 1).await;
    old.set_flush_lags(true);
    set(&old, 1, "never was").await;
    tokio::time::sleep(LONG * 2).await;
    assert_eq!(new.rows(&table()).unwrap(), [] as [Row; 0]);
    old.crash();
    old.set_flush_lags(false);
    follows(running).await;
    assert_eq!(new.rows(&table()).unwrap(), [row(1, "was")]);
}

/// A commit that its writer did not wait for: the stream has it only when it
/// is flushed, and the marker is what flushes it.
#[tokio::test(start_paused = true)]
async fn a_cutover_loses_no_commit_that_was_not_flushed() {
    let (old, new) = (database(), MemoryDatabase::new());
    let migration = Migration::between(old.source(), new.sink()).build().unwrap();
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    old.set_flush_lags(true);
    insert(&old, 1, "not flushed").await;
    let switch = running.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
    assert!(switch.pause.total_ms < 100.0, "{:?}", switch.pause);
    assert_eq!(new.rows(&table()).unwrap(), [row(1, "not flushed")]);
}

/// The marker bears no rows, and requests wait until it is durable.
#[tokio::test(start_paused = true)]
async fn a_cutover_does_not_wait_until_it_is_time_to_keep_a_position_alone() {
    let (old, new) = (database(), MemoryDatabase::new());
    let mut options = Options::default();
    options.idle_interval = LONG;
    let migration = Migration::between(old.source(), new.sink()).options(options).build().unwrap();
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    let before = tokio::time::Instant::now();
    running.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
    assert!(before.elapsed() < LONG / 10, "{:?}", before.elapsed());
}

/// Transactions that concern no table of the run: the source must be able to
/// let go of them, and a restart need not read them again.
#[tokio::test(start_paused = true)]
async fn a_position_that_bears_no_rows_becomes_durable_after_a_while() {
    let (old, new) = (database(), MemoryDatabase::new());
    let other = TableName::new("public", "other");
    let columns = vec![Column::new("id", DataType::integer(64)).not_null()];
    old.create_table(Table::new(ENGINE, other.clone(), columns, Key::Columns(vec![0]))).unwrap();
    let mut options = Options::default();
    options.tables = Selection::new(["public.t"]).unwrap();
    let (idle, interval) = (options.idle_interval, Duration::from_millis(10));
    let migration = Migration::between(old.source(), new.sink()).options(options).build().unwrap();
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    let mut transaction = old.begin();
    transaction.insert(&other, vec![Value::Int(1)]).await.unwrap();
    transaction.commit().await.unwrap();
    let arrived = async {
        while migration.state().await.unwrap().unwrap().record.position != Some(old.head()) {
            tokio::time::sleep(interval).await;
        }
    };
    tokio::time::timeout(idle * 3, arrived).await.expect("the position is not durable");
    running.stop().await.unwrap();
}

/// Whether the source was told that all behind a position is durable, too.
async fn released(db: &MemoryDatabase, from: Position) -> bool {
    let schema = Arc::new(Schema::default());
    match db.source().changes(StreamOptions::new(RunName::default(), from, schema)).await {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::Gap,
    }
}

/// At each commit; and at the next start for a commit whose answer was lost,
/// though no other follows.
#[tokio::test(start_paused = true)]
async fn the_source_is_told_what_is_durable() {
    for answer_lost in [false, true] {
        let (old, new) = (database(), MemoryDatabase::new());
        let migration = Migration::between(old.source(), new.sink()).build().unwrap();
        let mut running = migration.start(CancellationToken::new());
        running.followed().await.unwrap();
        passed(&old, Point::Open, 2).await;
        let before = old.head();
        if answer_lost {
            new.faults().plan(Point::Commit, 1, Fault::Lose);
        }
        insert(&old, 1, "row").await;
        tokio::time::sleep(LONG).await;
        assert_eq!(new.rows(&table()).unwrap(), [row(1, "row")]);
        assert_eq!(old.faults().passed(Point::Open), if answer_lost { 3 } else { 2 });
        running.stop().await.unwrap();
        assert!(released(&old, before).await, "answer lost: {answer_lost}");
        assert!(!released(&old, old.head()).await, "more than was durable");
    }
}
