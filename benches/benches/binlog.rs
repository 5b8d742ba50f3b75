//! Rows of a binary log, from memory: ours beside `mysql_common` (which
//! `mysql_async` reads with) and, with the feature of that name, `mysql_cdc`.
//!
//! ```sh
//! cargo bench -p zdm-benches --bench binlog --features mysql_cdc
//! ```
//!
//! Needs a MariaDB server, found or fetched as for the tests: it writes the
//! log of a table like sysbench's, once by inserts of many rows and once by
//! transactions that update one row each.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mysql_common::binlog::consts::BinlogVersion;
use mysql_common::binlog::events::EventData;
use mysql_common::binlog::{BinlogFile, BinlogFileHeader};
use zdm_core::change::Batch;
use zdm_core::schema::{Key, Schema, Table, TableName};
use zdm_mysql::{MySqlEncoding, offline};
use zdm_servers::mysql::{MySql, MySqlOptions};

const ROWS: u64 = 50_000;
const UPDATES: u64 = 10_000;
/// Bytes of the magic number that a file begins with.
const MAGIC: usize = 4;

fn binlog(criterion: &mut Criterion) {
    let logs = tokio::runtime::Runtime::new().expect("a runtime").block_on(written());
    for (name, rows, log) in logs {
        let schema = schema();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(rows)).sample_size(20);
        assert_eq!(ours(&schema, &log).row_count() as u64, rows);
        group.bench_function("zdm", |bench| bench.iter(|| ours(&schema, &log)));
        group.bench_function("zdm, every value", |bench| bench.iter(|| values(&ours(&schema, &log))));
        assert_eq!(mysql_common_rows(&log), rows);
        group.bench_function("mysql_common", |bench| bench.iter(|| mysql_common_rows(&log)));
        #[cfg(feature = "mysql_cdc")]
        {
            assert_eq!(mysql_cdc_rows(&log), rows);
            group.bench_function("mysql_cdc", |bench| bench.iter(|| mysql_cdc_rows(&log)));
        }
        group.finish();
    }
}

/// The logs of inserts and of updates, without what the peers do not know
/// (MariaDB's own events): the event that describes the format, table maps and
/// rows.
async fn written() -> Vec<(&'static str, u64, Bytes)> {
    let server = MySql::start(MySqlOptions::mariadb()).await.expect("a server");
    let run = async |sql: &str| server.execute(sql).await.expect(sql);
    run("CREATE DATABASE bench").await;
    run("CREATE TABLE bench.sbtest (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) CHARACTER SET utf8mb4 \
         NOT NULL, pad CHAR(60) CHARACTER SET utf8mb4 NOT NULL)")
        .await;
    run("FLUSH BINARY LOGS").await;
    for thousand in 0..ROWS / 1_000 {
        let row = |at: u64| format!("({at},{},'{:0>119}','{:0>59}')", at * 7, at * 31, at * 17);
        let rows: Vec<_> = (1..=1_000).map(|at| row(thousand * 1_000 + at)).collect();
        run(&format!("INSERT INTO bench.sbtest VALUES {}", rows.join(","))).await;
    }
    run("FLUSH BINARY LOGS").await;
    run(&format!(
        "BEGIN NOT ATOMIC DECLARE i INT DEFAULT 1; WHILE i <= {UPDATES} DO \
         UPDATE bench.sbtest SET k = k + 1 WHERE id = i; SET i = i + 1; END WHILE; END"
    ))
    .await;
    run("FLUSH BINARY LOGS").await;
    let names = server.query("SHOW BINARY LOGS").await.expect("the logs");
    let folder = server.data_dir().expect("its folder");
    let read = |back: usize| {
        let name = names[names.len() - back][0].clone().expect("a name");
        filtered(&std::fs::read(folder.join(name)).expect("a log"))
    };
    vec![("inserts", ROWS, read(3)), ("updates", UPDATES, read(2))]
}

fn filtered(file: &[u8]) -> Bytes {
    let mut kept = Vec::new();
    let mut at = MAGIC;
    while at < file.len() {
        let size = u32::from_le_bytes(file[at + 9..at + 13].try_into().expect("four bytes")) as usize;
        if matches!(file[at + 4], 15 | 19 | 23..=25 | 30..=32) {
            kept.extend_from_slice(&file[at..at + size]);
        }
        at += size;
    }
    kept.into()
}

fn schema() -> Schema {
    let column = |name, native, charset| {
        let mut column = offline::column(name, native, charset).expect("a type");
        column.nullable = false;
        column
    };
    let columns = vec![
        column("id", "int(11)", None),
        column("k", "int(11)", None),
        column("c", "char(120)", Some("utf8mb4")),
        column("pad", "char(60)", Some("utf8mb4")),
    ];
    let name = TableName::new("bench", "sbtest");
    let table = Table::new(zdm_core::Engine::new("mysql"), name, columns, Key::Columns(vec![0]));
    Schema { tables: vec![Arc::new(table)], ..Schema::default() }
}

fn ours(schema: &Schema, log: &Bytes) -> Batch {
    offline::decode(schema, log).expect("a log")
}

fn values(batch: &Batch) {
    assert_eq!(batch.encoding().name(), zdm_core::change::Encoding::name(&MySqlEncoding));
    for row in batch.rows() {
        for image in [row.before(), row.after()].into_iter().flatten() {
            image.cells().for_each(|cell| drop(black_box(cell.value().expect("a value"))));
        }
    }
}

fn mysql_common_rows(log: &Bytes) -> u64 {
    let file = [&BinlogFileHeader::VALUE[..], log].concat();
    let mut file = BinlogFile::new(BinlogVersion::Version4, &file[..]).expect("a file");
    let mut rows = 0;
    while let Some(event) = file.next() {
        let event = event.expect("an event");
        if let Some(EventData::RowsEvent(event)) = event.read_data().expect("its data") {
            let table = file.reader().get_tme(event.table_id()).expect("its table");
            for row in event.rows(table) {
                black_box(row.expect("a row"));
                rows += 1;
            }
        }
    }
    rows
}

#[cfg(feature = "mysql_cdc")]
fn mysql_cdc_rows(log: &Bytes) -> u64 {
    use mysql_cdc::events::binlog_event::BinlogEvent;
    use mysql_cdc::events::event_header::EventHeader;
    use mysql_cdc::events::event_parser::EventParser;

    const HEADER: usize = 19;
    let mut parser = EventParser::new();
    let (mut at, mut rows) = (0, 0);
    while at < log.len() {
        let header = EventHeader::parse(&log[at..at + HEADER]).expect("a header");
        let size = header.event_length as usize;
        let body = &log[at + HEADER..at + size];
        at += size;
        rows += match black_box(parser.parse_event(&header, body).expect("an event")) {
            BinlogEvent::WriteRowsEvent(event) => event.rows.len() as u64,
            BinlogEvent::UpdateRowsEvent(event) => event.rows.len() as u64,
            BinlogEvent::DeleteRowsEvent(event) => event.rows.len() as u64,
            _ => 0,
        };
    }
    rows
}

criterion_group!(benches, binlog);
criterion_main!(benches);
