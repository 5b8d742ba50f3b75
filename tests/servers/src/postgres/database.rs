//! One database of a server, and SQL in it.

use std::sync::Arc;

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::server::Home;
use crate::error::{Doing, Error, Result};
use crate::url;

const SCHEME: &str = "postgresql";

/// One database of a running server.
///
/// Its SQL runs as the superuser, over the unix socket of the server, so it
/// works whatever logins, TLS or proxies the test has set up. It keeps the
/// server running.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) home: Arc<Home>,
    pub(crate) name: String,
}

impl Database {
    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, over TCP, as the superuser, with the password if there is one.
    pub fn url(&self) -> String {
        let home = &self.home;
        url::write(SCHEME, &home.host(), home.port(), &home.user(), home.password().as_deref(), &self.name)
    }

    /// Its URL for somebody else.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        url::write(SCHEME, &self.home.host(), self.home.port(), user, Some(password), &self.name)
    }

    /// A new connection. Its driver runs on the current runtime until the
    /// client is dropped.
    pub async fn connect(&self) -> Result<Client> {
        let mut config = self.home.config();
        config.dbname(&self.name);
        open(&config).await
    }

    /// Runs SQL, of one or more statements, on a new connection, and returns
    /// the rows of all of them, each value as the text that `psql` would print.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = self.connect().await?.simple_query(sql).await.doing(|| asking(sql))?;
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|column| row.get(column).map(Into::into)).collect());
            }
        }
        Ok(rows)
    }

    /// The one value that `sql` returns, as text.
    ///
    /// Anything but one row with one value that is not null is an error.
    pub async fn value(&self, sql: &str) -> Result<String> {
        let rows = self.query(sql).await?;
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone(),
            _ => None,
        }
        .ok_or_else(|| Error::new(asking(sql)).because(format!("expected one value, got {rows:?}")))
    }

    /// Runs SQL, of one or more statements, on a new connection.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.connect().await?.batch_execute(sql).await.doing(|| asking(sql))
    }
}

/// Opens a connection and drives it in the background.
pub(crate) async fn open(config: &Config) -> Result<Client> {
    let (client, connection) =
        config.connect(NoTls).await.doing(|| "connecting to a server of the tests".into())?;
    tokio::spawn(async move {
        // Its end reaches whoever uses the client.
        let _ = connection.await;
    });
    Ok(client)
}

fn asking(sql: &str) -> String {
    let mut shown: String = sql.chars().take(200).collect();
    if shown.len() < sql.len() {
        shown.push('…');
    }
    format!("running SQL [{shown}]")
}
