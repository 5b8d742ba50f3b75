//! Writes the corpus anew from what a real server says.
//!
//! `cargo test -p zdm-tests --test fuzz -- --ignored capture`. Entries that
//! begin with `hand-` (written), `bad-` (not understood, and rightly) or `crash-`
//! (found by a fuzzer) stay.

mod cells;
mod mysql;
mod wire;

use std::fs;

use zdm_servers::postgres::{Auth, Database, PgOptions, Postgres, Version};

use super::corpus;

/// The tables of the door: by a key, by the full row, and partitioned.
const TABLES: &str = "
    CREATE TABLE t (id int8 PRIMARY KEY, name text, size numeric);
    ALTER TABLE t ALTER name SET STORAGE EXTERNAL;
    CREATE TABLE f (a int, b timestamptz, c text[]); ALTER TABLE f REPLICA IDENTITY FULL;
    CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p DEFAULT;
    CREATE PUBLICATION pub FOR ALL TABLES";

/// What a log may hold, a capture each.
const LOGS: [(&str, &str); 6] = [
    ("insert", "INSERT INTO t VALUES (1, 'a', 1.50), (2, NULL, 'NaN')"),
    (
        "update",
        "UPDATE t SET size = 2 WHERE id = 1; UPDATE t SET id = 3 WHERE id = 1; DELETE FROM t WHERE id = 3",
    ),
    (
        "unchanged",
        "INSERT INTO t SELECT 9, string_agg(md5(i::text), ''), 1 FROM generate_series(1, 90) i; UPDATE t SET size = 0",
    ),
    ("full", "INSERT INTO f VALUES (1, 'infinity', '{a,NULL}'); UPDATE f SET a = 2; DELETE FROM f"),
    ("parts", "INSERT INTO p VALUES (1, 'x'); TRUNCATE p; INSERT INTO p VALUES (2, 'y'); TRUNCATE t, f"),
    ("message", "SELECT pg_logical_emit_message(true, 'app', 'says'); DELETE FROM t"),
];

/// Transactions that a server sends before they end: one that is rolled back in
/// part, one that is rolled back, and one that comes whole between.
const STREAMED: [(&str, &str); 2] = [
    (
        "streamed",
        "BEGIN; INSERT INTO t VALUES (1, 'a', 1.50); SAVEPOINT s; INSERT INTO t VALUES (2, NULL, 2); ROLLBACK TO s;
         UPDATE t SET id = 3 WHERE id = 1; SELECT pg_logical_emit_message(true, 'app', 'says'); TRUNCATE f;
         INSERT INTO p VALUES (1, 'x'); DELETE FROM t; COMMIT",
    ),
    (
        "streamed_back",
        "BEGIN; INSERT INTO f VALUES (1, 'infinity', '{a,NULL}'); UPDATE f SET a = 2; ROLLBACK; INSERT INTO t VALUES (9)",
    ),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the corpus"]
async fn capture_streamed() {
    // From 16 on a server can be told to send each change at once.
    let options = PgOptions::new().version(Version::Newest);
    let server =
        Postgres::start(options.setting("debug_logical_replication_streaming", "immediate")).await.unwrap();
    logs(&server, &STREAMED, "proto_version '2', streaming 'on'").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the corpus"]
async fn capture() {
    let server = Postgres::start(PgOptions::new().auth(Auth::Scram)).await.unwrap();
    wire::challenge(&server);
    server.close().await.unwrap();

    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let db = logs(&server, &LOGS, "proto_version '1'").await;
    cells::values(&db).await;
    cells::copied(&db).await;
    cells::changes();
    cells::checkpoint(&db).await;
}

/// Makes the tables, and writes what the server says of each log.
async fn logs(server: &Postgres, logs: &[(&str, &str)], options: &str) -> Database {
    let db = server.create_database("corpus").await.unwrap();
    db.execute(TABLES).await.unwrap();
    for (name, sql) in logs {
        db.execute(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"))
            .await
            .unwrap();
        db.execute(sql).await.unwrap();
        let oids =
            db.query("SELECT oid, relname FROM pg_class WHERE relname IN ('t', 'f', 'p1')").await.unwrap();
        let oids = oids.iter().map(|row| {
            let known = match row[1].as_deref() {
                Some("t") => 1_u32,
                Some("f") => 2,
                _ => 4,
            };
            (row[0].as_deref().unwrap().parse().unwrap(), known)
        });
        wire::log(server, name, options, &oids.collect());
    }
    db
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = corpus(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}
