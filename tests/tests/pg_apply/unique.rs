//! Unique values that change hands inside a group.

use zdm_core::connect::Purpose;
use zdm_pg::PgSink;
use zdm_pg::config::PgConfig;

use crate::fixture::*;

#[test]
fn unique_values_swap_and_move_down_a_chain() {
    test(async {
        let case = case(PLAIN).await;
        let t = plain();
        case.database.execute("INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')").await.unwrap();
        case.apply(|log| {
            // Through a value that the group never shows; the text stays.
            log.update(&t, Old::None, [n(1), n(99), SAME]).unwrap();
            log.update(&t, Old::None, [n(2), n(10), SAME]).unwrap();
            log.update(&t, Old::None, [n(1), n(20), SAME]).unwrap();
            log.insert(&t, [n(4), n(30), s("d")]).unwrap();
            log.update(&t, Old::None, [n(3), n(40), s("cc")]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|20|a", "2|10|b", "3|40|cc", "4|30|d"]).await;
        // A unique index over an expression that comes while a writer is open.
        let mut writer = case.writer(Purpose::Apply, 1).await.unwrap();
        writer.write(batch(|log| log.update(&t, Old::None, [n(1), n(20), SAME]).unwrap())).await.unwrap();
        writer.commit(case.next()).await.unwrap();
        case.database.execute("CREATE UNIQUE INDEX ON t (upper(v)) WHERE id > 0").await.unwrap();
        let swap = batch(|log| {
            log.update(&t, Old::None, [n(1), n(20), s("x")]).unwrap();
            log.update(&t, Old::None, [n(2), n(10), s("a")]).unwrap();
            log.update(&t, Old::None, [n(1), n(20), s("b")]).unwrap();
        });
        writer.write(swap).await.unwrap();
        writer.commit(case.next()).await.unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|20|b", "2|10|a", "3|40|cc", "4|30|d"]).await;
    });
}

#[test]
fn a_new_row_takes_the_unique_value_of_one_that_goes() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        case.database.execute("INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')").await.unwrap();
        case.apply(|log| {
            log.delete(&t, [n(1), SAME, SAME]).unwrap();
            log.insert(&t, [n(4), n(10), s("d")]).unwrap();
            log.delete(&t, [n(2), SAME, SAME]).unwrap();
            log.update(&t, Old::None, [n(3), n(20), s("c")]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["3|20|c", "4|10|d"]).await;
    });
}

/// What the catalog says of it is not seen before it is built, and a group
/// that did not know of it would fail.
#[test]
fn an_index_that_is_being_built_is_waited_for() {
    test(async {
        let case = case(
            "CREATE TABLE t (id bigint PRIMARY KEY, u bigint, v text);
             INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b')",
        )
        .await;
        let t = plain();
        let mut writer = case.writer(Purpose::Apply, 1).await.unwrap();
        let builder = case.database.connect().await.unwrap();
        builder.batch_execute("BEGIN; CREATE UNIQUE INDEX ON t (u)").await.unwrap();
        let (swap, progress) = (
            batch(|log| {
                log.update(&t, Old::None, [n(1), n(20), s("a")]).unwrap();
                log.update(&t, Old::None, [n(2), n(10), s("b")]).unwrap();
            }),
            case.next(),
        );
        let applying = tokio::spawn(async move {
            writer.write(swap).await?;
            writer.commit(progress).await
        });
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting = async {
            while case.rows(waits).await != ["1"] {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it waits for the index");
        builder.batch_execute("COMMIT").await.unwrap();
        applying.await.unwrap().unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|20|a", "2|10|b"]).await;
    });
}

#[test]
fn partitions_take_their_rows_and_their_own_unique_indexes_are_respected() {
    test(async {
        let case = case(
            "CREATE TABLE t (id bigint, u bigint, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
             CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
             CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);
             CREATE UNIQUE INDEX ON t1 (u);
             INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')",
        )
        .await;
        let t = plain();
        case.apply(|log| {
            log.update(&t, Old::None, [n(1), n(9), SAME]).unwrap();
            log.update(&t, Old::None, [n(2), n(1), SAME]).unwrap();
            log.update(&t, Old::None, [n(1), n(2), SAME]).unwrap();
            log.update(&t, key(3), [n(13), n(3), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect(
            "SELECT tableoid::regclass, * FROM t ORDER BY id",
            &["t1|1|2|a", "t1|2|1|b", "t2|13|3|c"],
        )
        .await;
    });
}

#[test]
fn what_the_source_checks_at_commit_is_checked_there() {
    test(async {
        let mut case = case(
            "CREATE TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE DEFERRABLE INITIALLY IMMEDIATE, v text);
             INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b')",
        )
        .await;
        // Nobody who may set `session_replication_role`: that would leave such
        // a constraint unchecked.
        let user = server().await.create_user("checked", "").await.unwrap();
        let rights = "ALTER TABLE t OWNER TO checked; GRANT ALL ON SCHEMA zdm TO checked;
                      GRANT ALL ON ALL TABLES IN SCHEMA zdm TO checked";
        case.database.execute(rights).await.unwrap();
        let url = case.database.url_as(&user.name, &user.password);
        case.sink = PgSink::new(PgConfig::parse(&url).unwrap());
        // Each batch is a statement of its own in the open transaction.
        case.hold_back = Some(0);
        let t = plain();
        let mut writer = case.writer(Purpose::Apply, 1).await.unwrap();
        writer.write(batch(|log| log.update(&t, Old::None, [n(1), n(20), SAME]).unwrap())).await.unwrap();
        writer.write(batch(|log| log.update(&t, Old::None, [n(2), n(10), SAME]).unwrap())).await.unwrap();
        writer.commit(case.next()).await.unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|20|a", "2|10|b"]).await;
    });
}
