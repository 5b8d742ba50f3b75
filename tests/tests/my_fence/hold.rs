//! A hold: who waits for it, and for whom it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use mysql_async::prelude::Queryable;
use zdm_core::ErrorKind;
use zdm_core::connect::{Fence as _, HoldOptions};
use zdm_tests::within;

use super::fixture::{Home, homes, number};

const WRITES: [&str; 9] = [
    "INSERT INTO t VALUES (2, 'b')",
    "UPDATE t SET v = 'c'",
    "DELETE FROM t",
    "REPLACE INTO t VALUES (1, 'c')",
    "INSERT INTO t VALUES (1, 'c') ON DUPLICATE KEY UPDATE v = 'c'",
    "INSERT INTO `u 2` SELECT id + 1, v FROM t",
    // No trigger is asked by these.
    "TRUNCATE t",
    "ALTER TABLE t ADD x INT",
    "DROP TABLE `u 2`",
];

#[tokio::test]
async fn a_hold_makes_writers_wait_and_lets_readers_through() {
    for home in homes("holds").await {
        let hold = home.hold().await;
        let tried = WRITES.map(async |write| {
            let mut writer = home.hasty().await;
            (write, number(writer.query_drop(write).await))
        });
        for (write, number) in join_all(tried).await {
            assert_eq!(number, 1205, "{write} did not wait");
        }
        assert_eq!(home.database.value("SELECT v FROM t").await.unwrap(), "a");
        // The run's own writers are not kept out.
        let mut own = home.hasty().await;
        own.query_drop("SET @zdm_run = 'main'").await.unwrap();
        own.query_drop("UPDATE t SET v = 'ours'").await.unwrap();

        let mut writer = home.writer().await;
        let waiting = tokio::spawn(async move { writer.query_drop(WRITES[0]).await });
        home.somebody_waits().await;
        hold.release().await.unwrap();
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_hold_waits_for_open_transactions_and_names_them() {
    for home in homes("waits").await {
        home.fence.arm(&home.run, &home.schema, HoldOptions::default()).await.unwrap();
        let mut writer = home.writer().await;
        writer.query_drop("BEGIN").await.unwrap();
        writer.query_drop("UPDATE t SET v = 'open'").await.unwrap();
        let named = format!("connection {}", writer.id());
        let tries = async {
            loop {
                let error = home.quick(600).await.err().unwrap();
                assert_eq!(error.kind(), ErrorKind::Timeout);
                if error.to_string().contains(&named) {
                    return;
                }
                // Other tests look at this server's transactions too, which it
                // lists anew only after a moment in which nobody asks.
            }
        };
        within("the name of who is in the way", tries).await;
        writer.query_drop("COMMIT").await.unwrap();
        drop(home.quick(10_000).await.unwrap());

        // Prepared, it belongs to no session any more.
        for sql in ["XA START 'x'", "UPDATE `u 2` SET v = 'xa'", "XA END 'x'", "XA PREPARE 'x'"] {
            writer.query_drop(sql).await.unwrap();
        }
        drop(writer);
        assert_eq!(home.quick(600).await.err().unwrap().kind(), ErrorKind::Timeout);
        home.server.execute("XA COMMIT 'x'").await.unwrap();
        drop(home.quick(10_000).await.unwrap());
    }
}

/// A transaction that wrote before the tables were armed holds no row of ours:
/// arming itself must have waited for it.
#[tokio::test]
async fn a_transaction_from_before_the_triggers_is_waited_for() {
    for home in homes("earlier").await {
        let mut writer = home.writer().await;
        writer.query_drop("BEGIN").await.unwrap();
        writer.query_drop("UPDATE t SET v = 'unseen'").await.unwrap();
        assert_eq!(home.quick(600).await.err().unwrap().kind(), ErrorKind::Timeout);
        let quick = HoldOptions { deadline: std::time::Duration::from_millis(600), ..HoldOptions::default() };
        let armed = home.fence.arm(&home.run, &home.schema, quick).await;
        assert_eq!(armed.unwrap_err().kind(), ErrorKind::Timeout);
        writer.query_drop("COMMIT").await.unwrap();
        drop(home.quick(10_000).await.unwrap());
    }
}

/// Transactions over both tables, in both orders: holds come and go among
/// them, and the deadlocks that they close are the holds' own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_that_come_and_go_make_no_writer_fail() {
    for home in homes("come_and_go").await {
        home.fence.arm(&home.run, &home.schema, HoldOptions::default()).await.unwrap();
        let home = Arc::new(home);
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> =
            (0..4_i32).map(|n| tokio::spawn(work(Arc::clone(&home), Arc::clone(&stop), n))).collect();
        for _ in 0..15 {
            let hold = home.quick(20_000).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            hold.release().await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            assert!(worker.await.unwrap() > 0, "a writer has done nothing");
        }
    }
}

async fn work(home: Arc<Home>, stop: Arc<AtomicBool>, n: i32) -> usize {
    let mut writer = home.writer().await;
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        // Rows of its own, so that nobody but a hold can be in its way.
        let id = 100 * (n + 1);
        let tables = if n % 2 == 0 { ["t", "`u 2`"] } else { ["`u 2`", "t"] };
        writer.query_drop("BEGIN").await.unwrap();
        for table in tables {
            writer.query_drop(format!("REPLACE INTO {table} VALUES ({id}, 'x')")).await.unwrap();
        }
        writer.query_drop("COMMIT").await.unwrap();
        done += 1;
    }
    done
}

#[tokio::test]
async fn a_server_that_replicates_is_not_held() {
    for options in super::fixture::each() {
        let home = Home::on(super::fixture::start(options).await, "replica").await;
        drop(home.hold().await);
        let is_mariadb = home.server.version().await.unwrap().contains("MariaDB");
        // Nobody is there; what applies is at work all the same.
        let begin = if is_mariadb {
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'x'; START SLAVE"
        } else {
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1, SOURCE_USER = 'x'; START REPLICA"
        };
        home.server.execute(begin).await.unwrap();
        let error = home.quick(600).await.err().unwrap();
        assert!(error.to_string().contains("replicates"), "{error}");
        home.server.execute(if is_mariadb { "STOP SLAVE" } else { "STOP REPLICA" }).await.unwrap();
        drop(home.hold().await);
    }
}
