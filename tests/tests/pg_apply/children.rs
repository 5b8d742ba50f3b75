//! Tables that inherit from the target's table: their rows are their own.

use std::sync::Arc;

use zdm_core::schema::{DataType, Key};

use crate::fixture::*;

#[test]
fn rows_of_tables_that_inherit_are_left_alone() {
    test(async {
        let case = case(
            "CREATE TABLE t (id bigint PRIMARY KEY, u bigint, v text);
             CREATE TABLE child () INHERITS (t);
             INSERT INTO t SELECT i, i, 'parent' FROM generate_series(1, 4) i;
             INSERT INTO child SELECT i, -i, 'child' FROM generate_series(1, 6) i",
        )
        .await;
        let t = plain();
        case.apply(|log| {
            log.update(&t, Old::None, [n(1), n(11), SAME]).unwrap();
            log.delete(&t, [n(2), SAME, SAME]).unwrap();
            // Its cells are carried from the row that was there.
            log.update(&t, key(3), [n(7), n(33), SAME]).unwrap();
            // Not there: the child's row is another one.
            log.update(&t, Old::None, [n(5), n(55), s("whole")]).unwrap();
        })
        .await
        .unwrap();
        case.expect(
            "SELECT * FROM ONLY t ORDER BY id",
            &["1|11|parent", "4|4|parent", "5|55|whole", "7|33|parent"],
        )
        .await;
        case.expect("SELECT count(*), count(*) FILTER (WHERE u = -id AND v = 'child') FROM child", &["6|6"])
            .await;
        case.apply(|log| log.truncate(vec![Arc::clone(&t)])).await.unwrap();
        case.expect("SELECT (SELECT count(*) FROM ONLY t), (SELECT count(*) FROM child)", &["0|6"]).await;
    });
}

#[test]
fn rows_without_a_key_are_sought_in_the_table_alone() {
    test(async {
        let case = case(
            "CREATE TABLE f (a bigint, b text); CREATE TABLE child () INHERITS (f);
             INSERT INTO child VALUES (1, 'x'); INSERT INTO f VALUES (2, 'y')",
        )
        .await;
        let f = table("f", &[("a", INT), ("b", DataType::text())], Key::FullRow);
        case.apply(|log| log.delete(&f, [n(2), s("y")]).unwrap()).await.unwrap();
        let error = case.apply(|log| log.delete(&f, [n(1), s("x")]).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), zdm_core::ErrorKind::Conflict, "{error}");
        case.expect("SELECT (SELECT count(*) FROM ONLY f), (SELECT count(*) FROM child)", &["0|1"]).await;
    });
}
