//! What stands in the way is told, each with what mends it; and the rights
//! that the docs list are enough.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zdm_core::connect::{Assess, Fence, Finding, Role, RunName, Sequences, Severity, Step};
use zdm_core::schema::{Schema, Selection};
use zdm_pg::config::{PgConfig, PgConfigBuilder};
use zdm_pg::probe::Replication;
use zdm_pg::schema::describe;
use zdm_pg::sink::prepare::prepare;
use zdm_pg::{PgAssess, PgFence, PgSequences, drop_run};
use zdm_servers::postgres::{Auth, PgOptions, Postgres, StopMode};

fn parse(url: &str) -> Arc<PgConfig> {
    Arc::new(PgConfig::parse(url).unwrap())
}

async fn assess(config: &Arc<PgConfig>, role: Role, schema: &Schema) -> Vec<Finding> {
    PgAssess::new(Arc::clone(config)).assess(role, &RunName::default(), schema).await.unwrap()
}

fn has(findings: &[Finding], code: &str, subject: &str) -> Severity {
    let found = findings.iter().find(|f| f.code == code && f.subject == subject);
    found.unwrap_or_else(|| panic!("no {code} about {subject} in {findings:#?}")).severity
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_and_the_listed_rights_are_enough() {
    let server = Postgres::start(PgOptions::new().auth(Auth::Scram)).await.unwrap();
    findings(&server).await;
    rights(&server).await;
    unread(&server).await;
    sequences(&server).await;
    dropped(&server).await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn a_standby_is_neither_source_nor_target() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let db = server.create_database("copy").await.unwrap();
    db.execute("create table fine (id int primary key)").await.unwrap();
    server.stop(StopMode::Fast).await.unwrap();
    std::fs::write(server.data_dir().unwrap().join("standby.signal"), "").unwrap();
    server.start_again().await.unwrap();
    let config = parse(&db.url());
    let schema = describe(&config, &Selection::all()).await.unwrap();
    for role in [Role::Source, Role::Target] {
        assert_eq!(has(&assess(&config, role, &schema).await, "standby", "server"), Severity::Blocker);
    }
}

#[tokio::test]
async fn who_would_make_a_start_wait_or_fail_is_named() {
    let server = Postgres::start(PgOptions::new().auth(Auth::Scram)).await.unwrap();
    let db = server.create_database("busy").await.unwrap();
    db.execute("create table fine (id int primary key)").await.unwrap();
    let plain = parse(&db.url());
    let schema = describe(&plain, &Selection::all()).await.unwrap();
    let long = |found: &[Finding]| found.iter().any(|f| f.code == "long_transaction");

    // One that only reads is not waited for; one that writes is.
    let reader = db.connect().await.unwrap();
    reader.batch_execute("begin; select * from fine").await.unwrap();
    let writer = db.connect().await.unwrap();
    writer.batch_execute("begin; insert into fine values (1)").await.unwrap();
    let pid: i32 = writer.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    assert!(!long(&assess(&plain, Role::Source, &schema).await), "it has just begun");
    let hasty = PgConfigBuilder::parse(&db.url()).unwrap().begin_timeout(Duration::from_millis(1));
    let hasty = Arc::new(hasty.build().unwrap());
    let found = assess(&hasty, Role::Source, &schema).await;
    assert_eq!(has(&found, "long_transaction", &format!("process {pid}")), Severity::Warning);
    assert_eq!(found.iter().filter(|f| f.code == "long_transaction").count(), 1, "{found:#?}");

    // Who may not see since when is told so.
    let me = server.create_user("blind", "").await.unwrap();
    let found = assess(&parse(&db.url_as(&me.name, &me.password)), Role::Source, &schema).await;
    assert_eq!(has(&found, "hidden_transactions", "server"), Severity::Note);
    writer.batch_execute("rollback").await.unwrap();
    assert!(!long(&assess(&hasty, Role::Source, &schema).await));

    // Somebody reads from the run's slot.
    let slot = format!("zdm_{}", RunName::default());
    db.execute("create publication p").await.unwrap();
    db.execute(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await.unwrap();
    let replication = Replication::connect(&plain).await.unwrap();
    let log =
        replication.start(&slot, 0, &[("proto_version", "1"), ("publication_names", "p")]).await.unwrap();
    assert_eq!(has(&assess(&plain, Role::Source, &schema).await, "slot_in_use", &slot), Severity::Blocker);
    drop(log);
}

/// What matters at a cutover, and nothing that the run itself has there.
#[tokio::test]
async fn what_a_cutover_needs_is_told() {
    let server = Postgres::start(PgOptions::new().auth(Auth::Scram)).await.unwrap();
    let db = server.create_database("leaving").await.unwrap();
    db.execute("create table fine (id serial primary key); create table aside (id int)").await.unwrap();
    let plain = parse(&db.url());
    let schema = describe(&plain, &Selection::new(["public.fine"]).unwrap()).await.unwrap();
    let hasty = PgConfigBuilder::parse(&db.url()).unwrap().begin_timeout(Duration::from_millis(1));
    let hasty = Arc::new(hasty.build().unwrap());
    let blockers = async |config: &Arc<PgConfig>, role| -> Vec<String> {
        let found = assess(config, role, &schema).await.into_iter();
        found.filter(|f| f.severity == Severity::Blocker).map(|f| f.code).collect()
    };
    // Who only reads, or writes elsewhere, is in nobody's way.
    let other = db.connect().await.unwrap();
    other.batch_execute("begin; insert into aside values (1); select * from fine").await.unwrap();
    assert!(blockers(&hasty, Role::Left).await.is_empty());
    other.batch_execute("insert into fine values (1)").await.unwrap();
    assert_eq!(blockers(&hasty, Role::Left).await, ["long_transaction"]);
    assert!(blockers(&plain, Role::Left).await.is_empty(), "it may end in time");
    other.batch_execute("rollback").await.unwrap();

    assert!(blockers(&plain, Role::Entered).await.is_empty());
    let me = server.create_user("guest", "").await.unwrap();
    let guest = parse(&db.url_as(&me.name, &me.password));
    let mut found = blockers(&guest, Role::Entered).await;
    found.sort();
    assert_eq!(found, ["owner", "sequence_update"]);
    server.close().await.unwrap();
}

async fn findings(server: &Postgres) {
    let source = server.create_database("crooked").await.unwrap();
    source
        .execute(
            "create unlogged table fast (id int primary key); create table none (id int);
             create table whole (id int); alter table whole replica identity full;
             create table made (id int primary key, g int generated always as (id) stored);
             alter table made replica identity full;
             create table parent (id int primary key); create table child () inherits (parent);
             create table parts (id int primary key) partition by range (id);
             create table part partition of parts default;
             create unlogged table part_fast partition of parts for values from (1) to (2);
             create table spread (id int) partition by range (id);
             create foreign data wrapper nothing; create server far foreign data wrapper nothing;
             create foreign table spread_far partition of spread default server far;
             create view seen as select 1; create table hidden (id int primary key);
             alter table hidden enable row level security;
             create table fine (id int primary key); select lo_create(0)",
        )
        .await
        .unwrap();
    let open = source.connect().await.unwrap();
    open.batch_execute("begin; select pg_current_xact_id()").await.ok();
    let config = parse(&source.url());
    let schema = describe(&config, &Selection::all()).await.unwrap();
    let found = assess(&config, Role::Source, &schema).await;
    for (code, subject, severity) in [
        ("unlogged", "public.fast", Severity::Blocker),
        ("no_key", "public.none", Severity::Blocker),
        ("full_row", "public.whole", Severity::Warning),
        ("generated_identity", "public.made", Severity::Blocker),
        ("inherits", "public.child", Severity::Blocker),
        ("partition_truncate", "public.parts", Severity::Warning),
        ("unlogged", "public.part_fast", Severity::Blocker),
        ("foreign_partition", "public.spread_far", Severity::Blocker),
        ("not_moved", "public.seen", Severity::Note),
        ("large_objects", "database", Severity::Warning),
    ] {
        assert_eq!(has(&found, code, subject), severity);
    }
    assert!(found.is_sorted_by(|a, b| a.severity >= b.severity));
    assert!(!found.iter().any(|f| f.subject == "public.fine"), "{found:#?}");

    // A stranger is told each right that is missing.
    let me = server.create_user("stranger", "").await.unwrap();
    source
        .execute("grant select on hidden to stranger; revoke connect on database crooked from nobody_here")
        .await
        .ok();
    let config = parse(&source.url_as(&me.name, &me.password));
    let found = assess(&config, Role::Source, &schema).await;
    for (code, subject) in [
        ("replication", me.name.as_str()),
        ("create", source.name()),
        ("select", "public.fine"),
        ("owner", "public.fine"),
        ("row_security", "public.hidden"),
    ] {
        assert_eq!(has(&found, code, subject), Severity::Blocker);
    }
}

/// The statements of `zdm_pg::rights`, and a role that has no more.
async fn rights(server: &Postgres) {
    let mover = server.create_user("mover", "replication").await.unwrap();
    let source = server.create_database("rights_a").await.unwrap();
    let target = server.create_database("rights_b").await.unwrap();
    source
        .execute(&format!(
            "create role app_owner; create schema shop authorization app_owner; set role app_owner;
             create type shop.mood as enum ('sad', 'glad');
             create function shop.tell() returns trigger language plpgsql as 'begin return null; end';
             create table shop.a (id bigserial primary key, mood shop.mood default 'sad' unique);
             create table shop.b (id int generated always as identity primary key, a bigint references shop.a);
             create index on shop.b (a);
             create trigger t after insert on shop.a for each row execute function shop.tell();
             reset role;
             grant create on database {} to mover; grant usage on schema shop to mover;
             grant select on all tables in schema shop to mover;
             grant select on all sequences in schema shop to mover; grant app_owner to mover",
            source.name()
        ))
        .await
        .unwrap();
    target.execute(&format!("grant create on database {} to mover", target.name())).await.unwrap();
    let from = parse(&source.url_as(&mover.name, &mover.password));
    let to = parse(&target.url_as(&mover.name, &mover.password));
    let schema = describe(&from, &Selection::all()).await.unwrap();
    for (config, role) in [(&from, Role::Source), (&to, Role::Target)] {
        let found = assess(config, role, &schema).await;
        assert!(found.iter().all(|f| f.severity < Severity::Blocker), "{found:#?}");
    }
    let run = RunName::default();
    for step in [Step::Bare, Step::Keyed, Step::Finished, Step::Ready, Step::Validated] {
        prepare(&to, &run, &schema, step).await.unwrap();
    }
    let values = PgSequences::new(from).read(&schema).await.unwrap();
    PgSequences::new(Arc::clone(&to)).set(&schema, &values, 10).await.unwrap();
    drop_run(&to, &run).await.unwrap();

    target.execute("insert into shop.a (mood) values ('sad')").await.unwrap();
    let found = assess(&to, Role::Target, &schema).await;
    assert_eq!(has(&found, "not_empty", "shop.a"), Severity::Blocker);
    assert_eq!(has(&found, "exists", "shop.b"), Severity::Note);
}

async fn sequences(server: &Postgres) {
    let source = server.create_database("sequences_a").await.unwrap();
    let target = server.create_database("sequences_b").await.unwrap();
    source
        .execute(
            r#"create sequence "Down" increment -2;
               create table "T" (id int generated always as identity, n bigserial, d int default nextval('"Down"'),
                                 never smallserial, primary key (id));
               insert into "T" (never) select 0 from generate_series(1, 40)"#,
        )
        .await
        .unwrap();
    let (from, to) = (parse(&source.url()), parse(&target.url()));
    let schema = describe(&from, &Selection::all()).await.unwrap();
    prepare(&to, &RunName::default(), &schema, Step::Ready).await.unwrap();
    let (reader, setter) = (PgSequences::new(from), PgSequences::new(Arc::clone(&to)));
    let values = reader.read(&schema).await.unwrap();
    assert_eq!(values.iter().map(|v| v.last).collect::<Vec<_>>(), [-79, 40, 40, 1]);
    for _ in 0..2 {
        setter.set(&schema, &values, 10).await.unwrap();
        let next = r#"select concat_ws(' ', (select last_value from "Down"), (select last_value from "T_id_seq"),
                                       (select last_value from "T_n_seq"), (select last_value from "T_never_seq"))"#;
        assert_eq!(target.value(next).await.unwrap(), "-101 51 51 11");
    }
    // Further already: never set back.
    target.execute(r#"select setval('"T_n_seq"', 900)"#).await.unwrap();
    setter.set(&schema, &values, 10).await.unwrap();
    assert_eq!(target.value(r#"select nextval('"T_n_seq"')"#).await.unwrap(), "901");
    // The margin would use it up.
    let mut near = values;
    let never = near.iter_mut().find(|v| v.name.name == "T_never_seq").unwrap();
    (never.last, never.called) = (32_760, true);
    let error = setter.set(&schema, &near, 10).await.unwrap_err();
    assert_eq!(error.kind(), zdm_core::ErrorKind::Rejected);
    assert!(error.to_string().contains("T_never_seq"), "{error}");
}

/// A right is named when it is missing, and no more when it is given.
async fn unread(server: &Postgres) {
    let source = server.create_database("unread").await.unwrap();
    source.execute("create schema shop; create table shop.t (id serial primary key)").await.unwrap();
    let schema = describe(&parse(&source.url()), &Selection::all()).await.unwrap();
    let poor = server.create_user("unread_poor", "replication").await.unwrap();
    let poor = parse(&source.url_as(&poor.name, &poor.password));
    for (code, subject, grant) in [
        ("usage", "shop.t", "grant usage on schema shop to unread_poor"),
        ("select", "shop.t", "grant select on shop.t to unread_poor"),
        ("sequence_select", "shop.t_id_seq", "grant select on sequence shop.t_id_seq to unread_poor"),
    ] {
        let found = assess(&poor, Role::Source, &schema).await;
        assert_eq!(has(&found, code, subject), Severity::Blocker);
        source.execute(grant).await.unwrap();
        let found = assess(&poor, Role::Source, &schema).await;
        assert!(!found.iter().any(|f| f.code == code && f.subject == subject), "{code}: {found:#?}");
    }
}

/// A way to a server that says of itself to be of another version.
async fn of_version(server: &Postgres, major: u8) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, address) = (listener.local_addr().unwrap().port(), (server.host(), server.port()));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(address.clone()).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 << 10];
                let name = b"server_version\0";
                while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                    // Whole: the server sends all that it says of itself at once.
                    let at = bytes[..count].windows(name.len()).position(|part| part == name);
                    if let Some(at) = at.map(|at| at + name.len()) {
                        bytes[at..at + 2].copy_from_slice(major.to_string().as_bytes());
                    }
                    if to_client.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Of servers that are too old for something, no one need be at hand.
#[tokio::test]
async fn a_version_that_is_too_old_is_refused() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let db = server.create_database("old").await.unwrap();
    db.execute(
        "create table fine (id int primary key);
         create table parts (id int primary key) partition by range (id);
         create table part partition of parts default",
    )
    .await
    .unwrap();
    let schema = describe(&parse(&db.url()), &Selection::all()).await.unwrap();
    for (major, too_old) in [(11, true), (12, false), (13, false)] {
        let port = of_version(&server, major).await;
        let config = PgConfigBuilder::parse(&db.url()).unwrap().port(port).build().unwrap();
        let config = Arc::new(config);
        for role in [Role::Source, Role::Target] {
            let found = assess(&config, role, &schema).await;
            let version = found.iter().any(|f| f.code == "version" && f.severity == Severity::Blocker);
            assert_eq!(version, too_old, "{major} as {role:?}: {found:#?}");
            let partitions: Vec<_> = found.iter().filter(|f| f.code == "partitions_12").collect();
            let wanted = major < 13 && role == Role::Source;
            assert_eq!(partitions.len(), usize::from(wanted), "{major} as {role:?}");
            assert!(
                partitions.iter().all(|f| f.subject == "public.parts" && f.severity == Severity::Blocker)
            );
        }
    }
}

/// What one run keeps goes, and what another keeps beside it stays.
async fn dropped(server: &Postgres) {
    let target = server.create_database("dropped").await.unwrap();
    target.execute("create table a (id int primary key); create table b (id int primary key)").await.unwrap();
    let config = parse(&target.url());
    let fence = PgFence::new(Arc::clone(&config));
    let runs: [RunName; 2] = ["one".parse().unwrap(), "two".parse().unwrap()];
    for (run, pattern) in runs.iter().zip(["public.a", "public.b"]) {
        let schema = describe(&config, &Selection::new([pattern]).unwrap()).await.unwrap();
        prepare(&config, run, &schema, Step::Bare).await.unwrap();
        fence.seal(run, &schema, "moving").await.unwrap();
        if run.as_str() == "one" {
            // Open, with its trigger still there: that must not close again.
            fence.unseal(run, &schema, 1).await.unwrap();
        }
    }
    drop_run(&config, &runs[0]).await.unwrap();
    target.execute("insert into a values (1)").await.unwrap();
    target.execute("insert into b values (1)").await.unwrap_err();
    drop_run(&config, &runs[1]).await.unwrap();
    target.execute("insert into b values (1)").await.unwrap();
    let left = "select (select count(*) from pg_namespace where nspname = 'zdm') + (select count(*) from pg_trigger)";
    assert_eq!(target.value(left).await.unwrap(), "0");
}
