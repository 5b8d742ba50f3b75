//! From where a stream goes on, and what the server may forget.

use std::time::Duration;

use futures::StreamExt;
use zdm_core::change::Item;
use zdm_core::{Engine, ErrorKind, Position};
use zdm_pg::changes_probe as probe;

use super::fixture::{SMALL, Source, at, error, read_to, server, within};
use super::show::show;

#[tokio::test]
async fn a_stream_from_any_commit_gives_the_later_transactions() {
    let source =
        Source::new(server().await, "resume", "CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]).await;
    let start = source.begin().await;
    for id in 0..8 {
        let sql = format!("BEGIN; INSERT INTO t VALUES ({id}, 0); UPDATE t SET v = v + 1; COMMIT");
        source.db.execute(&sql).await.unwrap();
    }
    let (goal, mut all, mut commits) = (source.head().await, Vec::new(), vec![(start.clone(), 0)]);
    let mut changes = source.open(&start).await.unwrap();
    read_to(&mut changes, goal, |batch| {
        for (index, item) in batch.items().iter().enumerate() {
            all.extend(show(&batch.slice(index..index + 1)));
            if let Item::Commit(commit) = item {
                commits.push((commit.position.clone(), all.len()));
            }
        }
    })
    .await;
    drop(changes);
    assert_eq!(commits.len(), 9);
    for (position, from) in commits {
        assert_eq!(source.lines(&position).await, all[from..], "from {position}");
    }
    assert_eq!(source.confirmed().await, at(&start), "nothing was acknowledged");
}

#[tokio::test]
async fn an_idle_source_lets_its_log_go() {
    let source = Source::new(
        server().await,
        "idle",
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)",
        &["t"],
    )
    .await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    for _ in 0..3 {
        source.db.execute("INSERT INTO other SELECT generate_series(1, 1000)").await.unwrap();
        let goal = source.head().await;
        let mut last = None;
        read_to(&mut changes, goal, |batch| {
            assert_eq!(batch.row_count(), 0);
            last = batch.items().iter().rev().find_map(|item| item.position().cloned()).or(last.take());
        })
        .await;
        changes.ack.durable(last.unwrap());
        within("the slot", async {
            while source.confirmed().await < goal {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn the_last_acknowledgement_is_reported_when_the_stream_ends() {
    let source = Source::new(server().await, "lastack", SMALL, &["t"]).await;
    let start = source.begin().await;
    source.db.execute("INSERT INTO t VALUES (1)").await.unwrap();
    let goal = source.head().await;
    let options = source.options(&start);
    let cancel = options.cancel.clone();
    let mut changes = probe::open(&source.config, options).await.unwrap();
    let mut last = None;
    read_to(&mut changes, goal, |batch| {
        last = batch.items().iter().rev().find_map(|item| item.position().cloned()).or(last.take());
    })
    .await;
    cancel.cancel();
    while let Some(batch) = within("the end", changes.batches.next()).await {
        batch.unwrap();
    }
    // Cancelled, the consumer still commits what it has, and says so.
    let last = last.unwrap();
    changes.ack.durable(last.clone());
    drop(changes);
    within("the slot", async {
        while source.walsender().await != "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(source.confirmed().await, at(&last));
    // What was acknowledged is gone: a start from before it is refused.
    let error = source.open(&start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap);
    assert!(error.to_string().contains("ahead of the run's progress"), "{error}");
    assert!(source.open(&last).await.is_ok());
}

#[tokio::test]
async fn an_acknowledgement_of_what_was_not_handed_over_ends_the_stream() {
    let source = Source::new(server().await, "ackahead", SMALL, &["t"]).await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    changes.ack.durable(Position::new(Engine::new("postgresql"), "FFFF/0"));
    let error = error(&mut changes).await;
    assert!(error.to_string().contains("not handed over"), "{error}");
    assert_eq!(source.confirmed().await, at(&start));
}
