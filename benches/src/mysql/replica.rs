//! A server's own replica with four parallel workers, in the words of either
//! vendor.

use zdm_servers::mysql::{Flavor, MySql, MySqlOptions};

use crate::Result;

const WORKERS: u32 = 4;
/// Seconds that a replica may take to arrive.
const PATIENCE: u32 = 3600;

/// A replica that has what its source had, and does not follow yet.
#[derive(Debug)]
pub(super) struct Replica {
    server: MySql,
}

/// What a server is started with that is to be one.
pub(super) fn options(options: MySqlOptions) -> MySqlOptions {
    match options.flavor() {
        // What makes transactions independent of one another is told by the
        // source, from their rows, by itself (`WRITESET`).
        Flavor::MySql => {
            options.setting("replica_parallel_workers", WORKERS).setting("skip_replica_start", "ON")
        }
        Flavor::MariaDb => options
            .setting("slave_parallel_threads", WORKERS)
            .setting("slave_parallel_mode", "optimistic")
            .setting("skip_slave_start", "ON"),
    }
}

/// What a server has logged so far.
pub(super) async fn head(source: &MySql) -> Result<String> {
    let sql = match source.flavor() {
        Flavor::MySql => "SELECT @@GLOBAL.gtid_executed",
        Flavor::MariaDb => "SELECT @@gtid_binlog_pos",
    };
    Ok(source.value(sql).await?)
}

impl Replica {
    /// Makes one of a fresh server, by what has made the source.
    pub(super) async fn of(server: MySql, source: &MySql, prepare: &[String]) -> Result<Self> {
        let position = head(source).await?;
        let (host, port, user) = (source.host(), source.port(), source.user());
        let mut sql = vec!["SET sql_log_bin = 0".to_owned()];
        sql.extend_from_slice(prepare);
        match server.flavor() {
            Flavor::MySql => {
                sql.push("RESET BINARY LOGS AND GTIDS".to_owned());
                sql.push(format!("SET GLOBAL gtid_purged = '{position}'"));
                // Without TLS the source has to be asked for the key that a
                // password is sent by.
                sql.push(format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', SOURCE_PORT = {port}, \
                     SOURCE_USER = '{user}', SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 0, \
                     GET_SOURCE_PUBLIC_KEY = 1"
                ));
            }
            Flavor::MariaDb => {
                sql.push(format!("SET GLOBAL gtid_slave_pos = '{position}'"));
                sql.push(format!(
                    "CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, MASTER_USER = '{user}', \
                     MASTER_USE_GTID = slave_pos"
                ));
            }
        }
        server.execute(&sql.join("; ")).await?;
        Ok(Self { server })
    }

    pub(super) fn server(&self) -> &MySql {
        &self.server
    }

    /// Starts it, and waits until it has what its source had logged by `goal`.
    pub(super) async fn arrive(&self, goal: &str) -> Result<()> {
        let (start, wait) = match self.server.flavor() {
            Flavor::MySql => {
                ("START REPLICA", format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{goal}', {PATIENCE})"))
            }
            Flavor::MariaDb => ("START SLAVE", format!("SELECT MASTER_GTID_WAIT('{goal}', {PATIENCE})")),
        };
        self.server.execute(start).await?;
        if self.server.value(&wait).await? == "0" {
            return Ok(());
        }
        Err(format!("the replica has not arrived: {}", self.server.log()?).into())
    }

    /// Ends it.
    pub(super) async fn stop(&self) -> Result<()> {
        let sql = match self.server.flavor() {
            Flavor::MySql => "STOP REPLICA",
            Flavor::MariaDb => "STOP SLAVE",
        };
        Ok(self.server.execute(sql).await?)
    }
}
