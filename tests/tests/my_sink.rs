//! MySQL and MariaDB keep the contract of a sink: that half of the public
//! suite, against real servers.
//!
//! A database is a namespace here, and a table keeps its database's name on
//! its way. So each database of the suite is a server's only one of that name,
//! and comes from a small pool of servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use zdm_core::change::{BatchBuilder, Field, Value};
use zdm_core::conformance::{self, Database, Harness, ITEMS, OTHERS, Open, PLAIN, Row, Statement};
use zdm_core::connect::{
    Changes, Epoch, Progress, Purpose, Record, RunName, Sink, Snapshot, Source, SourceCapabilities, Step,
    StreamOptions, WriterOptions,
};
use zdm_core::schema::{
    Column, Constraint, ConstraintKind, DataType, Key, Schema, Selection, Table, TableName,
};
use zdm_core::{Engine, Error, ErrorKind, Identity, Position, Result};
use zdm_mysql::{MySqlConfig, MySqlSink};
use zdm_servers::mysql::{Flavor, MySql, MySqlOptions};

/// The name of every database of the suite.
const NAME: &str = "suite";

/// Servers, of which each has one database at a time.
struct Pool {
    options: MySqlOptions,
    idle: Arc<Mutex<Vec<Arc<MySql>>>>,
}

struct Tables {
    server: Arc<MySql>,
    idle: Arc<Mutex<Vec<Arc<MySql>>>>,
}

struct Transaction(Conn);

#[async_trait]
impl Harness for Pool {
    async fn database(&self) -> Result<Box<dyn Database>> {
        let idle = self.idle.lock().unwrap().pop();
        let server = match idle {
            Some(server) => server,
            None => Arc::new(MySql::start(self.options.clone()).await.map_err(failed)?),
        };
        let anew =
            format!("DROP DATABASE IF EXISTS {NAME}; DROP DATABASE IF EXISTS zdm; CREATE DATABASE {NAME}");
        server.execute(&anew).await.map_err(failed)?;
        Ok(Box::new(Tables { server, idle: Arc::clone(&self.idle) }))
    }

    fn unsupported(&self) -> Vec<(&'static str, &'static str)> {
        vec![(
            "sink::nobody_else_empties_a_target",
            "TRUNCATE is DDL here: it asks no trigger, is refused to nobody who may drop the table, and no lock \
             could outlast every session of ours",
        )]
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.idle.lock().unwrap().push(Arc::clone(&self.server));
    }
}

impl Tables {
    fn config(&self) -> MySqlConfig {
        MySqlConfig::parse(&self.server.url(NAME)).unwrap()
    }
}

#[async_trait]
impl Database for Tables {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(Described(self.server.flavor()))
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(MySqlSink::new(self.config()))
    }

    async fn create_tables(&self) -> Result<()> {
        let columns = "code bigint NOT NULL, body longtext NOT NULL";
        let sql = format!(
            "CREATE TABLE {ITEMS} (id bigint PRIMARY KEY, {columns}, UNIQUE code_key (code));
             CREATE TABLE {OTHERS} (id bigint PRIMARY KEY, {columns});
             CREATE TABLE {PLAIN} (id bigint NOT NULL, {columns})"
        );
        self.server.database(NAME).execute(&sql).await.map_err(failed)
    }

    async fn run(&self, statements: &[Statement]) -> Result<()> {
        self.begin(statements).await?.commit().await
    }

    async fn begin(&self, statements: &[Statement]) -> Result<Box<dyn Open>> {
        let mut connection = self.server.database(NAME).connect().await.map_err(failed)?;
        connection.query_drop("START TRANSACTION").await.map_err(failed)?;
        let mut transaction = Transaction(connection);
        transaction.run(statements).await?;
        Ok(Box::new(transaction))
    }

    async fn rows(&self, table: &str) -> Result<Vec<Row>> {
        let sql = format!("SELECT id, code, body FROM {table}");
        let rows = self.server.database(NAME).query(&sql).await.map_err(failed)?;
        let number = |text: &Option<String>| text.as_ref().unwrap().parse().unwrap();
        let row = |row: &Vec<Option<String>>| Row {
            id: number(&row[0]),
            code: number(&row[1]),
            body: row[2].clone().unwrap(),
        };
        Ok(rows.iter().map(row).collect())
    }
}

#[async_trait]
impl Open for Transaction {
    async fn run(&mut self, statements: &[Statement]) -> Result<()> {
        for statement in statements {
            self.0.query_drop(statement.to_string()).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        self.0.query_drop("COMMIT").await.map_err(failed)
    }

    async fn rollback(mut self: Box<Self>) -> Result<()> {
        self.0.query_drop("ROLLBACK").await.map_err(failed)
    }
}

/// Describes the suite's tables and does nothing else: a sink is tested here.
struct Described(Flavor);

impl Described {
    fn table(name: &str) -> Table {
        // Native ids are those of the catalog's `bigint` and `longtext`.
        let number = |name: &str| Column::new(name, DataType::integer(64)).native("bigint", 8).not_null();
        let mut body = Column::new("body", DataType::text()).native("longtext", 252 + (1 << 8) + (4 << 16));
        body.charset = Some("utf8mb4".into());
        let columns = vec![number("id"), number("code"), body.not_null()];
        let key = if name == ITEMS { Key::Columns(vec![0]) } else { Key::FullRow };
        let mut table = Table::new(Engine::new("mysql"), TableName::new(NAME, name), columns, key);
        let constraint = |name: &str, kind, definition: &str| Constraint {
            name: name.to_owned(),
            kind,
            definition: definition.to_owned(),
            validated: true,
        };
        if name == ITEMS {
            let (id, code) = (vec!["id".to_owned()], vec!["code".to_owned()]);
            table.key_name = Some("PRIMARY".to_owned());
            table.constraints = vec![
                constraint("PRIMARY", ConstraintKind::Primary { columns: id }, "PRIMARY KEY (`id`)"),
                constraint("code_key", ConstraintKind::Unique { columns: code }, "UNIQUE (`code`)"),
            ];
        }
        table.options = Some("ENGINE=MyISAM DEFAULT CHARSET=utf8mb4".to_owned());
        table
    }

    fn only_described(&self) -> Error {
        Error::new(ErrorKind::Unsupported, format!("the {:?} source of this test describes, no more", self.0))
    }
}

#[async_trait]
impl Source for Described {
    async fn identity(&self) -> Result<Identity> {
        Err(self.only_described())
    }

    async fn describe(&self, _: &Selection) -> Result<Schema> {
        let tables = [ITEMS, PLAIN].map(|name| Arc::new(Self::table(name)));
        Ok(Schema { tables: tables.to_vec(), ..Schema::default() })
    }

    async fn snapshot(&self, _: &RunName, _: &Schema, _: Option<&Position>) -> Result<Arc<dyn Snapshot>> {
        Err(self.only_described())
    }

    async fn changes(&self, _: StreamOptions) -> Result<Changes> {
        Err(self.only_described())
    }

    fn reached(&self, _: &Position, _: &Position) -> Result<bool> {
        Err(self.only_described())
    }

    async fn release(&self, _: &RunName) -> Result<()> {
        Err(self.only_described())
    }

    fn capabilities(&self) -> SourceCapabilities<'_> {
        SourceCapabilities::default()
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Other, "the harness failed").caused_by(error)
}

/// `ZDM_TEST_CLAUSE=moved` runs the clauses whose names contain that.
async fn keeps_the_contract(options: MySqlOptions) {
    let pool = Pool { options, idle: Arc::default() };
    match std::env::var("ZDM_TEST_CLAUSE") {
        Ok(clause) => conformance::matching(&pool, &clause).await.assert(),
        Err(_) => {
            conformance::matching(&pool, "sink::").await.assert();
            conformance::matching(&pool, "checkpoint::").await.assert();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_keeps_the_contract_of_a_sink() {
    keeps_the_contract(MySqlOptions::mariadb().version("10.11")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_mariadb_keeps_the_contract_of_a_sink() {
    keeps_the_contract(MySqlOptions::mariadb().version("11.8")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_keeps_the_contract_of_a_sink() {
    keeps_the_contract(MySqlOptions::mysql().version("9")).await;
}

/// Without LOAD DATA LOCAL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_keeps_the_contract_of_a_sink_by_insert() {
    keeps_the_contract(MySqlOptions::mysql().version("9").local_infile(false)).await;
}

fn fields(id: i64, code: i64) -> Vec<Field<'static>> {
    [Value::Int(id), Value::Int(code), Value::from("x".to_owned())].map(Field::Value).to_vec()
}

/// No server here checks a unique key at the end of a statement only; and none
/// has a TRUNCATE that can be rolled back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_swap_unique_values_and_a_truncate_waits_for_its_commit() {
    let options = MySqlOptions::mariadb().version("10.11");
    let pool = Pool { options, idle: Arc::default() };
    let database = pool.database().await.unwrap();
    let sink = database.sink();
    let run: RunName = "swap".parse().unwrap();
    let schema =
        Arc::new(Described(Flavor::MariaDb).describe(&Selection::new(["*.*"]).unwrap()).await.unwrap());
    sink.prepare(&run, &schema, Step::Finished).await.unwrap();
    let engine = Engine::new("test");
    let at = |number: u32| Position::new(Engine::new("test"), number.to_string());
    let mut record = Record::new(run.clone(), Identity::new(engine));
    (record.start, record.position) = (Some(at(0)), Some(at(0)));
    sink.checkpoint().unwrap().create(&record).await.unwrap();
    let step = |n: u32| Progress::Stream { from: at(n), to: at(n + 1), changes: 1, goals: Vec::new() };
    let items = schema.tables.iter().find(|table| table.name.name == ITEMS).unwrap();
    let options = || WriterOptions::new(run.clone(), Epoch(1), Purpose::Apply, Arc::clone(&schema));

    let mut writer = sink.writer(options()).await.unwrap();
    let mut batch = BatchBuilder::new();
    batch.insert(items, fields(1, 10)).unwrap();
    batch.insert(items, fields(2, 20)).unwrap();
    writer.write(batch.finish()).await.unwrap();
    writer.commit(step(0)).await.unwrap();
    let mut batch = BatchBuilder::new();
    batch.update(items, None::<Vec<Field<'_>>>, fields(1, 20)).unwrap();
    batch.update(items, None::<Vec<Field<'_>>>, fields(2, 10)).unwrap();
    writer.write(batch.finish()).await.unwrap();
    writer.commit(step(1)).await.unwrap();
    let swapped = [(1, 20), (2, 10)].map(|(id, code)| Row { id, code, body: "x".to_owned() });
    let rows = async || {
        let mut rows = database.rows(ITEMS).await.unwrap();
        rows.sort();
        rows
    };
    assert_eq!(rows().await, swapped);

    let mut batch = BatchBuilder::new();
    batch.truncate(vec![Arc::clone(items)]);
    writer.write(batch.finish()).await.unwrap();
    writer.flush().await.unwrap();
    drop(writer);
    assert_eq!(rows().await, swapped);
}
