//! What holds for every batch.

use proptest::prelude::*;

use super::*;

/// One change of the table, by three small numbers.
#[derive(Debug, Clone, Copy)]
enum Did {
    Insert(i64, i64),
    Update(i64, i64, i64),
    Key(i64, i64, i64),
    Delete(i64, i64),
    Boundary,
}

fn did() -> impl Strategy<Value = Did> {
    let n = || 0..4i64;
    prop_oneof![
        (n(), n()).prop_map(|(a, b)| Did::Insert(a, b)),
        (n(), n(), n()).prop_map(|(a, b, c)| Did::Update(a, b, c)),
        (n(), n(), n()).prop_map(|(a, b, c)| Did::Key(a, b, c)),
        (n(), n()).prop_map(|(a, b)| Did::Delete(a, b)),
        Just(Did::Boundary),
    ]
}

fn add(builder: &mut BatchBuilder, table: &Arc<Table>, did: Did) {
    let names = ["a", "b", "c", "d"];
    // OK because the numbers are made between 0 and 3.
    let name = |n: i64| Some(names[usize::try_from(n).unwrap()]);
    match did {
        Did::Insert(id, n) => builder.insert(table, row(id, n, name(n))),
        Did::Update(id, n, to) => builder.update(table, Some(row(id, n, name(n))), row(id, to, name(to))),
        Did::Key(id, n, to) => builder.update(table, Some(row(id, n, name(n))), row(to, n, None)),
        Did::Delete(id, n) => builder.delete(table, row(id, n, name(n))),
        Did::Boundary => {
            builder.commit(position(1), None);
            builder.begin(2);
            Ok(())
        }
    }
    .unwrap();
}

fn batch_of(table: &Arc<Table>, all: &[Did]) -> Batch {
    transaction(|b| all.iter().for_each(|did| add(b, table, *did)))
}

proptest! {
    #[test]
    fn a_batch_gives_what_its_rows_give_one_by_one(all in prop::collection::vec(did(), 0..40)) {
        let schema = schema([full(users())]);
        let table = &schema.tables[0];
        let stages = built(
            Stages::new()
                .filter(["tenant"], |row| Ok(row.integer(0)? != Some(2)))
                .compute(Column::new("both", DataType::text()), ["name", "id"], |row| {
                    Ok(Value::from(format!("{}{}", row.text(0)?.unwrap_or_default(), row.value(1)?)))
                })
                .map("id", |id| Ok(id.as_i64().map(|id| id * 2).into()))
                .filter(["both"], |row| Ok(row.text(0)?.as_deref() != Some("a1")))
                .drop_columns(["name"])
                .rename_table("public.users", "x.y"),
        );
        stages.schema(&schema).unwrap();
        let batch = batch_of(table, &all);
        let whole = stages.batch(batch.clone()).unwrap();
        let mut rows = Vec::new();
        for did in &all {
            rows.extend(shown(&stages.batch(batch_of(table, std::slice::from_ref(did))).unwrap()));
        }
        prop_assert_eq!(shown(&whole), rows);
        prop_assert_eq!(boundaries(&whole), boundaries(&batch));
        // Cut anywhere between items, it is the same.
        let items = batch.items().len();
        let parts = [batch.slice(0..items / 2), batch.slice(items / 2..items)];
        let cut: Vec<String> =
            parts.into_iter().flat_map(|part| shown(&stages.batch(part).unwrap())).collect();
        prop_assert_eq!(shown(&whole), cut);
    }

    #[test]
    fn stages_that_leave_a_table_alone_leave_the_batch_alone(all in prop::collection::vec(did(), 0..20)) {
        let schema = schema([users()]);
        for stages in [built(Stages::new()), built(Stages::new().leave_out("other.*").select(["id", "tenant", "name"]))] {
            let mapped = stages.schema(&schema).unwrap();
            prop_assert!(Arc::ptr_eq(&mapped.tables[0], &schema.tables[0]));
            let batch = batch_of(&schema.tables[0], &all);
            let out = stages.batch(batch.clone()).unwrap();
            // The very same items: nothing was copied.
            prop_assert!(std::ptr::eq(out.items().as_ptr(), batch.items().as_ptr()));
        }
    }
}
