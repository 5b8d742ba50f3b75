//! A schema of another engine at a real PostgreSQL server: made, loaded,
//! followed and cut over, and compared by plain SQL. The source is the memory
//! engine with tables as MySQL would describe them, so that whatever differs
//! is the conversion's or the target's.

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zdm_core::change::{Date, DateTime, Time, Value};
use zdm_core::connect::RunName;
use zdm_core::gate::NoGate;
use zdm_core::memory::MemoryDatabase;
use zdm_core::migrate::cutover::CutoverOptions;
use zdm_core::migrate::{Migration, Options, Until};
use zdm_core::schema::conversion::{Mapping, Policies, Unfit};
use zdm_core::schema::{
    Action, Column, Constraint, ConstraintKind, DataType, Expr, ForeignKey, Function, IdentityColumn, Index,
    IndexKey, Key, Operator, Table, TableName,
};
use zdm_core::{Engine, ErrorKind};
use zdm_pg::{PgConfig, PgSink};
use zdm_servers::postgres::{Database, PgOptions, Postgres};

const MYSQL: Engine = Engine::new("mysql");

fn name(table: &str) -> TableName {
    TableName::new("shop", table)
}

fn column(name: &str, native: &str, data_type: DataType) -> Column {
    Column::new(name, data_type).native(native, 0)
}

fn constraint(name: &str, kind: ConstraintKind) -> Constraint {
    Constraint { name: name.to_owned(), kind, definition: "in words of MySQL".to_owned(), validated: true }
}

fn numbered() -> Column {
    let mut id = column("id", "bigint unsigned", DataType::Integer { bits: 64, unsigned: true }).not_null();
    id.identity = Some(IdentityColumn::ByDefault);
    id
}

/// Two tables as MySQL would describe them.
fn shop() -> MemoryDatabase {
    let mut made = column("made", "datetime(3)", DataType::Timestamp { precision: Some(3), zone: false });
    made.default = Some("CURRENT_TIMESTAMP(3)".to_owned());
    made.neutral = Some(Expr::Call(Function::Now(3), Vec::new()));
    let mut state = column(
        "State",
        "enum('new','it''s')",
        DataType::Enum { labels: ["new".into(), "it's".into()].into() },
    );
    state.default = Some("'new'".to_owned());
    state.neutral = Some(Expr::Text("new".to_owned()));
    let mut users = Table::new(
        MYSQL,
        name("users"),
        vec![
            numbered(),
            column("mail", "varchar(80)", DataType::Text { length: Some(80), fixed: false }).not_null(),
            column("ok", "tinyint(1)", DataType::integer(8)),
            column("flags", "bit(5)", DataType::Bits { length: Some(5), fixed: true }),
            column("big", "bigint unsigned", DataType::Integer { bits: 64, unsigned: true }),
            column("price", "decimal(10,2)", DataType::Decimal { precision: Some(10), scale: Some(2) }),
            state,
            column("tags", "set('a','b')", DataType::Set { labels: ["a".into(), "b".into()].into() }),
            column("born", "date", DataType::Date),
            made,
            column("seen", "timestamp(6)", DataType::Timestamp { precision: Some(6), zone: true }),
            column("shift", "time(1)", DataType::Time { precision: Some(1), zone: false }),
            column("doc", "json", DataType::Json),
            column("raw", "varbinary(8)", DataType::Bytes { length: Some(8), fixed: false }),
            column("place", "point", DataType::Geometry),
            column("since", "year", DataType::Year),
        ],
        Key::Columns(vec![0]),
    );
    users.key_name = Some("PRIMARY".to_owned());
    users.comment = Some("who's who".to_owned());
    users.constraints = vec![
        constraint("PRIMARY", ConstraintKind::Primary { columns: vec!["id".to_owned()] }),
        constraint("mail", ConstraintKind::Unique { columns: vec!["mail".to_owned()] }),
    ];
    let prefix = IndexKey { prefix: Some(3), ..IndexKey::column("mail") };
    users.indexes =
        vec![Index { columns: None, keys: vec![prefix], ..Index::new("short", true, Vec::new()) }];
    let mut orders = Table::new(
        MYSQL,
        name("orders"),
        vec![
            numbered(),
            column("user_id", "bigint unsigned", DataType::Integer { bits: 64, unsigned: true }),
            column("total", "int", DataType::integer(32)),
        ],
        Key::Columns(vec![0]),
    );
    orders.key_name = Some("PRIMARY".to_owned());
    let positive = Expr::Binary(
        Box::new(Expr::Column("total".into())),
        Operator::More,
        Box::new(Expr::Number("0".to_owned())),
    );
    orders.constraints = vec![
        constraint("PRIMARY", ConstraintKind::Primary { columns: vec!["id".to_owned()] }),
        constraint(
            "owner",
            ConstraintKind::ForeignKey(ForeignKey {
                columns: vec!["user_id".to_owned()],
                references: name("users"),
                referenced: vec!["id".to_owned()],
                acts: true,
                on_delete: Action::Cascade,
                on_update: Action::NoAction,
            }),
        ),
        constraint("paid", ConstraintKind::Check { neutral: Some(positive) }),
    ];
    orders.indexes = vec![Index::new("mail", false, vec!["user_id".to_owned(), "total".to_owned()])];
    let db = MemoryDatabase::new();
    db.create_table(users).unwrap();
    db.create_table(orders).unwrap();
    for table in ["users", "orders"] {
        db.create_sequence(name(table), Some((name(table), "id".to_owned())), i64::MAX);
    }
    db
}

fn user(id: u64, mail: &str, born: Value<'static>) -> Vec<Value<'static>> {
    let at = |seconds, nanos| DateTime { seconds, nanos };
    vec![
        Value::UInt(id),
        Value::Text(mail.to_owned().into()),
        Value::Int(-7),
        Value::Bits("10110".into()),
        Value::UInt(u64::MAX),
        Value::Decimal("-12.30".into()),
        Value::Text("it's".into()),
        Value::Text("a,b".into()),
        born,
        Value::DateTime(at(1_700_000_000, 123_000_000)),
        Value::Moment(at(1_700_000_000, 123_456_000)),
        Value::Time(Time { nanos: -3_020_399_000_000_000, offset: None }),
        Value::Json(r#"{"b": 1, "a": [1.50, null]}"#.into()),
        Value::Bytes(b"\x00\xff\\".to_vec().into()),
        Value::Bytes(b"\x10\x00\x00\x00wkb".to_vec().into()),
        Value::Int(1999),
    ]
}

async fn add(db: &MemoryDatabase, table: &str, row: Vec<Value<'static>>) {
    let mut transaction = db.begin();
    transaction.insert(&name(table), row).await.unwrap();
    transaction.commit().await.unwrap();
    db.next_value(&name(table)).unwrap();
}

fn migration(db: &MemoryDatabase, target: &Database, run: &str, mapping: Mapping) -> Migration {
    let mut options = Options::default();
    options.run = run.parse::<RunName>().unwrap();
    let sink = PgSink::new(PgConfig::parse(&target.url()).unwrap());
    Migration::between(db.source(), sink).options(options).mapping(mapping).build().unwrap()
}

/// The columns of a table, as the server shows them.
const SHAPE: &str = "
    select string_agg(format('%s %s%s%s', attname, format_type(atttypid, atttypmod),
             case when attnotnull then ' not null' else '' end,
             case when attidentity <> '' then ' identity' else coalesce(' = ' || pg_get_expr(adbin, adrelid), '') end),
             ', ' order by attnum)
      from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
     where attrelid = 'public.users'::regclass and attnum > 0 and not attisdropped";

const CONSTRAINTS: &str = "
    select string_agg(format('%s: %s', conname, pg_get_constraintdef(oid)), '; ' order by conrelid::regclass::text, conname)
      from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n'";

const INDEXES: &str = "select string_agg(indexdef, '; ' order by indexname) from pg_indexes where schemaname = 'public' and indexdef !~ '_pkey'";

/// Every cell of a table, as text.
const ROWS: &str = r#"
    select string_agg(concat_ws('|', id, mail, ok, flags, big, price, "State", tags, born, made, seen at time zone 'UTC',
             shift, doc, raw, place, since), E'\n' order by id) from users"#;

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_mysql_live_on_in_postgresql() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let target = server.create_database("foreign").await.unwrap();
    let db = shop();
    let born = Value::Date(Date::from_ymd(1990, 2, 28).unwrap());
    add(&db, "users", user(1, "ada@x", born.clone())).await;
    add(&db, "orders", vec![Value::UInt(1), Value::UInt(1), Value::Int(5)]).await;

    let migration = migration(&db, &target, "foreign", Mapping::new());
    let report = migration.conversion().await.unwrap().unwrap();
    assert_eq!((report.from.as_str(), report.to.as_str()), ("mysql", "postgresql"));
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    // What is followed goes the way of what was copied.
    add(&db, "users", user(2, "bob@x", Value::Null)).await;
    add(&db, "orders", vec![Value::UInt(2), Value::UInt(2), Value::Int(7)]).await;
    let mut transaction = db.begin();
    transaction.update(&name("users"), &[Value::UInt(1)], |row| *row = user(9, "eve@x", born)).await.unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = db.begin();
    transaction.delete(&name("orders"), &[Value::UInt(1)]).await.unwrap();
    transaction.commit().await.unwrap();
    // Looked at meanwhile, the plan of what is under way stays as it is.
    migration.schema().await.unwrap();
    migration.conversion().await.unwrap();
    running.cutover(Arc::new(NoGate), CutoverOptions::default()).await.unwrap();
    migration.complete().await.unwrap();

    let value = async |sql: &str| target.value(sql).await.unwrap();
    assert_eq!(
        value(SHAPE).await,
        "id bigint not null identity, mail character varying(80) not null, ok smallint, flags bit(5), \
         big numeric(20,0), price numeric(10,2), State users_State_enum = 'new'::\"users_State_enum\", tags text, \
         born date, made timestamp(3) without time zone = CURRENT_TIMESTAMP(3), seen timestamp with time zone, \
         shift interval, doc json, raw bytea, place bytea, since smallint"
            .replace("State users_State_enum", "State \"users_State_enum\"")
    );
    assert_eq!(
        value(CONSTRAINTS).await,
        "orders_pkey: PRIMARY KEY (id); owner: FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE; \
         paid: CHECK ((total > 0)); users_mail: UNIQUE (mail); users_pkey: PRIMARY KEY (id)"
    );
    assert_eq!(
        value(INDEXES).await,
        "CREATE INDEX mail ON public.orders USING btree (user_id, total); \
         CREATE UNIQUE INDEX short ON public.users USING btree (\"left\"((mail)::text, 3)); \
         CREATE UNIQUE INDEX users_mail ON public.users USING btree (mail)"
    );
    let rest = "|-7|10110|18446744073709551615|-12.30|it's|a,b";
    let tail = "2023-11-14 22:13:20.123|2023-11-14 22:13:20.123456|-838:59:59|{\"b\": 1, \"a\": [1.50, null]}\
                |\\x00ff5c|\\x10000000776b62|1999";
    assert_eq!(value(ROWS).await, format!("2|bob@x{rest}|{tail}\n9|eve@x{rest}|1990-02-28|{tail}"));
    assert_eq!(
        value("select string_agg(format('%s %s %s', id, user_id, total), ',') from orders").await,
        "2 2 7"
    );
    // The application goes on, with numbers that nobody has.
    let next = "insert into users (mail) values ('new@x') returning id > 2 and id <> 9 and \"State\" = 'new'";
    assert_eq!(value(next).await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_is_named_with_its_place() {
    let server = Postgres::start(PgOptions::new()).await.unwrap();
    let target = server.create_database("misfit").await.unwrap();
    let db = shop();
    add(&db, "users", user(1, "ada@x", Value::Native("0000-00-00".into()))).await;
    let mapping = |zero_date| {
        let mut policies = Policies::default();
        policies.zero_date = zero_date;
        Mapping::new()
            .policies(policies)
            .rename_table("shop.users", "app.people")
            .drop_column("shop.users", "place")
    };
    let run = async |name: &str, zero_date| {
        let migration = migration(&db, &target, name, mapping(zero_date));
        migration.run_until(Until::CaughtUp, CancellationToken::new()).await
    };
    run("nulls", Unfit::Null).await.unwrap();
    let shown = target.value("select format('%s %s', count(*), count(born)) from app.people").await.unwrap();
    assert_eq!(shown, "1 0");
    target
        .execute("drop schema app cascade; drop schema public cascade; create schema public")
        .await
        .unwrap();
    let error = run("stops", Unfit::Error).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    for said in ["shop.users", "born", "id=1", "calendar", "policy"] {
        assert!(error.to_string().contains(said), "{said} is not in: {error}");
    }
}
