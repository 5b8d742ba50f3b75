//! What a snapshot has seen, while others write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use mysql_async::prelude::Queryable;
use zdm_core::connect::{Bounds, RunName, Source as _, StreamOptions};
use zdm_core::{ErrorKind, change::Item};
use zdm_servers::mysql::MySqlOptions;

use super::fixture::{Fixture, PATIENCE, column, config, each};

/// A table without a key, and a row in it for each transaction of some
/// writers: what the chunk has and what the stream has beyond it are each row
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_a_key_is_seen_exactly() {
    for options in each() {
        let fixture = Fixture::new(options, "CREATE TABLE t (w INT, n INT)").await;
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (stop, shop) = (Arc::clone(&stop), fixture.shop.clone());
                tokio::spawn(async move {
                    let mut conn = shop.connect().await.unwrap();
                    let mut written = 0;
                    while !stop.load(Ordering::Relaxed) {
                        conn.query_drop(format!("INSERT INTO t VALUES ({writer}, {written})")).await.unwrap();
                        written += 1;
                    }
                    written
                })
            })
            .collect();
        let mut chunks = Vec::new();
        for _ in 0..20 {
            let (batches, after) = fixture.read(fixture.chunk("t", Bounds("{}".to_owned()))).await.unwrap();
            let rows: Vec<String> = column(&batches, 0)
                .into_iter()
                .zip(column(&batches, 1))
                .map(|(w, n)| format!("{w}/{n}"))
                .collect();
            chunks.push((rows, after.visibility.expect("it is known exactly")));
        }
        stop.store(true, Ordering::Relaxed);
        let mut total = 0;
        for writer in writers {
            total += writer.await.unwrap();
        }
        let (_, last) = fixture.read(fixture.chunk("t", Bounds("{}".to_owned()))).await.unwrap();
        let run: RunName = "run".parse().unwrap();
        let options = StreamOptions::new(run, fixture.snapshot.start().clone(), Arc::clone(&fixture.schema));
        let mut changes = fixture.source.changes(options).await.unwrap();
        let mut log = Vec::new();
        let goal = last.position;
        let reading = async {
            let mut xid = None;
            loop {
                let batch = changes.batches.try_next().await.unwrap().unwrap();
                for item in batch.items() {
                    match item {
                        Item::Begin(begin) => xid = Some(begin.xid),
                        Item::Rows(run) => {
                            for row in batch.rows_of(run) {
                                let cell = |at| row.after().unwrap().cell(at).value().unwrap().to_string();
                                log.push((format!("{}/{}", cell(0), cell(1)), xid.unwrap()));
                            }
                        }
                        _ => {}
                    }
                    if item.position().is_some_and(|at| fixture.source.reached(at, &goal).unwrap()) {
                        return;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the stream passes the goal");
        assert_eq!(log.len(), total);
        for (rows, visibility) in chunks {
            let mut expected: Vec<&String> = log
                .iter()
                .filter(|(_, xid)| fixture.snapshot.saw(&visibility, *xid).unwrap())
                .map(|(r, _)| r)
                .collect();
            let mut rows: Vec<&String> = rows.iter().collect();
            rows.sort();
            expected.sort();
            assert_eq!(rows, expected);
        }
        fixture.server.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_start_names_whom_it_waits_for() {
    for options in [each()[0].clone(), each()[1].clone(), MySqlOptions::mysql().version("9").gtids(false)] {
        let fixture = Fixture::new(options, "CREATE TABLE t (id INT PRIMARY KEY)").await;
        let mut conn = fixture.shop.connect().await.unwrap();
        let soon = config(&fixture.server).begin_timeout(Duration::from_secs(1)).build().unwrap();
        let source = zdm_mysql::MySqlSource::new(soon);
        let run: RunName = "late".parse().unwrap();
        conn.query_drop("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
        let error = source.snapshot(&run, &fixture.schema, None).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains(&format!("KILL {}", conn.id())), "{error}");
        conn.query_drop(
            "ROLLBACK; XA START 'gone'; INSERT INTO t VALUES (2); XA END 'gone'; XA PREPARE 'gone'",
        )
        .await
        .unwrap();
        let error = source.snapshot(&run, &fixture.schema, None).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        conn.query_drop("XA COMMIT 'gone'").await.unwrap();
        // Who only reads is not waited for.
        conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT; SELECT * FROM t").await.unwrap();
        source.snapshot(&run, &fixture.schema, None).await.unwrap();
        fixture.server.close().await.unwrap();
    }
}

/// The server keeps its list of transactions as it was while somebody asks for
/// it all the time: who began since is not in it, and must be waited for.
#[tokio::test]
async fn a_list_of_transactions_that_others_keep_old_is_not_believed() {
    for options in each() {
        let fixture = Fixture::new(options, "CREATE TABLE t (id INT PRIMARY KEY)").await;
        let (mut writer, mut reader) =
            (fixture.shop.connect().await.unwrap(), fixture.shop.connect().await.unwrap());
        let look = "SELECT COUNT(*) FROM information_schema.INNODB_TRX";
        reader.query_drop(look).await.unwrap();
        writer.query_drop("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
        let keeping = tokio::spawn(async move {
            for _ in 0..60 {
                reader.query_drop(look).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let soon = config(&fixture.server).begin_timeout(Duration::from_secs(3)).build().unwrap();
        let run: RunName = "kept".parse().unwrap();
        let begun = zdm_mysql::MySqlSource::new(soon).snapshot(&run, &fixture.schema, None).await;
        let error = begun.err().expect("a start waits for who is writing");
        assert!(error.to_string().contains(&format!("KILL {}", writer.id())), "{error}");
        keeping.await.unwrap();
        fixture.server.close().await.unwrap();
    }
}
