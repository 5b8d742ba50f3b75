//! Connections that read rows in their text form, settled so that a value
//! looks the same on every server; and a pool of idle ones, so that a chunk of
//! milliseconds does not pay for a login.

use std::sync::{Arc, Mutex, PoisonError};

use zdm_core::Result;

use crate::config::MySqlConfig;
use crate::connect::Server;
use crate::error::protocol;
use crate::position::{Coordinates, FilePoint};
use crate::wire::Connection;

/// As many as a run has readers, at most.
const IDLE: usize = 8;

/// A connection of our own, for rows.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) wire: Connection,
    pub(crate) server: Server,
    /// `server_id`, which the server's coordinates bear.
    id: u32,
}

impl Session {
    async fn connect(config: &MySqlConfig) -> Result<Self> {
        let mut wire = Connection::connect(config).await?;
        let server = Server::read(wire.version())?;
        server.is_new_enough()?;
        for statement in settings(&server, config.lock_timeout().as_secs().max(1)) {
            wire.query(&statement).await.map_err(|error| error.during("snapshot.settle"))?;
        }
        let rows = wire.query("SELECT @@global.server_id").await?;
        let id = rows.first().ok_or_else(|| protocol("the server did not tell its id"))?.text(0)?;
        let id = id.parse().map_err(|_| protocol("the server's id is no number"))?;
        Ok(Self { wire, server, id })
    }

    /// Runs a statement for what it does.
    pub(crate) async fn run(&mut self, statement: &str) -> Result<()> {
        self.wire.query(statement).await.map(drop)
    }

    /// The first value of a statement's answer; `None` for null or no row.
    pub(crate) async fn value(&mut self, statement: &str) -> Result<Option<String>> {
        let rows = self.wire.query(statement).await?;
        Ok(rows.first().and_then(|row| row.get(0)).map(str::to_owned))
    }

    /// Where the log ends.
    pub(crate) async fn log_end(&mut self) -> Result<Coordinates> {
        let rows = self.wire.query(self.server.show_log_end()).await?;
        let row = rows.first().ok_or_else(|| {
            zdm_core::Error::new(
                zdm_core::ErrorKind::Config,
                "the server writes no binary log: set log_bin there and restart it",
            )
        })?;
        let offset = row.text(1)?.parse().map_err(|_| protocol("the server told no place in its log"))?;
        Ok(Coordinates { server: self.id, point: FilePoint::new(row.text(0)?, offset)? })
    }
}

/// Texts come in their columns' own character sets, as in the log
/// (`character_set_results`); days of no calendar may be compared with
/// (`sql_mode`); and no limit of the server's own ends a read.
fn settings(server: &Server, lock_timeout: u64) -> [String; 3] {
    let limit = if server.is_mariadb() { "max_statement_time" } else { "max_execution_time" };
    [
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin".to_owned(),
        format!(
            "SET SESSION character_set_results = NULL, autocommit = 1, time_zone = '+00:00', \
             sql_mode = 'ALLOW_INVALID_DATES', lock_wait_timeout = {lock_timeout}, {limit} = 0, \
             wait_timeout = 28800, net_write_timeout = 86400, net_read_timeout = 3600, \
             group_concat_max_len = 4294967295, sql_safe_updates = 0, sql_select_limit = DEFAULT"
        ),
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ".to_owned(),
    ]
}

/// Connections that no transaction is open on.
///
/// Whoever fails, or is dropped, keeps what was taken, and it ends with them:
/// only a clean session comes back.
#[derive(Debug)]
pub(crate) struct Pool {
    config: Arc<MySqlConfig>,
    idle: Mutex<Vec<Session>>,
}

impl Pool {
    pub(crate) fn new(config: &Arc<MySqlConfig>) -> Self {
        Self { config: Arc::clone(config), idle: Mutex::default() }
    }

    pub(crate) fn config(&self) -> &MySqlConfig {
        &self.config
    }

    /// An idle connection that still answers, or a new one.
    pub(crate) async fn take(&self) -> Result<Session> {
        while let Some(mut session) = self.pop() {
            if session.run("DO 0").await.is_ok() {
                return Ok(session);
            }
        }
        Session::connect(&self.config).await
    }

    /// Gives back a connection on which no transaction is open.
    pub(crate) fn give(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && session.wire.is_idle() {
            idle.push(session);
        }
    }

    fn pop(&self) -> Option<Session> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
