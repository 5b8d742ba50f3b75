//! Tables without a key, whose rows are matched by all their cells.

use zdm_core::ErrorKind;
use zdm_core::change::Value;
use zdm_core::schema::{DataType, Key};

use crate::fixture::*;

#[test]
fn a_table_without_a_key_loses_one_row_at_a_time_and_the_right_one() {
    test(async {
        let case = case(
            "CREATE TABLE f (a numeric, b json, p point);
             INSERT INTO f VALUES (1.0, '{}', '(1,2)'), (1.00, '{}', '(1,2)'), (1.00, '{}', '(1,2)'), (NULL, NULL, NULL)",
        )
        .await;
        let columns = [("a", DataType::decimal()), ("b", DataType::Json), ("p", DataType::Native)];
        let f = table("f", &columns, Key::FullRow);
        let row =
            |a: &'static str| [d(a), Value::Json("{}".into()).into(), Value::Native("(1,2)".into()).into()];
        let null = || [Value::Null.into(), Value::Null.into(), Value::Null.into()];
        case.apply(|log| {
            log.delete(&f, row("1.00")).unwrap();
            log.insert(&f, row("5")).unwrap();
            log.update(&f, Some(null()), [d("2"), SAME, SAME]).unwrap();
            log.update(&f, Some(row("5")), [d("6"), SAME, SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect(
            "SELECT a, b, p FROM f ORDER BY a, a::text",
            &["1.0|{}|(1,2)", "1.00|{}|(1,2)", "2|-|-", "6|{}|(1,2)"],
        )
        .await;
        let error = case.apply(|log| log.delete(&f, row("9")).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    });
}

#[test]
fn a_table_without_a_key_loses_the_right_one_of_rows_that_its_collation_takes_for_one() {
    test(async {
        let case = case(
            "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE f (a text COLLATE blind, b text); INSERT INTO f VALUES ('A', 'x'), ('a', 'x')",
        )
        .await;
        let f = table("f", &[("a", DataType::text()), ("b", DataType::text())], Key::FullRow);
        case.apply(|log| log.delete(&f, [s("a"), s("x")]).unwrap()).await.unwrap();
        case.expect("SELECT a, b FROM f", &["A|x"]).await;
    });
}
