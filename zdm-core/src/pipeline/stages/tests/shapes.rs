//! What stages do with tables.

use super::*;
use crate::ErrorKind;
use crate::schema::{Action, Constraint, ConstraintKind, ForeignKey, Index, Sequence};

fn index(name: &str, columns: Option<&[&str]>, definition: &str) -> Index {
    let plain = columns.is_some();
    let columns = columns.unwrap_or_default().iter().map(|c| (*c).to_owned()).collect();
    let index = Index::new(name, false, columns).defined(definition);
    if plain { index } else { Index { columns: None, ..index } }
}

fn refers(columns: &[&str], to: &Table, referenced: &[&str]) -> Constraint {
    let owned = |names: &[&str]| names.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
    let kind = ConstraintKind::ForeignKey(ForeignKey {
        columns: owned(columns),
        references: to.name.clone(),
        referenced: owned(referenced),
        acts: false,
        on_delete: Action::NoAction,
        on_update: Action::NoAction,
    });
    Constraint { name: "fk".to_owned(), kind, definition: "FOREIGN KEY ...".to_owned(), validated: true }
}

#[test]
fn a_renamed_column_is_renamed_everywhere() {
    let mut table = users();
    table.indexes = vec![
        index("plain", Some(&["name"]), "CREATE INDEX plain ON public.users (name)"),
        index("lower", None, "CREATE INDEX lower ON public.users (lower(name))"),
        index("other", None, "CREATE INDEX other ON public.users (abs(id))"),
    ];
    let schema = schema([table]);
    let stages = built(Stages::new().rename_column("name", "nick").rename_column("id", "number"));
    let target = stages.schema(&schema).unwrap();
    let table = &target.tables[0];
    assert_eq!(
        (table.position("nick"), table.position("number"), table.position("id")),
        (Some(2), Some(0), None)
    );
    let names: Vec<&str> = table.indexes.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["plain"], "what names a column in SQL alone cannot be mended");
    assert_eq!(table.indexes[0].columns.as_deref(), Some(&["nick".to_owned()][..]));
    assert!(table.indexes[0].definition.is_empty());
    assert_eq!(
        codes(&stages.check(&schema), Severity::Warning),
        ["stage_drops_object", "stage_drops_object"]
    );
    // Rows pass as they are, under the new shape.
    let batch =
        transaction(|b| b.update(&schema.tables[0], None::<[Field<'_>; 3]>, row(1, 7, None)).unwrap());
    let out = stages.batch(batch).unwrap();
    assert_eq!(shown(&out), ["update (1, 7, ?)"]);
    assert!(Arc::ptr_eq(out.rows().next().unwrap().table(), table));
}

#[test]
fn names_that_are_not_there_or_taken_are_refused() {
    let schema = schema([users()]);
    let cases = [
        built(Stages::new().filter(["x"], |_| Ok(true))),
        built(Stages::new().rename_column("id", "name")),
        built(Stages::new().compute(Column::new("id", DataType::Bool), ["name"], |_| Ok(Value::Null))),
    ];
    for stages in cases {
        assert_eq!(stages.schema(&schema).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(codes(&stages.check(&schema), Severity::Blocker), ["stages"]);
    }
    assert_eq!(Stages::new().route("users", "a.b").build().err().unwrap().kind(), ErrorKind::Config);
    let elsewhere = built(Stages::new().on("public.gone", |t| t.drop_columns(["x"])));
    assert_eq!(codes(&elsewhere.check(&schema), Severity::Warning), ["stage_without_table"]);
}

#[test]
fn a_selection_keeps_order_key_and_both_images() {
    let schema = schema([users()]);
    let stages = built(Stages::new().select(["tenant", "id"]));
    let target = stages.schema(&schema).unwrap();
    let table = &target.tables[0];
    assert_eq!((table.columns.len(), table.key_columns()), (2, &[1, 0][..]));
    let batch = transaction(|b| b.update(&schema.tables[0], Some(row(1, 7, None)), row(2, 7, None)).unwrap());
    assert_eq!(shown(&stages.batch(batch).unwrap()), ["update (7, 1) > (7, 2)"]);
    let keys = transaction(|b| b.delete(table, [Value::Int(7).into(), Value::Int(1).into()]).unwrap());
    let (_, keys) = stages.keys_back(table, keys).unwrap();
    assert_eq!(shown(&keys), ["delete (1, 7, ?)"]);
    assert_eq!(stages.irreversible(&schema)[0].code, "stage_drops_column");
}

#[test]
fn a_key_column_cannot_be_dropped() {
    let mut keyless = users();
    keyless.key = Key::FullRow;
    for table in [users(), keyless] {
        let schema = schema([table]);
        let stages = built(Stages::new().select(["id", "name"]));
        assert_eq!(stages.schema(&schema).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(codes(&stages.check(&schema), Severity::Blocker), ["stages"]);
    }
}

#[test]
fn dropping_a_column_drops_what_stands_on_it_and_says_so() {
    let mut table = users();
    table.indexes = vec![index("by_name", Some(&["name"]), "x"), index("by_tenant", Some(&["tenant"]), "y")];
    let schema = schema([table]);
    let stages = built(Stages::new().drop_columns(["name"]));
    let target = stages.schema(&schema).unwrap();
    assert_eq!(target.tables[0].indexes.len(), 1);
    assert_eq!(codes(&stages.check(&schema), Severity::Warning), ["stage_drops_object"]);
}

#[test]
fn foreign_keys_and_sequences_follow_a_renamed_table() {
    let mut child = named("orders");
    child.constraints.push(refers(&["id", "tenant"], &users(), &["id", "tenant"]));
    let mut schema = schema([users(), child]);
    schema.sequences.push(Sequence {
        origin: None,
        increment: 1,
        name: TableName::new("public", "users_id_seq"),
        owner: Some((users().name, "id".to_owned())),
        identity: false,
        range: None,
        definition: String::new(),
    });
    let stages = built(
        Stages::new()
            .on("public.users", |t| t.rename_column("id", "number"))
            .rename_table("public.users", "app.people"),
    );
    let target = stages.schema(&schema).unwrap();
    let people = TableName::new("app", "people");
    let child = target.table(&TableName::new("public", "orders")).unwrap();
    let ConstraintKind::ForeignKey(key) = &child.constraints[0].kind else { panic!() };
    assert_eq!((&key.references, key.referenced[0].as_str()), (&people, "number"));
    assert_eq!(target.sequences[0].owner, Some((people.clone(), "number".to_owned())));
    assert_eq!(target.table(&people).unwrap().origin.name, users().name);

    let without = built(Stages::new().leave_out("public.users"));
    let target = without.schema(&schema).unwrap();
    assert!(target.tables[0].constraints.is_empty() && target.sequences.is_empty());
    assert_eq!(codes(&without.check(&schema), Severity::Warning).len(), 2);
}

#[test]
fn a_left_out_table_leaves_its_transactions_behind() {
    let schema = schema([users(), named("log")]);
    let (kept, log) = (&schema.tables[0], &schema.tables[1]);
    let stages = built(Stages::new().leave_out("*.log"));
    assert_eq!(stages.schema(&schema).unwrap().tables.len(), 1);
    let mut builder = BatchBuilder::new();
    builder.begin(1);
    builder.insert(log, row(1, 1, None)).unwrap();
    builder.insert(kept, row(2, 2, None)).unwrap();
    builder.truncate([Arc::clone(log), Arc::clone(kept)]);
    builder.truncate([Arc::clone(log)]);
    builder.schema(None, Arc::clone(log));
    builder.commit(position(1), None);
    builder.idle(position(2));
    let out = stages.batch(builder.finish()).unwrap();
    assert_eq!(shown(&out), ["insert (2, 2, ?)"]);
    let kinds: Vec<&str> = out
        .items()
        .iter()
        .map(|item| match item {
            Item::Begin(_) => "begin",
            Item::Rows(_) => "rows",
            Item::Truncate { tables } if tables.len() == 1 => "truncate",
            Item::Commit(_) => "commit",
            Item::Idle { .. } => "idle",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["begin", "rows", "truncate", "commit", "idle"]);
}

#[test]
fn merged_tables_become_one_and_are_not_truncated() {
    let mut shards = [named("users"), named("users")];
    for (at, shard) in shards.iter_mut().enumerate() {
        shard.name.schema = format!("shard_{at}").into();
        shard.origin.name = shard.name.clone();
    }
    let schema = schema(shards);
    let stages = built(Stages::new().route("shard_*.*", "public.*"));
    let target = stages.schema(&schema).unwrap();
    assert_eq!(target.tables.len(), 1);
    let batch = transaction(|b| {
        b.insert(&schema.tables[0], row(1, 1, None)).unwrap();
        b.insert(&schema.tables[1], row(2, 2, None)).unwrap();
    });
    let out = stages.batch(batch).unwrap();
    assert_eq!(out.items().len(), 3, "rows of one table join in one run");
    assert!(out.rows().all(|row| Arc::ptr_eq(row.table(), &target.tables[0])));
    let emptied = transaction(|b| b.truncate([Arc::clone(&schema.tables[0])]));
    assert_eq!(stages.batch(emptied).unwrap_err().kind(), ErrorKind::Unsupported);
    let keys = transaction(|b| b.delete(&target.tables[0], row(1, 1, None)).unwrap());
    assert_eq!(stages.keys_back(&target.tables[0], keys).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(!stages.irreversible(&schema).is_empty());
}

#[test]
fn tables_of_different_shape_are_not_merged() {
    let mut other = named("other");
    other.columns[2].data_type = DataType::Bool;
    let stages = built(Stages::new().route_by(|_| TableName::new("a", "b")));
    assert_eq!(stages.schema(&schema([users(), other])).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn a_table_keeps_its_arc_over_plans_and_pointers() {
    let schema = schema([users()]);
    let stages = built(Stages::new().rename_table("public.users", "a.b"));
    let target = stages.schema(&schema).unwrap();
    let again = super::schema([users()]);
    let batch = transaction(|b| b.insert(&again.tables[0], row(1, 1, None)).unwrap());
    let of = |batch: Batch| Arc::clone(stages.batch(batch).unwrap().rows().next().unwrap().table());
    assert!(Arc::ptr_eq(&of(batch.clone()), &target.tables[0]));
    assert!(Arc::ptr_eq(&stages.schema(&again).unwrap().tables[0], &target.tables[0]));
    assert!(Arc::ptr_eq(&of(batch), &target.tables[0]));
}

#[test]
fn another_shape_in_the_stream_is_planned_when_it_comes() {
    let schema = schema([users()]);
    let stages = built(Stages::new().rename_table("public.users", "a.b"));
    let target = stages.schema(&schema).unwrap();
    let mut wider = users();
    wider.columns.push(Column::new("more", DataType::Bool));
    let batch = transaction(|b| b.schema(Some(Arc::clone(&schema.tables[0])), Arc::new(wider.clone())));
    let out = stages.batch(batch).unwrap();
    let Item::Schema { old: Some(old), new } = &out.items()[1] else { panic!() };
    assert!(Arc::ptr_eq(old, &target.tables[0]));
    assert_eq!((new.name.to_string().as_str(), new.columns.len()), ("a.b", 4));
}
