//! A live database moves while its server sends large transactions before
//! they end, and the migrating process is killed in their middle.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use zdm_servers::postgres::Database;
use zdm_tests::migrator::{End, Migrator, Plan};
use zdm_tests::pair::{Case, Pair};
use zdm_tests::within;

const TABLES: &str = "CREATE TABLE t (id bigint PRIMARY KEY, v text, big text);
                      ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL;
                      INSERT INTO t SELECT i, md5(i::text), repeat(md5(i::text), 200) FROM generate_series(1, 500) i";

async fn pair() -> Pair {
    Pair::with(|options| options.setting("logical_decoding_work_mem", "64kB")).await
}

/// All that is undecided goes to disk at once.
fn plan(case: &Case) -> Plan {
    case.plan().with("spool-memory", 0)
}

async fn connect(database: &Database) -> tokio_postgres::Client {
    database.connect().await.unwrap()
}

/// Waits until the run's stream was sent a part of a transaction that is open.
async fn sent_early(case: &Case) {
    let sql = "SELECT coalesce(sum(stream_count), 0) > 0 FROM pg_stat_replication_slots";
    within("a part of an open transaction", async {
        while case.source.value(sql).await.unwrap() != "t" {
            case.sql("SELECT pg_logical_emit_message(false, 'test', 'wakes')").await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    case.sql("SELECT pg_stat_reset_replication_slot(slot_name) FROM pg_replication_slots").await;
}

async fn arrived(case: &Case, migrator: &mut Migrator) {
    migrator.applied(&case.head().await).await;
    case.equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_within_streamed_transactions_arrives_whole() {
    let pair = pair().await;
    let case = pair.case("killed", TABLES).await;
    let (a, b) = (connect(&case.source).await, connect(&case.source).await);
    let run = async |who: &tokio_postgres::Client, sql: &str| who.batch_execute(sql).await.unwrap();
    let rows = |from: u32| {
        format!(
            "INSERT INTO t SELECT i, repeat(md5(i::text), 4) FROM generate_series({from}, {from} + 1999) i;"
        )
    };
    let mut migrator = plan(&case).start();
    migrator.following().await;
    // Killed while two are open; what commits between them is durable.
    run(&a, &format!("BEGIN; UPDATE t SET v = 'a' WHERE id <= 100; {}", rows(10_000))).await;
    run(
        &b,
        &format!(
            "BEGIN; UPDATE t SET v = 'b' WHERE id > 400; {} SAVEPOINT s; {}",
            rows(20_000),
            rows(30_000)
        ),
    )
    .await;
    sent_early(&case).await;
    case.sql("INSERT INTO t VALUES (-1, 'between')").await;
    migrator.applied(&case.head().await).await;
    migrator.kill().await;
    // One goes on and ends while nobody reads, the other behind the next start.
    run(&b, &format!("ROLLBACK TO s; {} COMMIT", rows(40_000))).await;
    let mut migrator = plan(&case).start();
    migrator.following().await;
    run(&a, &format!("SAVEPOINT s; DELETE FROM t WHERE id < 11000 AND id > 0; {}", rows(50_000))).await;
    sent_early(&case).await;
    migrator.kill().await;
    // Killed while it is read back, three times at different places.
    run(
        &a,
        &format!(
            "ROLLBACK TO s; UPDATE t SET id = -id WHERE id BETWEEN 10000 AND 10999; {} COMMIT",
            rows(60_000)
        ),
    )
    .await;
    for place in [1, 2, 4] {
        let end = plan(&case).with("kill-at", format!("changes::streamed:{place}")).run().await;
        assert_eq!(end, End::Killed, "at {place}");
    }
    let mut migrator = plan(&case).start();
    migrator.following().await;
    arrived(&case, &mut migrator).await;
    // And one that comes to nothing.
    run(&a, &format!("BEGIN; DELETE FROM t; {} TRUNCATE t; {}", rows(70_000), rows(80_000))).await;
    sent_early(&case).await;
    run(&a, "ROLLBACK").await;
    run(&a, "INSERT INTO t VALUES (-2, 'last')").await;
    arrived(&case, &mut migrator).await;
    assert_eq!(migrator.stop().await, End::Done("stopped".to_owned()));
}
