//! What a writer's session and statements are set to: triggers and actions
//! off, identities forced, commits durable, with few rights.

use std::sync::Arc;

use zdm_core::change::Value;
use zdm_core::connect::{Epoch, Progress, Purpose, Record, RunName, Sink, WriterOptions};
use zdm_core::schema::{Column, DataType, Generated, Key, Schema, Table, TableName};
use zdm_pg::PgSink;
use zdm_pg::config::PgConfig;

use crate::fixture::*;

#[test]
fn foreign_key_actions_and_triggers_stay_off() {
    test(async {
        let case = case(
            "CREATE TABLE t (id bigint PRIMARY KEY, u bigint UNIQUE, v text);
             CREATE TABLE child (id bigint PRIMARY KEY, t bigint REFERENCES t ON DELETE CASCADE);
             CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v = ''spoiled''; RETURN NEW; END';
             CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION spoil();
             SET session_replication_role = replica;
             INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'); INSERT INTO child VALUES (1, 1), (2, 2)",
        )
        .await;
        let t = plain();
        case.apply(|log| {
            log.delete(&t, [n(1), SAME, SAME]).unwrap();
            log.insert(&t, [n(1), n(1), s("aa")]).unwrap();
            log.update(&t, Old::None, [n(2), n(22), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM t ORDER BY id", &["1|1|aa", "2|22|b"]).await;
        case.expect("SELECT count(*) FROM child", &["2"]).await;
    });
}

#[test]
fn generated_columns_are_left_out_and_identities_are_forced() {
    test(async {
        let case = case(
            "CREATE TABLE g (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v bigint,
                twice bigint GENERATED ALWAYS AS (v * 2) STORED);
             CREATE TABLE i (id bigint PRIMARY KEY, no bigint GENERATED ALWAYS AS IDENTITY, v text)",
        )
        .await;
        let mut twice = Column::new("twice", INT);
        twice.generated = Some(Generated { expression: "v * 2".into(), stored: true });
        let columns = vec![Column::new("id", INT), Column::new("v", INT), twice];
        let g = Arc::new(Table::new(ENGINE, TableName::new("public", "g"), columns, Key::Columns(vec![0])));
        let columns = [("id", INT), ("no", INT), ("v", DataType::text())];
        let i = table("i", &columns, Key::Columns(vec![0]));
        case.apply(|log| {
            log.insert(&g, [n(7), n(1), SAME]).unwrap();
            log.insert(&g, [n(8), n(2), SAME]).unwrap();
            log.insert(&i, [n(1), n(100), s("a")]).unwrap();
        })
        .await
        .unwrap();
        case.apply(|log| {
            log.update(&g, Old::None, [n(7), n(10), SAME]).unwrap();
            log.update(&g, key(8), [n(9), n(2), SAME]).unwrap();
            log.update(&i, Old::None, [n(1), n(101), SAME]).unwrap();
        })
        .await
        .unwrap();
        case.expect("SELECT * FROM g ORDER BY id", &["7|10|20", "9|2|4"]).await;
        case.expect("SELECT * FROM i", &["1|101|a"]).await;
    });
}

#[test]
fn commits_are_durable_and_the_seal_is_passed() {
    test(async {
        let case = case(
            "CREATE TABLE t (id bigint PRIMARY KEY, u bigint, v text);
             CREATE FUNCTION sealed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF current_setting('zdm.run', true) IS DISTINCT FROM 'main' THEN RAISE 'sealed'; END IF;
                IF current_setting('synchronous_commit') <> 'on' THEN RAISE 'not durable'; END IF;
                RETURN NULL; END $$;
             CREATE TRIGGER zdm_seal BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON t EXECUTE FUNCTION sealed();
             ALTER TABLE t ENABLE ALWAYS TRIGGER zdm_seal",
        )
        .await;
        let off = format!("ALTER DATABASE {} SET synchronous_commit = off", case.database.name());
        case.database.execute(&off).await.unwrap();
        let t = plain();
        case.apply(|log| log.insert(&t, [n(1), n(1), s("")]).unwrap()).await.unwrap();
        case.apply(|log| log.truncate(vec![Arc::clone(&t)])).await.unwrap();
        assert!(case.database.execute("INSERT INTO t VALUES (2)").await.is_err());
    });
}

#[test]
fn a_user_without_rights_beyond_its_tables_can_do_it_all() {
    test(async {
        let server = server().await;
        let user = server.create_user("mover", "").await.unwrap();
        let database = server.create_database("case_rights").await.unwrap();
        server.execute("GRANT CREATE ON DATABASE case_rights TO mover").await.unwrap();
        database.execute("CREATE SCHEMA own AUTHORIZATION mover").await.unwrap();
        let url = database.url_as(&user.name, &user.password);
        let (own, driver) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(driver);
        own.batch_execute("CREATE TABLE own.t (id bigint PRIMARY KEY, u bigint UNIQUE, v text)")
            .await
            .unwrap();
        let sink = PgSink::new(PgConfig::parse(&url).unwrap());
        let checkpoint = sink.checkpoint().unwrap();
        let mut record = Record::new(RunName::default(), sink.identity().await.unwrap());
        record.position = Some(position(0));
        checkpoint.create(&record).await.unwrap();
        let columns = [("id", INT), ("u", INT), ("v", DataType::text())];
        let t = Table::clone(&table("t", &columns, Key::Columns(vec![0])));
        let t = Arc::new(Table::new(ENGINE, TableName::new("own", "t"), t.columns, t.key));
        let options =
            WriterOptions::new(RunName::default(), Epoch(1), Purpose::Apply, Arc::new(Schema::default()));
        let mut writer = sink.writer(options).await.unwrap();
        writer
            .write(batch(|log| {
                log.truncate(vec![Arc::clone(&t)]);
                log.insert(&t, [n(1), n(1), s("a")]).unwrap();
                log.update(&t, key(1), [n(2), n(1), SAME]).unwrap();
            }))
            .await
            .unwrap();
        let (from, to) = (position(0), position(1));
        writer.commit(Progress::Stream { from, to, changes: 2, goals: vec![position(9)] }).await.unwrap();
        assert_eq!(database.value("SELECT id FROM own.t").await.unwrap(), "2");
        let state = checkpoint.load(&RunName::default()).await.unwrap().unwrap();
        assert_eq!(state.record.goals, [position(9)]);
    });
}

/// What an administrator may have set for everybody.
const SETTINGS: [&str; 10] = [
    "extra_float_digits = 0",
    "intervalstyle = 'sql_standard'",
    "datestyle = 'SQL, DMY'",
    "timezone = 'Asia/Kathmandu'",
    "bytea_output = 'escape'",
    "xmloption = 'document'",
    "array_nulls = off",
    "search_path = 'evil', 'public'",
    "statement_timeout = '1ms'",
    "default_transaction_isolation = 'serializable'",
];

#[test]
fn what_is_set_for_the_database_changes_no_value() {
    test(async {
        let case = case(
            "CREATE SCHEMA evil;
             CREATE TABLE evil.t (id bigint PRIMARY KEY, u bigint, v text);
             CREATE TABLE t (id bigint PRIMARY KEY, u bigint, v text);
             CREATE TABLE f (a float8, i interval, d timestamp, z timestamptz, x xml, l text[]);
             INSERT INTO f SELECT a, '-1 day +02:03', '0044-03-15 12:00 BC', '2020-02-03 04:05:06+00', x, '{NULL}'
             FROM (VALUES (0.1::float8 + 0.2, 'a'::xml), (0.3, 'a<b/>')) r (a, x)",
        )
        .await;
        for setting in SETTINGS {
            let set = format!("ALTER DATABASE {} SET {setting}", case.database.name());
            case.database.execute(&set).await.unwrap();
        }
        let t = plain();
        let types = ["a", "i", "d", "z", "x", "l"].map(|name| (name, DataType::Native));
        let f = table("f", &types, Key::FullRow);
        let row = |cells: [&'static str; 6]| cells.map(|cell| Value::Native(cell.into()).into());
        let (day, moment) = ("-1 days +02:03:00", "0044-03-15 12:00:00 BC");
        let old = ["0.3", day, moment, "2020-02-03 04:05:06+00", "a<b/>", "{NULL}"];
        let new = ["1e-323", day, moment, "2020-02-03 04:05:06+00", "c<d/>", "{NULL,x}"];
        case.apply(|log| {
            log.insert(&t, [n(1), n(1), s("a")]).unwrap();
            log.update(&f, Some(row(old)), row(new)).unwrap();
        })
        .await
        .unwrap();
        // Read in a session with the settings of the log.
        let client = case.database.connect().await.unwrap();
        client
            .batch_execute(
                "SET extra_float_digits = 3; SET intervalstyle = 'postgres'; SET datestyle = 'ISO'; \
                 SET timezone = 'UTC'; SET statement_timeout = 0",
            )
            .await
            .unwrap();
        let sql = "SELECT concat_ws('|', a, i, d, z, x, l) FROM public.f ORDER BY a";
        let rows: Vec<String> = client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(
            rows,
            [
                format!("1e-323|{day}|{moment}|2020-02-03 04:05:06+00|c<d/>|{{NULL,x}}"),
                format!("0.30000000000000004|{day}|{moment}|2020-02-03 04:05:06+00|a|{{NULL}}"),
            ]
        );
        let there =
            client.query_one("SELECT (SELECT count(*) FROM public.t), (SELECT count(*) FROM evil.t)", &[]);
        let there = there.await.unwrap();
        assert_eq!((there.get::<_, i64>(0), there.get::<_, i64>(1)), (1, 0));
    });
}
