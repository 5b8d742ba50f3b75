//! The workloads: sysbench's table, and what is done to it.

use bytes::Bytes;
use clap::ValueEnum;
use zdm_servers::mysql::{Flavor, MySql, MySqlOptions, Origin};

use crate::Result;

/// Bytes of the magic number that a log's file begins with.
const MAGIC: usize = 4;
/// Changes in a transaction of [`Load::Large`]: 500 inserts, 300 updates, 200
/// deletes.
const LARGE: u64 = 1_000;
/// Changes in a transaction of [`Load::Small`].
const SMALL: u64 = 4;

/// Makes the changes of a load, where [`Load::prepare`] was.
pub const CHANGES: &str = "CALL bench.changes()";

/// What is done to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Load {
    /// Transactions of a thousand changes, by statements of a hundred rows.
    Large,
    /// sysbench's `oltp_write_only`: two updates, a delete and an insert of
    /// one row each in a transaction.
    Small,
}

impl Load {
    /// Its name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }

    fn transactions(self, changes: u64) -> u64 {
        changes / if self == Self::Large { LARGE } else { SMALL }
    }

    /// How many changes are made when so many are asked for.
    pub fn changes(self, changes: u64) -> u64 {
        self.transactions(changes) * if self == Self::Large { LARGE } else { SMALL }
    }

    /// Rows that the table has before.
    pub fn seed(self, changes: u64) -> u64 {
        (self.transactions(changes) * if self == Self::Large { 400 } else { 1 }).max(20_000)
    }

    /// Makes the table that it is done to, of [`seed`](Self::seed) rows, and
    /// what [`CHANGES`] calls.
    pub fn prepare(self, flavor: Flavor, changes: u64) -> Vec<String> {
        let mut sql = seed(flavor, self.seed(changes));
        sql.push("CREATE TABLE bench.hundred (seq INT NOT NULL PRIMARY KEY)".to_owned());
        sql.push(format!("INSERT INTO bench.hundred {} SELECT seq FROM n", numbers(100)));
        sql.push(self.procedure(changes));
        sql
    }

    /// Updates go to the lower half of the table, deletes to its upper one.
    fn procedure(self, changes: u64) -> String {
        let (transactions, half) = (self.transactions(changes), self.seed(changes) / 2);
        let body = match self {
            Self::Large => format!(
                "SET s = 0; WHILE s < 5 DO \
                   INSERT INTO bench.sbtest SELECT {half} * 2 + t * 500 + s * 100 + seq, seq * 7, {c}, {pad} \
                   FROM bench.hundred; SET s = s + 1; END WHILE; \
                 SET s = 0; WHILE s < 3 DO SET below = (t * 7919 + s * 104729) * 37 MOD ({half} - 100); \
                   UPDATE bench.sbtest SET k = k + 1, c = REVERSE(c) WHERE id BETWEEN below + 1 AND below + 100; \
                   SET s = s + 1; END WHILE; \
                 SET s = 0; WHILE s < 2 DO SET below = {half} + t * 200 + s * 100; \
                   DELETE FROM bench.sbtest WHERE id BETWEEN below + 1 AND below + 100; \
                   SET s = s + 1; END WHILE; ",
                c = groups(10, "seq + t"),
                pad = groups(5, "seq + s"),
            ),
            Self::Small => format!(
                "UPDATE bench.sbtest SET k = k + 1 WHERE id = t * 7919 MOD {half} + 1; \
                 UPDATE bench.sbtest SET c = {c} WHERE id = t * 104729 MOD {half} + 1; \
                 SET below = {half} + t * 5501 MOD {half} + 1; \
                 DELETE FROM bench.sbtest WHERE id = below; \
                 INSERT INTO bench.sbtest VALUES (below, t, {c}, {pad}); ",
                c = groups(10, "t"),
                pad = groups(5, "t"),
            ),
        };
        format!(
            "CREATE PROCEDURE bench.changes() BEGIN DECLARE t, s, below BIGINT DEFAULT 0; \
             WHILE t < {transactions} DO START TRANSACTION; {body} COMMIT; SET t = t + 1; END WHILE; END"
        )
    }
}

/// Makes the table, with that many rows.
pub fn seed(flavor: Flavor, rows: u64) -> Vec<String> {
    let depth = match flavor {
        Flavor::MySql => "cte_max_recursion_depth",
        Flavor::MariaDb => "max_recursive_iterations",
    };
    vec![
        "CREATE DATABASE bench".to_owned(),
        "CREATE TABLE bench.sbtest (id INT NOT NULL PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
         c CHAR(120) CHARACTER SET utf8mb4 NOT NULL DEFAULT '', \
         pad CHAR(60) CHARACTER SET utf8mb4 NOT NULL DEFAULT '', KEY k_1 (k))"
            .to_owned(),
        format!(
            "SET SESSION {depth} = {rows}; \
             INSERT INTO bench.sbtest {} SELECT seq, seq * 7 MOD {rows}, {}, {} FROM n",
            numbers(rows),
            groups(10, "seq"),
            groups(5, "seq * 3")
        ),
    ]
}

/// The numbers from 1 on, as the table `n`.
fn numbers(count: u64) -> String {
    format!("WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {count})")
}

/// sysbench's texts: groups of eleven digits.
fn groups(count: u32, of: &str) -> String {
    let group = format!("LPAD(({of}) * 7919777 MOD 99999999977, 11, '0')");
    format!("CONCAT(REPEAT(CONCAT({group}, '-'), {}), {group})", count - 1)
}

/// A server with room for the workloads. MariaDB's is from Debian's packages,
/// since those that are installed may lack the peers' programs.
pub fn server(flavor: Flavor, durable: bool) -> MySqlOptions {
    let options = MySqlOptions::new(flavor)
        .durable(durable)
        .setting("innodb_buffer_pool_size", "1G")
        .setting("max_binlog_size", "1G");
    match flavor {
        Flavor::MySql => options.version("9").setting("innodb_redo_log_capacity", "1G"),
        Flavor::MariaDb => {
            options.version("10.11").origin(Origin::Packages).setting("innodb_log_file_size", "1G")
        }
    }
}

/// The log of a load as bytes, without the magic number and without what the
/// peers do not know (MariaDB's own events): what describes the format, table
/// maps, and rows.
///
/// # Errors
/// When no server can be had.
pub async fn in_memory(load: Load, changes: u64) -> Result<Bytes> {
    let flavor = Flavor::MariaDb;
    let server = MySql::start(server(flavor, false)).await?;
    for sql in load.prepare(flavor, changes) {
        server.execute(&sql).await?;
    }
    server.execute("FLUSH BINARY LOGS").await?;
    server.execute(CHANGES).await?;
    let names = server.query("SHOW BINARY LOGS").await?;
    let last = names.last().and_then(|row| row.first()?.clone()).ok_or("there is no log")?;
    let file = std::fs::read(server.data_dir()?.join(last))?;
    server.close().await?;
    Ok(filtered(&file))
}

fn filtered(file: &[u8]) -> Bytes {
    let mut kept = Vec::new();
    let mut at = MAGIC;
    while let Some(header) = file.get(at..at + 19) {
        // OK because a header has so many bytes.
        let size = u32::from_le_bytes([header[9], header[10], header[11], header[12]]) as usize;
        if matches!(header[4], 15 | 19 | 23..=25 | 30..=32) {
            kept.extend_from_slice(&file[at..at + size]);
        }
        at += size;
    }
    kept.into()
}
