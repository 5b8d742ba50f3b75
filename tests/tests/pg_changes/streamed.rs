//! Transactions that the server sends while they run: interleaved, rolled back
//! in part or whole, and larger than memory.

use futures::StreamExt;
use zdm_core::change::{Batch, Budget, Item};
use zdm_core::connect::Changes;
use zdm_core::spool::SpoolOptions;
use zdm_core::{ErrorKind, Position};
use zdm_pg::changes_probe as probe;
use zdm_servers::postgres::{PgOptions, Postgres, Version};
use zdm_servers::proxy::{Cut, Proxy};

use super::fixture::{Source, at, error, read_to, server, settings, within};
use super::show::Replica;

/// Small, so that a server sends nearly everything early.
const EARLY: &str = "-c logical_decoding_work_mem=64kB";
const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, big text);
                      ALTER TABLE t ALTER big SET STORAGE EXTERNAL";

/// Rows from `from` on, some 400 KiB of them.
fn rows(from: u32) -> String {
    format!("INSERT INTO t SELECT i, repeat(md5(i::text), 4) FROM generate_series({from}, {from} + 2999) i")
}

async fn source(server: &Postgres, name: &str) -> Source {
    Source::with(server, name, EARLY, TABLES, &["t"]).await
}

/// A stream that has at most `memory` bytes of undecided transactions in
/// memory.
async fn open(source: &Source, from: &Position, memory: usize) -> Changes {
    let options = source.options(from).spool(SpoolOptions::default().memory(memory));
    within("open", probe::open(&source.config, options)).await.unwrap()
}

async fn session(source: &Source) -> tokio_postgres::Client {
    source.db.connect().await.unwrap()
}

/// How often the server has sent a part of a transaction; it says so with
/// some delay.
async fn parts(source: &Source) -> u64 {
    let sql = format!(
        "SELECT coalesce(sum(stream_count), 0) FROM pg_stat_replication_slots WHERE slot_name = 'zdm_{}'",
        source.run
    );
    source.db.value(&sql).await.unwrap().parse().unwrap()
}

/// Waits until the server has sent parts of what is open.
async fn sent_early(source: &Source) {
    within("a part of an open transaction", async {
        while parts(source).await == 0 {
            // What is open is looked at when something is logged.
            source.db.execute("SELECT pg_logical_emit_message(false, 'test', 'wakes')").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Follows the batches, and sees to it that transactions come one after the
/// other.
#[derive(Default)]
struct Watch {
    replica: Replica,
    open: bool,
    /// How many rows each had, in the order of their commits.
    rows: Vec<usize>,
    commits: Vec<Position>,
}

impl Watch {
    fn take(&mut self, batch: &Batch) {
        self.replica.take(batch);
        for item in batch.items() {
            match item {
                Item::Begin(_) => {
                    assert!(!std::mem::replace(&mut self.open, true), "one begins within another");
                    self.rows.push(0);
                }
                Item::Commit(commit) => {
                    assert!(std::mem::replace(&mut self.open, false), "a commit without a begin");
                    self.commits.push(commit.position.clone());
                }
                Item::Rows(run) => {
                    assert!(self.open);
                    *self.rows.last_mut().unwrap() += run.len();
                }
                Item::Idle { .. } => assert!(!self.open, "an idle point within a transaction"),
                _ => {}
            }
        }
    }

    async fn expect(&self, source: &Source) {
        self.replica.expect(&source.db, "id, v, big", "t").await;
    }
}

/// Interleaved, with savepoints, TOAST, a TRUNCATE and DDL that was rolled back.
async fn workload(source: &Source) {
    let (a, b, c) = (session(source).await, session(source).await, session(source).await);
    let run = async |who: &tokio_postgres::Client, sql: &str| who.batch_execute(sql).await.unwrap();
    run(&c, "INSERT INTO t SELECT 1, 'x', string_agg(md5(i::text), '') FROM generate_series(1, 400) i").await;
    run(&c, &rows(500_000)).await;
    run(&c, "TRUNCATE t").await;
    run(&c, "INSERT INTO t SELECT 2, 'x', string_agg(md5(i::text), '') FROM generate_series(1, 400) i").await;
    run(&a, "BEGIN; UPDATE t SET v = 'y' WHERE id = 2").await;
    run(&a, &rows(1000)).await;
    run(&b, &format!("BEGIN; {}", rows(100_000))).await;
    run(&a, &format!("SAVEPOINT s; {}; UPDATE t SET v = 'gone' WHERE id < 2000", rows(10_000))).await;
    run(&c, "INSERT INTO t VALUES (3, 'between')").await;
    run(&a, "SAVEPOINT within; DELETE FROM t WHERE id < 1500; RELEASE within; ROLLBACK TO s").await;
    run(&b, &format!("{}; COMMIT", rows(110_000))).await;
    // Which waits for everybody else's.
    let alter = "ALTER TABLE t ADD COLUMN new text; \
                 INSERT INTO t SELECT i, 'new', '', 'new' FROM generate_series(20000, 24000) i; ROLLBACK TO s";
    run(&a, alter).await;
    run(&a, &format!("{}; UPDATE t SET id = -id WHERE id BETWEEN 1000 AND 1999", rows(30_000))).await;
    run(&a, "SAVEPOINT kept; DELETE FROM t WHERE id > 31000 AND id < 40000; RELEASE kept; COMMIT").await;
    run(&c, &format!("BEGIN; {}; ROLLBACK", rows(40_000))).await;
    run(&c, &format!("BEGIN; DELETE FROM t WHERE id = 2; TRUNCATE t; {}; COMMIT", rows(50_000))).await;
    run(&c, &format!("BEGIN; {}; PREPARE TRANSACTION 'zdm_kept'", rows(60_000))).await;
    run(&c, &format!("BEGIN; {}; PREPARE TRANSACTION 'zdm_gone'", rows(70_000))).await;
    run(&c, "INSERT INTO t VALUES (4, 'last')").await;
    run(&c, "COMMIT PREPARED 'zdm_kept'").await;
    run(&c, "ROLLBACK PREPARED 'zdm_gone'").await;
}

/// How many rows each of its transactions has.
const COMMITTED: [usize; 10] = [1, 3000, 0, 1, 1, 6000, 9000, 3001, 1, 3000];

async fn interleaved(version: Version) {
    let server = Postgres::start(PgOptions::new().version(version)).await.unwrap();
    for memory in [0, 8 << 20] {
        let source = source(&server, &format!("interleaved_{memory}")).await;
        let start = source.begin().await;
        let mut changes = open(&source, &start, memory).await;
        workload(&source).await;
        let goal = source.head().await;
        let mut watch = Watch::default();
        read_to(&mut changes, goal, |batch| watch.take(batch)).await;
        watch.expect(&source).await;
        assert_eq!(watch.rows, COMMITTED, "with {memory} bytes of memory");
        assert!(parts(&source).await > 10, "the server has sent parts");
        drop(changes);
        // The same again from each commit: also from those that lie within others.
        for (number, from) in watch.commits.iter().enumerate().skip(3) {
            let mut again = Watch::default();
            let mut changes = open(&source, from, memory).await;
            read_to(&mut changes, goal, |batch| again.take_rows(batch)).await;
            assert_eq!(again.commits, watch.commits[number + 1..], "from commit {number}");
            assert_eq!(again.rows, watch.rows[number + 1..], "from commit {number}");
        }
    }
}

impl Watch {
    /// Without the table, which began elsewhere.
    fn take_rows(&mut self, batch: &Batch) {
        let replica = std::mem::take(&mut self.replica);
        let rows: Vec<_> =
            batch.items().iter().filter(|item| !matches!(item, Item::Truncate { .. })).collect();
        for item in rows {
            match item {
                Item::Begin(_) => self.rows.push(0),
                Item::Commit(commit) => self.commits.push(commit.position.clone()),
                Item::Rows(run) => *self.rows.last_mut().unwrap() += run.len(),
                _ => {}
            }
        }
        self.replica = replica;
    }
}

#[tokio::test]
async fn streamed_transactions_come_whole_and_in_commit_order() {
    interleaved(Version::Any).await;
}

#[tokio::test]
async fn streamed_transactions_come_whole_and_in_commit_order_from_the_newest() {
    interleaved(Version::Newest).await;
}

/// Bytes of this process's files in a folder, which have no name.
fn nameless(folder: &std::path::Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let path = std::fs::read_link(entry.path()).unwrap_or_default();
        if path.starts_with(folder) {
            bytes += std::fs::metadata(entry.path()).map_or(0, |file| file.len());
        }
    }
    bytes
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_rolled_back_or_committed_leaves_nothing_on_disk() {
    let source = source(server().await, "nothing").await;
    let folder = std::env::temp_dir().join(format!("zdm-streamed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let start = source.begin().await;
    let spool = SpoolOptions::default().memory(10_000).directory(&folder);
    let mut changes = probe::open(&source.config, source.options(&start).spool(spool)).await.unwrap();
    for end in ["ROLLBACK", "COMMIT"] {
        let one = session(&source).await;
        one.batch_execute(&format!("BEGIN; {}", rows(1000))).await.unwrap();
        sent_early(&source).await;
        within("the spool", async {
            while nameless(&folder) < 100_000 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(
            std::fs::read_dir(&folder).unwrap().count(),
            0,
            "nothing that a killed process could leave"
        );
        one.batch_execute(end).await.unwrap();
        source
            .db
            .execute("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 'again'")
            .await
            .unwrap();
        let (goal, mut rows) = (source.head().await, 0);
        read_to(&mut changes, goal, |batch| rows += batch.row_count()).await;
        assert_eq!(rows, if end == "COMMIT" { 3001 } else { 1 });
        assert_eq!(nameless(&folder), 0, "after {end}");
    }
    std::fs::remove_dir(&folder).unwrap();
}

#[tokio::test]
async fn a_table_that_changes_within_a_streamed_transaction_stops_the_stream_behind_what_came_before() {
    let source = source(server().await, "altered").await;
    let start = source.begin().await;
    let mut changes = open(&source, &start, 0).await;
    let a = session(&source).await;
    let alter = format!("BEGIN; {}; ALTER TABLE t ADD COLUMN new text; {}", rows(1000), rows(10_000));
    a.batch_execute(&alter).await.unwrap();
    sent_early(&source).await;
    a.batch_execute("COMMIT").await.unwrap();
    let mut rows = 0;
    let error = loop {
        match within("the error", changes.batches.next()).await.unwrap() {
            Ok(batch) => {
                assert!(batch.items().iter().all(|item| !matches!(item, Item::Commit(_))));
                rows += batch.row_count();
            }
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), rows), (ErrorKind::SchemaChanged, 3000), "{error}");
    assert!(error.to_string().contains("column new was added"), "{error}");
}

#[tokio::test]
async fn a_streamed_transaction_beyond_the_bound_of_the_disk_is_refused_in_words() {
    let source = source(server().await, "bound").await;
    let start = source.begin().await;
    let spool = SpoolOptions::default().memory(10_000).disk(100_000);
    let mut changes = probe::open(&source.config, source.options(&start).spool(spool)).await.unwrap();
    source.db.execute(&rows(1)).await.unwrap();
    let error = error(&mut changes).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("raise the bound"), "{error}");
}

#[tokio::test]
async fn a_stream_that_is_cut_within_a_streamed_transaction_gets_all_of_it_again() {
    let source = source(server().await, "cut_early").await;
    let proxy = Proxy::start(source.config.host(), source.config.port()).await.unwrap();
    let through =
        settings(server().await, source.db.name()).options(EARLY).host("127.0.0.1").port(proxy.port());
    let through = std::sync::Arc::new(through.build().unwrap());
    let start = source.begin().await;
    let a = session(&source).await;
    let mut watch = Watch::default();
    let mut from = start;
    for (number, cut) in [Cut::Reset, Cut::Close].into_iter().enumerate() {
        let mut changes = probe::open(&through, source.options(&from)).await.unwrap();
        let first = u32::try_from(number).unwrap() * 10_000 + 1000;
        let more = format!("{} {}", if number == 0 { "BEGIN;" } else { "" }, rows(first));
        a.batch_execute(&more).await.unwrap();
        sent_early(&source).await;
        // What commits meanwhile is acknowledged: the slot moves into the
        // middle of the one that is open.
        source.db.execute(&format!("INSERT INTO t VALUES ({number})")).await.unwrap();
        read_to(&mut changes, source.head().await, |batch| watch.take(batch)).await;
        from = watch.commits.last().unwrap().clone();
        changes.ack.durable(from.clone());
        within("the acknowledgement", async {
            while source.confirmed().await < at(&from) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        proxy.cut(cut).await;
        assert_eq!(error(&mut changes).await.kind(), ErrorKind::Connection);
        source.db.execute("SELECT pg_stat_reset_replication_slot('zdm_cut_early')").await.unwrap();
    }
    let mut changes = open(&source, &from, 0).await;
    a.batch_execute("COMMIT").await.unwrap();
    read_to(&mut changes, source.head().await, |batch| watch.take(batch)).await;
    watch.expect(&source).await;
    assert_eq!(watch.rows, [1, 1, 6000]);
}

#[tokio::test]
async fn a_server_that_crashes_forgets_what_it_has_streamed() {
    let server = Postgres::start(PgOptions::new().durable(true)).await.unwrap();
    let source = source(&server, "crash").await;
    let start = source.begin().await;
    let mut changes = open(&source, &start, 0).await;
    let a = session(&source).await;
    a.batch_execute(&format!("BEGIN; {}", rows(1000))).await.unwrap();
    sent_early(&source).await;
    source.db.execute("INSERT INTO t VALUES (1, 'before')").await.unwrap();
    server.kill().await.unwrap();
    server.start_again().await.unwrap();
    assert_eq!(error(&mut changes).await.kind(), ErrorKind::Connection);
    let mut changes = open(&source, &start, 0).await;
    source.db.execute(&format!("{}; INSERT INTO t VALUES (2, 'after')", rows(1000))).await.unwrap();
    let mut watch = Watch::default();
    read_to(&mut changes, source.head().await, |batch| watch.take(batch)).await;
    watch.expect(&source).await;
    assert_eq!(watch.rows, [1, 3001]);
}

#[tokio::test]
async fn a_large_row_and_a_budget_smaller_than_it_within_a_streamed_transaction() {
    let source = source(server().await, "large").await;
    let start = source.begin().await;
    let options =
        source.options(&start).budget(Budget::new(1 << 20)).spool(SpoolOptions::default().memory(0));
    let mut changes = probe::open(&source.config, options).await.unwrap();
    let sql = format!(
        "BEGIN; {}; INSERT INTO t SELECT i, '', repeat(md5(i::text), 100000) FROM generate_series(1, 4) i; {}; COMMIT",
        rows(1000),
        rows(9000)
    );
    source.db.execute(&sql).await.unwrap();
    let mut watch = Watch::default();
    read_to(&mut changes, source.head().await, |batch| watch.take(batch)).await;
    watch.expect(&source).await;
    assert_eq!(watch.rows, [6004]);
}

#[tokio::test]
async fn a_stream_that_is_told_so_gets_nothing_early() {
    let source = source(server().await, "late").await;
    let config = settings(server().await, source.db.name()).options(EARLY).streaming(false);
    let config = std::sync::Arc::new(config.build().unwrap());
    let start = source.begin().await;
    let mut changes = probe::open(&config, source.options(&start)).await.unwrap();
    workload(&source).await;
    let mut watch = Watch::default();
    read_to(&mut changes, source.head().await, |batch| watch.take(batch)).await;
    watch.expect(&source).await;
    assert_eq!(watch.rows, COMMITTED);
    assert_eq!(parts(&source).await, 0);
}
