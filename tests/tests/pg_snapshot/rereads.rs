//! Rows that are read again: in which moment, and what it must have seen.

use std::sync::Arc;
use std::time::Duration;

use zdm_core::ErrorKind;
use zdm_core::change::{Batch, BatchBuilder, Field, Value, Xid};
use zdm_core::schema::Table;
use zdm_servers::postgres::{Database, PgOptions, Postgres};

use super::fixture::{Fixture, lsn};

const TABLES: &str =
    "CREATE TABLE t (i int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'old' FROM generate_series(1, 5) i;
    CREATE TABLE u (i int PRIMARY KEY, v text); INSERT INTO u VALUES (1, 'old')";

fn keys(table: &Arc<Table>, keys: &[i64]) -> Batch {
    let mut log = BatchBuilder::new();
    for &key in keys {
        log.delete(table, [Value::Int(key).into(), Field::Unchanged]).unwrap();
    }
    log.finish()
}

fn values(batch: &Batch) -> Vec<String> {
    batch.rows().map(|row| row.after().unwrap().cell(1).value().unwrap().to_string()).collect()
}

/// Runs a statement and gives the number of its transaction, as the log does.
async fn transaction(db: &Database, sql: &str) -> Xid {
    let client = db.connect().await.unwrap();
    client.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
    let row = client.query_one("SELECT txid_current()", &[]).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    Xid(u128::try_from(row.get::<_, i64>(0)).unwrap())
}

#[tokio::test]
async fn one_moment_serves_until_it_has_not_seen_who_asks() {
    let fixture = Fixture::new("one_moment", TABLES).await;
    let (t, u) = (fixture.table("t"), fixture.table("u"));
    let (rows, first) = fixture.snapshot.reread(t, &keys(t, &[1]), &[]).await.unwrap();
    assert_eq!(values(&rows), ["old"]);
    let xid = transaction(&fixture.db, "UPDATE t SET v = 'new'; UPDATE u SET v = 'new'").await;
    // Nobody says that it must have seen the update; of another table, too.
    let (rows, same) = fixture.snapshot.reread(t, &keys(t, &[2]), &[]).await.unwrap();
    assert_eq!((values(&rows), &same.position), (vec!["old".to_owned()], &first.position));
    let (rows, same) = fixture.snapshot.reread(u, &keys(u, &[1]), &[]).await.unwrap();
    assert_eq!((values(&rows), &same.position), (vec!["old".to_owned()], &first.position));
    let (rows, next) = fixture.snapshot.reread(u, &keys(u, &[1]), &[xid]).await.unwrap();
    assert_eq!(values(&rows), ["new"]);
    assert!(lsn(&next.position) > lsn(&first.position));
    let (rows, same) = fixture.snapshot.reread(t, &keys(t, &[3]), &[xid]).await.unwrap();
    assert_eq!((values(&rows), same.position), (vec!["new".to_owned()], next.position));
}

/// A snapshot that stays open keeps the source from removing dead rows.
#[tokio::test]
async fn a_moment_ends_with_its_time() {
    let fixture = Fixture::new("moment_ends", TABLES).await;
    let t = fixture.table("t");
    fixture.snapshot.reread(t, &keys(t, &[1]), &[]).await.unwrap();
    let open = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL";
    assert_eq!(fixture.db.value(open).await.unwrap(), "1");
    // Whoever sleeps now wakes at once.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    fixture.until(&format!("SELECT ({open}) = 0")).await;
}

/// To the moment the table would be empty, and its rows gone for ever.
#[tokio::test]
async fn a_moment_older_than_a_rewrite_of_a_table_is_not_used_for_it() {
    let fixture = Fixture::new("older_than_rewrite", TABLES).await;
    let (t, u) = (fixture.table("t"), fixture.table("u"));
    fixture.snapshot.reread(t, &keys(t, &[1]), &[]).await.unwrap();
    fixture.db.execute("TRUNCATE u; INSERT INTO u VALUES (1, 'again')").await.unwrap();
    let (rows, _) = fixture.snapshot.reread(u, &keys(u, &[1]), &[]).await.unwrap();
    assert_eq!(values(&rows), ["again"]);
}

/// The same while it happens: what the catalog shows is not yet true.
#[tokio::test]
async fn a_rewrite_under_way_is_waited_for_before_a_moment_is_used() {
    let fixture = Fixture::new("rewrite_under_moment", TABLES).await;
    let (t, u) = (fixture.table("t"), fixture.table("u"));
    fixture.snapshot.reread(t, &keys(t, &[1]), &[]).await.unwrap();
    let session = fixture.db.connect().await.unwrap();
    session.batch_execute("BEGIN; TRUNCATE u; INSERT INTO u VALUES (1, 'again')").await.unwrap();
    let wanted = keys(u, &[1]);
    let read = fixture.snapshot.reread(u, &wanted, &[]);
    let finish = async {
        fixture
            .until("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'u'::regclass AND NOT granted)")
            .await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    let (read, ()) = tokio::join!(read, finish);
    assert_eq!(values(&read.unwrap().0), ["again"]);
}

#[tokio::test]
async fn a_table_that_changed_behind_a_moment_is_refused() {
    let fixture = Fixture::new("changed_behind_moment", TABLES).await;
    let (t, u) = (fixture.table("t"), fixture.table("u"));
    fixture.snapshot.reread(t, &keys(t, &[1]), &[]).await.unwrap();
    fixture.db.execute("ALTER TABLE u ADD w int").await.unwrap();
    let error = fixture.snapshot.reread(u, &keys(u, &[1]), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error}");
}

/// Its row would be taken for gone, and nothing would bring it again.
#[tokio::test]
async fn a_commit_that_the_log_shows_is_waited_for_until_a_select_sees_it() {
    let options = PgOptions::new()
        .setting("synchronous_standby_names", "nobody")
        .setting("synchronous_commit", "local");
    let server = Postgres::start(options).await.unwrap();
    let fixture = Fixture::on(&server, "reread_invisible", TABLES).await;
    let waiting = fixture.db.connect().await.unwrap();
    waiting
        .batch_execute("SET synchronous_commit = on; BEGIN; UPDATE t SET i = 100 WHERE i = 1")
        .await
        .unwrap();
    let row = waiting.query_one("SELECT txid_current(), pg_backend_pid()", &[]).await.unwrap();
    let (xid, pid): (i64, i32) = (row.get(0), row.get(1));
    let commit = tokio::spawn(async move { waiting.batch_execute("COMMIT").await });
    let waits = format!("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {pid}");
    fixture.until(&format!("SELECT coalesce(({waits}), false)")).await;

    let t = fixture.table("t");
    let behind = [Xid(u128::try_from(xid).unwrap())];
    let keys = keys(t, &[1, 100]);
    let release = async {
        // Behind its first look, it has begun again.
        let looked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE '% snapshot' \
                      AND datname = current_database() AND query LIKE 'COMMIT%')";
        fixture.until(looked).await;
        fixture.db.execute(&format!("SELECT pg_cancel_backend({pid})")).await.unwrap();
    };
    let (read, ()) = tokio::join!(fixture.snapshot.reread(t, &keys, &behind), release);
    commit.await.unwrap().unwrap();
    let (rows, _) = read.unwrap();
    let keys: Vec<_> =
        rows.rows().map(|row| row.after().unwrap().cell(0).value().unwrap().as_i64()).collect();
    assert_eq!(keys, [Some(100)]);
}
