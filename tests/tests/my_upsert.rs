//! Many whole rows are put into a MySQL or MariaDB by one statement, and only
//! while no unique key of the target's could take one row for another.

#![allow(clippy::unwrap_used, clippy::future_not_send, reason = "helpers of tests, which fail by panicking")]

use std::sync::Arc;

use zdm_core::change::{Batch, BatchBuilder, Field, Value};
use zdm_core::connect::{
    Epoch, Progress, Purpose, Record, RunName, Sink as _, Source as _, Step, Writer, WriterOptions,
};
use zdm_core::schema::{Selection, Table};
use zdm_core::{Engine, Identity, Position, Result};
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_servers::mysql::{Database, MySql, MySqlOptions};

/// A target with an empty table, and who writes to it.
struct Target {
    server: MySql,
    shop: Database,
    table: Arc<Table>,
    writer: Box<dyn Writer>,
    at: u32,
}

fn at(number: u32) -> Position {
    Position::new(Engine::new("mysql"), number.to_string())
}

fn fields(id: i64, code: i64) -> Vec<Field<'static>> {
    [Value::Int(id), Value::Int(code), Value::from(format!("it's {code}"))].map(Field::Value).to_vec()
}

impl Target {
    async fn new(options: MySqlOptions) -> Self {
        let server = MySql::start(options.durable(false).database("shop")).await.unwrap();
        let shop = server.database("shop");
        let sql = "CREATE TABLE t (id INT PRIMARY KEY, code INT, word VARCHAR(40) CHARACTER SET utf8mb4)";
        shop.execute(sql).await.unwrap();
        let config = MySqlConfig::parse(&shop.url()).unwrap();
        let source = MySqlSource::new(config.clone());
        let schema = Arc::new(source.describe(&Selection::new(["shop.t"]).unwrap()).await.unwrap());
        // As if the table had been a source's: the sink makes it anew.
        shop.execute("DROP TABLE t").await.unwrap();
        let sink = MySqlSink::new(config);
        let run: RunName = "puts".parse().unwrap();
        sink.prepare(&run, &schema, Step::Finished).await.unwrap();
        let mut record = Record::new(run.clone(), Identity::new(Engine::new("mysql")));
        (record.start, record.position) = (Some(at(0)), Some(at(0)));
        sink.checkpoint().unwrap().create(&record).await.unwrap();
        let options = WriterOptions::new(run, Epoch(1), Purpose::Apply, Arc::clone(&schema));
        let writer = sink.writer(options).await.unwrap();
        Self { server, shop, table: Arc::clone(&schema.tables[0]), writer, at: 0 }
    }

    async fn apply(&mut self, batch: Batch) -> Result<()> {
        let (from, to) = (at(self.at), at(self.at + 1));
        self.at += 1;
        self.writer.write(batch).await?;
        self.writer.commit(Progress::Stream { from, to, changes: 1, goals: Vec::new() }).await
    }

    async fn rows(&self) -> Vec<(i64, i64, String)> {
        let rows = self.shop.query("SELECT id, code, word FROM t ORDER BY id").await.unwrap();
        let number = |text: &Option<String>| text.as_ref().unwrap().parse().unwrap();
        rows.iter().map(|row| (number(&row[0]), number(&row[1]), row[2].clone().unwrap())).collect()
    }

    /// Statements of a kind that the server has run.
    async fn ran(&self, kind: &str) -> u64 {
        let rows = self.server.query(&format!("SHOW GLOBAL STATUS LIKE 'Com_{kind}'")).await.unwrap();
        rows[0][1].as_ref().unwrap().parse().unwrap()
    }
}

fn row(id: i64, code: i64) -> (i64, i64, String) {
    (id, code, format!("it's {code}"))
}

async fn rows_are_put(options: MySqlOptions) {
    let mut target = Target::new(options).await;
    let table = Arc::clone(&target.table);
    let mut batch = BatchBuilder::new();
    (1..=60).for_each(|id| batch.insert(&table, fields(id, id)).unwrap());
    target.apply(batch.finish()).await.unwrap();
    assert_eq!(target.rows().await, (1..=60).map(|id| row(id, id)).collect::<Vec<_>>());

    let before = [target.ran("update").await, target.ran("delete").await];
    let mut batch = BatchBuilder::new();
    // Changed; changed back to what they are; not there; there already; gone.
    (1..=20).for_each(|id| batch.update(&table, Some(fields(id, id)), fields(id, id * 10)).unwrap());
    (21..=25).for_each(|id| batch.update(&table, Some(fields(id, id)), fields(id, id)).unwrap());
    (61..=65).for_each(|id| batch.update(&table, Some(fields(id, 0)), fields(id, id)).unwrap());
    (26..=30).for_each(|id| batch.insert(&table, fields(id, id * 10)).unwrap());
    (51..=60).for_each(|id| batch.delete(&table, fields(id, id)).unwrap());
    target.apply(batch.finish()).await.unwrap();
    let tenfold = |id| if id <= 20 || (26..=30).contains(&id) { id * 10 } else { id };
    let wanted: Vec<_> = (1..=50).chain(61..=65).map(|id| row(id, tenfold(id))).collect();
    assert_eq!(target.rows().await, wanted);
    // One for the progress, and one for all deletes.
    let after = [target.ran("update").await, target.ran("delete").await];
    assert!(after[0] - before[0] <= 2 && after[1] - before[1] <= 2, "{before:?} {after:?}");
    target.server.close().await.unwrap();
}

#[tokio::test]
async fn rows_are_put_in_their_places_on_mariadb() {
    rows_are_put(MySqlOptions::mariadb().version("10.11")).await;
}

#[tokio::test]
async fn rows_are_put_in_their_places_on_mysql() {
    rows_are_put(MySqlOptions::mysql().version("9")).await;
}

/// The run knows of no unique key on `code`: somebody has made one at the
/// target. The clash must be an error, and never a row that is overwritten.
#[tokio::test]
async fn a_unique_key_that_somebody_has_made_takes_no_row_for_another() {
    let mut target = Target::new(MySqlOptions::mariadb().version("10.11")).await;
    let table = Arc::clone(&target.table);
    let mut batch = BatchBuilder::new();
    (1..=20).for_each(|id| batch.insert(&table, fields(id, id)).unwrap());
    target.apply(batch.finish()).await.unwrap();
    target.shop.execute("ALTER TABLE t ADD UNIQUE INDEX somebodys (code)").await.unwrap();

    let mut batch = BatchBuilder::new();
    (101..=120).for_each(|id| batch.insert(&table, fields(id, id - 100)).unwrap());
    let error = target.apply(batch.finish()).await.unwrap_err();
    assert!(error.to_string().contains("somebodys"), "{error}");
    drop(target.writer);
    let rows = target.shop.query("SELECT id, code FROM t ORDER BY id").await.unwrap();
    assert_eq!(rows.len(), 20);
    assert!(rows.iter().all(|row| row[0] == row[1]), "{rows:?}");
}
