//! Which row a change is about, and what becomes of the cells that the log
//! left out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use zdm_core::change::{Batch, BatchBuilder, Field};
use zdm_core::connect::Reread;
use zdm_core::schema::{DataType, Key, Table};
use zdm_core::{ErrorKind, Result};

use crate::fixture::*;

/// A source that rows are read from again.
struct Source {
    rows: Vec<(i64, i64, &'static str)>,
    asked: Mutex<Vec<i64>>,
}

#[async_trait::async_trait]
impl Reread for Source {
    async fn reread(&self, table: &Arc<Table>, keys: Batch) -> Result<Batch> {
        let asked: Vec<i64> =
            keys.rows().map(|row| row.key_image().cell(0).value().unwrap().as_i64().unwrap()).collect();
        let found = batch(|log| {
            for (id, u, v) in self.rows.iter().filter(|row| asked.contains(&row.0)) {
                log.insert(table, [n(*id), n(*u), s(v)]).unwrap();
            }
        });
        self.asked.lock().unwrap().extend(asked);
        Ok(found)
    }
}

#[test]
fn keys_swap_and_move_with_the_cells_that_the_log_left_out() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        case.database.execute("INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (7, 70, 'g')").await.unwrap();
        case.apply(|log| {
            log.update(&t, key(1), [n(-1), n(10), SAME]).unwrap();
            log.update(&t, key(2), [n(1), n(20), SAME]).unwrap();
            log.update(&t, key(-1), [n(2), n(10), SAME]).unwrap();
            log.update(&t, key(7), [n(8), n(70), SAME]).unwrap();
            log.update(&t, Old::None, [n(8), n(71), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|20|b", "2|10|a", "8|71|g"]).await;
        // What is not there cannot be carried, and nothing is made up.
        let error = case.apply(|log| log.update(&t, key(5), [n(6), n(1), SAME]).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        // Nor is a change passed over whose row is missing, by itself or beside cells that are carried.
        for moves in [false, true] {
            case.at.store(1, Ordering::Relaxed);
            let lost = case.apply(|log| {
                log.update(&t, Old::None, [n(5), n(1), SAME]).unwrap();
                if moves {
                    log.update(&t, key(8), [n(9), n(71), SAME]).unwrap();
                }
            });
            let error = lost.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
        case.expect("SELECT count(*) FROM t", &["3"]).await;
    });
}

#[test]
fn a_missing_row_is_read_again_only_while_catching_up() {
    test(async {
        let (mut case, t) = (case(PLAIN).await, plain());
        let stayed = |log: &mut BatchBuilder| {
            log.update(&t, Old::None, [n(1), n(1), SAME]).unwrap();
            log.update(&t, Old::None, [n(2), n(2), SAME]).unwrap();
            log.update(&t, Old::None, [n(3), n(3), s("whole")]).unwrap();
        };
        let moved = |log: &mut BatchBuilder| log.update(&t, key(4), [n(5), n(5), SAME]).unwrap();
        for change in [&stayed as &dyn Fn(&mut BatchBuilder), &moved] {
            let error = case.apply(change).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            case.at.store(0, Ordering::Relaxed);
        }
        // Row 4 of the target is another row than the one that moved to 5.
        case.database.execute("INSERT INTO t VALUES (4, 40, 'another')").await.unwrap();
        let rows = vec![(1, 11, "from the source"), (5, 55, "moved")];
        let source = Arc::new(Source { rows, asked: Mutex::default() });
        case.reread = Some(Arc::clone(&source) as Arc<dyn Reread>);
        case.apply(|log| {
            stayed(log);
            moved(log);
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|11|from the source", "3|3|whole", "5|55|moved"])
            .await;
        let mut asked = source.asked.lock().unwrap().clone();
        asked.sort_unstable();
        assert_eq!(asked, [1, 2, 5]);
    });
}

#[test]
fn respelled_keys_are_one_row_with_the_new_spelling() {
    test(async {
        let case = case(
            "CREATE TABLE m (k numeric PRIMARY KEY, v text);
             INSERT INTO m VALUES (1.0, 'a'), (2.0, 'b');
             CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE c (k text COLLATE blind PRIMARY KEY, v text);
             INSERT INTO c VALUES ('a', '1'), ('b', '2')",
        )
        .await;
        let m = table("m", &[("k", DataType::decimal()), ("v", DataType::text())], Key::Columns(vec![0]));
        let c = table("c", &[("k", DataType::text()), ("v", DataType::text())], Key::Columns(vec![0]));
        case.apply(|log| {
            log.update(&m, Some([d("1.0"), SAME]), [d("1.00"), SAME]).unwrap();
            log.update(&m, Some([d("2.0"), SAME]), [d("2.00"), s("x")]).unwrap();
            log.update(&m, Some([d("2.00"), SAME]), [d("2.0"), SAME]).unwrap();
            log.update(&c, Some([s("a"), SAME]), [s("A"), SAME]).unwrap();
            log.delete(&c, [s("b"), SAME]).unwrap();
            log.insert(&c, [s("B"), s("new")]).unwrap();
            log.delete(&c, [s("B"), SAME]).unwrap();
            log.insert(&c, [s("b"), s("newer")]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM m ORDER BY k", &["1.00|a", "2.0|x"]).await;
        case.expect("SELECT * FROM c ORDER BY k", &["A|1", "b|newer"]).await;
        // An update under the log's spelling finds the row and respells it.
        case.apply(|log| log.update(&c, None::<[Field<'_>; 2]>, [s("B"), SAME]).unwrap()).await.unwrap();
        case.expect("SELECT * FROM c ORDER BY k", &["A|1", "B|newer"]).await;
        // Nothing has to be carried: what goes and what comes are one row all the same.
        case.apply(|log| {
            log.update(&m, Some([d("1.00"), SAME]), [d("1.000"), s("whole")]).unwrap();
            log.update(&c, Some([s("A"), SAME]), [s("a"), s("whole")]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM m ORDER BY k", &["1.000|whole", "2.0|x"]).await;
        case.expect("SELECT * FROM c ORDER BY k", &["a|whole", "B|newer"]).await;
    });
}

#[test]
fn operators_of_extensions_are_found() {
    test(async {
        let case = case("CREATE EXTENSION citext; CREATE TABLE c (k citext PRIMARY KEY, v text)").await;
        case.database.execute("INSERT INTO c VALUES ('a', '1'), ('b', '2')").await.unwrap();
        let c = table("c", &[("k", DataType::text()), ("v", DataType::text())], Key::Columns(vec![0]));
        case.apply(|log| {
            log.update(&c, Some([s("a"), SAME]), [s("A"), SAME]).unwrap();
            log.update(&c, None::<[Field<'_>; 2]>, [s("B"), s("3")]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM c ORDER BY k", &["A|1", "B|3"]).await;
    });
}
