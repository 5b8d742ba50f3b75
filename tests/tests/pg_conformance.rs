//! PostgreSQL keeps the contracts of source and sink: the public suite,
//! against a real server.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use zdm_core::conformance::{self, Database, Harness, ITEMS, OTHERS, Open, PLAIN, Row, Statement};
use zdm_core::connect::{Sink, Source};
use zdm_core::{Error, ErrorKind, Result};
use zdm_pg::{PgConfig, PgSink, PgSource};
use zdm_servers::postgres::{Database as PgDatabase, PgOptions, Postgres};

/// One server; each clause has databases of its own.
struct Server {
    server: Postgres,
    made: AtomicU32,
}

struct Tables {
    database: PgDatabase,
    config: PgConfig,
}

struct Transaction(tokio_postgres::Client);

#[async_trait::async_trait]
impl Harness for Server {
    async fn database(&self) -> Result<Box<dyn Database>> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let database = self.server.create_database(&format!("clause_{number}")).await.map_err(failed)?;
        let config = PgConfig::parse(&database.url())?;
        Ok(Box::new(Tables { database, config }))
    }

    fn unsupported(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

#[async_trait::async_trait]
impl Database for Tables {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(PgSource::new(self.config.clone()))
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(PgSink::new(self.config.clone()))
    }

    async fn create_tables(&self) -> Result<()> {
        let columns = "code bigint NOT NULL, body text NOT NULL";
        let sql = format!(
            "CREATE TABLE {ITEMS} (id bigint PRIMARY KEY, {columns}, UNIQUE (code));
             CREATE TABLE {OTHERS} (id bigint PRIMARY KEY, {columns});
             CREATE TABLE {PLAIN} (id bigint NOT NULL, {columns});
             ALTER TABLE {PLAIN} REPLICA IDENTITY FULL"
        );
        self.database.execute(&sql).await.map_err(failed)
    }

    async fn run(&self, statements: &[Statement]) -> Result<()> {
        self.begin(statements).await?.commit().await
    }

    async fn begin(&self, statements: &[Statement]) -> Result<Box<dyn Open>> {
        let client = self.database.connect().await.map_err(failed)?;
        client.batch_execute("BEGIN").await.map_err(failed)?;
        let mut transaction = Transaction(client);
        transaction.run(statements).await?;
        Ok(Box::new(transaction))
    }

    async fn rows(&self, table: &str) -> Result<Vec<Row>> {
        let sql = format!("SELECT id, code, body FROM {table}");
        let rows = self.database.query(&sql).await.map_err(failed)?;
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
        let sql: Vec<String> = statements.iter().map(Statement::to_string).collect();
        self.0.batch_execute(&sql.join(";\n")).await.map_err(failed)
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.0.batch_execute("COMMIT").await.map_err(failed)
    }

    async fn rollback(self: Box<Self>) -> Result<()> {
        self.0.batch_execute("ROLLBACK").await.map_err(failed)
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Other, "the harness failed").caused_by(error)
}

/// `ZDM_TEST_CLAUSE=sink::` runs the clauses whose names contain that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_keeps_the_contracts() {
    let options = PgOptions::new()
        .setting("max_replication_slots", 60)
        .setting("max_wal_senders", 20)
        .setting("max_connections", 200);
    let server = Server { server: Postgres::start(options).await.unwrap(), made: AtomicU32::new(0) };
    let clause = std::env::var("ZDM_TEST_CLAUSE").unwrap_or_default();
    conformance::matching(&server, &clause).await.assert();
}
