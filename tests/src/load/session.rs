//! A connection of the application, to whichever engine.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio_postgres::{Client, NoTls};

use super::Dialect;

/// One connection.
pub(super) enum Session {
    Postgres(Client),
    MySql(Conn),
}

/// Why a statement was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server refused it and the connection stands: deadlocks and clashes
    /// between workers are part of life.
    Refused(String),
    /// The connection is gone, and whether it was done is not known.
    Lost,
}

impl Session {
    /// A new connection; `None` while the server is down.
    pub(super) async fn open(url: &str, worker: i64) -> Option<Self> {
        if Dialect::of(url) == Dialect::Postgres {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
            tokio::spawn(connection);
            client.batch_execute("SET client_min_messages = warning; SET lock_timeout = '5s'").await.ok()?;
            return Some(Self::Postgres(client));
        }
        let mut connection = Conn::from_url(url).await.ok()?;
        let patience = "SET SESSION innodb_lock_wait_timeout = 5, SESSION lock_wait_timeout = 5";
        connection.query_drop(patience).await.ok()?;
        // What an earlier connection prepared and nobody decided keeps its
        // locks for ever. There is none: an error.
        let _ = connection.query_drop(format!("XA ROLLBACK 'worker {worker}'")).await;
        Some(Self::MySql(connection))
    }

    pub(super) async fn run(&mut self, sql: &str) -> Result<(), Trouble> {
        match self {
            Self::Postgres(client) => client.batch_execute(sql).await.map_err(|error| match error.code() {
                Some(_) if !client.is_closed() => Trouble::Refused(error.to_string()),
                _ => Trouble::Lost,
            }),
            Self::MySql(connection) => connection.query_drop(sql).await.map_err(|error| match error {
                mysql_async::Error::Server(error) => Trouble::Refused(error.to_string()),
                _ => Trouble::Lost,
            }),
        }
    }

    /// Whether it can be told that it is gone, without asking.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Postgres(client) => client.is_closed(),
            Self::MySql(_) => false,
        }
    }
}
