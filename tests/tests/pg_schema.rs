//! An ugly schema is read at one database and made at another by all steps.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::collections::BTreeMap;

use zdm_core::connect::{Assess, Role, RunName, Severity, Step};
use zdm_core::schema::{Column, ConstraintKind, DataType, Key, Schema, Selection, Table, TableName};
use zdm_core::{Engine, ErrorKind};
use zdm_pg::PgAssess;
use zdm_pg::config::PgConfig;
use zdm_pg::schema::describe;
use zdm_pg::sink::prepare::{drop_run, not_moved, prepare};
use zdm_servers::postgres::{Database, PgOptions, Postgres, Version};

const UGLY: &str = include_str!("pg_schema/ugly.sql");

/// Catalog queries that know nothing of zdm. Each must give the same rows on
/// both sides.
const SAME: &[(&str, &str)] = &[
    (
        "columns",
        "select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                a.attgenerated, pg_get_expr(d.adbin, d.adrelid), co.collname, col_description(c.oid, a.attnum)
           from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
           left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
           left join pg_collation co on co.oid = a.attcollation
          where c.relkind in ('r', 'p', 'c') and a.attnum > 0 and not a.attisdropped and {user}
          order by 1, 2, case when c.relispartition then a.attname::text else lpad((
                select count(*) from pg_attribute b where b.attrelid = c.oid and b.attnum <= a.attnum and not b.attisdropped)::text, 9, '0') end",
    ),
    (
        "constraints",
        "select n.nspname, c.relname, k.conname, k.contype, pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable
           from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
          where {user} and k.contype <> 'n' and k.conparentid = 0 order by 1, 2, 3",
    ),
    (
        "indexes",
        "select n.nspname, c.relname, i.relname, pg_get_indexdef(i.oid), x.indisvalid, x.indisreplident
           from pg_index x join pg_class c on c.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
           join pg_namespace n on n.oid = c.relnamespace
          where {user} and not i.relispartition order by 1, 2, 3",
    ),
    (
        "triggers",
        "select n.nspname, c.relname, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid)
           from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
          where {user} and not t.tgisinternal and not c.relispartition order by 1, 2, 3",
    ),
    (
        "relations",
        "select n.nspname, c.relname, c.relkind, c.reloptions, obj_description(c.oid, 'pg_class'),
                pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid)
           from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where {user} and c.relkind in ('r', 'p', 'c', 'S') order by 1, 2",
    ),
    (
        "types",
        "select n.nspname, t.typname, t.typtype, t.typnotnull, t.typdefault, format_type(t.typbasetype, t.typtypmod),
                (select array_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
                (select array_agg(pg_get_constraintdef(k.oid) order by conname) from pg_constraint k where k.contypid = t.oid and contype = 'c'),
                (select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid)
           from pg_type t join pg_namespace n on n.oid = t.typnamespace
          where {user} order by 1, 2",
    ),
    (
        "sequences",
        "select n.nspname, c.relname, format_type(s.seqtypid, null), seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle,
                d.refobjid::regclass, d.refobjsubid > 0, d.deptype
           from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
           left join pg_depend d on d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
          where {user} order by 1, 2",
    ),
    (
        "functions",
        "select p.oid::regprocedure::text, pg_get_functiondef(p.oid) from pg_proc p
           join pg_namespace n on n.oid = p.pronamespace
          where {user} and p.prokind = 'f' and p.proname <> 'not_needed' and not exists (
                select from pg_depend d where d.objid = p.oid and d.deptype in ('e', 'i')) order by 1",
    ),
    ("extensions", "select extname, extnamespace::regnamespace::text from pg_extension order by 1"),
    (
        "collations",
        "select n.nspname, collname, collprovider, collisdeterministic from pg_collation co
           join pg_namespace n on n.oid = co.collnamespace where {user} order by 1, 2",
    ),
];

const USER: &str = "n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'zdm', 'left out')";

async fn catalog(database: &Database) -> BTreeMap<&'static str, Vec<Vec<Option<String>>>> {
    let mut all = BTreeMap::new();
    for (name, sql) in SAME {
        all.insert(*name, database.query(&sql.replace("{user}", USER)).await.unwrap());
    }
    all
}

/// Says where two catalogs differ, one row a line.
fn assert_same(
    source: &Database,
    left: &BTreeMap<&str, Vec<Vec<Option<String>>>>,
    right: &BTreeMap<&str, Vec<Vec<Option<String>>>>,
) {
    let mut differences = Vec::new();
    for (what, rows) in left {
        let others = &right[what];
        differences.extend(rows.iter().filter(|r| !others.contains(r)).map(|r| format!("{what} - {r:?}")));
        differences.extend(others.iter().filter(|r| !rows.contains(r)).map(|r| format!("{what} + {r:?}")));
    }
    assert!(differences.is_empty(), "{}:\n{}", source.name(), differences.join("\n"));
    assert_eq!(left, right);
}

fn config(database: &Database) -> PgConfig {
    PgConfig::parse(&database.url()).unwrap()
}

fn run() -> RunName {
    "ugly".parse().unwrap()
}

async fn two(server: &Postgres, name: &str) -> (Database, Database) {
    let source = server.create_database(&format!("{name}_a")).await.unwrap();
    let target = server.create_database(&format!("{name}_b")).await.unwrap();
    (source, target)
}

async fn ugly(server: &Postgres, name: &str) -> (Database, Database, Schema) {
    let (source, target) = two(server, name).await;
    source.execute(UGLY).await.unwrap();
    let selection = Selection::all().except(["left out.*"]).unwrap();
    let schema = describe(&config(&source), &selection).await.unwrap();
    (source, target, schema)
}

#[tokio::test]
async fn target_is_made_as_the_source_is() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    whole(&server).await;
    repeated(&server).await;
    refused(&server).await;
    accepted(&server).await;
    renamed(&server).await;
    foreign(&server).await;
    back(&server).await;
    fingerprints(&server).await;
    keys(&server).await;
    server.close().await.unwrap();
}

async fn whole(server: &Postgres) {
    let (source, target, schema) = ugly(server, "whole").await;
    let to = config(&target);
    prepare(&to, &run(), &schema, Step::Bare).await.unwrap();
    let indexes = "select count(*) from pg_index x join pg_class c on c.oid = x.indrelid join pg_namespace n on n.oid = c.relnamespace where ";
    assert_eq!(target.value(&format!("{indexes}{USER}")).await.unwrap(), "0");
    prepare(&to, &run(), &schema, Step::Keyed).await.unwrap();
    for step in [Step::Finished, Step::Ready, Step::Validated] {
        prepare(&to, &run(), &schema, step).await.unwrap();
    }
    assert_same(&source, &catalog(&source).await, &catalog(&target).await);
    assert_eq!(not_moved(&schema), []);
    // What was made is described in the same way, so the way back is open.
    let again = describe(&to, &Selection::all()).await.unwrap();
    assert_eq!(again.definitions, schema.definitions);
    assert_eq!(again.sequences, schema.sequences);
    for (a, b) in schema.tables.iter().zip(&again.tables) {
        assert_eq!((&a.name, &a.key, &a.key_name, &a.indexes), (&b.name, &b.key, &b.key_name, &b.indexes));
    }
    drop_run(&to, &run()).await.unwrap();
    drop_run(&to, &run()).await.unwrap();
    assert_eq!(target.value("select count(*) from pg_namespace where nspname = 'zdm'").await.unwrap(), "0");
}

/// Every step is called again, and after something of it was lost.
async fn repeated(server: &Postgres) {
    let (source, target, schema) = ugly(server, "repeated").await;
    let to = config(&target);
    for (step, halfway) in [
        (
            Step::Bare,
            r#"drop table "Shop"."Order Lines", "Shop".plain; delete from zdm.made where table_name in ('Order Lines', 'plain')"#,
        ),
        (Step::Keyed, r#"alter table "Shop"."Customers" drop constraint "Customers PK" cascade"#),
        (
            Step::Finished,
            r#"drop index "Shop"."by Lower Name"; drop trigger "Touch" on "Shop"."Customers";
               alter table "Shop".booking drop constraint no_overlap"#,
        ),
        (Step::Ready, r#"alter table "Shop"."Order Lines" drop constraint lines_order"#),
        (Step::Validated, r#"alter table "Shop"."Order Lines" drop constraint lines_order"#),
    ] {
        prepare(&to, &run(), &schema, step).await.unwrap();
        prepare(&to, &run(), &schema, step).await.unwrap();
        target.execute(halfway).await.unwrap();
        prepare(&to, &run(), &schema, step).await.unwrap();
    }
    assert_same(&source, &catalog(&source).await, &catalog(&target).await);
}

/// All tables that are in the way are named, and nothing is made.
async fn refused(server: &Postgres) {
    let (_, target, schema) = ugly(server, "refused").await;
    let to = config(&target);
    target
        .execute(r#"create schema "Shop"; create table "Shop".plain (a int, b text); insert into "Shop".plain values (1, 'x');
                    create table "Shop".booking (room int)"#)
        .await
        .unwrap();
    let error = prepare(&to, &run(), &schema, Step::Bare).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let words = error.to_string();
    assert!(words.contains("Shop.plain holds rows"), "{words}");
    assert!(words.contains("Shop.booking has another shape"), "{words}");
    let tables = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where relkind in ('r', 'p') and (nspname = 'Shop' or nspname = 'zdm')";
    assert_eq!(target.value(tables).await.unwrap(), "2");

    target.execute(r#"drop table "Shop".plain, "Shop".booking"#).await.unwrap();
    prepare(&to, &run(), &schema, Step::Bare).await.unwrap();
    // The run's own table may hold rows; for another run it is in the way.
    target.execute(r#"insert into "Shop".plain values (1, 'x')"#).await.unwrap();
    prepare(&to, &run(), &schema, Step::Keyed).await.unwrap();
    // But not when the run begins: it would copy them once more.
    let error = prepare(&to, &run(), &schema, Step::Bare).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("Shop.plain holds rows of an earlier run"), "{error}");
    let other: RunName = "other".parse().unwrap();
    let error = prepare(&to, &other, &schema, Step::Bare).await.unwrap_err();
    assert!(error.to_string().contains("belongs to run ugly"), "{error}");
    // A table that the run had filled is gone: going on would lose its rows.
    target.execute(r#"drop table "Shop".plain"#).await.unwrap();
    let error = prepare(&to, &run(), &schema, Step::Keyed).await.unwrap_err();
    assert!(error.to_string().contains("is gone"), "{error}");
}

/// Somebody has made the tables by hand, keys and triggers and all.
async fn accepted(server: &Postgres) {
    let (source, target, schema) = ugly(server, "accepted").await;
    target.execute(UGLY).await.unwrap();
    let to = config(&target);
    prepare(&to, &run(), &schema, Step::Bare).await.unwrap();
    let disturbing = format!(
        "select count(*) from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
          where k.contype = 'f' and {USER}"
    );
    assert_eq!(target.value(&disturbing).await.unwrap(), "0");
    let firing = format!(
        "select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
          where not tgisinternal and tgname <> 'zdm_seal' and tgenabled <> 'D' and {USER}"
    );
    assert_eq!(target.value(&firing).await.unwrap(), "0");
    prepare(&to, &run(), &schema, Step::Validated).await.unwrap();
    assert_same(&source, &catalog(&source).await, &catalog(&target).await);
}

/// A cutover that was given up goes back to following.
async fn back(server: &Postgres) {
    let (source, target, schema) = ugly(server, "back").await;
    let to = config(&target);
    prepare(&to, &run(), &schema, Step::Finished).await.unwrap();
    let following = catalog(&target).await;
    prepare(&to, &run(), &schema, Step::Ready).await.unwrap();
    assert_ne!(following, catalog(&target).await);
    prepare(&to, &run(), &schema, Step::Finished).await.unwrap();
    assert_same(&source, &following, &catalog(&target).await);
    prepare(&to, &run(), &schema, Step::Validated).await.unwrap();
    prepare(&to, &run(), &schema, Step::Finished).await.unwrap();
    assert_same(&source, &following, &catalog(&target).await);
}

/// Stages renamed tables: the neutral parts are made under the new names.
async fn renamed(server: &Postgres) {
    let (_, target, mut schema) = ugly(server, "renamed").await;
    let new = |name: &TableName| TableName::new("moved", format!("{}_{}", name.schema, name.name).as_str());
    for table in &mut schema.tables {
        let mut copy = (**table).clone();
        copy.name = new(&table.name);
        for constraint in &mut copy.constraints {
            if let ConstraintKind::ForeignKey(key) = &mut constraint.kind {
                key.references = new(&key.references);
            }
        }
        *table = copy.into();
    }
    let to = config(&target);
    prepare(&to, &run(), &schema, Step::Validated).await.unwrap();
    let key = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'lines_order' and conparentid = 0";
    assert_eq!(
        target.value(key).await.unwrap(),
        r#"FOREIGN KEY (order_id, placed) REFERENCES moved."Shop_Orders"(id, placed) ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"#
    );
    let told = not_moved(&schema);
    for code in ["index_not_moved", "trigger_not_moved", "partitions_not_moved"] {
        assert!(told.iter().any(|finding| finding.code == code), "{code}");
    }
}

/// A table of an engine that PostgreSQL does not know.
async fn foreign(server: &Postgres) {
    let (_, target) = two(server, "foreign").await;
    let columns = vec![
        Column::new("Id", DataType::integer(64)).not_null(),
        Column::new("when", DataType::Timestamp { precision: Some(3), zone: true }),
        Column::new("tags", DataType::Array(DataType::text().into())),
    ];
    let table =
        Table::new(Engine::new("memory"), TableName::new("App", "Things"), columns, Key::Columns(vec![0]));
    let schema = Schema { tables: vec![table.into()], ..Schema::default() };
    for _ in 0..2 {
        prepare(&config(&target), &run(), &schema, Step::Validated).await.unwrap();
    }
    let columns = r#"select string_agg(format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull), ', ' order by attnum)
                       from pg_attribute where attrelid = '"App"."Things"'::regclass and attnum > 0"#;
    assert_eq!(
        target.value(columns).await.unwrap(),
        "Id bigint t, when timestamp(3) with time zone f, tags text[] f"
    );
    let key = r#"select pg_get_constraintdef(oid) from pg_constraint where conrelid = '"App"."Things"'::regclass and contype = 'p'"#;
    assert_eq!(target.value(key).await.unwrap(), r#"PRIMARY KEY ("Id")"#);
}

/// DDL changes a fingerprint, whatever it does; housekeeping does not.
async fn fingerprints(server: &Postgres) {
    let source = server.create_database("fingerprints").await.unwrap();
    source
        .execute(
            "create table t (id int primary key, name text); insert into t values (1, 'a');
             create table p (id int) partition by range (id); create table p1 partition of p for values from (0) to (9);
             alter table t add column fast int default 7",
        )
        .await
        .unwrap();
    let from = config(&source);
    let prints = async || {
        let schema = describe(&from, &Selection::all()).await.unwrap();
        schema.tables.iter().map(|table| table.origin.fingerprint.clone()).collect::<Vec<_>>()
    };
    let mut last = prints().await;
    for housekeeping in [
        "vacuum full t",
        "cluster t using t_pkey",
        "analyze t",
        "truncate t",
        "insert into t values (2, 'b')",
        "create index on t (name)",
        "vacuum full pg_attribute",
        "vacuum freeze pg_attribute",
        // Routine, and its rows are in the log.
        "create table p2 partition of p for values from (9) to (99)",
        "create table p3 partition of p for values from (99) to (999) partition by range (id)",
        "insert into p values (10)",
        "vacuum full pg_attribute",
        "drop table p3",
    ] {
        source.execute(housekeeping).await.unwrap();
        assert_eq!(prints().await, last, "{housekeeping}");
    }
    for (ddl, changed) in [
        ("alter table t add column x int", 1),
        ("alter table t drop column x", 1),
        ("alter table t alter column name type varchar(9)", 1),
        // It rewrites every row and logs none.
        ("alter table t alter column name type varchar(9) using upper(name)", 1),
        ("alter table t rename column name to label", 1),
        ("alter table t alter column fast type int using fast + 1", 1),
        // What they bring and take is in no log.
        (
            "create table p4 (id int); insert into p4 values (1000); alter table p attach partition p4 for values from (1000) to (2000)",
            0,
        ),
        (
            "begin; create table p5 (id int); alter table p attach partition p5 for values from (2000) to (3000); commit",
            0,
        ),
        ("alter table p detach partition p4", 0),
        // Their rows are in no log, though the table is published.
        (
            "create publication of_p for table p; create unlogged table p6 partition of p for values from (3000) to (4000)",
            0,
        ),
        ("alter table p1 set unlogged", 0),
        (
            "create foreign data wrapper nothing; create server far foreign data wrapper nothing;
             create foreign table p7 partition of p for values from (4000) to (5000) server far",
            0,
        ),
    ] {
        source.execute(ddl).await.unwrap();
        let now = prints().await;
        assert_ne!(now[changed], last[changed], "{ddl}");
        last = now;
    }
}

/// The key is what the log says of an old row.
async fn keys(server: &Postgres) {
    let source = server.create_database("keys").await.unwrap();
    source
        .execute(
            r#"create table a_primary (v int, "Id" int, primary key ("Id", v));
               create table b_index (id int primary key, code text not null unique);
               alter table b_index replica identity using index b_index_code_key;
               create table c_full_with_key (id int primary key); alter table c_full_with_key replica identity full;
               create table d_full (id int); alter table d_full replica identity full;
               create table e_nothing (id int primary key); alter table e_nothing replica identity nothing;
               create table f_none (id int);
               create table g_deferrable (id int primary key deferrable);
               create table h_dropped (id int primary key, drop_me int, code int not null unique);
               alter table h_dropped drop column drop_me"#,
        )
        .await
        .unwrap();
    let schema = describe(&config(&source), &Selection::all()).await.unwrap();
    let keys: Vec<_> = schema.tables.iter().map(|t| (t.key.clone(), t.key_name.as_deref())).collect();
    assert_eq!(
        keys,
        [
            (Key::Columns(vec![1, 0]), Some("a_primary_pkey")),
            (Key::Columns(vec![1]), None),
            (Key::Columns(vec![0]), Some("c_full_with_key_pkey")),
            (Key::FullRow, None),
            (Key::Nothing, None),
            (Key::Nothing, None),
            (Key::Nothing, None),
            (Key::Columns(vec![0]), Some("h_dropped_pkey")),
        ]
    );
}

/// The oldest server's schema is made at the newest, and the other way round.
#[tokio::test]
async fn oldest_and_newest_understand_each_other() {
    let start = |version| Postgres::start(PgOptions::new().version(version));
    let (old, new) = tokio::try_join!(start(Version::Oldest), start(Version::Newest)).unwrap();
    for (from, to) in [(&old, &new), (&new, &old)] {
        let source = from.create_database("versions_a").await.unwrap();
        let target = to.create_database("versions_b").await.unwrap();
        source.execute(UGLY).await.unwrap();
        let schema =
            describe(&config(&source), &Selection::all().except(["left out.*"]).unwrap()).await.unwrap();
        for step in [Step::Bare, Step::Keyed, Step::Finished, Step::Ready, Step::Validated] {
            prepare(&config(&target), &run(), &schema, step).await.unwrap();
        }
        for (config, role) in [(config(&source), Role::Source), (config(&target), Role::Target)] {
            let findings = PgAssess::new(config.into()).assess(role, &run(), &schema).await.unwrap();
            assert!(
                findings.iter().all(
                    |f| f.severity < Severity::Blocker || ["no_key", "partitions_12"].contains(&&*f.code)
                ),
                "{findings:#?}"
            );
            // A partition that is made during the run would not be published.
            let told = findings.iter().any(|f| f.code == "partitions_12");
            assert_eq!(told, role == Role::Source && std::ptr::eq(from, &old), "{findings:#?}");
        }
        let (mut left, mut right) = (catalog(&source).await, catalog(&target).await);
        for catalog in [&mut left, &mut right] {
            catalog.retain(|what, _| {
                ["constraints", "indexes", "triggers", "relations", "sequences"].contains(what)
            });
        }
        assert_same(&source, &left, &right);
    }
    // What the newest alone has: a column computed when it is read, a named
    // NOT NULL, a key that is not enforced.
    let source = new.create_database("only_18_a").await.unwrap();
    source
        .execute(
            "create table t (id int primary key, twice int generated always as (id * 2) virtual,
                             n int constraint named not null, p int references t not enforced)",
        )
        .await
        .unwrap();
    let schema = describe(&config(&source), &Selection::all()).await.unwrap();
    let target = new.create_database("only_18_b").await.unwrap();
    prepare(&config(&target), &run(), &schema, Step::Validated).await.unwrap();
    target.execute("insert into t values (1, default, 2, 7)").await.unwrap();
    assert_eq!(target.value("select twice from t").await.unwrap(), "2");
    assert_eq!(not_moved(&schema).len(), 1);
}
