//! Rows of a target whose parent is not there are found before a cutover keeps
//! anybody waiting; and while changes are applied nothing is taken for one.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zdm_core::ErrorKind;
use zdm_core::connect::{Sink, Source};
use zdm_core::gate::Gate;
use zdm_core::migrate::Migration;
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::schema::Selection;
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_pg::config::PgConfig;
use zdm_pg::{PgSink, PgSource};
use zdm_tests::engine::{Database, Engine};

const TABLES: &str = "
    CREATE TABLE customer (id BIGINT PRIMARY KEY, name VARCHAR(50));
    CREATE TABLE purchase (id BIGINT PRIMARY KEY, customer BIGINT, note VARCHAR(50) NOT NULL,
                           CONSTRAINT bought_by FOREIGN KEY (customer) REFERENCES customer (id));
    INSERT INTO customer VALUES (1, 'one'), (2, 'two'), (3, 'three');
    INSERT INTO purchase VALUES (1, 1, 'copied'), (2, 2, 'copied'), (3, NULL, 'nobody');";

fn ends(engine: Engine, from: &Database, to: &Database) -> (Arc<dyn Source>, Arc<dyn Sink>) {
    if engine == Engine::Postgres {
        let (from, to) = (PgConfig::parse(&from.url()).unwrap(), PgConfig::parse(&to.url()).unwrap());
        (Arc::new(PgSource::new(from)), Arc::new(PgSink::new(to)))
    } else {
        let (from, to) = (MySqlConfig::parse(&from.url()).unwrap(), MySqlConfig::parse(&to.url()).unwrap());
        (Arc::new(MySqlSource::new(from)), Arc::new(MySqlSink::new(to)))
    }
}

/// Parents and children come and go together, on one side of each commit.
async fn load(database: Database, cancel: CancellationToken) -> u32 {
    let mut rounds = 0;
    while !cancel.is_cancelled() {
        let id = 100 + rounds % 50;
        let come = format!(
            "BEGIN; INSERT INTO customer VALUES ({id}, 'new'); INSERT INTO purchase VALUES ({id}, {id}, 'new'); COMMIT"
        );
        let go = format!(
            "BEGIN; DELETE FROM purchase WHERE id = {id}; DELETE FROM customer WHERE id = {id}; COMMIT"
        );
        database.execute(&come).await.unwrap();
        database.execute(&go).await.unwrap();
        rounds += 1;
    }
    rounds
}

/// `unchecked` makes a session leave foreign keys and the target's seal alone.
async fn found(engine: Engine, unchecked: &str, name: &str) {
    let (old, new) = tokio::join!(engine.start(), engine.start());
    let (from, to) = (old.create_database(name).await, new.create_database(name).await);
    from.execute(TABLES).await.unwrap();
    let (source, sink) = ends(engine, &from, &to);
    let migration = Migration::between_shared(source, Arc::clone(&sink))
        .named(name.parse().unwrap())
        .tables(Selection::new([from.tables()]).unwrap())
        .build()
        .unwrap();
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();

    // Nothing is an orphan while its parent is on its way.
    let schema = migration.schema().await.unwrap();
    let stop = CancellationToken::new();
    let load = tokio::spawn(load(from.clone(), stop.clone()));
    let assess = sink.capabilities().assess.unwrap();
    for _ in 0..40 {
        let findings = assess.assess_ready(&name.parse().unwrap(), &schema).await.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
    }
    stop.cancel();
    assert!(load.await.unwrap() > 5, "nothing was written meanwhile");

    // One that is: nobody waits for it to be found, and the source stays open.
    to.execute(&format!("{unchecked}; DELETE FROM customer WHERE id = 2")).await.unwrap();
    let gate = Gate::new("old");
    let toward = Arc::new(gate.toward("new"));
    let error =
        running.cutover(Arc::clone(&toward) as _, CutoverOptions::default()).await.expect_err("an orphan");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let words = error.to_string();
    assert!(words.contains("rows refer by bought_by to parents that are not there"), "{words}");
    assert!(words.contains("before you cut over: 2"), "the key is named: {words}");
    assert_eq!(gate.stats().waited, 0);
    from.execute("INSERT INTO purchase VALUES (9, 1, 'later')").await.unwrap();

    // Without the look before it shows behind the switch.
    to.execute(&format!("{unchecked}; INSERT INTO customer VALUES (2, 'two')")).await.unwrap();
    running.cutover(toward, CutoverOptions::default()).await.unwrap();
    migration.complete().await.unwrap();
    assert_eq!(*gate.enter().await.unwrap(), "new");
    assert_eq!(to.value("SELECT COUNT(*) FROM purchase WHERE id IN (1, 2, 3, 9)").await.unwrap(), "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_is_found_before_the_cutover_of_postgresql() {
    found(Engine::Postgres, "SET session_replication_role = replica; SET zdm.run = 'orphan_pg'", "orphan_pg")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_is_found_before_the_cutover_of_mysql() {
    found(Engine::MySql, "SET foreign_key_checks = 0, @zdm_run = 'orphan_my'", "orphan_my").await;
}
