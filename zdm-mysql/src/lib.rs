//! MySQL 5.7 to 9 and MariaDB 10.5 to 11 for [zdm](zdm_core): as a source by
//! the binary log, and as a target by LOAD DATA and set-based statements.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use tokio_util::sync::CancellationToken;
//! use zdm_core::gate::Gate;
//! use zdm_core::migrate::Migration;
//! use zdm_core::migrate::cutover::CutoverOptions;
//! use zdm_core::schema::Selection;
//! use zdm_mysql::{MySqlConfig, MySqlSink, MySqlSource};
//!
//! # async fn example<Pool: Send + Sync + 'static>(old_pool: Pool, new_pool: Pool) -> zdm_core::Result<()> {
//! let source = MySqlSource::new(MySqlConfig::parse("mysql://mover@old/shop")?);
//! let sink = MySqlSink::new(MySqlConfig::parse("mariadb://mover@new?ssl-mode=required")?);
//! let migration = Migration::between(source, sink).tables(Selection::new(["shop.*"])?).build()?;
//! for finding in migration.assess().await? {
//!     println!("{finding}");
//! }
//!
//! // Every request of the application enters the gate and uses what it gives.
//! let gate = Gate::new(old_pool);
//! let mut running = migration.start(CancellationToken::new());
//! running.followed().await?; // copied, caught up, indexes and unique keys built
//! let switch = running.cutover(Arc::new(gate.toward(new_pool)), CutoverOptions::default()).await?;
//! println!("writers waited {} ms", switch.pause.total_ms);
//! migration.complete().await?; // online: looks for rows that break a foreign key
//! # Ok(())
//! # }
//! ```
//!
//! # Where the server is
//!
//! [`MySqlConfig::parse`] takes `mysql://user@host:port/database?key=value`, or
//! `mariadb://`; which of the two servers answers is found out when we connect.
//! Names of parameters are those of the `mysql` client (`ssl-mode`, `ssl-ca`,
//! `socket`, …). What is left out comes from the `[client]` group of
//! `~/.my.cnf` and from `MYSQL_PWD`. Passwords are asked for by
//! `caching_sha2_password`, `mysql_native_password` or `client_ed25519`; TLS
//! has the modes disabled, preferred, required, verify_ca and verify_identity.
//! Beyond the client's parameters there are:
//!
//! | parameter | default | what it is |
//! |---|---|---|
//! | `server-id` | from the run's name | the id under which the log is read, unlike that of every other server and replica |
//! | `schema` | `zdm` | the database of our own tables |
//! | `lock-timeout` | 50 s | how long a statement of ours may wait for a lock |
//! | `begin-timeout` | 600 s | how long a start waits for transactions in progress |
//! | `compression` | none | `zlib`, or `zstd` (MySQL since 8.0.18): the log and the rows of a copy; statements go by zlib or as they are |
//! | `heartbeat` | 5 s | how often the server tells of its life while its log is silent |
//! | `undecided-limit` | 64 MiB | how much of prepared XA transactions is kept in memory |
//!
//! # Names
//!
//! A table is `database.table`. One run may move several databases, and they
//! keep their names, but for what a route of the plan says: the database in a
//! URL only says where a session begins. So both sides of a run must be two
//! servers; [`same_database`] tells.
//!
//! # What it keeps on the servers
//!
//! Nothing for a reader: how long a run may pause is how long the server keeps
//! its binary log. For a cutover the source gets three triggers on each table
//! (`zdm_seal_…`) and the database `zdm`, with the row that they read and the
//! record of the switch. The target has the same, and the run's progress in
//! the database `zdm`. [`drop_run`] takes it all away; until then the triggers
//! work with the rights of the user who made them, so that user must stay.
//!
//! # Rights
//!
//! No step needs SUPER where `log_bin_trust_function_creators` is 1, without
//! which a server with a binary log lets nobody else make a trigger; [`rights`]
//! has more words. For a user `mover` and a database `shop`:
//!
//! ```sql
//! -- source: read the log and the tables; keep writers out at the cutover
//! GRANT REPLICATION SLAVE, REPLICATION CLIENT, PROCESS ON *.* TO mover;   -- MariaDB: BINLOG MONITOR
//! GRANT SELECT, SHOW VIEW, LOCK TABLES, TRIGGER ON shop.* TO mover;
//! GRANT ALL PRIVILEGES ON zdm.* TO mover;
//!
//! -- target: everything is made by mover
//! GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES, TRIGGER ON shop.* TO mover;
//! GRANT ALL PRIVILEGES ON zdm.* TO mover;
//! ```
//!
//! # Rooms
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | how to reach a server |
//! | `connect`, `wire` | sessions for SQL; bytes on the socket, for the log and for reading tables |
//! | `changes` | the stream of changes from the binary log |
//! | `snapshot` | chunks by ranges of the key, and what each has seen |
//! | `types` | the servers' types and the neutral ones |
//! | `schema` | the catalog, read into a neutral schema; and this engine's words for others' |
//! | `sink` | tables made in steps, rows loaded, changes applied |
//! | `checkpoint` | progress in tables beside the data |
//! | `fence` | hold and seal |
//! | `assess` | what stands in the way, each with what mends it |
//! | `sequences` | read live, set at the cutover |
//! | [`rights`] | what each step needs, as statements |
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `failpoints` | those of `zdm-core`, and doors for tests; never for a release |
//!
//! # Versions
//!
//! Made for MySQL 5.7 to 9.x and MariaDB 10.5 to 11.x, and for what is built
//! from them; tested with MariaDB 10.11 and 11.8 and MySQL 9.7.
//!
//! # When the source fails over
//!
//! A run that follows goes on with another server of the topology: start it
//! again with that server's URL. It goes by GTIDs; where MySQL's are off, a run
//! goes by one server's files and stays with it. What the new server must have
//! is looked at before anything is read, and what is missing is named:
//!
//! * every transaction that the run has read, in its own log
//!   (`log_slave_updates` on MariaDB), and all that comes behind them;
//! * MariaDB: nothing before the run's place that the first server had not.
//!   Positions there name one transaction of each domain and not a set, so what
//!   somebody wrote to a replica before it took over would never be seen. The
//!   log is looked through from the file in which the place lies, and such a
//!   transaction is refused, whatever it did. `ANALYZE TABLE` on a replica is
//!   one, without `NO_WRITE_TO_BINLOG`.
//!
//! A run that still copies or catches up waits for places in the first server's
//! files, and goes on with that one only. A server that comes back as a replica
//! of the new one is another server like any.
//!
//! # Limits
//!
//! * The source's log carries rows, whole ones: `binlog_format = ROW`, and
//!   `binlog_row_image` FULL (or NOBLOB, for a table with a key).
//! * What a foreign key's cascade does is in no log before MySQL 9.7, nor in
//!   MariaDB's: such tables are refused.
//! * InnoDB alone, on both sides. A table of another engine is refused as a
//!   source, and becomes InnoDB's at a target.
//! * A table whose shape changes during a run stops it, and so does what changes
//!   rows without logging them: a partition that is dropped, emptied or
//!   exchanged, and a session that logs statements. The latter does not where
//!   the server itself tells that it has used no database of the run's (MySQL).
//! * How far a run is behind, in bytes, counts the server's whole log, of all
//!   its databases.
//! * A server that replicates from another one, or that shares its tables with
//!   others of a cluster, cannot be held: neither asks a trigger. A run can
//!   copy from such a replica, and refuses to cut over.
//! * A seal is a trigger, and TRUNCATE asks none. It waits for a hold, but who
//!   may drop a table may also empty it past the seal of a target.
//! * Views, routines, events, users and grants are not moved.
//! * No key can be deferred here, and no DDL is part of a transaction: a killed
//!   preparation goes on from what it finds.

mod assess;
mod changes;
mod checkpoint;
pub mod config;
mod connect;
mod error;
mod fence;
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub mod fuzz;
mod position;
pub mod rights;
mod same;
mod schema;
mod sequences;
mod sink;
mod snapshot;
mod source;
mod types;
mod verify;
mod wire;

pub use self::assess::MySqlAssess;
#[doc(hidden)]
pub use self::changes::offline;
pub use self::checkpoint::MySqlCheckpoint;
pub use self::config::MySqlConfig;
pub use self::fence::MySqlFence;
pub use self::same::same_database;
pub use self::schema::dialect::{MySqlConvert, MySqlDialect};
pub use self::sequences::MySqlSequences;
pub use self::sink::MySqlSink;
pub use self::sink::prepare::drop_run;
pub use self::source::MySqlSource;
pub use self::types::MySqlEncoding;
pub use self::verify::MySqlVerify;

#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use self::changes::probe as changes_probe;
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use self::wire::probe;
