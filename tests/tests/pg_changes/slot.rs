//! What a run keeps on the server: its slot and its publication.

use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use zdm_core::ErrorKind;
use zdm_pg::changes_probe as probe;
use zdm_servers::postgres::{PgOptions, Postgres};

use super::fixture::{SMALL, Source, at, error, server, settings, within};

#[tokio::test]
async fn a_slot_that_is_gone_or_made_anew_is_refused() {
    let source = Source::new(server().await, "anew", SMALL, &["t"]).await;
    let start = source.begin().await;
    source.db.execute("SELECT pg_drop_replication_slot('zdm_anew')").await.unwrap();
    for result in [
        probe::check(&source.config, &source.run, &source.schema, &start).await,
        source.open(&start).await.map(|_| ()),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gap);
        assert!(error.to_string().contains("is gone"), "{error}");
    }
    source.db.execute("INSERT INTO t VALUES (1)").await.unwrap();
    source.db.execute("SELECT pg_create_logical_replication_slot('zdm_anew', 'pgoutput')").await.unwrap();
    let error = probe::check(&source.config, &source.run, &source.schema, &start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap);
    // A beginning of the same run replaces it.
    let again = source.begin().await;
    assert!(at(&again) > at(&start));
    probe::check(&source.config, &source.run, &source.schema, &again).await.unwrap();
    // Somebody else's is left alone.
    source.db.execute("SELECT pg_drop_replication_slot('zdm_anew'), pg_create_logical_replication_slot('zdm_anew', 'test_decoding')").await.unwrap();
    let error = probe::begin(&source.config, &source.run, &source.schema).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    probe::release(&source.config, &source.run).await.unwrap();
    let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_anew'";
    assert_eq!(source.db.value(left).await.unwrap(), "1");
}

#[tokio::test]
async fn a_publication_that_gives_less_than_the_run_needs_is_refused() {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)";
    let source = Source::new(server().await, "lesser", ddl, &["t", "u"]).await;
    let start = source.begin().await;
    for (alter, words) in [
        ("ALTER PUBLICATION zdm_lesser DROP TABLE u", "lacks the table public.u"),
        ("ALTER PUBLICATION zdm_lesser SET TABLE t, u WHERE (id > 1)", "only some rows or columns"),
        ("ALTER PUBLICATION zdm_lesser SET TABLE t (id), u", "only some rows or columns"),
        (
            "ALTER PUBLICATION zdm_lesser SET TABLE t, u; ALTER PUBLICATION zdm_lesser SET (publish = 'insert')",
            "does not publish insert, update, delete and truncate",
        ),
        ("DROP PUBLICATION zdm_lesser", "is gone"),
    ] {
        source.db.execute(alter).await.unwrap();
        for result in [
            probe::check(&source.config, &source.run, &source.schema, &start).await,
            source.open(&start).await.map(|_| ()),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Gap, "{alter}: {error}");
            assert!(error.to_string().contains(words), "{alter}: {error}");
        }
    }
}

#[tokio::test]
async fn a_second_reader_is_told_who_has_the_slot() {
    let source = Source::new(server().await, "second", SMALL, &["t"]).await;
    let start = source.begin().await;
    let first = source.open(&start).await.unwrap();
    let error = source.open(&start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("pid: {}", source.walsender().await)), "{error}");
    drop(first);
    assert!(source.open(&start).await.is_ok(), "a reader that has just gone is waited for");
}

#[tokio::test]
async fn somebody_elses_publication_is_used_if_it_gives_enough_and_never_dropped() {
    let source = Source::new(
        server().await,
        "theirs",
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION zdm_theirs FOR TABLE u",
        &["t"],
    )
    .await;
    let error = probe::begin(&source.config, &source.run, &source.schema).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("lacks the table public.t"), "{error}");
    source.db.execute("ALTER PUBLICATION zdm_theirs ADD TABLE t").await.unwrap();
    let start = source.begin().await;
    source
        .db
        .execute("INSERT INTO u VALUES (1); INSERT INTO t VALUES (1); TRUNCATE u; DELETE FROM t")
        .await
        .unwrap();
    assert_eq!(source.lines(&start).await, ["begin", "+ public.t 1", "- public.t (1)", "commit"]);
    probe::release(&source.config, &source.run).await.unwrap();
    assert_eq!(source.db.value("SELECT count(*) FROM pg_publication").await.unwrap(), "1");
}

#[tokio::test]
async fn a_slot_whose_log_is_gone_is_refused() {
    let options = PgOptions::new().setting("max_slot_wal_keep_size", "1MB").setting("wal_level", "logical");
    let server = Postgres::start(options).await.unwrap();
    let source = Source::new(&server, "lost", SMALL, &["t"]).await;
    let start = source.begin().await;
    for id in 0..6 {
        source.db.execute(&format!("INSERT INTO t VALUES ({id})")).await.unwrap();
        source.db.execute("SELECT pg_switch_wal()").await.unwrap();
    }
    source.db.execute("CHECKPOINT").await.unwrap();
    let error = source.open(&start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    assert!(error.to_string().contains("max_slot_wal_keep_size"), "{error}");
}

#[tokio::test]
async fn a_slot_that_is_lost_while_it_is_read_ends_the_stream_and_is_not_begun_again() {
    let options = PgOptions::new().setting("max_slot_wal_keep_size", "1MB");
    let server = Postgres::start(options).await.unwrap();
    let source = Source::new(&server, "taken", SMALL, &["t"]).await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    // Nothing is acknowledged: the log that the slot holds grows.
    for id in 0..6 {
        source.db.execute(&format!("INSERT INTO t VALUES ({id})")).await.unwrap();
        source.db.execute("SELECT pg_switch_wal()").await.unwrap();
    }
    source.db.execute("CHECKPOINT").await.unwrap();
    let ended = error(&mut changes).await;
    assert!(ended.is_retryable(), "{ended}");
    let again = source.open(&start).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Gap, "{again}");
    assert!(!again.is_retryable() && again.to_string().contains("max_slot_wal_keep_size"), "{again}");
}

/// The metric is what the server says at that moment, and goes down with each
/// file of log that the slot holds.
#[tokio::test]
async fn how_much_log_the_server_will_still_keep_is_a_metric() {
    // The stream's tasks are on this thread.
    let recorder = DebuggingRecorder::new();
    let _here = metrics::set_default_local_recorder(&recorder);
    let told = recorder.snapshotter();
    let server = Postgres::start(PgOptions::new().setting("max_slot_wal_keep_size", "256MB")).await.unwrap();
    let source = Source::new(&server, "runway", SMALL, &["t"]).await;
    let start = source.begin().await;
    let _changes = source.open(&start).await.unwrap();
    let said = async || {
        let sql = "SELECT safe_wal_size FROM pg_replication_slots WHERE slot_name = 'zdm_runway'";
        source.db.value(sql).await.unwrap()
    };
    let first: u64 = said().await.parse().unwrap();
    for round in 0..3 {
        within("the metric", async {
            while runway(&told) != Some(said().await) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        source.db.execute(&format!("INSERT INTO t VALUES ({round})")).await.unwrap();
        source.db.execute("SELECT pg_switch_wal()").await.unwrap();
    }
    let last: u64 = said().await.parse().unwrap();
    assert!(last + (32 << 20) < first, "from {first} to {last}");
}

/// What the metric says of the slot.
fn runway(told: &Snapshotter) -> Option<String> {
    told.snapshot().into_vec().into_iter().find_map(|(key, _, _, value)| {
        let label = key.key().labels().any(|label| label.key() == "slot" && label.value() == "zdm_runway");
        match value {
            DebugValue::Gauge(bytes) if label && key.key().name() == "zdm_slot_runway_bytes" => {
                Some(bytes.into_inner().to_string())
            }
            _ => None,
        }
    })
}

/// 18 gives up slots that nobody reads.
#[tokio::test]
async fn a_slot_that_was_idle_for_too_long_is_refused_in_its_own_words() {
    let server = Postgres::start(PgOptions::new().version(18)).await.unwrap();
    server.set("idle_replication_slot_timeout", "1s").unwrap();
    server.execute("SELECT pg_reload_conf()").await.unwrap();
    let source = Source::new(&server, "idle", SMALL, &["t"]).await;
    let start = source.begin().await;
    within("the server's patience", async {
        let given_up = "SELECT invalidation_reason IS NOT NULL FROM pg_replication_slots";
        while source.db.value(given_up).await.unwrap() != "t" {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            source.db.execute("CHECKPOINT").await.unwrap();
        }
    })
    .await;
    let error = source.open(&start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    assert!(error.to_string().contains("idle_replication_slot_timeout"), "{error}");
}

#[tokio::test]
async fn a_failover_slot_is_made_where_there_are_any() {
    let newest = Postgres::start(PgOptions::new().version(18)).await.unwrap();
    for server in [server().await, &newest] {
        let source = Source::new(server, "failover", SMALL, &["t"]).await;
        let config = settings(server, source.db.name()).failover(true).build().unwrap();
        let begun = probe::begin(&config, &source.run, &source.schema).await;
        if server.major().await.unwrap() < 17 {
            let error = begun.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("PostgreSQL 17"), "{error}");
            let left =
                source.db.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_failover'");
            assert_eq!(left.await.unwrap(), "0");
        } else {
            begun.unwrap();
            let kept = "SELECT failover FROM pg_replication_slots WHERE slot_name = 'zdm_failover'";
            assert_eq!(source.db.value(kept).await.unwrap(), "t");
        }
    }
}
