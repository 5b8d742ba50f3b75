//! From engine to engine.

mod life;
mod refusals;
mod rights;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;
use zdm_servers::compare::{Across, Side};
use zdm_servers::mysql::{self, MySql, MySqlOptions};
use zdm_servers::postgres::{self, Postgres};
use zdm_servers::{PgOptions, Result};

use crate::fixture::{Done, bare, done};

/// Two tables whose rows are numbered, and a foreign key.
const MY_SHOP: &str = "
    CREATE TABLE customer (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(80) NOT NULL);
    CREATE TABLE purchase (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, customer int NOT NULL,
                           cents bigint NOT NULL, at datetime NULL,
                           CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customer (id));
    CREATE TEMPORARY TABLE n (i int NOT NULL AUTO_INCREMENT PRIMARY KEY, x int);
    INSERT INTO n (x) VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10);
    INSERT INTO customer (name) SELECT concat('customer ', i) FROM n;
    INSERT INTO purchase (customer, cents) SELECT 1 + id % 10, id FROM customer;";

/// The servers that share their databases among the tests.
struct Servers {
    postgres: Postgres,
    mysql: MySql,
    mariadb: MySql,
}

async fn servers() -> &'static Servers {
    static SERVERS: OnceCell<Servers> = OnceCell::const_new();
    SERVERS
        .get_or_init(|| async {
            // Without it nobody but SUPER makes a trigger beside a binary log.
            let my = |options: MySqlOptions| options.setting("log_bin_trust_function_creators", 1);
            let (postgres, mysql, mariadb) = tokio::join!(
                Postgres::start(PgOptions::new()),
                MySql::start(my(MySqlOptions::mysql().version("9"))),
                MySql::start(my(MySqlOptions::mariadb().version("10.11"))),
            );
            Servers { postgres: postgres.unwrap(), mysql: mysql.unwrap(), mariadb: mariadb.unwrap() }
        })
        .await
}

/// A database of any engine.
#[derive(Debug, Clone)]
enum Database {
    Postgres(postgres::Database),
    MySql(mysql::Database),
}

impl Database {
    fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url(),
            Self::MySql(database) => database.url(),
        }
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        match self {
            Self::Postgres(database) => database.execute(sql).await,
            Self::MySql(database) => database.execute(sql).await,
        }
    }

    async fn number(&self, sql: &str) -> i64 {
        let value = match self {
            Self::Postgres(database) => database.value(sql).await,
            Self::MySql(database) => database.value(sql).await,
        };
        value.unwrap().parse().unwrap()
    }

    fn side(&self) -> Side {
        match self {
            Self::Postgres(database) => database.into(),
            Self::MySql(database) => database.into(),
        }
    }

    /// What of a run is beside the data: its triggers, its tables.
    async fn traces(&self) -> i64 {
        match self {
            Self::Postgres(_) => {
                self.number(
                    "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname = 'zdm_seal')
                          + (SELECT count(*) FROM pg_namespace WHERE nspname = 'zdm')
                          + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())",
                )
                .await
            }
            Self::MySql(database) => {
                // Other tests' runs share the server's database of ours.
                self.number(&format!(
                    "SELECT (SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = '{0}')
                          + (SELECT count(*) FROM information_schema.tables WHERE table_schema = '{0}'
                              AND table_name LIKE 'zdm%')",
                    database.name()
                ))
                .await
            }
        }
    }
}

/// A database on both sides, and the tool in front of it.
struct Crossing {
    name: &'static str,
    source: Database,
    target: Database,
}

impl Crossing {
    fn command(&self, args: &[&str]) -> Command {
        self.between(args, &self.source.url(), &self.target.url())
    }

    fn between(&self, args: &[&str], from: &str, to: &str) -> Command {
        let mut command = bare(args);
        command.args(["--from", from, "--to", to, "--run", self.name]);
        command
    }

    async fn zdm(&self, args: &[&str]) -> Done {
        done(self.command(args)).await
    }

    /// The tool with `--json`, which must end well: its last line.
    #[track_caller]
    fn summary(&self, args: &[&str]) -> impl Future<Output = Value> {
        let done = done(self.command(&[args, &["--json"]].concat()));
        async move {
            let done = done.await;
            assert_eq!(done.code, Some(0), "{done:?}");
            done.summary()
        }
    }

    async fn equal(&self) {
        let found = Across::between(self.source.side(), self.target.side()).run().await.unwrap();
        assert!(found.is_empty(), "{}: {found}", self.name);
    }
}

/// The shop at a MySQL, and an empty database at a PostgreSQL.
async fn mysql_to_postgres(name: &'static str) -> Crossing {
    let servers = servers().await;
    let source = servers.mysql.create_database(name).await.unwrap();
    source.execute(MY_SHOP).await.unwrap();
    let target = servers.postgres.create_database(name).await.unwrap();
    Crossing { name, source: Database::MySql(source), target: Database::Postgres(target) }
}

/// What an error says, with what caused it.
fn words(error: &zdm_servers::Error) -> String {
    format!("{error} {}", std::error::Error::source(error).map(ToString::to_string).unwrap_or_default())
}
