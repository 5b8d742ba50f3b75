//! Both servers keep the contracts of a source: the public suite's half that
//! needs no sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mysql_async::prelude::Queryable;
use zdm_core::conformance::{self, Database, Harness, ITEMS, OTHERS, Open, PLAIN, Row, Statement};
use zdm_core::connect::{Sink, Source};
use zdm_core::memory::MemoryDatabase;
use zdm_core::{Error, ErrorKind, Result};
use zdm_mysql::{MySqlConfig, MySqlSource};
use zdm_servers::mysql::{Database as MyDatabase, MySql, MySqlOptions};

use super::fixture::config;

/// Two servers in turn, since a server is what has an identity; each clause
/// has databases of its own, and the last one's are gone.
struct Servers {
    servers: [MySql; 2],
    made: AtomicUsize,
    unsupported: Vec<(&'static str, &'static str)>,
}

struct Tables {
    database: MyDatabase,
    config: MySqlConfig,
}

struct Transaction(mysql_async::Conn);

#[async_trait::async_trait]
impl Harness for Servers {
    async fn database(&self) -> Result<Box<dyn Database>> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let server = &self.servers[number % 2];
        if let Some(last) = number.checked_sub(2) {
            let sql = format!("DROP DATABASE IF EXISTS clause_{last}");
            server.execute(&sql).await.map_err(failed)?;
        }
        let database = server.create_database(&format!("clause_{number}")).await.map_err(failed)?;
        Ok(Box::new(Tables { database, config: config(server).build()? }))
    }

    fn unsupported(&self) -> Vec<(&'static str, &'static str)> {
        self.unsupported.clone()
    }
}

/// Neither server keeps anything for a reader.
const KEPT: [(&str, &str); 2] = [
    ("changes::released_changes_are_refused", "the log is kept by its age, whoever has read it"),
    ("changes::a_run_that_keeps_nothing_on_the_source_is_refused", "no run keeps anything on the source"),
];
/// MySQL has no consistent snapshot that tells its place.
const LOCKED: (&str, &str) = (
    "snapshot::a_table_with_no_key_is_one_chunk_that_knows_what_it_saw",
    "its moment is under a lock, which waits for a transaction that has written to the table; see `seen`",
);
/// With GTIDs.
const ALIKE: (&str, &str) = (
    "snapshot::identity_stays_and_tells_databases_apart",
    "another server may take over; that it has the run's transactions is checked when a stream begins",
);

#[async_trait::async_trait]
impl Database for Tables {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(MySqlSource::new(self.config.clone()))
    }

    /// No clause of the source's half asks for it.
    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(MemoryDatabase::new().sink())
    }

    async fn create_tables(&self) -> Result<()> {
        let columns = "code BIGINT NOT NULL, body LONGTEXT NOT NULL";
        let sql = format!(
            "CREATE TABLE {ITEMS} (id BIGINT PRIMARY KEY, {columns}, UNIQUE (code));
             CREATE TABLE {OTHERS} (id BIGINT PRIMARY KEY, {columns});
             CREATE TABLE {PLAIN} (id BIGINT NOT NULL, {columns})"
        );
        self.database.execute(&sql).await.map_err(failed)
    }

    async fn run(&self, statements: &[Statement]) -> Result<()> {
        self.begin(statements).await?.commit().await
    }

    async fn begin(&self, statements: &[Statement]) -> Result<Box<dyn Open>> {
        let mut conn = self.database.connect().await.map_err(failed)?;
        conn.query_drop("BEGIN").await.map_err(failed)?;
        let mut transaction = Transaction(conn);
        transaction.run(statements).await?;
        Ok(Box::new(transaction))
    }

    async fn rows(&self, table: &str) -> Result<Vec<Row>> {
        let rows =
            self.database.query(&format!("SELECT id, code, body FROM {table}")).await.map_err(failed)?;
        let number = |text: &Option<String>| text.as_ref().unwrap().parse().unwrap();
        let row = |row: &Vec<Option<String>>| Row {
            id: number(&row[0]),
            code: number(&row[1]),
            body: row[2].clone().unwrap(),
        };
        Ok(rows.iter().map(row).collect())
    }
}

#[async_trait::async_trait]
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

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Other, "the harness failed").caused_by(error)
}

/// `ZDM_TEST_CLAUSE=snapshot::` runs the clauses whose names contain that.
async fn keeps_the_contracts(options: MySqlOptions, more: &[(&'static str, &'static str)]) {
    let one = MySql::start(options.clone()).await.unwrap();
    let unsupported = KEPT.iter().chain(more).copied().collect();
    let servers = [one, MySql::start(options).await.unwrap()];
    let servers = Servers { servers, made: AtomicUsize::new(0), unsupported };
    let clause = std::env::var("ZDM_TEST_CLAUSE").unwrap_or_default();
    for half in
        ["snapshot::", "changes::"].into_iter().filter(|half| clause.is_empty() || clause.starts_with(half))
    {
        let wanted = if clause.is_empty() { half } else { &clause };
        conformance::matching(&servers, wanted).await.assert();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_keeps_the_contracts() {
    keeps_the_contracts(MySqlOptions::mariadb().version("10.11"), &[ALIKE]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_mariadb_keeps_the_contracts() {
    keeps_the_contracts(MySqlOptions::mariadb().version("11.8"), &[ALIKE]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_keeps_the_contracts() {
    keeps_the_contracts(MySqlOptions::mysql().version("9"), &[LOCKED, ALIKE]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_without_gtids_keeps_the_contracts() {
    keeps_the_contracts(MySqlOptions::mysql().version("9").gtids(false), &[LOCKED]).await;
}
