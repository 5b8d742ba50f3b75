//! A connection of the application, to whichever engine serves it.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::Failure;

pub(super) enum Session {
    Postgres(Client),
    MySql(Conn),
}

/// Why a transaction failed.
pub(super) enum Trouble {
    /// What every application meets and tries again: a deadlock.
    Deadlock,
    Other(Failure),
}

impl Session {
    pub(super) async fn open(url: &str) -> Result<Self, Failure> {
        if url.starts_with("postgres") {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            return Ok(Self::Postgres(client));
        }
        let mut connection = Conn::from_url(url).await?;
        // Names in double quotes, as the standard has them.
        connection.query_drop("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')").await?;
        Ok(Self::MySql(connection))
    }

    /// A name that one engine has for what the other one calls differently.
    pub(super) fn word(&self, word: Word) -> &'static str {
        match (self, word) {
            (Self::Postgres(_), Word::NewUuid) => "gen_random_uuid()",
            (Self::MySql(_), Word::NewUuid) => "uuid()",
            (Self::Postgres(_), Word::LastNumber) => "lastval()",
            (Self::MySql(_), Word::LastNumber) => "last_insert_id()",
        }
    }

    /// Runs a transaction, as one text with all its statements.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), Trouble> {
        match self {
            Self::Postgres(client) => client.batch_execute(sql).await.map_err(|error| match error.code() {
                Some(code) if *code == SqlState::T_R_DEADLOCK_DETECTED => Trouble::Deadlock,
                _ => Trouble::Other(
                    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string).into(),
                ),
            }),
            Self::MySql(connection) => connection.query_drop(sql).await.map_err(|error| match error {
                // ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT
                mysql_async::Error::Server(error) if matches!(error.code, 1213 | 1205) => Trouble::Deadlock,
                error => Trouble::Other(error.into()),
            }),
        }
    }
}

/// What the engines have different names for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    /// A new UUID.
    NewUuid,
    /// The last number that this connection was given for a row.
    LastNumber,
}
