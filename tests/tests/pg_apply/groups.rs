//! Groups of changes: what is in the table when they have been applied.

use std::sync::Arc;

use zdm_core::ErrorKind;
use zdm_core::change::{Field, Value};
use zdm_core::connect::Purpose;

use crate::fixture::*;

#[test]
fn inserts_updates_and_deletes_end_as_they_should_and_progress_moves_with_them() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        case.apply(|log| {
            for id in 0..5 {
                log.insert(&t, [n(id), n(id), s("tab\tnew\nback\\slash\\N")]).unwrap();
            }
        })
        .await
        .unwrap();
        case.apply(|log| {
            log.update(&t, None::<[Field<'_>; 3]>, [n(1), n(1), s("changed")]).unwrap();
            log.update(&t, None::<[Field<'_>; 3]>, [n(2), Value::Null.into(), SAME]).unwrap();
            log.delete(&t, [n(3), SAME, SAME]).unwrap();
            log.insert(&t, [n(9), n(9), s("")]).unwrap();
            log.delete(&t, [n(9), SAME, SAME]).unwrap();
            log.delete(&t, [n(4), SAME, SAME]).unwrap();
            log.insert(&t, [n(4), n(44), s("again")]).unwrap();
        })
        .await
        .unwrap();
        case.expect(
            "SELECT id, u, replace(replace(v, E'\\t', '<t>'), E'\\n', '<n>') FROM t ORDER BY id",
            &[
                "0|0|tab<t>new<n>back\\slash\\N",
                "1|1|changed",
                "2|-|tab<t>new<n>back\\slash\\N",
                "4|44|again",
            ],
        )
        .await;
        let state = case.checkpoint.load(&case.run).await.unwrap().unwrap();
        assert_eq!(state.record.position, Some(position(2)));
        assert_eq!(state.record.changes_applied, 2);
    });
}

#[test]
fn applying_again_changes_nothing() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        for _ in 0..2 {
            case.apply(|log| {
                log.insert(&t, [n(1), n(1), s("a")]).unwrap();
                log.insert(&t, [n(2), n(2), s("b")]).unwrap();
                log.update(&t, key(1), [n(3), n(1), SAME]).unwrap();
                log.delete(&t, [n(2), SAME, SAME]).unwrap();
            })
            .await
            .unwrap();
            case.expect("SELECT * FROM t", &["3|1|a"]).await;
        }
    });
}

#[test]
fn truncate_empties_what_came_before_and_nothing_behind() {
    test(async {
        let (case, t) = (case(PLAIN).await, plain());
        case.database.execute("INSERT INTO t VALUES (1, 1, 'old')").await.unwrap();
        case.apply(|log| {
            log.insert(&t, [n(2), n(2), s("gone")]).unwrap();
            log.truncate(vec![Arc::clone(&t)]);
            log.insert(&t, [n(3), n(3), s("stays")]).unwrap();
            log.update(&t, Old::None, [n(3), n(4), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t", &["3|4|stays"]).await;
    });
}

#[test]
fn a_huge_transaction_flows_through_an_open_one() {
    test(async {
        let (mut case, t) = (case(PLAIN).await, plain());
        case.hold_back = Some(64 << 10);
        let mut writer = case.writer(Purpose::Apply, 1).await.unwrap();
        for part in 0..50_i64 {
            let rows = batch(|log| {
                for id in part * 200..(part + 1) * 200 {
                    log.insert(&t, [n(id), n(-id), s("some text that takes room")]).unwrap();
                    // Rows of the parts before, too.
                    log.update(&t, Old::None, [n(id / 2), n(-(id / 2)), s("changed")]).unwrap();
                }
            });
            writer.write(rows).await.unwrap();
        }
        // Most of it is there, in a transaction that nobody sees yet.
        case.expect("SELECT count(*) FROM t", &["0"]).await;
        let size = case.rows("SELECT pg_relation_size('t') > 300000").await;
        assert_eq!(size, ["t"]);
        writer.commit(case.next()).await.unwrap();
        case.expect("SELECT count(*), count(*) FILTER (WHERE v = 'changed') FROM t", &["10000|5000"]).await;
    });
}

#[test]
fn a_row_that_the_target_refuses_is_named() {
    test(async {
        let (case, t) = (
            case("CREATE TABLE t (id bigint PRIMARY KEY, u bigint CONSTRAINT small CHECK (u < 9), v text)")
                .await,
            plain(),
        );
        let error = case.apply(|log| log.insert(&t, [n(1), n(10), s("")]).unwrap()).await.unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{shown}");
        assert!(
            shown.contains("public.t") && shown.contains("small") && shown.contains("(1, 10, )"),
            "{shown}"
        );
    });
}

/// A row that the run did not bring has the unique value: neither of the two
/// is left out without a word.
#[test]
fn a_row_that_clashes_with_an_alien_one_is_named() {
    test(async {
        let (case, t) = (planned(PLAIN).await, plain());
        case.database.execute("INSERT INTO t VALUES (7, 10, 'alien'), (8, 20, 'ours')").await.unwrap();
        // Too large to be given as an array.
        let large = "x".repeat(600 << 10);
        for changes in [
            batch(|log| log.insert(&t, [n(1), n(10), s("new")]).unwrap()),
            batch(|log| log.insert(&t, [n(1), n(10), s(&large)]).unwrap()),
            batch(|log| log.update(&t, Old::None, [n(8), n(10), s("new")]).unwrap()),
        ] {
            let mut writer = case.writer(Purpose::Apply, 1).await.unwrap();
            let written = async {
                writer.write(changes).await?;
                writer.commit(case.next()).await
            };
            let error = written.await.unwrap_err();
            refused(&error);
            case.at.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        let mut writer = case.writer(Purpose::Load, 1).await.unwrap();
        let loaded = async {
            writer.write(batch(|log| log.insert(&t, [n(1), n(10), s("new")]).unwrap())).await?;
            writer.commit(done(0)).await
        };
        refused(&loaded.await.unwrap_err());
        case.expect("SELECT * FROM t ORDER BY id", &["7|10|alien", "8|20|ours"]).await;
    });
}

fn refused(error: &zdm_core::Error) {
    let shown = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{shown}");
    for part in ["public.t", "t_u_key", "(u)=(10)"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn native_cells_pass_through_and_large_ones_in_pieces() {
    test(async {
        let case = planned("CREATE TABLE t (id bigint PRIMARY KEY, u bigint, v text)").await;
        let t = plain();
        let native = |log: &mut zdm_core::change::Assembler, buffer: &mut Vec<u8>, text: &str| {
            let (offset, len) = (u32::try_from(buffer.len()).unwrap(), u32::try_from(text.len()).unwrap());
            buffer.extend_from_slice(text.as_bytes());
            log.cell(zdm_core::change::Cell::Value {
                offset,
                len,
                format: zdm_core::change::Format::Native(0),
            });
        };
        let large = "back\\slash\tand é\n".repeat(30_000);
        let rows = |id: &str, text: &str| {
            let (mut log, mut buffer) = (zdm_core::change::Assembler::new(), Vec::new());
            log.row(&t, zdm_core::change::Op::Insert, false);
            native(&mut log, &mut buffer, id);
            log.cell(zdm_core::change::Cell::Null);
            native(&mut log, &mut buffer, text);
            log.end_image().unwrap();
            log.finish(buffer.into(), Arc::new(zdm_pg::PgEncoding), None).unwrap()
        };
        let mut load = case.writer(Purpose::Load, 1).await.unwrap();
        load.write(rows("1", &large)).await.unwrap();
        load.commit(done(0)).await.unwrap();
        let mut apply = case.writer(Purpose::Apply, 1).await.unwrap();
        apply.write(rows("2", &large)).await.unwrap();
        apply.commit(case.next()).await.unwrap();
        let same = "SELECT id, u IS NULL, v = repeat(E'back\\\\slash\\tand é\\n', 30000) FROM t ORDER BY id";
        case.expect(same, &["1|t|t", "2|t|t"]).await;
    });
}
