//! Cells as the server shows them, and what is made of them.

use std::sync::Arc;

use futures::TryStreamExt as _;
use zdm_core::change::{BatchBuilder, Change, Encoding as _, Value, decode_core, encode_core};
use zdm_core::checkpoint::FileCheckpoint;
use zdm_core::connect::{Bounds, Checkpoint as _, ChunkDone, ChunkId, ChunkRecord, Record, RunName};
use zdm_core::schema::{Column, DataType, Key, Table, TableName};
use zdm_core::{Engine, Identity, Position};
use zdm_pg::PgEncoding;
use zdm_pg::fuzz::TYPES;
use zdm_servers::postgres::Database;

use super::write;
use crate::{corpus, entries};

/// By the oid of a type, a value with something odd in it.
const TEXTS: [(u32, &str); 33] = [
    (16, "true"),
    (17, r"'\x00ff5c0a'"),
    (20, "-9223372036854775808"),
    (25, r#"E'a\tb "c" \\N'"#),
    (26, "4294967295"),
    (700, "'-Infinity'"),
    (701, "5e-324"),
    (701, "'NaN'"),
    (1042, "'ab   '"),
    (1082, "'4713-01-01 BC'"),
    (1082, "'infinity'"),
    (1083, "'24:00:00'"),
    (1114, "'12026-01-01 00:00:00.000001'"),
    (1184, "'0044-03-15 12:00:00+00 BC'"),
    (1184, "'-infinity'"),
    (1186, "'-1 year -2 mons +3 days -04:05:06.000001'"),
    (1266, "'12:34:56.789+15:59:59'"),
    (1560, "B'1'"),
    (1562, "'10110'"),
    (1700, "-0.00100"),
    (1700, "'NaN'"),
    (2950, "'00112233-4455-6677-8899-aabbccddeeff'"),
    (3802, r#"'{"b": 1.00, "a": [null, "\\"]}'"#),
    (869, "'10.0.0.1/8'"),
    (600, "'(1.5,-2)'"),
    (3904, "'[1,5)'"),
    (1001, r"ARRAY['\x00ff'::bytea, NULL]"),
    (1007, "'[0:1][-2:-1]={{1,2},{3,NULL}}'"),
    (1009, r#"'{NULL,"NULL","","{"}'"#),
    (1185, "ARRAY['infinity'::timestamptz, '2000-01-01']"),
    (1187, "ARRAY['1 day'::interval, '-1 mon']"),
    (1231, "ARRAY['NaN', 1.50, -0.0]::numeric[]"),
    (3807, r#"ARRAY['{"a": "b,}"}'::jsonb]"#),
];

/// Types whose binary form is read, with the function that makes it.
const BINARIES: [(u32, &str); 7] = [
    (16, "boolsend(true)"),
    (20, "int8send(-2)"),
    (701, "float8send(-0.0)"),
    (1082, "date_send('2024-02-29')"),
    (1184, "timestamptz_send('2024-02-29 12:00+00')"),
    (2950, "uuid_send('00112233-4455-6677-8899-aabbccddeeff')"),
    (3802, "jsonb_send('[1]')"),
];

fn head(oid: u32, format: u8) -> [u8; 2] {
    let at = TYPES.iter().position(|known| *known == oid).expect("the door knows the type");
    [u8::try_from(at).unwrap(), format]
}

pub(super) async fn values(db: &Database) {
    let settings = "SET intervalstyle = postgres; SET timezone = 'UTC'; SET bytea_output = hex";
    for (at, (oid, sql)) in TEXTS.iter().enumerate() {
        let name = db.value(&format!("SELECT {oid}::regtype::text")).await.unwrap();
        let sql = format!("SELECT format('%s', ({sql})::{name})");
        let client = db.connect().await.unwrap();
        client.batch_execute(settings).await.unwrap();
        let text: String = client.query_one(&sql, &[]).await.unwrap().get(0);
        write("pg_value", &format!("text-{at:02}-{oid}"), &[&head(*oid, 0)[..], text.as_bytes()].concat());
        let column = Column::new("c", DataType::Native).native("n", *oid);
        let mut encoded = Vec::new();
        encode_core(&PgEncoding.decode(&column, 0, text.as_bytes()).unwrap(), &mut encoded);
        write("core_value", &format!("{at:02}-{oid}"), &encoded);
    }
    for (oid, sql) in BINARIES {
        let client = db.connect().await.unwrap();
        let bytes: Vec<u8> = client.query_one(&format!("SELECT {sql}"), &[]).await.unwrap().get(0);
        write("pg_value", &format!("binary-{oid}"), &[&head(oid, 1)[..], &bytes].concat());
    }
}

pub(super) async fn copied(db: &Database) {
    let client = db.connect().await.unwrap();
    let sql = r"COPY (SELECT * FROM (VALUES (1::int8, E'a\tb\nc\\d\\N'::text, '\x00ff5c'::bytea), (2, NULL, NULL),
                      (3, '', ''), (-4, E'\b\f\v\r \\.', '\x'), (5, 'ünïcødé', NULL)) v) TO STDOUT";
    let rows: Vec<_> = client.copy_out(sql).await.unwrap().try_collect().await.unwrap();
    write("pg_copied_rows", "all", &rows.concat());
    for (at, row) in rows.iter().enumerate() {
        write("pg_copied_rows", &at.to_string(), row);
    }
}

/// One change with every value of the corpus in it.
pub(super) fn changes() {
    let cells = entries("core_value");
    let values: Vec<Value<'_>> = cells.iter().map(|(_, cell)| decode_core(cell).unwrap()).collect();
    let columns = (0..values.len()).map(|at| Column::new(format!("c{at}"), DataType::Native)).collect();
    let engine = Engine::new("postgresql");
    let table = Arc::new(Table::new(engine, TableName::new("public", "t"), columns, Key::Columns(vec![0])));
    let mut builder = BatchBuilder::new();
    builder.insert(&table, values.iter().cloned().map(Into::into)).unwrap();
    builder.delete(&table, values.iter().cloned().map(Into::into)).unwrap();
    for (at, row) in builder.finish().rows().enumerate() {
        let change = Change::from_row(row).unwrap();
        write("change_json", &at.to_string(), &serde_json::to_vec(&change).unwrap());
    }
}

/// A run whose copy has begun.
pub(super) async fn checkpoint(db: &Database) {
    let folder = corpus("checkpoint_json");
    let checkpoint = FileCheckpoint::new(&folder);
    let run: RunName = "captured".parse().unwrap();
    let engine = Engine::new("postgresql");
    let position = Position::new(engine.clone(), db.value("SELECT pg_current_wal_lsn()").await.unwrap());
    let mut record = Record::new(run.clone(), Identity::new(engine));
    record.start = Some(position.clone());
    record.goals = vec![position.clone()];
    let chunk = |number, done| ChunkRecord {
        id: ChunkId { table: TableName::new("public", "t"), number },
        bounds: Bounds(serde_json::json!({"from": ["1"], "to": null}).to_string()),
        done,
    };
    drop(checkpoint.remove(&run).await);
    checkpoint.create(&record).await.unwrap();
    let done = ChunkDone { rows: 7, after: position, visibility: None };
    checkpoint.plan(&run, record.epoch, &[chunk(0, Some(done)), chunk(1, None)]).await.unwrap();
    std::fs::remove_file(folder.join("captured.lock")).unwrap();
}
