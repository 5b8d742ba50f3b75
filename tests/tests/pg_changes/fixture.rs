//! A run's tables on one shared server, its stream, and reading from it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::OnceCell;
use zdm_core::change::{Batch, Item};
use zdm_core::connect::{Changes, RunName, StreamOptions};
use zdm_core::schema::{Column, DataType, Generated, Key, Schema, Table, TableName};
use zdm_core::{Engine, Error, Position, Result};
use zdm_pg::changes_probe as probe;
use zdm_pg::config::{PgConfig, PgConfigBuilder};
use zdm_servers::postgres::{Database, PgOptions, Postgres};

use super::show::show;

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One server for all tests that need nothing special of it.
pub(crate) async fn server() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER
        .get_or_init(async || {
            Postgres::start(
                PgOptions::new()
                    .setting("max_replication_slots", 60)
                    .setting("max_wal_senders", 60)
                    .setting("max_connections", 300),
            )
            .await
            .unwrap()
        })
        .await
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// How that database is reached.
pub(crate) fn settings(server: &Postgres, database: &str) -> PgConfigBuilder {
    let builder =
        PgConfig::builder().host(server.host()).port(server.port()).user(server.user()).dbname(database);
    match server.password() {
        Some(password) => builder.password(password),
        None => builder,
    }
}

/// A table of two columns, which most tests need no more than.
pub(crate) const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";
/// And one of one column, for those that need only a row.
pub(crate) const SMALL: &str = "CREATE TABLE t (id int PRIMARY KEY)";
/// More of [`TABLE`]'s rows than fit into one batch.
pub(crate) const MANY: &str = "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 40000) i";

/// A database with a run's tables, and the run.
pub(crate) struct Source {
    pub(crate) db: Database,
    pub(crate) config: Arc<PgConfig>,
    pub(crate) run: RunName,
    pub(crate) schema: Arc<Schema>,
}

impl Source {
    /// A database of the shared server with the one table [`TABLE`].
    pub(crate) async fn plain(name: &str) -> Self {
        Self::new(server().await, name, TABLE, &["t"]).await
    }

    /// Makes the tables and describes those of `tables`.
    pub(crate) async fn new(server: &Postgres, name: &str, ddl: &str, tables: &[&str]) -> Self {
        Self::with(server, name, "", ddl, tables).await
    }

    pub(crate) async fn with(
        server: &Postgres,
        name: &str,
        options: &str,
        ddl: &str,
        tables: &[&str],
    ) -> Self {
        let db = server.create_database(name).await.unwrap();
        db.execute(ddl).await.unwrap();
        let builder = settings(server, db.name());
        let builder = if options.is_empty() { builder } else { builder.options(options) };
        let config = Arc::new(builder.build().unwrap());
        let schema = Arc::new(describe(&db, tables).await);
        Self { db, config, run: name.parse().unwrap(), schema }
    }

    pub(crate) async fn begin(&self) -> Position {
        within("begin", probe::begin(&self.config, &self.run, &self.schema)).await.unwrap()
    }

    pub(crate) fn options(&self, from: &Position) -> StreamOptions {
        StreamOptions::new(self.run.clone(), from.clone(), Arc::clone(&self.schema))
    }

    pub(crate) async fn open(&self, from: &Position) -> Result<Changes> {
        within("open", probe::open(&self.config, self.options(from))).await
    }

    /// The end of the log.
    pub(crate) async fn head(&self) -> u64 {
        lsn(&self.db.value("SELECT pg_current_wal_insert_lsn()").await.unwrap())
    }

    /// All transactions from a position to the log's present end, as lines.
    pub(crate) async fn lines(&self, from: &Position) -> Vec<String> {
        let goal = self.head().await;
        let mut changes = self.open(from).await.unwrap();
        let mut lines = Vec::new();
        read_to(&mut changes, goal, |batch| lines.extend(show(batch))).await;
        lines
    }

    pub(crate) async fn confirmed(&self) -> u64 {
        let sql = format!(
            "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'zdm_{}'",
            self.run
        );
        lsn(&self.db.value(&sql).await.unwrap())
    }

    pub(crate) async fn walsender(&self) -> String {
        let sql = format!(
            "SELECT coalesce(active_pid, 0) FROM pg_replication_slots WHERE slot_name = 'zdm_{}'",
            self.run
        );
        self.db.value(&sql).await.unwrap()
    }
}

pub(crate) fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

pub(crate) fn at(position: &Position) -> u64 {
    lsn(position.as_str())
}

/// The tables as a connector describes them; a key is the replica identity.
pub(crate) async fn describe(db: &Database, tables: &[&str]) -> Schema {
    let mut schema = Schema::default();
    for table in tables {
        let rows = db
            .query(&format!(
                "SELECT c.oid, n.nspname, c.relname, c.relreplident, a.attname, a.atttypid, a.attgenerated,
                        coalesce(a.attnum = ANY (i.indkey), false)
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 LEFT JOIN pg_index i ON i.indrelid = c.oid
                     AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END
                 WHERE c.oid = '{table}'::regclass ORDER BY a.attnum"
            ))
            .await
            .unwrap();
        let cell = |row: usize, column: usize| rows[row][column].clone().unwrap();
        let mut columns = Vec::new();
        let mut key = Vec::new();
        for row in 0..rows.len() {
            let mut column =
                Column::new(cell(row, 4), DataType::Native).native("?", cell(row, 5).parse().unwrap());
            if !cell(row, 6).is_empty() {
                column.generated = Some(Generated { expression: String::new(), stored: true });
            }
            if cell(row, 7) == "t" {
                key.push(row);
            }
            columns.push(column);
        }
        let key = match (cell(0, 3).as_str(), key.is_empty()) {
            ("f", _) => Key::FullRow,
            (_, false) => Key::Columns(key),
            _ => Key::Nothing,
        };
        let name = TableName::new(cell(0, 1), cell(0, 2));
        let mut table = Table::new(Engine::new("postgresql"), name, columns, key);
        table.origin.id = cell(0, 0).parse().unwrap();
        schema.tables.push(Arc::new(table));
    }
    schema
}

/// Reads until the stream has reached `goal`.
pub(crate) async fn read_to(changes: &mut Changes, goal: u64, mut take: impl FnMut(&Batch)) {
    let read = async {
        loop {
            let batch = changes.batches.next().await.expect("the stream goes on").unwrap();
            take(&batch);
            if batch.items().iter().filter_map(Item::position).any(|position| at(position) >= goal) {
                return;
            }
        }
    };
    within("the stream", read).await;
}

pub(crate) async fn error(changes: &mut Changes) -> Error {
    let read = async {
        loop {
            if let Err(error) = changes.batches.next().await.expect("an error comes before the end") {
                return error;
            }
        }
    };
    let error = within("the error", read).await;
    assert!(changes.batches.next().await.is_none(), "after an error nothing follows");
    error
}
