//! Each kind of change, and what it looks like.

use futures::StreamExt;
use zdm_core::ErrorKind;
use zdm_pg::changes_probe as probe;

use super::fixture::{Source, error, read_to, server, within};
use super::show::show;

const LARGE: &str = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) i)";

#[tokio::test]
async fn every_kind_of_change_in_order() {
    let source = Source::new(
        server().await,
        "kinds",
        "CREATE SCHEMA \"Other\";
         CREATE TABLE t (id int PRIMARY KEY, v text, big text);
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
         CREATE TABLE \"Other\".\"Mixed \"\"Case\" (\"Id\" int PRIMARY KEY, \"select\" text, twice int GENERATED ALWAYS AS (\"Id\" * 2) STORED);
         CREATE TABLE f (a int, b text, big text);
         ALTER TABLE f ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE f REPLICA IDENTITY FULL;
         CREATE TABLE i (id int PRIMARY KEY, code text NOT NULL, v text);
         CREATE UNIQUE INDEX i_code ON i (code);
         ALTER TABLE i REPLICA IDENTITY USING INDEX i_code;
         CREATE TABLE outside (id int PRIMARY KEY)",
        &["t", "\"Other\".\"Mixed \"\"Case\"", "f", "i"],
    )
    .await;
    let start = source.begin().await;
    for statement in [
        &format!("INSERT INTO t VALUES (1, 'a', {LARGE}), (2, NULL, '')"),
        "UPDATE t SET v = 'b' WHERE id = 1",
        "UPDATE t SET id = 3 WHERE id = 1",
        "INSERT INTO outside VALUES (1)",
        "DELETE FROM t WHERE id = 3",
        "INSERT INTO \"Other\".\"Mixed \"\"Case\" VALUES (1, 'x')",
        "UPDATE \"Other\".\"Mixed \"\"Case\" SET \"Id\" = 2",
        &format!("INSERT INTO f VALUES (1, 'x', {LARGE})"),
        "UPDATE f SET b = 'y'",
        "DELETE FROM f",
        "INSERT INTO i VALUES (1, 'one', 'v')",
        "UPDATE i SET v = 'w'",
        "UPDATE i SET code = 'two'",
        "DELETE FROM i",
        "TRUNCATE t, i RESTART IDENTITY CASCADE",
        "DO $$ BEGIN INSERT INTO t VALUES (7, 'kept', ''); BEGIN INSERT INTO t VALUES (8, 'lost', ''); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$",
    ] {
        source.db.execute(statement).await.unwrap();
    }
    source.db.execute("BEGIN; INSERT INTO t VALUES (9, 'rolled back', ''); ROLLBACK").await.unwrap();
    let lines: Vec<_> =
        source.lines(&start).await.into_iter().filter(|l| l != "begin" && l != "commit").collect();
    assert_eq!(
        lines,
        [
            "+ public.t 1|a|[6400]",
            "+ public.t 2|-|",
            "= public.t 1|b|~",
            "= public.t (1|~|~) 3|b|~",
            "- public.t (3|~|~)",
            "+ Other.Mixed \"Case 1|x|~",
            "= Other.Mixed \"Case (1|~|~) 2|x|~",
            "+ public.f 1|x|[6400]",
            "= public.f (1|x|[6400]) 1|y|[6400]",
            "- public.f (1|y|[6400])",
            "+ public.i 1|one|v",
            "= public.i 1|one|w",
            "= public.i (~|one|~) 1|two|w",
            "- public.i (~|two|~)",
            "truncate public.i public.t",
            "+ public.t 7|kept|",
        ]
    );
    probe::release(&source.config, &source.run).await.unwrap();
    probe::release(&source.config, &source.run).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'zdm_kinds')";
    assert_eq!(source.db.value(left).await.unwrap(), "0");
}

#[tokio::test]
async fn partitions_come_as_their_root_and_are_truncated_together() {
    let source = Source::new(
        server().await,
        "parts",
        "CREATE TABLE p (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 (v text, gone int, id int NOT NULL) ; ALTER TABLE p2 DROP gone;
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)",
        &["p"],
    )
    .await;
    let start = source.begin().await;
    let mut changes = source.open(&start).await.unwrap();
    for statement in [
        "INSERT INTO p VALUES (1, 'a'), (11, 'b')",
        "UPDATE p SET id = 12 WHERE id = 1",
        "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30)",
        "INSERT INTO p VALUES (21, 'new')",
        "TRUNCATE p",
        "INSERT INTO p VALUES (2, 'after')",
    ] {
        source.db.execute(statement).await.unwrap();
    }
    let mut lines = Vec::new();
    read_to(&mut changes, source.head().await, |batch| lines.extend(show(batch))).await;
    lines.retain(|l| l != "begin" && l != "commit");
    assert_eq!(
        lines,
        [
            "+ public.p 1|a",
            "+ public.p 11|b",
            "- public.p (1|~)",
            "+ public.p 12|a",
            "+ public.p 21|new",
            "truncate public.p",
            "+ public.p 2|after",
        ]
    );
    source.db.execute("TRUNCATE p2").await.unwrap();
    let error = error(&mut changes).await;
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    assert!(error.to_string().contains("some of its partitions were truncated"), "{error}");
}

#[tokio::test]
async fn a_changed_table_stops_the_stream_after_what_came_before() {
    let source = Source::new(server().await, "ddl", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let start = source.begin().await;
    source.db.execute("INSERT INTO t VALUES (1)").await.unwrap();
    source.db.execute("ALTER TABLE t ADD v text").await.unwrap();
    source.db.execute("INSERT INTO t VALUES (2, 'x')").await.unwrap();
    let mut changes = source.open(&start).await.unwrap();
    let mut lines = Vec::new();
    let error = within("the error", async {
        loop {
            match changes.batches.next().await.unwrap() {
                Ok(batch) => lines.extend(show(&batch)),
                Err(error) => return error,
            }
        }
    })
    .await;
    assert_eq!(lines, ["begin", "+ public.t 1", "commit"]);
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    assert!(error.to_string().contains("column v was added"), "{error}");
}

/// From here on the log does not say of which row a change of the key is.
#[tokio::test]
async fn another_replica_identity_stops_the_stream() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL UNIQUE)";
    let source = Source::new(server().await, "identity", sql, &["t"]).await;
    let start = source.begin().await;
    source.db.execute("INSERT INTO t VALUES (1, 1)").await.unwrap();
    source.db.execute("ALTER TABLE t REPLICA IDENTITY USING INDEX t_u_key").await.unwrap();
    source.db.execute("UPDATE t SET id = 2").await.unwrap();
    let error = error(&mut source.open(&start).await.unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    assert!(error.to_string().contains("replica identity was changed"), "{error}");
}
