//! The fence of a PostgreSQL database, with the rights of a plain owner.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use zdm_core::connect::{Epoch, Fence, Hold, HoldOptions, RunName, SwitchRecord, SwitchState};
use zdm_core::schema::{Key, Schema, Table, TableName};
use zdm_core::{Engine, ErrorKind};
use zdm_pg::PgFence;
use zdm_pg::config::PgConfig;
use zdm_servers::postgres::{Database, PgOptions, Postgres, User};

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

static SERVER: OnceCell<(Postgres, User)> = OnceCell::const_new();

/// A database whose tables belong to a user without other rights.
struct Home {
    database: Database,
    owner: User,
    fence: PgFence,
    run: RunName,
    schema: Schema,
}

async fn home(name: &str) -> Home {
    let (server, owner) = SERVER
        .get_or_init(|| async {
            // Nobody but who asks for it flushes the log.
            let options =
                PgOptions::new().setting("max_prepared_transactions", 5).setting("wal_writer_delay", "10s");
            let server = Postgres::start(options).await.unwrap();
            let owner = server.create_user("mover", "").await.unwrap();
            (server, owner)
        })
        .await;
    let database = server.create_database(name).await.unwrap();
    database
        .execute(&format!(
            "GRANT CREATE ON DATABASE {name} TO mover; CREATE SCHEMA \"App\" AUTHORIZATION mover; \
             SET ROLE mover; \
             CREATE TABLE \"App\".t (id int PRIMARY KEY, v text); \
             CREATE TABLE \"App\".p (id int PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE TABLE \"App\".\"Leaf 1\" PARTITION OF \"App\".p FOR VALUES FROM (0) TO (10); \
             INSERT INTO \"App\".t VALUES (1, 'a')"
        ))
        .await
        .unwrap();
    let config = PgConfig::parse(&database.url_as(&owner.name, &owner.password)).unwrap();
    let mut schema = Schema::default();
    for table in ["t", "p"] {
        let name = TableName::new("App", table);
        let table = Table::new(Engine::new("postgresql"), name, Vec::new(), Key::FullRow);
        schema.tables.push(Arc::new(table));
    }
    let fence = PgFence::new(Arc::new(config));
    Home { database, owner: owner.clone(), fence, run: RunName::default(), schema }
}

impl Home {
    async fn hold(&self) -> Box<dyn Hold> {
        self.fence.hold(&self.run, &self.schema, HoldOptions::default()).await.unwrap()
    }

    async fn quick(&self, deadline: u64) -> zdm_core::Result<Box<dyn Hold>> {
        let patience = Duration::from_millis(100);
        let options = HoldOptions { deadline: Duration::from_millis(deadline), patience };
        self.fence.hold(&self.run, &self.schema, options).await
    }

    fn record(&self) -> SwitchRecord {
        SwitchRecord {
            run: self.run.clone(),
            state: SwitchState::Preparing,
            epoch: Epoch(7),
            target: "db2/shop".to_owned(),
            position: None,
            leg: 1,
            back: None,
            lease_until: 1,
            note: None,
        }
    }

    /// The process that has the hold.
    async fn holder(&self) -> String {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name LIKE '%hold'";
        self.database.value(sql).await.unwrap()
    }

    /// Waits until a session of this database waits for a lock.
    async fn somebody_waits(&self) {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock'";
        let began = Instant::now();
        while self.database.value(sql).await.unwrap() == "0" {
            assert!(began.elapsed() < PATIENCE, "nobody waits");
            tokio::task::yield_now().await;
        }
    }

    async fn writer(&self) -> Client {
        self.database.connect().await.unwrap()
    }
}

const WRITES: [&str; 6] = [
    "INSERT INTO \"App\".t VALUES (2, 'b')",
    "UPDATE \"App\".t SET v = 'c'",
    "DELETE FROM \"App\".t",
    "TRUNCATE \"App\".t, \"App\".p",
    "INSERT INTO \"App\".p VALUES (1)",
    "INSERT INTO \"App\".\"Leaf 1\" VALUES (2)",
];

#[tokio::test]
async fn a_hold_stops_writers_and_lets_readers_through() {
    let home = home("holds").await;
    let hold = home.hold().await;
    for write in WRITES {
        let writer = home.writer().await;
        writer.batch_execute("SET lock_timeout = '20ms'").await.unwrap();
        let error = writer.batch_execute(write).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{write}");
    }
    assert_eq!(home.database.value("SELECT v FROM \"App\".t").await.unwrap(), "a");

    let writer = home.writer().await;
    let waiting = tokio::spawn(async move { writer.batch_execute(WRITES[0]).await });
    home.somebody_waits().await;
    hold.release().await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hold_waits_for_open_transactions() {
    let home = home("waits").await;
    let writer = home.writer().await;
    writer.batch_execute("BEGIN; INSERT INTO \"App\".\"Leaf 1\" VALUES (3)").await.unwrap();
    let hold = tokio::spawn({
        let (fence, run, schema) = (home.fence.clone(), home.run.clone(), home.schema.clone());
        async move { fence.hold(&run, &schema, HoldOptions::default()).await }
    });
    home.somebody_waits().await;
    writer.batch_execute("COMMIT").await.unwrap();
    let mut hold = hold.await.unwrap().unwrap();
    let marker = hold.marker().await.unwrap();
    // Everything that was written is before the marker, which is flushed.
    let sql = format!("SELECT pg_current_wal_flush_lsn() > '{marker}'::pg_lsn");
    assert_eq!(home.database.value(&sql).await.unwrap(), "t");
    hold.check().await.unwrap();
}

#[tokio::test]
async fn who_is_in_the_way_is_named() {
    let home = home("names").await;
    let writer = home.writer().await;
    writer
        .batch_execute("SET application_name = 'night job'; BEGIN; UPDATE \"App\".t SET v = 'x'")
        .await
        .unwrap();
    let error = home.quick(700).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let pid: i32 = writer.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert!(error.to_string().contains(&format!("process {pid} (")), "{error}");
    writer.batch_execute("PREPARE TRANSACTION 'left behind'").await.unwrap();
    let error = home.quick(700).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("prepared transaction 'left behind'"), "{error}");
    // What the owner's own sessions do is shown to him.
    home.database.execute("ROLLBACK PREPARED 'left behind'").await.unwrap();
    let url = home.database.url_as(&home.owner.name, &home.owner.password);
    let (own, driver) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(driver);
    own.batch_execute("SET application_name = 'night job'; BEGIN; UPDATE \"App\".t SET v = 'x'")
        .await
        .unwrap();
    let error = home.quick(700).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("night job") && error.contains("UPDATE"), "{error}");
}

/// Behind a try that waits, other writers wait too: between tries they pass.
#[tokio::test]
async fn a_hold_that_cannot_be_had_does_not_starve_the_application() {
    let home = home("starve").await;
    let long = home.writer().await;
    long.batch_execute("BEGIN; UPDATE \"App\".t SET v = 'x' WHERE id = 1").await.unwrap();
    let hold = tokio::spawn({
        let (fence, run, schema) = (home.fence.clone(), home.run.clone(), home.schema.clone());
        let options = HoldOptions { deadline: Duration::from_secs(4), patience: Duration::from_millis(200) };
        async move { fence.hold(&run, &schema, options).await.map(drop) }
    });
    home.somebody_waits().await;
    let writer = home.writer().await;
    let (mut writes, mut longest) = (0, Duration::ZERO);
    while !hold.is_finished() {
        let began = Instant::now();
        writes += 1;
        let sql = format!("INSERT INTO \"App\".t VALUES ({}, 'w')", 100 + writes);
        writer.batch_execute(&sql).await.unwrap();
        longest = longest.max(began.elapsed());
    }
    assert_eq!(hold.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(writes > 20, "{writes} writes");
    // One try, and some room for a loaded machine; without the patience the
    // wait would have been four seconds.
    assert!(longest < Duration::from_secs(2), "a writer waited {longest:?}");
}

/// A writer that goes through the tables in another order than the hold is in
/// a deadlock with a try; the server would end whichever looks later.
/// One of the two orders is not the one in which the hold begins: at each moment
/// somebody has the second table's lock in hand and wants the first one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_finds_the_order_in_which_writers_go() {
    for (number, [first, second]) in [["t", "p"], ["p", "t"]].into_iter().enumerate() {
        let home = home(&format!("order_{number}")).await;
        let sql = format!(
            "BEGIN; DELETE FROM \"App\".{first} WHERE id = 5; SELECT pg_sleep(0.02); \
             DELETE FROM \"App\".{second} WHERE id = 5; COMMIT"
        );
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (writer, sql) = (home.writer().await, sql.clone());
            writers.spawn(async move {
                loop {
                    writer.batch_execute(&sql).await.unwrap();
                }
            });
        }
        let hold = home.quick(5_000).await.unwrap();
        hold.release().await.unwrap();
        writers.abort_all();
        while let Some(ended) = writers.join_next().await {
            assert!(ended.unwrap_err().is_cancelled(), "a writer has failed");
        }
    }
}

#[tokio::test]
async fn no_writer_fails_in_a_deadlock_with_a_hold() {
    let home = home("deadlock").await;
    let writer = home.writer().await;
    writer.batch_execute("BEGIN; INSERT INTO \"App\".p VALUES (3)").await.unwrap();
    let hold = tokio::spawn({
        let (fence, run, schema) = (home.fence.clone(), home.run.clone(), home.schema.clone());
        let options = HoldOptions { deadline: PATIENCE, patience: PATIENCE };
        async move { fence.hold(&run, &schema, options).await.map(drop) }
    });
    home.somebody_waits().await;
    // Longer than the hold's session waits before it looks.
    let late = "SELECT pg_sleep(1.2); UPDATE \"App\".t SET v = 'late'; COMMIT";
    writer.batch_execute(late).await.unwrap();
    hold.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hold_falls_with_its_session_or_its_handle() {
    let home = home("falls").await;
    let mut hold = home.hold().await;
    let kill = format!("SELECT pg_terminate_backend({})", home.holder().await);
    home.database.execute(&kill).await.unwrap();
    home.database.execute(WRITES[0]).await.unwrap();
    assert_eq!(hold.check().await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(hold.marker().await.unwrap_err().kind(), ErrorKind::Fenced);
    let (old, new) = (home.record(), home.record());
    assert_eq!(hold.seal(&old, &new).await.unwrap_err().kind(), ErrorKind::Fenced);

    let hold = home.hold().await;
    drop(hold);
    home.database.execute(WRITES[1]).await.unwrap();
}

#[tokio::test]
async fn a_seal_and_its_record_are_one() {
    let home = home("seals").await;
    let old = home.record();
    home.fence.swap(&home.run, None, Some(&old)).await.unwrap();
    let mut hold = home.hold().await;
    let position = Some(hold.marker().await.unwrap());
    let new = SwitchRecord { state: SwitchState::Switched, position, ..old.clone() };

    // Another record than expected: nothing happens, and the hold is gone.
    let wrong = SwitchRecord { lease_until: 2, ..old.clone() };
    assert_eq!(hold.seal(&wrong, &new).await.unwrap_err().kind(), ErrorKind::Fenced);
    home.database.execute(WRITES[0]).await.unwrap();
    assert_eq!(home.fence.record(&home.run).await.unwrap(), Some(old.clone()));

    // A writer that waits, with a snapshot of before, meets the seal.
    let writer = home.writer().await;
    writer
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM \"App\".t")
        .await
        .unwrap();
    let hold = home.hold().await;
    let waiting = tokio::spawn(async move { writer.batch_execute(WRITES[1]).await });
    home.somebody_waits().await;
    hold.seal(&old, &new).await.unwrap();
    let refused = waiting.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    assert_eq!(home.fence.record(&home.run).await.unwrap(), Some(new));

    let readers = home.database.value("SELECT count(*) FROM \"App\".t").await.unwrap();
    assert_eq!(readers, "2");
    for write in WRITES {
        for replica in ["origin", "replica"] {
            let writer = home.writer().await;
            writer.batch_execute(&format!("SET session_replication_role = {replica}")).await.unwrap();
            let error = writer.batch_execute(write).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{write}");
            let words = error.as_db_error().unwrap().message().to_owned();
            assert!(words.contains("is sealed: its data moved to db2/shop"), "{words}");
        }
    }
    // The run's own writer passes.
    let ours = home.writer().await;
    ours.batch_execute(&format!("SET zdm.run = '{}'", home.run)).await.unwrap();
    ours.batch_execute("TRUNCATE \"App\".t, \"App\".p").await.unwrap();
    for write in WRITES {
        ours.batch_execute(write).await.unwrap();
    }
}

/// A partition that comes while the hold is waited for was in no list that was
/// made before, and is written to without a lock on its root.
#[tokio::test]
async fn a_partition_that_comes_meanwhile_is_held_and_sealed_too() {
    let home = home("grows").await;
    let old = home.record();
    home.fence.swap(&home.run, None, Some(&old)).await.unwrap();
    let ddl = home.writer().await;
    let leaf = "CREATE TABLE \"App\".\"Leaf 2\" PARTITION OF \"App\".p FOR VALUES FROM (10) TO (20)";
    ddl.batch_execute(&format!("BEGIN; SET LOCAL ROLE mover; {leaf}")).await.unwrap();
    let commit = async {
        home.somebody_waits().await;
        ddl.batch_execute("COMMIT").await.unwrap();
    };
    let (hold, ()) = tokio::join!(home.hold(), commit);
    let write = "INSERT INTO \"App\".\"Leaf 2\" VALUES (11)";
    let writer = home.writer().await;
    writer.batch_execute("SET lock_timeout = '20ms'").await.unwrap();
    let error = writer.batch_execute(write).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
    hold.seal(&old, &SwitchRecord { state: SwitchState::Switched, ..old.clone() }).await.unwrap();
    let error = writer.batch_execute(write).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
}

/// Killed while it seals: the triggers and the record are there together or
/// not at all.
#[tokio::test]
async fn a_seal_that_is_killed_is_whole_or_nothing() {
    let home = home("killed").await;
    let old = home.record();
    home.fence.swap(&home.run, None, Some(&old)).await.unwrap();
    let new = SwitchRecord { state: SwitchState::Switched, ..old.clone() };
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..12 {
        let hold = home.hold().await;
        let kill = format!("SELECT pg_terminate_backend({})", home.holder().await);
        let killer = home.writer().await;
        let pause = Duration::from_micros(random.u64(0..6000));
        let (sealed, _) = tokio::join!(hold.seal(&old, &new), async {
            tokio::time::sleep(pause).await;
            killer.batch_execute(&kill).await
        });
        let record = home.fence.record(&home.run).await.unwrap();
        let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'zdm_seal'";
        let triggers = home.database.value(triggers).await.unwrap();
        match sealed {
            Ok(()) => assert_eq!((record.as_ref(), triggers.as_str()), (Some(&new), "3")),
            Err(error) if error.kind() == ErrorKind::Fenced => {
                assert_eq!((record.as_ref(), triggers.as_str()), (Some(&old), "0"));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Connection, "{error}"),
        }
        if record.as_ref() == Some(&new) {
            assert_eq!(triggers, "3");
            home.fence.unseal(&home.run, &home.schema, 1).await.unwrap();
            home.fence.swap(&home.run, Some(&new), Some(&old)).await.unwrap();
        } else {
            assert_eq!((record.as_ref(), triggers.as_str()), (Some(&old), "0"));
        }
    }
}

#[tokio::test]
async fn a_target_is_sealed_and_opened_again_and_again() {
    let home = home("target").await;
    let refused = async |write: &str| {
        let error = home.writer().await.batch_execute(write).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{write}");
        error.as_db_error().unwrap().message().to_owned()
    };
    for _ in 0..2 {
        for _ in 0..2 {
            home.fence.seal(&home.run, &home.schema, "it is being filled").await.unwrap();
            for write in WRITES {
                assert!(refused(write).await.ends_with("is sealed: it is being filled"));
            }
        }
        for _ in 0..2 {
            home.fence.unseal(&home.run, &home.schema, 1).await.unwrap();
            home.database.execute("TRUNCATE \"App\".t, \"App\".p").await.unwrap();
            for write in WRITES {
                home.database.execute(write).await.unwrap();
            }
        }
    }
}

/// A table that is locked (a vacuum, a reader) must not make step 9 wait.
#[tokio::test]
async fn opening_waits_for_no_lock_and_sealing_again_is_not_fooled() {
    let home = home("opens").await;
    home.fence.seal(&home.run, &home.schema, "it is being filled").await.unwrap();
    let reader = home.writer().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM \"App\".t, \"App\".p").await.unwrap();
    tokio::time::timeout(PATIENCE, home.fence.unseal(&home.run, &home.schema, 1)).await.unwrap().unwrap();
    // A reader is in the way of TRUNCATE with and without us.
    for write in WRITES.into_iter().filter(|write| !write.starts_with("TRUNCATE")) {
        home.database.execute(write).await.unwrap();
    }
    let triggers = "SELECT count(*) > 0 FROM pg_trigger WHERE tgname = 'zdm_seal'";
    assert_eq!(home.database.value(triggers).await.unwrap(), "t");
    reader.batch_execute("COMMIT").await.unwrap();

    // A transaction that has seen the old seal opened does not pass a new one.
    let old = home.writer().await;
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
    home.fence.seal(&home.run, &home.schema, "again").await.unwrap();
    let error = old.batch_execute("DELETE FROM \"App\".t").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    home.fence.unseal(&home.run, &home.schema, 1).await.unwrap();
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'zdm_seal'";
    assert_eq!(home.database.value(triggers).await.unwrap(), "0");
}

/// A reader must not make the moment of the cutover wait.
#[tokio::test]
async fn a_hold_removes_an_open_seal_so_that_sealing_waits_for_no_reader() {
    let home = home("stale").await;
    home.fence.seal(&home.run, &home.schema, "it is being filled").await.unwrap();
    let reader = home.writer().await;
    let read = "BEGIN; SELECT count(*) FROM \"App\".t, \"App\".p";
    reader.batch_execute(read).await.unwrap();
    home.fence.unseal(&home.run, &home.schema, 1).await.unwrap();
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'zdm_seal'";
    assert_ne!(home.database.value(triggers).await.unwrap(), "0");
    // While it reads, the hold is not had; and it is told who is in the way.
    let error = home.quick(300).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    reader.batch_execute("COMMIT").await.unwrap();

    let record = home.record();
    home.fence.swap(&home.run, None, Some(&record)).await.unwrap();
    let hold = home.hold().await;
    assert_eq!(home.database.value(triggers).await.unwrap(), "0");
    reader.batch_execute(read).await.unwrap();
    let sealed = SwitchRecord { state: SwitchState::Switched, ..record.clone() };
    tokio::time::timeout(PATIENCE, hold.seal(&record, &sealed)).await.unwrap().unwrap();
    assert!(home.database.execute("INSERT INTO \"App\".t VALUES (99)").await.is_err());
    reader.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn the_record_is_swapped_only_if_it_is_what_was_expected() {
    let home = home("records").await;
    let (fence, run) = (&home.fence, &home.run);
    assert_eq!(fence.record(run).await.unwrap(), None);
    let one = home.record();
    let two = SwitchRecord { lease_until: fence.now().await.unwrap() + 1000, ..one.clone() };
    fence.swap(run, None, Some(&one)).await.unwrap();
    let refused = async |old, new| fence.swap(run, old, new).await.unwrap_err().kind();
    assert_eq!(refused(None, Some(&two)).await, ErrorKind::Fenced);
    assert_eq!(refused(Some(&two), Some(&one)).await, ErrorKind::Fenced);
    // Whatever it is that has changed: the epoch is another process's word.
    let others = [
        SwitchRecord { epoch: Epoch(one.epoch.0 + 1), ..one.clone() },
        SwitchRecord { state: SwitchState::Requested, ..one.clone() },
        SwitchRecord { target: "another".to_owned(), ..one.clone() },
        SwitchRecord { note: Some("{}".to_owned()), ..one.clone() },
        SwitchRecord { lease_until: one.lease_until + 1, ..one.clone() },
    ];
    for other in &others {
        assert_eq!(refused(Some(other), Some(&two)).await, ErrorKind::Fenced, "{other:?}");
        assert_eq!(refused(Some(other), None).await, ErrorKind::Fenced, "{other:?}");
    }
    fence.swap(run, Some(&one), Some(&two)).await.unwrap();
    assert_eq!(fence.record(run).await.unwrap(), Some(two.clone()));
    assert_eq!(refused(Some(&one), None).await, ErrorKind::Fenced);
    fence.swap(run, Some(&two), None).await.unwrap();
    assert_eq!(fence.record(run).await.unwrap(), None);
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    assert!(before.abs_diff(u128::try_from(fence.now().await.unwrap()).unwrap()) < 60_000);
}

/// A commit that was not flushed when it was acknowledged, and whose writer
/// is gone: the marker is behind it all the same, in the log, and what is
/// before the marker is flushed.
#[tokio::test]
async fn a_marker_is_written_and_flushed_behind_commits_that_were_not() {
    let home = home("marks").await;
    // What a hold makes once flushes the log, too.
    drop(home.hold().await);
    // Written to without waiting for the hold.
    home.database.execute("CREATE TABLE aside (id int)").await.unwrap();
    let slot = "SELECT pg_create_logical_replication_slot('marks', 'test_decoding')";
    home.database.execute(slot).await.unwrap();
    let mut hold = home.hold().await;
    let writer = home.writer().await;
    writer.batch_execute("SET synchronous_commit = off; INSERT INTO aside VALUES (1)").await.unwrap();
    let written = home.database.value("SELECT pg_current_wal_insert_lsn()").await.unwrap();
    let marker = hold.marker().await.unwrap();
    let sql = format!(
        "SELECT '{marker}'::pg_lsn > '{written}'::pg_lsn AND pg_current_wal_flush_lsn() >= '{marker}'::pg_lsn"
    );
    assert_eq!(home.database.value(&sql).await.unwrap(), "t", "{marker} behind {written}");
    // On an idle server nothing else would lead a reader of the log past it.
    let read = "SELECT data FROM pg_logical_slot_get_changes('marks', NULL, NULL) WHERE data LIKE 'message%'";
    let read = home.database.value(read).await.unwrap();
    assert_eq!(read, "message: transactional: 1 prefix: zdm, sz: 6 content:marker");
    home.database.execute("SELECT pg_drop_replication_slot('marks')").await.unwrap();
}

/// Who looks for a request several times a second does so in one session,
/// and in another one when that is lost.
/// The target of a first switch was left again by a second one, and whoever
/// drove the first one comes late.
#[tokio::test]
async fn a_seal_that_came_since_is_not_taken_off() {
    let home = home("since").await;
    home.fence.seal(&home.run, &home.schema, "filling").await.unwrap();
    home.fence.unseal(&home.run, &home.schema, 1).await.unwrap();
    let back = home.run.other();
    let old = SwitchRecord { run: back.clone(), leg: 2, ..home.record() };
    let new = SwitchRecord { state: SwitchState::Switched, ..old.clone() };
    home.fence.swap(&back, None, Some(&old)).await.unwrap();
    let hold = home.fence.hold(&back, &home.schema, HoldOptions::default()).await.unwrap();
    hold.seal(&old, &new).await.unwrap();
    let late = home.fence.unseal(&home.run, &home.schema, 1).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Fenced, "{late}");
    assert!(home.database.execute(WRITES[1]).await.is_err(), "sealed again");
    // The third switch leads here.
    home.fence.unseal(&home.run, &home.schema, 3).await.unwrap();
    home.database.execute(WRITES[1]).await.unwrap();
}

#[tokio::test]
async fn the_record_is_read_in_one_session() {
    let home = home("reads").await;
    home.fence.swap(&home.run, None, Some(&home.record())).await.unwrap();
    let reader = "SELECT string_agg(pid::text, ',') FROM pg_stat_activity \
                  WHERE datname = current_database() AND application_name LIKE '%record'";
    let mut pids = Vec::new();
    for _ in 0..3 {
        assert_eq!(home.fence.record(&home.run).await.unwrap(), Some(home.record()));
        home.fence.now().await.unwrap();
        pids.push(home.database.value(reader).await.unwrap());
    }
    assert!(pids.iter().all(|pid| *pid == pids[0] && !pid.contains(',')), "{pids:?}");
    home.database.execute(&format!("SELECT pg_terminate_backend({})", pids[0])).await.unwrap();
    assert_eq!(home.fence.record(&home.run).await.unwrap(), Some(home.record()));
    assert_ne!(home.database.value(reader).await.unwrap(), pids[0]);
}
