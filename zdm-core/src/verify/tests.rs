//! Differences planted in memory databases, each found and only those.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::change::Value;
use crate::connect::{ChunkSize, Epoch};
use crate::memory::{ENGINE, MemoryDatabase, Row};
use crate::migrate::{Migration, Options, Running, Until};
use crate::schema::{Column, DataType, Key, Table, TableName};

fn name(table: &str) -> TableName {
    TableName::new("public", table)
}

fn columns() -> Vec<Column> {
    vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("note", DataType::text())]
}

fn row(id: i64, note: &'static str) -> Row {
    vec![Value::Int(id), Value::from(note)]
}

/// `t` with a key and `log` without one, 300 rows in each.
async fn databases() -> (MemoryDatabase, MemoryDatabase) {
    let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
    old.create_table(Table::new(ENGINE, name("t"), columns(), Key::Columns(vec![0]))).unwrap();
    old.create_table(Table::new(ENGINE, name("log"), columns(), Key::FullRow)).unwrap();
    let mut transaction = old.begin();
    for id in 0..300 {
        transaction.insert(&name("t"), row(id, "x")).await.unwrap();
        transaction.insert(&name("log"), row(id / 2 * 2, "x")).await.unwrap();
    }
    transaction.commit().await.unwrap();
    (old, new)
}

fn migration(old: &MemoryDatabase, new: &MemoryDatabase) -> Migration {
    let options = Options { shape_interval: std::time::Duration::ZERO, ..Options::default() };
    Migration::between(old.source(), new.sink()).options(options).build().unwrap()
}

fn options() -> VerifyOptions {
    VerifyOptions::default().part(ChunkSize { bytes: 1_000 }).patience(std::time::Duration::from_secs(1))
}

/// Changes the target behind the run's back, in the name of the run.
async fn plant(new: &MemoryDatabase) {
    let mut planted = new.begin_as(Some((RunName::default(), Epoch(0))));
    let t = name("t");
    assert!(planted.delete(&t, &[Value::Int(7)]).await.unwrap());
    planted.insert(&t, row(1_000, "x")).await.unwrap();
    for (id, note) in [(8, Value::from("y")), (9, Value::from("x ")), (10, Value::Null)] {
        assert!(planted.update(&t, &[Value::Int(id)], move |row| row[1] = note).await.unwrap());
    }
    planted.insert(&name("log"), row(4, "x")).await.unwrap();
    assert!(planted.delete(&name("log"), &row(6, "x")).await.unwrap());
    planted.commit().await.unwrap();
}

const PLANTED: [&str; 7] = [
    "public.log id=4 note=\"x\": extra",
    "public.log id=6 note=\"x\": missing",
    "public.t id=1000: extra",
    "public.t id=10: changed note",
    "public.t id=7: missing",
    "public.t id=8: changed note",
    "public.t id=9: changed note",
];

async fn verify(migration: &Migration, options: VerifyOptions) -> (Report, Vec<String>) {
    let mut found = Vec::new();
    let mut tell = |difference: &Difference| found.push(difference.to_string());
    let report = migration.verify(options, CancellationToken::new(), &mut tell).await.unwrap();
    found.sort();
    (report, found)
}

async fn followed(migration: &Migration) -> Running {
    let mut running = migration.start(CancellationToken::new());
    running.followed().await.unwrap();
    running
}

#[tokio::test]
async fn a_whole_copy_is_equal_and_each_planted_difference_is_found() {
    let (old, new) = databases().await;
    let migration = migration(&old, &new);
    migration.run_until(Until::CaughtUp, CancellationToken::new()).await.unwrap();
    let (report, found) = verify(&migration, options()).await;
    assert_eq!(found, Vec::<String>::new());
    assert!(report.is_equal());
    assert_eq!((report.rows(), report.tables["public.t"].source_rows), (600, 300));
    plant(&new).await;
    let (report, found) = verify(&migration, options()).await;
    assert_eq!(found, PLANTED);
    assert_eq!((report.differences(), report.is_equal()), (7, false));
}

/// While both sides change nothing that is not wrong is called different, and
/// what is wrong is found and repaired in the stream's own transactions.
#[tokio::test]
async fn under_load_there_is_no_false_alarm_and_repairs_hold() {
    let (old, new) = databases().await;
    let migration = migration(&old, &new);
    let running = followed(&migration).await;
    let stop = CancellationToken::new();
    let load = tokio::spawn(write(old.clone(), stop.clone()));
    for _ in 0..5 {
        let (report, found) = verify(&migration, options()).await;
        assert_eq!(found, Vec::<String>::new());
        assert!(report.differences() == 0, "{report:?}");
    }
    plant(&new).await;
    let (_, found) = verify(&migration, options()).await;
    assert_eq!(found, PLANTED);
    let (report, found) = verify(&migration, options().repair(true)).await;
    assert_eq!((report.differences(), report.repaired()), (7, 5), "{found:?}");
    assert!(found.iter().filter(|line| line.contains("public.t")).all(|line| line.ends_with(", repaired")));
    let (report, found) = verify(&migration, options()).await;
    assert_eq!((report.differences(), found), (2, PLANTED[..2].iter().map(|l| (*l).to_owned()).collect()));
    stop.cancel();
    load.await.unwrap();
    let (report, _) = verify(&migration, options()).await;
    assert_eq!(report.unsettled(), 0);
    running.stop().await.unwrap();
    assert_eq!(old.rows(&name("t")).unwrap(), new.rows(&name("t")).unwrap());
}

/// An application that writes to rows from 100 on.
async fn write(old: MemoryDatabase, stop: CancellationToken) {
    let t = name("t");
    let mut next = 2_000;
    while !stop.is_cancelled() {
        let mut transaction = old.begin();
        let id = fastrand::i64(100..300);
        let (was, is) = (Value::Int(id), fastrand::u32(..).to_string());
        if !transaction.update(&t, std::slice::from_ref(&was), |row| row[1] = Value::from(is)).await.unwrap()
        {
            transaction.insert(&t, row(id, "again")).await.unwrap();
        } else if id % 3 == 0 {
            transaction.delete(&t, &[was]).await.unwrap();
        }
        transaction.insert(&t, row(next, "new")).await.unwrap();
        transaction.commit().await.unwrap();
        next += 1;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
