//! A cutover that leaves MySQL or MariaDB, killed at each of its steps under
//! load: at no moment are both sides open, and no write that was acknowledged
//! is lost or there twice.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use zdm_tests::engine::{Database, Engine, Role, Server};
use zdm_tests::migrator::End;
use zdm_tests::route::Route;
use zdm_tests::within;

const TABLES: &str = "
    CREATE TABLE customer (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50));
    CREATE TABLE purchase (id BIGINT AUTO_INCREMENT PRIMARY KEY, customer BIGINT NOT NULL, note VARCHAR(50) NOT NULL,
                           FOREIGN KEY (customer) REFERENCES customer (id));
    INSERT INTO customer (name) VALUES ('one'), ('two'), ('three');
    INSERT INTO purchase (customer, note) VALUES (1, 'copied'), (2, 'copied'), (3, 'copied');";

/// Each point of a cutover, and whether it lies behind the commit point.
const POINTS: [(&str, bool); 9] = [
    ("prepared", false),
    ("held", false),
    ("fenced", false),
    ("drained", false),
    ("verified", false),
    ("finished", false),
    ("before_switch", false),
    ("after_switch", true),
    ("opened", true),
];

fn write(note: &str) -> String {
    format!("INSERT INTO purchase (customer, note) VALUES (1, '{note}')")
}

/// One write, which knows of no gate; `false` if a seal refused it, or if the
/// table is not there yet.
async fn once(database: &Database, note: &str) -> bool {
    match within("an answer to a write", database.execute(&write(note))).await {
        Ok(()) => true,
        Err(error) => {
            let words = error.to_string();
            let early = words.contains("does not exist") || words.contains("doesn't exist");
            assert!(words.contains("is sealed") || early, "{words}");
            false
        }
    }
}

/// Whether each side takes a write, which is not left there.
async fn sides(route: &Route) -> (bool, bool) {
    let open = async |database: &Database| {
        let attempt = format!("BEGIN; {}; ROLLBACK", write("never"));
        match within("an answer to a write", database.execute(&attempt)).await {
            Ok(()) => true,
            Err(error) => {
                assert!(error.to_string().contains("is sealed"), "{error}");
                false
            }
        }
    };
    (open(&route.source).await, open(&route.target).await)
}

/// A write that was acknowledged.
struct Ack {
    note: String,
    at_source: bool,
    began: Instant,
    ended: Instant,
}

/// Somebody who writes wherever he is let in.
struct Writer {
    acks: Arc<Mutex<Vec<Ack>>>,
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writer {
    fn start(route: &Route) -> Self {
        let (acks, done, stop) = (Arc::default(), Arc::default(), Arc::default());
        let mut writer = Self { acks, done, stop, tasks: Vec::new() };
        for (database, at_source) in [(&route.source, true), (&route.target, false)] {
            let (database, acks) = (database.clone(), Arc::clone(&writer.acks));
            let (done, stop) = (Arc::clone(&writer.done), Arc::clone(&writer.stop));
            writer.tasks.push(tokio::spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // The run has the target to itself once it is sealed, and
                    // nobody knows of it before.
                    if !at_source && !is_sealed_or_open(&database).await {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                    let note = format!("{}, {n}", if at_source { "source" } else { "target" });
                    let began = Instant::now();
                    if once(&database, &note).await {
                        acks.lock().unwrap().push(Ack { note, at_source, began, ended: Instant::now() });
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }));
        }
        writer
    }

    /// Waits for so many more writes.
    async fn more(&self, writes: usize) {
        let goal = self.done.load(Ordering::Relaxed) + writes;
        let wait = async {
            while self.done.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("writes of the application", wait).await;
    }

    /// Ends, and looks at every write.
    async fn stop(self, route: &Route) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let acks = std::mem::take(&mut *self.acks.lock().unwrap());
        let opened = acks.iter().filter(|ack| !ack.at_source).map(|ack| ack.ended).min().unwrap();
        for ack in acks.iter().filter(|ack| ack.at_source) {
            assert!(
                ack.began < opened,
                "{}: {} was taken by the source after the target",
                route.name,
                ack.note
            );
        }
        let sql = "SELECT note FROM purchase WHERE note <> 'copied'";
        let found: Vec<String> = route
            .target
            .query(sql)
            .await
            .unwrap()
            .into_iter()
            .map(|mut row| row.remove(0).unwrap())
            .collect();
        let wanted: BTreeSet<&str> = acks.iter().map(|ack| ack.note.as_str()).collect();
        assert_eq!(found.len(), wanted.len(), "{}: writes are lost or doubled", route.name);
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), wanted, "{}", route.name);
    }
}

/// Whether the target's table has come under a seal, now or before.
async fn is_sealed_or_open(database: &Database) -> bool {
    let sql = match database {
        Database::Postgres(_) => "SELECT count(*) FROM pg_trigger WHERE tgname = 'zdm_seal'".to_owned(),
        Database::MySql(_) => format!(
            "SELECT COUNT(*) FROM zdm.seal WHERE run = '{}' AND side = '{0}' AND (sealed OR EXISTS ( \
               SELECT 1 FROM zdm.run WHERE run = '{0}' AND phase = 'switched'))",
            database.name()
        ),
    };
    static OPENED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let key = database.url();
    if OPENED.lock().unwrap().contains(&key) {
        return true;
    }
    let sealed = database.value(&sql).await.is_ok_and(|count| count != "0");
    // Triggers come one after the other: the writer begins when all are there.
    let all = match database {
        Database::Postgres(_) => "SELECT count(*) >= 2 FROM pg_trigger WHERE tgname = 'zdm_seal'".to_owned(),
        Database::MySql(_) => format!(
            "SELECT COUNT(*) >= 6 FROM information_schema.triggers WHERE trigger_schema = '{}' \
               AND trigger_name LIKE 'zdm\\_seal\\_%'",
            database.name()
        ),
    };
    let all = sealed && matches!(database.value(&all).await.as_deref(), Ok("1" | "t"));
    if all {
        OPENED.lock().unwrap().insert(key);
    }
    all
}

async fn killed_at(from: &Server, to: &Server, prefix: &str, (point, behind): (&str, bool)) {
    let route = Route::new(&format!("{prefix}_{point}"), from, to).await;
    route.source.execute(TABLES).await.unwrap();
    let writer = Writer::start(&route);
    writer.more(10).await;
    let switched = End::Done("switched".to_owned());
    // Where rows are compared and counted too, it takes longer.
    let plan = || match point {
        "verified" => route.plan().with("evidence", "yes"),
        _ => route.plan(),
    };
    let kill = plan().with("cutover", "following").with("kill-at", format!("cutover::{point}:1"));
    assert_eq!(kill.run().await, End::Killed, "{point}");
    let (source, target) = sides(&route).await;
    assert!(!(source && target), "{point}: both sides are open behind the kill");
    assert_eq!(source, !behind, "{point}: the source behind the kill");
    if behind {
        assert_eq!(route.plan().run().await, switched, "{point}");
    } else {
        writer.more(10).await;
        let mut migrator = plan().start();
        migrator.following().await;
        assert_eq!(sides(&route).await, (true, false), "{point}: behind the next start");
        writer.more(10).await;
        migrator.order("cutover").await;
        assert!(migrator.event("switched").await.is_some(), "{point}: the second cutover");
        assert_eq!(migrator.end().await, switched, "{point}");
    }
    assert_eq!(sides(&route).await, (false, true), "{point}: in the end");
    writer.more(10).await;
    writer.stop(&route).await;
}

async fn killed_at_every_step(from: Engine, to: Engine, prefix: &str) {
    let (from, to) = tokio::join!(from.start(Role::Source), to.start(Role::Target));
    // A few at a time: most of it is waiting for leases to run out.
    let cases = futures::stream::iter(POINTS);
    cases.for_each_concurrent(3, |point| killed_at(&from, &to, prefix, point)).await;
}

/// Told before the fence, and as the target's own rows: nothing that the run
/// did has made them.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_parent_are_found_before_the_fence() {
    let server = Engine::MySql.start(Role::Source).await;
    let route = Route::new("orphans", &server, &Engine::MySql.start(Role::Target).await).await;
    route.source.execute(TABLES).await.unwrap();
    let mut migrator = route.plan().start();
    migrator.following().await;
    let run = "SET @zdm_run = 'orphans'; SET foreign_key_checks = 0";
    let plant = format!("{run}; INSERT INTO purchase (id, customer, note) VALUES (900000, 777, 'planted')");
    route.target.execute(&plant).await.unwrap();
    migrator.order("cutover").await;
    let end = migrator.end().await;
    assert_eq!(end.error().0, "Config", "{end:?}");
    for word in ["orphans.purchase", "purchase_ibfk_1", "(777)"] {
        assert!(end.error().1.contains(word), "{word}: {end:?}");
    }
    assert_eq!(sides(&route).await, (true, false));
    route.target.execute(&format!("{run}; DELETE FROM purchase WHERE id = 900000")).await.unwrap();
    assert_eq!(route.plan().with("cutover", "following").run().await, End::Done("switched".to_owned()));
    assert_eq!(sides(&route).await, (false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mysql_exactly_one_side_is_open_and_no_write_is_lost() {
    killed_at_every_step(Engine::MySql, Engine::MySql, "mm").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_postgresql_exactly_one_side_is_open_and_no_write_is_lost() {
    killed_at_every_step(Engine::MariaDb, Engine::Postgres, "mp").await;
}
