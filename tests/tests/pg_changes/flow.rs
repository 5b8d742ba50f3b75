//! Much, slow and cut: how the log flows.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use zdm_core::ErrorKind;
use zdm_core::change::Budget;
use zdm_pg::changes_probe as probe;
use zdm_servers::proxy::{Cut, Proxy};

use super::fixture::{MANY, Source, TABLE, at, error, read_to, server, settings, within};
use super::show::Replica;

#[tokio::test]
async fn a_huge_transaction_flows_in_many_batches_within_the_budget() {
    let source = Source::plain("huge").await;
    let start = source.begin().await;
    source
        .db
        .execute("INSERT INTO t SELECT i, repeat('x', 90) FROM generate_series(1, 60000) i")
        .await
        .unwrap();
    source
        .db
        .execute("UPDATE t SET id = -id WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0")
        .await
        .unwrap();
    let goal = source.head().await;
    let budget = Budget::new(1 << 20);
    let mut changes =
        probe::open(&source.config, source.options(&start).budget(budget.clone())).await.unwrap();
    let (mut replica, mut batches, mut rows, mut largest) = (Replica::default(), 0, 0, 0);
    read_to(&mut changes, goal, |batch| {
        replica.take(batch);
        batches += 1;
        rows += batch.row_count();
        largest = largest.max(batch.bytes());
        assert!(budget.available() < 1 << 20, "a batch holds its share");
    })
    .await;
    replica.expect(&source.db, "id, v", "t").await;
    assert!(rows >= 80_000 && batches > 20, "{rows} rows in {batches} batches");
    assert!(largest < 600 << 10, "{largest} bytes in one batch");
}

#[tokio::test]
async fn a_slow_consumer_does_not_lose_its_server() {
    let source = Source::with(server().await, "slow", "-c wal_sender_timeout=1s", TABLE, &["t"]).await;
    let start = source.begin().await;
    source.db.execute(MANY).await.unwrap();
    let goal = source.head().await;
    let options = source.options(&start).budget(Budget::new(64 << 10));
    let mut changes = probe::open(&source.config, options).await.unwrap();
    let mut replica = Replica::default();
    let first = changes.batches.next().await.unwrap().unwrap();
    replica.take(&first);
    // The server hears from us for three times its patience, though nothing is read.
    let sql = format!(
        "SELECT reply_time > now() FROM pg_stat_replication WHERE pid = {}",
        source.walsender().await
    );
    let after = source.db.value("SELECT now() + '3s'").await.unwrap();
    let sql = sql.replace("now()", &format!("'{after}'::timestamptz"));
    within("the third report", async {
        while source.db.value(&sql).await.expect("the server keeps us") != "t" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    drop(first);
    read_to(&mut changes, goal, |batch| replica.take(batch)).await;
    replica.expect(&source.db, "id, v", "t").await;
}

#[tokio::test]
async fn a_cut_connection_is_an_error_that_a_retry_mends() {
    let source = Source::plain("cut").await;
    let proxy = Proxy::start(source.config.host(), source.config.port()).await.unwrap();
    let config = settings(server().await, source.db.name()).host("127.0.0.1").port(proxy.port());
    let config = Arc::new(config.build().unwrap());
    let start = source.begin().await;
    source.db.execute(MANY).await.unwrap();
    let goal = source.head().await;
    for cut in [Cut::Reset, Cut::Close] {
        let mut changes =
            probe::open(&config, source.options(&start).budget(Budget::new(64 << 10))).await.unwrap();
        changes.batches.next().await.unwrap().unwrap();
        proxy.cut(cut).await;
        let error = error(&mut changes).await;
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(error.is_retryable());
    }
    let mut changes = source.open(&start).await.unwrap();
    let mut replica = Replica::default();
    read_to(&mut changes, goal, |batch| replica.take(batch)).await;
    replica.expect(&source.db, "id, v", "t").await;
}

#[tokio::test]
async fn the_end_of_the_log_is_known_while_the_consumer_is_behind() {
    let source = Source::plain("gauge").await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    source.db.execute(MANY).await.unwrap();
    let goal = source.head().await;
    let known = changes.head.wait_for(|head| head.position.as_ref().is_some_and(|p| at(p) >= goal));
    let head = within("the head", known).await.unwrap().clone();
    assert!(head.bytes_behind > 1 << 20, "{head:?}");
    read_to(&mut changes, goal, |_| {}).await;
    within("the head", changes.head.wait_for(|head| head.bytes_behind < 1 << 20)).await.unwrap();
}

#[tokio::test]
async fn an_idle_server_is_left_in_peace_and_one_that_hangs_is_given_up() {
    // The server's patience is ours, five times over.
    let (ddl, options) = (TABLE, "-c wal_sender_timeout=600ms");
    let source = Source::with(server().await, "hang", options, ddl, &["t"]).await;
    let proxy = Proxy::start(source.config.host(), source.config.port()).await.unwrap();
    let config =
        settings(server().await, source.db.name()).options(options).host("127.0.0.1").port(proxy.port());
    let config = Arc::new(config.build().unwrap());
    let start = source.begin().await;
    let mut changes = probe::open(&config, source.options(&start)).await.unwrap();
    // Longer than that, with nothing to say.
    source.db.execute("SELECT pg_sleep(7)").await.unwrap();
    source.db.execute("INSERT INTO t VALUES (1, 'still here')").await.unwrap();
    read_to(&mut changes, source.head().await, |_| {}).await;
    proxy.black_hole();
    let error = error(&mut changes).await;
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(error.to_string().contains("said nothing for too long"), "{error}");
}
