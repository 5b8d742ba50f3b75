//! Servers and databases of every engine, as tests that do not care see them.

use std::fmt;

pub use zdm_core::connect::Role;
use zdm_servers::compare::Side;
use zdm_servers::mysql::{self, MySql, MySqlOptions};
use zdm_servers::postgres::{self, PgOptions, Postgres};
use zdm_servers::{Proxy, Result};

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// MySQL.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        })
    }
}

impl Engine {
    /// Starts a server of it that a run can read from and write to. The
    /// version is the newest that can be had, or what `ZDM_TEST_MYSQL` and
    /// `ZDM_TEST_MARIADB` ask for; with `_SOURCE` or `_TARGET` behind them, for
    /// one side.
    pub async fn start(self, role: Role) -> Server {
        let side = if role == Role::Source { "SOURCE" } else { "TARGET" };
        let asked = |variable: &str, default: &str| {
            let asked = [format!("{variable}_{side}"), variable.to_owned()];
            asked.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| default.to_owned())
        };
        match self {
            Self::Postgres => {
                // A slot logs a snapshot of what runs at most this often.
                let options =
                    PgOptions::new().setting("wal_sender_timeout", "5s").setting("deadlock_timeout", "100ms");
                Server::Postgres(Postgres::start(options).await.unwrap())
            }
            Self::MySql => Server::start(MySqlOptions::mysql().version(asked("ZDM_TEST_MYSQL", "9"))).await,
            Self::MariaDb => {
                Server::start(MySqlOptions::mariadb().version(asked("ZDM_TEST_MARIADB", "10.11"))).await
            }
        }
    }
}

/// A running server.
#[derive(Debug, Clone)]
pub enum Server {
    /// PostgreSQL.
    Postgres(Postgres),
    /// MySQL or MariaDB.
    MySql(MySql),
}

impl Server {
    /// Starts a MySQL or MariaDB of these options.
    pub async fn start(options: MySqlOptions) -> Self {
        Self::MySql(MySql::start(options).await.unwrap())
    }

    /// Makes an empty database.
    pub async fn create_database(&self, name: &str) -> Database {
        match self {
            Self::Postgres(server) => Database::Postgres(server.create_database(name).await.unwrap()),
            Self::MySql(server) => Database::MySql(server.create_database(name).await.unwrap()),
        }
    }

    /// A proxy in front of it.
    pub async fn proxy(&self) -> Proxy {
        let proxy = match self {
            Self::Postgres(server) => Proxy::start(server.host(), server.port()).await,
            Self::MySql(server) => Proxy::start(server.host(), server.port()).await,
        };
        proxy.unwrap()
    }

    /// Kills it with SIGKILL: a crash.
    pub async fn kill(&self) {
        match self {
            Self::Postgres(server) => server.kill().await.unwrap(),
            Self::MySql(server) => server.kill().await.unwrap(),
        }
    }

    /// Starts it again on its port, and waits until it takes connections.
    pub async fn start_again(&self) {
        match self {
            Self::Postgres(server) => server.start_again().await.unwrap(),
            Self::MySql(server) => server.start_again().await.unwrap(),
        }
    }
}

/// A database of a running server.
#[derive(Debug, Clone)]
pub enum Database {
    /// PostgreSQL.
    Postgres(postgres::Database),
    /// MySQL or MariaDB.
    MySql(mysql::Database),
}

impl From<&postgres::Database> for Database {
    fn from(database: &postgres::Database) -> Self {
        Self::Postgres(database.clone())
    }
}

impl From<&mysql::Database> for Database {
    fn from(database: &mysql::Database) -> Self {
        Self::MySql(database.clone())
    }
}

impl From<&Self> for Database {
    fn from(database: &Self) -> Self {
        database.clone()
    }
}

impl From<&Database> for Side {
    fn from(database: &Database) -> Self {
        match database {
            Database::Postgres(database) => database.into(),
            Database::MySql(database) => database.into(),
        }
    }
}

impl Database {
    /// Its name on the server.
    pub fn name(&self) -> &str {
        match self {
            Self::Postgres(database) => database.name(),
            Self::MySql(database) => database.name(),
        }
    }

    /// Its URL, over TCP, as the superuser.
    pub fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url(),
            Self::MySql(database) => database.url(),
        }
    }

    /// A pattern of a run that is all of its tables.
    pub fn tables(&self) -> String {
        match self {
            Self::Postgres(_) => "public.*".to_owned(),
            Self::MySql(database) => format!("{}.*", database.name()),
        }
    }

    /// Runs SQL, of one or more statements, on a new connection.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        match self {
            Self::Postgres(database) => database.execute(sql).await,
            Self::MySql(database) => database.execute(sql).await,
        }
    }

    /// Runs SQL and gives the rows of all its statements, as text.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        match self {
            Self::Postgres(database) => database.query(sql).await,
            Self::MySql(database) => database.query(sql).await,
        }
    }

    /// The one value that SQL gives, as text.
    pub async fn value(&self, sql: &str) -> Result<String> {
        match self {
            Self::Postgres(database) => database.value(sql).await,
            Self::MySql(database) => database.value(sql).await,
        }
    }
}
