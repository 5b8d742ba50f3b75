//! Benchmarks of zdm, beside what else there is.
//!
//! ```sh
//! cargo run --release -p zdm-benches --features mysql_cdc -- mysql            # all of it
//! cargo run --release -p zdm-benches -- mysql drain copy --rounds 5 --json    # some of it
//! cargo run --release -p zdm-benches -- pg                                    # PostgreSQL: workloads A, B1, B2
//! cargo bench -p zdm-benches --bench binlog --features mysql_cdc              # the decoder alone, by Criterion
//! ```
//!
//! The program starts its servers by itself (found or fetched as for the
//! tests), builds the workloads, and runs ours and the peers in turn. It says
//! medians: wall time, CPU seconds (user and system) of client, source and
//! target apart, and peak memory; and the ratios that are wanted, each within
//! the one run, since nothing else says anything on a machine that others use.
//!
//! MySQL and MariaDB (`mysql`):
//!
//! | part | what is done | beside |
//! |---|---|---|
//! | `decode` | rows of a binary log, from memory, in one thread: once to cells, once to every value | `mysql_common` (which `mysql_async` reads with), `mysql_cdc` (feature of that name) |
//! | `drain` | a binary log read over a socket and decoded, to nowhere | `mariadb-binlog --read-from-remote-server --raw` into `/dev/null` |
//! | `copy` | the initial copy of a table from MariaDB to PostgreSQL, with its indexes | `pgloader` (Debian's package of that name) |
//! | `apply` | a backlog applied, durably, from MySQL to MySQL and from MariaDB to MariaDB (`--server` for one of them) | the server's own replica with four parallel workers |
//!
//! The table is sysbench's `sbtest`. Two logs are made of it: `large` has
//! transactions of a thousand changes (500 inserts, 300 updates, 200 deletes)
//! by statements of a hundred rows, `small` has sysbench's `oltp_write_only`
//! (two updates, a delete and an insert in each transaction).
//!
//! What is compared in `decode`: the peers give each row as values of its own,
//! so the figure to set beside theirs is *every value*. Text is checked to be
//! UTF-8 by us and by `mysql_cdc`; `mysql_common` gives its bytes. We also
//! check each event's CRC, which neither of them does.
//!
//! PostgreSQL (`pg`):
//!
//! | part | what is done | beside |
//! |---|---|---|
//! | `copy` | A: the initial copy of `pgbench_accounts`, with its key | `psql` pipes with binary COPY, one and two; `pgcopydb` (Debian's package); `CREATE SUBSCRIPTION`; each with the key made behind it |
//! | `drain` | B1, B2: a backlog read and decoded, to nowhere | `pg_recvlogical` into `/dev/null`; raw, `pgwire-replication` and `pg_walstream` (feature `pg_peers`) |
//! | `apply` | B1, B2: the same backlog applied, durably | the server's own subscription |
//! | `huge` | one transaction of B1's table, read while it runs: the time from its commit to its last change | the same with `streaming=off` |
//!
//! B1 has transactions of a thousand changes on a table of eight columns, B2
//! the transactions of `pgbench`.
//!
//! It fails when a wanted figure is missed (`--report-only` lets it end well);
//! where a peer was not built in, its figure is said to be not measured.
//!
//! Linux only. Not run by CI.

pub mod decode;
pub mod log;
pub mod measure;
pub mod mysql;
pub mod ours;
pub mod pg;
pub mod report;

/// What a benchmark fails with.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
