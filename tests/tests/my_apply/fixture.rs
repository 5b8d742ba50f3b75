//! A database of each server, and a run that writes to it.

use std::sync::Arc;

use tokio::sync::OnceCell;
use zdm_core::connect::{Checkpoint, Record, RunName, Sink as _, Source as _, Step};
use zdm_core::schema::{Schema, Selection, Table, TableName};
use zdm_core::{Engine, Identity, Position, Result};
use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
use zdm_servers::mysql::{Database, MySql, MySqlOptions};

static SERVERS: [OnceCell<MySql>; 2] = [const { OnceCell::const_new() }; 2];

/// MariaDB and MySQL.
pub(crate) async fn servers() -> [MySql; 2] {
    let start = async |at: usize, options: MySqlOptions| {
        SERVERS[at].get_or_init(async || MySql::start(options).await.unwrap()).await.clone()
    };
    // Another version of MariaDB, as `e2e` takes it.
    let version = std::env::var("ZDM_TEST_MARIADB").unwrap_or_else(|_| "10.11".to_owned());
    let mariadb = start(0, MySqlOptions::mariadb().version(version)).await;
    [mariadb, start(1, MySqlOptions::mysql().version("9")).await]
}

/// Tables as a source of that server describes them: they are made there for
/// that, and dropped again.
pub(crate) async fn described(server: &MySql, name: &str, tables: &str) -> Schema {
    let database = server.create_database(name).await.unwrap();
    database.execute(tables).await.unwrap();
    let source = MySqlSource::new(MySqlConfig::parse(&server.url(name)).unwrap());
    let schema = source.describe(&Selection::new([format!("{name}.*")]).unwrap()).await.unwrap();
    server.execute(&format!("DROP DATABASE {name}")).await.unwrap();
    schema
}

/// A target with a database of that name, and what a run would make there.
pub(crate) struct Case {
    pub(crate) database: Database,
    pub(crate) sink: MySqlSink,
    pub(crate) run: RunName,
    pub(crate) schema: Arc<Schema>,
}

impl Case {
    pub(crate) async fn new(server: &MySql, name: &str, schema: Schema) -> Self {
        let database = server.create_database(name).await.unwrap();
        let sink = MySqlSink::new(MySqlConfig::parse(&server.url(name)).unwrap());
        Self { database, sink, run: name.parse().unwrap(), schema: Arc::new(schema) }
    }

    pub(crate) async fn prepare(&self, step: Step) -> Result<()> {
        self.sink.prepare(&self.run, &self.schema, step).await
    }

    /// The record of a run that stands at position 0.
    pub(crate) async fn begin(&self) -> Arc<dyn Checkpoint> {
        let checkpoint = self.sink.checkpoint().unwrap();
        let mut record = Record::new(self.run.clone(), Identity::new(Engine::new("test")));
        (record.start, record.position) = (Some(position(0)), Some(position(0)));
        checkpoint.create(&record).await.unwrap();
        checkpoint
    }

    pub(crate) fn table(&self, name: &str) -> &Arc<Table> {
        self.schema.table(&TableName::new(self.database.name(), name)).unwrap()
    }

    /// Rows as lines.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.database.query(sql).await.unwrap();
        let line = |row: Vec<Option<String>>| {
            row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>().join("|")
        };
        rows.into_iter().map(line).collect()
    }
}

pub(crate) fn position(at: usize) -> Position {
    Position::new(Engine::new("test"), at.to_string())
}
