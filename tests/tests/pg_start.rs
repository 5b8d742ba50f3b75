//! The beginning of a run: whose it is, and what its start waits for.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::time::Duration;

use zdm_servers::postgres::Database;
use zdm_tests::migrator::End;
use zdm_tests::pair::Pair;
use zdm_tests::within;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')";

fn caught_up() -> End {
    End::Done("caught_up".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_target_is_refused_and_takes_nothing_from_the_first() {
    let pair = Pair::start().await;
    let case = pair.case("whose", TABLE).await;
    let other = pair.target.create_database("another").await.unwrap();
    let plan = case.plan().until_caught_up();
    let second = plan.clone().with("to", other.url());
    // Killed as soon as it has something at the source.
    let killed = plan.clone().with("kill-at", "start::snapshot:1");
    assert_eq!(killed.run().await, End::Killed);
    for _ in 0..2 {
        let (kind, words) = (second.run().await, "the source keeps a run of that name for another target");
        assert!(kind.error().0 == "Conflict" && kind.error().1.contains(words), "{kind:?}");
    }
    assert_eq!(plan.run().await, caught_up());
    case.sql("INSERT INTO t VALUES (2, 'b')").await;
    let end = second.run().await;
    assert!(
        end.error().1.contains("database=whose") && end.error().1.contains("database=another"),
        "{end:?}"
    );
    // It goes on where it was: the slot is still its own.
    assert_eq!(plan.run().await, caught_up());
    case.equal().await;
    assert_eq!(other.value("SELECT to_regclass('t') IS NULL").await.unwrap(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_targets_at_once_one_gets_the_run() {
    let pair = Pair::start().await;
    let case = pair.case("race", TABLE).await;
    let other = pair.target.create_database("rival").await.unwrap();
    let plan = case.plan().until_caught_up();
    let rival = plan.clone().with("to", other.url());
    let (first, second) = tokio::join!(plan.run(), rival.run());
    let (won, lost) = if first == caught_up() { (first, second) } else { (second, first) };
    assert_eq!(won, caught_up(), "{lost:?}");
    assert_eq!(lost.error().0, "Conflict", "{lost:?}");
}

async fn until(database: &Database, sql: &str) {
    let holds = async {
        while database.value(sql).await.unwrap() != "t" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(sql, holds).await;
}

/// Its commit is in the log before the slot's first position, so that the
/// stream leaves it out, and it waits for a standby, so that no SELECT sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_commit_that_neither_stream_nor_select_would_show() {
    let pair = Pair::with(|options| {
        options.setting("synchronous_standby_names", "nobody").setting("synchronous_commit", "local")
    })
    .await;
    let case = pair.case("between", TABLE).await;
    // The slot waits for who is in progress when it begins, and then for who
    // is when those have ended: after that nobody more is waited for.
    let [one, two, hidden] =
        [connect(&case.source).await, connect(&case.source).await, connect(&case.source).await];
    one.batch_execute("BEGIN; INSERT INTO t VALUES (10, 'one')").await.unwrap();
    let mut migrator = case.plan().until_caught_up().start();
    let slot_waits = |xid: &str| {
        format!(
            "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted \
             AND l.locktype = 'transactionid' AND l.transactionid::text = '{xid}' AND a.application_name LIKE '%slot')"
        )
    };
    let xid = async |client: &tokio_postgres::Client| -> String {
        let sql = "SELECT (txid_current() % 4294967296)::text";
        client.query_one(sql, &[]).await.unwrap().get(0)
    };
    until(&case.source, &slot_waits(&xid(&one).await)).await;
    two.batch_execute("BEGIN; INSERT INTO t VALUES (11, 'two')").await.unwrap();
    one.batch_execute("COMMIT").await.unwrap();
    until(&case.source, &slot_waits(&xid(&two).await)).await;
    let pid: i32 = hidden.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    hidden.batch_execute("SET synchronous_commit = on").await.unwrap();
    let commit =
        tokio::spawn(async move { hidden.batch_execute("INSERT INTO t VALUES (12, 'hidden')").await });
    until(
        &case.source,
        &format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'SyncRep')"),
    )
    .await;
    two.batch_execute("COMMIT").await.unwrap();
    // The slot is made; what comes is either the wait or the end of the run.
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name LIKE '%begin' AND query LIKE '%txid_snapshot_xmin(pg_catalog.txid_current%')";
    tokio::select! {
        copied = migrator.status(|status| status["phase"] == "following") => {
            assert!(!copied, "the run has gone on without the commit that nobody sees");
        }
        () = until(&case.source, waits) => {}
    }
    case.sql(&format!("SELECT pg_cancel_backend({pid})")).await;
    commit.await.unwrap().unwrap();
    assert_eq!(migrator.end().await, caught_up());
    case.equal().await;
    assert_eq!(
        case.target.value("SELECT string_agg(v, ' ' ORDER BY id) FROM t").await.unwrap(),
        "a one two hidden"
    );
}

async fn connect(database: &Database) -> tokio_postgres::Client {
    database.connect().await.unwrap()
}
