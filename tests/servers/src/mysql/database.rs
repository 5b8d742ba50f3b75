//! One database of a server, and SQL in it.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};

use super::server::Home;
use crate::error::{Doing, Error, Result};
use crate::url;

/// `mysql_async` and many other clients know no other.
const SCHEME: &str = "mysql";

/// One database of a running server.
///
/// Its SQL runs as the superuser, over the unix socket of the server, so it
/// works whatever logins, TLS or proxies the test has set up. It keeps the
/// server running.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) home: Arc<Home>,
    /// Empty: none is chosen.
    pub(crate) name: String,
}

impl Database {
    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL (`mysql://…`, of MariaDB as well), over TCP, as the superuser,
    /// with the password if there is one.
    pub fn url(&self) -> String {
        let home = &self.home;
        url::write(SCHEME, &home.host(), home.port(), &home.user(), home.password().as_deref(), &self.name)
    }

    /// Its URL for somebody else.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        url::write(SCHEME, &self.home.host(), self.home.port(), user, Some(password), &self.name)
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Conn> {
        let name = (!self.name.is_empty()).then_some(&self.name);
        let opts = OptsBuilder::from_opts(self.home.opts()).db_name(name);
        Conn::new(opts).await.doing(|| "connecting to a server of the tests".into())
    }

    /// Runs SQL, of one or more statements, on a new connection, and returns
    /// the rows of all of them, each value as the text that `mysql` would print.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut connection = self.connect().await?;
        let rows = rows(&mut connection, sql).await.doing(|| asking(sql))?;
        connection.disconnect().await.doing(|| asking(sql))?;
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
        self.query(sql).await.map(drop)
    }
}

/// The rows of all statements.
pub(crate) async fn rows(
    connection: &mut Conn,
    sql: &str,
) -> Result<Vec<Vec<Option<String>>>, mysql_async::Error> {
    let mut result = connection.query_iter(sql).await?;
    let mut rows = Vec::new();
    // `collect` returns an empty set at a statement without rows, and stays on
    // it; the result is empty when there is no statement left.
    while !result.is_empty() {
        let some: Vec<Row> = result.collect().await?;
        rows.extend(some.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()));
    }
    Ok(rows)
}

/// A value in the text protocol, where all of them are text.
fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(false)),
    }
}

pub(crate) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

pub(crate) fn asking(sql: &str) -> String {
    let mut shown: String = sql.chars().take(200).collect();
    if shown.len() < sql.len() {
        shown.push('…');
    }
    format!("running SQL [{shown}]")
}
