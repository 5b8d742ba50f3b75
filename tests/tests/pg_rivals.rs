//! The ways in which others lost rows, each with its name.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use futures::StreamExt;
use zdm_servers::postgres::StopMode;
use zdm_tests::migrator::{End, Plan, lsn};
use zdm_tests::pair::{Case, Pair};
use zdm_tests::within;

/// A hundred rows in several chunks, most of them in cells that an update
/// does not log again.
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, n int, v text);
    ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
    INSERT INTO t SELECT i, i, repeat(md5(i::text), 100) FROM generate_series(1, 100) i; ANALYZE t";

fn done(state: &str) -> End {
    End::Done(state.to_owned())
}

/// Does something at the source while the copy stands behind one of its
/// chunks, and goes on; or is killed there (behind the second one once more
/// when it catches up), and goes on.
async fn behind_chunk(pair: &Pair, name: &str, meanwhile: &str, chunk: usize, killed: bool) {
    let on = if killed { "killed" } else { "on" };
    let case = pair.case(&format!("{name}_{on}_{chunk}"), TABLE).await;
    let plan = case.plan().with("jobs", 1).until_caught_up();
    let mut migrator = plan.clone().with("hold-at", format!("copy::after_commit:{chunk}")).start();
    migrator.held().await;
    assert_eq!(chunks(&case, "done").await, chunk, "{name}");
    case.sql(meanwhile).await;
    if killed {
        migrator.kill().await;
        if chunk == 2 {
            let again = plan.with("kill-at", "follow::before_commit:1");
            assert_eq!(again.run().await, End::Killed, "{name}");
        }
    } else {
        migrator.go().await;
        assert_eq!(migrator.end().await, End::Done("caught_up".to_owned()), "{name}");
    }
    arrives(&case).await;
}

/// How many chunks the target knows, of those of which that is true.
async fn chunks(case: &Case, which: &str) -> usize {
    let count = format!("SELECT count(*) FROM zdm.chunk WHERE {which}");
    case.target.value(&count).await.unwrap().parse().unwrap()
}

/// The same at every place: killed behind each of so many chunks, and once
/// not killed.
async fn between_chunks(pair: &Pair, all: usize, name: &str, meanwhile: &str) {
    let places = (1..=all).map(|chunk| (chunk, true)).chain([(2, false)]);
    futures::stream::iter(places)
        .for_each_concurrent(3, |(chunk, killed)| behind_chunk(pair, name, meanwhile, chunk, killed))
        .await;
}

async fn arrives(case: &Case) {
    assert_eq!(case.plan().until_caught_up().run().await, done("caught_up"), "{}", case.name);
    case.equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_and_the_changes_meet() {
    // Each case keeps its slot.
    let pair = Pair::with(|options| options.setting("max_replication_slots", 60)).await;
    let probe = pair.case("probe", TABLE).await;
    arrives(&probe).await;
    let all = chunks(&probe, "done").await;
    assert!(all > 4, "{all} chunks have few places between them");
    between_chunks(
        &pair,
        all,
        "keys_move",
        "UPDATE t SET id = id + 1000 WHERE id <= 10; UPDATE t SET id = -id WHERE id BETWEEN 90 AND 100;
         UPDATE t SET id = id + 5000 WHERE id > 1005; UPDATE t SET n = 0 WHERE id < 0;
         UPDATE t SET id = 7 WHERE id = -95",
    )
    .await;
    between_chunks(
        &pair,
        all,
        "truncate",
        "TRUNCATE t; INSERT INTO t SELECT i, 0, 'after' FROM generate_series(90, 110) i",
    )
    .await;
    between_chunks(
        &pair,
        all,
        "again",
        "DELETE FROM t WHERE id IN (1, 2, 99, 100); INSERT INTO t VALUES (1, 0, 'x'), (100, 0, 'y');
         DELETE FROM t WHERE id = 1; BEGIN; DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (3, 3, 'z'); COMMIT",
    )
    .await;
}

/// A row that is read again comes from a moment ahead of the stream, here
/// from one in which it has another key. Up to that moment the log speaks of a row
/// that the target lacks, also to a process that did not read it itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_read_again_moves_the_consistent_point_on() {
    let pair = Pair::start().await;
    for killed in [false, true] {
        let case = pair.case(if killed { "ahead_killed" } else { "ahead_on" }, TABLE).await;
        let plan = case.plan().with("jobs", 1).until_caught_up();
        let copying = plan.clone().with("kill-at", "copy::after_commit:2");
        assert_eq!(copying.run().await, End::Killed);
        // Into a chunk that was copied, from one that was not; and not at
        // once behind the first chunk, which is not all of the copy.
        case.sql("UPDATE t SET n = -1 WHERE id = 2").await;
        case.sql("UPDATE t SET id = -id WHERE id = 95").await;
        let copied = plan.clone().with("kill-at", "attempt::keyed:1");
        assert_eq!(copied.run().await, End::Killed);
        // Behind all that the copy has seen, in commits of their own.
        for sql in [
            "UPDATE t SET n = 0 WHERE id = 1",
            "UPDATE t SET n = 0 WHERE id = -95",
            "UPDATE t SET id = 5000 WHERE id = -95",
        ] {
            case.sql(sql).await;
        }
        if killed {
            let applied = plan.clone().with("kill-at", "follow::after_commit:1");
            assert_eq!(applied.run().await, End::Killed);
        }
        arrives(&case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_no_key_has_each_row_once() {
    let pair = Pair::start().await;
    let case = pair
        .case(
            "no_key",
            "CREATE TABLE log (v text); ALTER TABLE log REPLICA IDENTITY FULL;
             CREATE TABLE emptied (v text); ALTER TABLE emptied REPLICA IDENTITY FULL;
             CREATE TABLE keyed (id int PRIMARY KEY);
             INSERT INTO log SELECT 'row' FROM generate_series(1, 100); INSERT INTO emptied VALUES ('old')",
        )
        .await;
    let mut migrator = case.plan().with("hold-at", "start::prepared:1").until_caught_up().start();
    migrator.held().await;
    // In the stream, and seen by the copy too.
    case.sql(
        "INSERT INTO log SELECT 'row' FROM generate_series(1, 7); DELETE FROM log WHERE ctid = (SELECT max(ctid) FROM log);
         BEGIN; TRUNCATE emptied, keyed; INSERT INTO emptied VALUES ('new'); INSERT INTO keyed VALUES (1); COMMIT",
    )
    .await;
    migrator.go().await;
    assert_eq!(migrator.end().await, done("caught_up"));
    case.equal().await;
    case.sql("TRUNCATE log; INSERT INTO log VALUES ('last'), ('last')").await;
    arrives(&case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_equal_without_being_the_same() {
    let pair = Pair::start().await;
    let case = pair
        .case(
            "spelling",
            "CREATE TABLE t (k numeric PRIMARY KEY, v text, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
             INSERT INTO t SELECT i + 0.0, i, repeat('x', 3000) FROM generate_series(1, 50) i",
        )
        .await;
    arrives(&case).await;
    case.sql(
        "UPDATE t SET k = k + 0.000 WHERE k < 10; UPDATE t SET k = trim_scale(k) WHERE k BETWEEN 5 AND 20;
         BEGIN; UPDATE t SET k = 30.00 WHERE k = 30; UPDATE t SET v = 'new' WHERE k = 30; UPDATE t SET k = 1030 WHERE k = 30;
         UPDATE t SET k = 30.000 WHERE k = 31; COMMIT;
         BEGIN; DELETE FROM t WHERE k = 40; INSERT INTO t VALUES (40.0000, 'again', 'small'); UPDATE t SET k = 40 WHERE k = 40; COMMIT",
    )
    .await;
    arrives(&case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_continued_is_refused() {
    let pair = Pair::start().await;
    let case = pair.case("refused", TABLE).await;
    arrives(&case).await;
    case.sql("UPDATE t SET n = -1").await;
    // The database of the same name on another server.
    let other = pair.target.create_database("refused_other").await.unwrap();
    other.execute(TABLE).await.unwrap();
    let elsewhere = Plan::new(&other.url(), &case.target.url()).with("run", &case.name).until_caught_up();
    let end = elsewhere.run().await;
    assert_eq!(end.error().0, "Gap", "{end:?}");
    // A slot of the same name, made anew.
    case.sql("SELECT pg_drop_replication_slot('zdm_refused')").await;
    let end = case.plan().until_caught_up().run().await;
    assert_eq!(end.error().0, "Gap", "{end:?}");
    case.sql("SELECT pg_create_logical_replication_slot('zdm_refused', 'pgoutput')").await;
    let end = case.plan().until_caught_up().run().await;
    assert_eq!(end.error().0, "Gap", "{end:?}");
    assert_eq!(case.target.value("SELECT count(*) FROM t WHERE n = -1").await.unwrap(), "0");
}

/// What a standby lacked when it was promoted is in no log any more, and its
/// log goes on as if it had never been.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_promoted_is_refused() {
    let pair = Pair::start().await;
    let case = pair.case("promoted", TABLE).await;
    arrives(&case).await;
    pair.source.stop(StopMode::Fast).await.unwrap();
    std::fs::write(pair.source.data_dir().unwrap().join("standby.signal"), "").unwrap();
    pair.source.start_again().await.unwrap();
    assert_eq!(case.source.value("SELECT pg_promote()").await.unwrap(), "t");
    let timeline = "SELECT timeline_id FROM pg_control_checkpoint()";
    case.sql("UPDATE t SET n = -1; CHECKPOINT").await;
    assert_eq!(case.source.value(timeline).await.unwrap(), "2");
    let slot = "SELECT count(*) FROM pg_replication_slots WHERE wal_status <> 'lost'";
    assert_eq!(case.source.value(slot).await.unwrap(), "1", "the timeline alone tells");
    let end = case.plan().until_caught_up().run().await;
    let (kind, message) = end.error();
    assert!(kind == "Gap" && message.contains("timeline"), "{end:?}");
    assert_eq!(case.target.value("SELECT count(*) FROM t WHERE n = -1").await.unwrap(), "0");
}

/// Nothing that a writer would notice: no lock but the weakest, and no number
/// of a transaction, which is what it takes to write.
#[tokio::test(flavor = "multi_thread")]
async fn the_copy_neither_locks_nor_writes_at_the_source() {
    let pair = Pair::with(|source| source.setting("autovacuum", "off")).await;
    let case = pair.case("unnoticed", TABLE).await;
    let begun = case.plan().until_caught_up().with("kill-at", "copy::planned:1").run().await;
    assert_eq!(begun, End::Killed);
    let number = "SELECT txid_snapshot_xmax(txid_current_snapshot())";
    let before = case.source.value(number).await.unwrap();
    for point in ["copy::batch:1", "copy::before_commit:2"] {
        let mut migrator = case.plan().with("hold-at", point).start();
        migrator.held().await;
        // Of others, on whatever is not a virtual transaction.
        let locks = "SELECT coalesce(string_agg(DISTINCT l.mode, ','), 'none') FROM pg_locks l
            WHERE l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let on_table = format!("{locks} AND l.relation = 't'::regclass");
        if point == "copy::batch:1" {
            assert_eq!(case.source.value(&on_table).await.unwrap(), "AccessShareLock", "nothing is read");
        }
        let found = case.source.value(locks).await.unwrap();
        assert!(["AccessShareLock", "none"].contains(&found.as_str()), "{point}: {found}");
        let writes = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL";
        assert_eq!(case.source.value(writes).await.unwrap(), "0", "{point}");
        migrator.kill().await;
    }
    let copied = case.plan().until_caught_up().with("kill-at", "attempt::copied:1").run().await;
    assert_eq!(copied, End::Killed);
    assert_eq!(case.source.value(number).await.unwrap(), before, "the copy has written at the source");
    arrives(&case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_source_holds_no_log_back() {
    let pair = Pair::start().await;
    let case = pair.case("idle", TABLE).await;
    let mut migrator = case.plan().start();
    migrator.following().await;
    pair.source.execute("CREATE TABLE elsewhere AS SELECT generate_series(1, 10000)").await.unwrap();
    let head = lsn(&case.head().await);
    within("the slot to follow", async {
        loop {
            let sql = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'zdm_idle'";
            if lsn(&pair.source.value(sql).await.unwrap()) >= head {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(migrator.stop().await, done("stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_of_one_run_the_older_is_fenced() {
    let pair = Pair::start().await;
    let case = pair.case("two", TABLE).await;
    let mut older = case.plan().start();
    older.following().await;
    let mut newer = case.plan().start();
    assert!(
        newer.status(|status| status["retries"].as_u64() > Some(0) || status["phase"] == "following").await
    );
    case.sql("UPDATE t SET n = n + 1; UPDATE t SET id = id + 1000 WHERE id < 50").await;
    let end = older.end().await;
    assert_eq!(end.error().0, "Fenced", "{end:?}");
    newer.applied(&case.head().await).await;
    case.equal().await;
    assert_eq!(newer.stop().await, done("stopped"));
}
