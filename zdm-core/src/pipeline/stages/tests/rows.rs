//! What stages do with rows.

use super::*;
use crate::ErrorKind;

fn of_tenant_7() -> Stages<impl Stage> {
    Stages::new().filter(["tenant"], |row| Ok(row.integer(0)? == Some(7)))
}

fn named_a() -> Stages<impl Stage> {
    Stages::new().filter(["name"], |row| Ok(row.text(0)?.as_deref() == Some("a")))
}

#[test]
fn a_filter_turns_leaving_rows_into_deletes_and_entering_ones_into_inserts() {
    let schema = schema([full(users())]);
    let table = &schema.tables[0];
    let stages = built(of_tenant_7());
    assert!(codes(&stages.check(&schema), Severity::Blocker).is_empty());
    let target = stages.schema(&schema).unwrap();
    let batch = transaction(|b| {
        b.insert(table, row(1, 7, Some("a"))).unwrap();
        b.insert(table, row(2, 8, Some("b"))).unwrap();
        b.update(table, Some(row(1, 7, Some("a"))), row(1, 7, Some("c"))).unwrap();
        b.update(table, Some(row(1, 7, Some("c"))), row(1, 8, Some("d"))).unwrap();
        b.update(table, Some(row(2, 8, Some("b"))), row(2, 7, None)).unwrap();
        b.update(table, Some(row(3, 8, Some("x"))), row(3, 9, Some("x"))).unwrap();
        b.delete(table, row(2, 7, Some("b"))).unwrap();
        b.delete(table, row(3, 9, Some("x"))).unwrap();
    });
    let out = stages.batch(batch.clone()).unwrap();
    let expected = [
        "insert (1, 7, a)",
        "update (1, 7, a) > (1, 7, c)",
        "delete (1, 7, c)",
        "insert (2, 7, b)",
        "delete (2, 7, b)",
    ];
    assert_eq!(shown(&out), expected);
    assert_eq!(boundaries(&out), boundaries(&batch));
    assert!(out.rows().all(|row| Arc::ptr_eq(row.table(), &target.tables[0])));
}

#[test]
fn a_filter_by_key_needs_no_old_image() {
    let schema = schema([users()]);
    let table = &schema.tables[0];
    let stages = built(of_tenant_7());
    let batch = transaction(|b| {
        b.update(table, None::<[Field<'_>; 3]>, row(1, 7, None)).unwrap();
        b.update(table, None::<[Field<'_>; 3]>, row(1, 8, None)).unwrap();
        b.update(table, Some(row(1, 7, None)), row(1, 8, Some("a"))).unwrap();
        // It enters without its name: the writer must see that it lacks it.
        b.update(table, Some(row(2, 8, None)), row(2, 7, None)).unwrap();
    });
    let expected = ["update (1, 7, ?)", "delete (1, 7, ?)", "update (2, 7, ?)"];
    assert_eq!(shown(&stages.batch(batch).unwrap()), expected);
    assert_eq!(codes(&stages.check(&schema), Severity::Warning), ["filter_by_key_entering"]);
}

#[test]
fn a_filter_that_the_log_cannot_serve_is_a_blocker_and_an_error() {
    let by_key_only = schema([users()]);
    let stages = built(named_a());
    assert_eq!(codes(&stages.check(&by_key_only), Severity::Blocker), ["filter_not_by_key"]);
    assert!(codes(&stages.check(&schema([full(users())])), Severity::Blocker).is_empty());
    let table = &by_key_only.tables[0];
    let cases = [
        transaction(|b| b.delete(table, row(1, 7, None)).unwrap()),
        transaction(|b| b.update(table, None::<[Field<'_>; 3]>, row(1, 7, Some("a"))).unwrap()),
        transaction(|b| b.update(table, Some(row(1, 7, None)), row(1, 7, Some("a"))).unwrap()),
    ];
    for batch in cases {
        assert_eq!(stages.batch(batch).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_filter_takes_a_missing_cell_from_the_old_image() {
    let schema = schema([full(users())]);
    let table = &schema.tables[0];
    let batch = transaction(|b| b.update(table, Some(row(1, 7, Some("a"))), row(1, 8, None)).unwrap());
    let out = built(named_a()).batch(batch).unwrap();
    assert_eq!(shown(&out), ["update (1, 7, a) > (1, 8, a)"]);
}

#[test]
fn an_emptied_transaction_still_begins_and_commits() {
    let schema = schema([users()]);
    let batch = transaction(|b| b.insert(&schema.tables[0], row(1, 8, Some("a"))).unwrap());
    let out = built(of_tenant_7()).batch(batch.clone()).unwrap();
    assert_eq!((out.row_count(), boundaries(&out)), (0, boundaries(&batch)));
}

#[test]
fn a_map_works_on_both_images_and_leaves_unchanged_cells_so() {
    let schema = schema([users()]);
    let table = &schema.tables[0];
    let stages = built(
        Stages::new()
            .map_with_inverse(
                "id",
                |id| Ok(id.as_i64().map(|id| id + 100).into()),
                |id| Ok(id.as_i64().map(|id| id - 100).into()),
            )
            .map("name", |name| Ok(name.as_str().map(str::to_uppercase).into())),
    );
    let target = stages.schema(&schema).unwrap();
    assert!(codes(&stages.check(&schema), Severity::Blocker).is_empty());
    let batch = transaction(|b| {
        b.insert(table, row(1, 7, Some("a"))).unwrap();
        b.insert(table, [Value::Int(2).into(), Value::Int(7).into(), Value::Null.into()]).unwrap();
        b.update(table, Some(row(1, 7, None)), row(3, 7, None)).unwrap();
        b.delete(table, row(3, 7, None)).unwrap();
    });
    let out = stages.batch(batch).unwrap();
    let expected = [
        "insert (101, 7, A)",
        "insert (102, 7, null)",
        "update (101, 7, ?) > (103, 7, ?)",
        "delete (103, 7, ?)",
    ];
    assert_eq!(shown(&out), expected);

    let keys = transaction(|b| b.delete(&target.tables[0], row(103, 7, None)).unwrap());
    let (source, keys) = stages.keys_back(&target.tables[0], keys.slice(1..2)).unwrap();
    assert!(Arc::ptr_eq(&source, table));
    assert_eq!(shown(&keys), ["delete (3, 7, ?)"]);
}

#[test]
fn a_mapped_key_without_inverse_cannot_go_back() {
    let schema = schema([users()]);
    let stages = built(Stages::new().map("id", |id| Ok(id.as_i64().map(|id| id + 1).into())));
    let target = stages.schema(&schema).unwrap();
    assert_eq!(codes(&stages.check(&schema), Severity::Warning), ["map_of_key_without_inverse"]);
    assert_eq!(stages.irreversible(&schema)[0].code, "map_without_inverse");
    let keys = transaction(|b| b.delete(&target.tables[0], row(1, 7, None)).unwrap());
    let error = stages.keys_back(&target.tables[0], keys).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_value_of_another_kind_than_its_column_is_refused() {
    let schema = schema([users()]);
    let stages = built(Stages::new().map("id", |_| Ok(Value::from("one"))));
    let batch = transaction(|b| b.insert(&schema.tables[0], row(1, 7, Some("a"))).unwrap());
    let error = stages.batch(batch).unwrap_err();
    assert!(error.to_string().contains("gave a text for a column of type int64"), "{error}");
}

#[test]
fn a_computed_column_stands_at_the_end_of_both_images() {
    let schema = schema([full(users())]);
    let table = &schema.tables[0];
    let stages = built(
        Stages::new()
            .compute(Column::new("label", DataType::text()), ["name", "id"], |row| {
                Ok(Value::from(format!("{}-{}", row.text(0)?.unwrap_or_default(), row.value(1)?)))
            })
            // A stage sees what the one before it made.
            .filter(["label"], |row| Ok(row.text(0)?.as_deref() != Some("no-9"))),
    );
    assert!(codes(&stages.check(&schema), Severity::Blocker).is_empty());
    let batch = transaction(|b| {
        b.insert(table, row(1, 7, Some("a"))).unwrap();
        b.insert(table, row(9, 7, Some("no"))).unwrap();
        b.update(table, Some(row(1, 7, Some("a"))), row(2, 7, None)).unwrap();
    });
    let out = stages.batch(batch).unwrap();
    assert_eq!(shown(&out), ["insert (1, 7, a, a-1)", "update (1, 7, a, a-1) > (2, 7, a, a-2)"]);
}

#[test]
fn a_computation_never_works_on_half_of_what_it_reads() {
    let schema = schema([users()]);
    let table = &schema.tables[0];
    let none = None::<[Field<'_>; 3]>;
    let from = |reads: &'static [&'static str]| {
        built(Stages::new().compute(Column::new("n", DataType::text()), reads.iter().copied(), |row| {
            Ok(Value::from(row.text(0)?.unwrap_or_default().into_owned()))
        }))
    };
    let update = transaction(|b| b.update(table, none.clone(), row(1, 7, None)).unwrap());
    let both = from(&["name", "id"]);
    assert_eq!(codes(&both.check(&schema), Severity::Blocker), ["compute_misses_cell"]);
    assert_eq!(both.batch(update.clone()).unwrap_err().kind(), ErrorKind::Unsupported);
    // Of one column alone it is unchanged where that is.
    let one = from(&["name"]);
    assert!(codes(&one.check(&schema), Severity::Blocker).is_empty());
    assert_eq!(shown(&one.batch(update).unwrap()), ["update (1, 7, ?, ?)"]);
}

#[test]
fn a_column_is_set_from_itself_and_others() {
    let schema = schema([full(users())]);
    let stages = built(Stages::new().set("name", ["name", "tenant"], |row| {
        Ok(Value::from(format!("{}@{}", row.text(0)?.unwrap_or_default(), row.value(1)?)))
    }));
    let batch = transaction(|b| {
        b.update(&schema.tables[0], Some(row(1, 7, Some("a"))), row(1, 8, None)).unwrap();
    });
    assert_eq!(shown(&stages.batch(batch).unwrap()), ["update (1, 7, a@7) > (1, 8, a@8)"]);
}

#[test]
fn a_closure_reads_only_what_its_stage_named() {
    let schema = schema([users()]);
    let stages = built(Stages::new().filter(["id"], |row| row.boolean(1).map(|b| b.is_some())));
    let batch = transaction(|b| b.insert(&schema.tables[0], row(1, 7, Some("a"))).unwrap());
    assert!(stages.batch(batch).unwrap_err().to_string().contains("more columns than it named"));
}
