//! What a chunk has seen: of the table's shape, of other transactions, and of
//! the log.

use zdm_core::ErrorKind;
use zdm_core::change::{Item, Value, Xid};

use zdm_servers::postgres::{PgOptions, Postgres};

use super::fixture::{Fixture, lsn};

#[tokio::test]
async fn a_table_that_changed_since_it_was_described_is_refused() {
    let sql = "CREATE TABLE added (i int PRIMARY KEY); CREATE TABLE rewritten (i int PRIMARY KEY);
        CREATE TABLE renamed (i int PRIMARY KEY); CREATE TABLE dropped (i int PRIMARY KEY);
        CREATE TABLE replaced (i int PRIMARY KEY); CREATE TABLE same (i int PRIMARY KEY)";
    let fixture = Fixture::new("changed", sql).await;
    let mut chunks = Vec::new();
    for name in ["added", "rewritten", "renamed", "dropped", "replaced", "same"] {
        chunks.push(fixture.whole(name).await);
    }
    let sql = "ALTER TABLE added ADD j int; ALTER TABLE rewritten ALTER i TYPE bigint;
        ALTER TABLE renamed RENAME TO other; DROP TABLE dropped;
        ALTER TABLE replaced RENAME TO aside; CREATE TABLE replaced (i int PRIMARY KEY); VACUUM FULL same";
    for statement in sql.split(';') {
        fixture.db.execute(statement).await.unwrap();
    }
    for chunk in chunks {
        let name = chunk.table.name.name.clone();
        match fixture.read(chunk).await {
            Ok(_) => assert_eq!(name, "same"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{name}: {error}"),
        }
    }
}

/// To a snapshot that is older than the rewrite the table would be empty, and
/// its description the old one.
#[tokio::test]
async fn a_rewrite_under_way_is_waited_for_and_then_refused() {
    let fixture =
        Fixture::new("rewrite", "CREATE TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let chunk = fixture.whole("t").await;
    let session = fixture.db.connect().await.unwrap();
    session.batch_execute("BEGIN; ALTER TABLE t ALTER i TYPE bigint").await.unwrap();
    let read = fixture.read(chunk);
    let finish = async {
        fixture
            .until("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 't'::regclass AND NOT granted)")
            .await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(read, finish);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::SchemaChanged);
}

/// A commit that waits for its standby is in the log and in no snapshot.
#[tokio::test]
async fn a_commit_in_the_log_that_no_select_sees_was_not_seen() {
    let sql = "CREATE TABLE t (i int); ALTER TABLE t REPLICA IDENTITY FULL";
    // It holds up only sessions that ask for it.
    let options = PgOptions::new()
        .setting("synchronous_standby_names", "nobody")
        .setting("synchronous_commit", "local");
    let server = Postgres::start(options).await.unwrap();
    let fixture = Fixture::on(&server, "invisible", sql).await;
    // The log names a transaction by its top, whoever wrote the row.
    fixture.db.execute("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (1); RELEASE s; COMMIT").await.unwrap();
    let waiting = fixture.db.connect().await.unwrap();
    let pid: i32 = waiting.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    waiting.batch_execute("SET synchronous_commit = on").await.unwrap();
    let commit = tokio::spawn(async move { waiting.batch_execute("INSERT INTO t VALUES (2)").await });
    let waits = format!("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {pid}");
    fixture.until(&format!("SELECT coalesce(({waits}), false)")).await;
    // Later than the one that waits, and seen: no bound tells the two apart.
    fixture.db.execute("INSERT INTO t VALUES (4)").await.unwrap();

    let (batches, after) = fixture.read(fixture.whole("t").await).await.unwrap();
    let seen: Vec<_> = batches
        .iter()
        .flat_map(|batch| batch.rows())
        .map(|row| row.after().unwrap().cell(0).value().unwrap().as_i64().unwrap())
        .collect();
    assert_eq!(seen, [1, 4]);
    fixture.db.execute("INSERT INTO t VALUES (3)").await.unwrap();
    fixture.db.execute(&format!("SELECT pg_cancel_backend({pid})")).await.unwrap();
    commit.await.unwrap().unwrap();

    let visibility = after.visibility.expect("a table without a key has it");
    let goal = fixture.db.value("SELECT pg_current_wal_flush_lsn()").await.unwrap();
    let goal = zdm_core::Position::new(after.position.engine().clone(), goal);
    let mut xid = Xid(0);
    let mut judged = Vec::new();
    for batch in fixture.log_until(&goal).await {
        for item in batch.items() {
            match item {
                Item::Begin(begin) => xid = begin.xid,
                Item::Rows(run) => {
                    for row in batch.rows_of(run) {
                        let value = row.after().unwrap().cell(0).value().unwrap().into_owned();
                        judged.push((value, fixture.snapshot.saw(&visibility, xid).unwrap()));
                    }
                }
                _ => {}
            }
        }
    }
    let expected = [(1, true), (2, false), (4, true), (3, false)].map(|(i, seen)| (Value::Int(i), seen));
    assert_eq!(judged, expected);
}

/// A chunk sees an asynchronous commit that a crash of the source would take
/// back: it is not to be kept before the log is flushed.
#[tokio::test]
async fn an_asynchronous_commit_is_waited_for() {
    let fixture = Fixture::new("asynchronous", "CREATE TABLE t (i int PRIMARY KEY)").await;
    let session = fixture.db.connect().await.unwrap();
    session.batch_execute("SET synchronous_commit = off").await.unwrap();
    let flushed = async |position: &zdm_core::Position| {
        let sql = format!("SELECT pg_current_wal_flush_lsn() >= '{position}'");
        fixture.db.value(&sql).await.unwrap() == "t"
    };
    // Others of this server may flush for us: then it is tried again.
    for i in 0..100 {
        session.batch_execute(&format!("INSERT INTO t VALUES ({i})")).await.unwrap();
        let (batches, after) = fixture.read(fixture.whole("t").await).await.unwrap();
        assert_eq!(batches[0].row_count(), i + 1);
        if flushed(&after.position).await {
            continue;
        }
        fixture.snapshot.flushed(&after.position).await.unwrap();
        assert!(flushed(&after.position).await);
        return;
    }
    panic!("no commit was ever unflushed");
}

/// The reader of an idle log reaches the point behind a chunk, wherever in a
/// page the log ends.
#[tokio::test]
async fn the_point_behind_a_chunk_is_one_that_the_log_reaches() {
    let fixture = Fixture::new("idle", "CREATE TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let chunk = fixture.whole("t").await;
    // A switch ends the log at the very end of a segment.
    fixture.db.execute("INSERT INTO t VALUES (2); SELECT pg_switch_wal()").await.unwrap();
    let (_, after) = fixture.read(chunk).await.unwrap();
    fixture.snapshot.flushed(&after.position).await.unwrap();
    let head = fixture.db.value("SELECT pg_current_wal_flush_lsn()").await.unwrap();
    assert!(lsn(&after.position) <= lsn(&zdm_core::Position::new(after.position.engine().clone(), head)));
}
