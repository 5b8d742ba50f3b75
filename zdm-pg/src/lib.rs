//! PostgreSQL 12 to 18 for [zdm](zdm_core): as a source by logical decoding,
//! and as a target by COPY and set-based statements.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use tokio_util::sync::CancellationToken;
//! use zdm_core::gate::Gate;
//! use zdm_core::migrate::Migration;
//! use zdm_core::migrate::cutover::CutoverOptions;
//! use zdm_core::schema::Selection;
//! use zdm_pg::{PgConfig, PgSink, PgSource};
//!
//! # async fn example<Pool: Send + Sync + 'static>(old_pool: Pool, new_pool: Pool) -> zdm_core::Result<()> {
//! let source = PgSource::new(PgConfig::parse("postgres://mover@old/shop")?);
//! let sink = PgSink::new(PgConfig::parse("postgres://mover@new/shop?sslmode=require")?);
//! let migration = Migration::between(source, sink).tables(Selection::new(["public.*"])?).build()?;
//! for finding in migration.assess().await? {
//!     println!("{finding}");
//! }
//!
//! // Every request of the application enters the gate and uses what it gives.
//! let gate = Gate::new(old_pool);
//! let mut running = migration.start(CancellationToken::new());
//! running.followed().await?; // copied, caught up, indexes and constraints built
//! let switch = running.cutover(Arc::new(gate.toward(new_pool)), CutoverOptions::default()).await?;
//! println!("writers waited {} ms", switch.pause.total_ms);
//! migration.complete().await?; // online: validates foreign keys
//! # Ok(())
//! # }
//! ```
//!
//! # Where the server is
//!
//! [`PgConfig::parse`] takes what `psql` takes: `postgres://user@host:port/db?key=value`,
//! or `host=… user=… dbname=…`. A host that begins with `/` is the folder of a
//! Unix socket. What is left out comes from the `PG…` variables and
//! `~/.pgpass`. Passwords are asked for by SCRAM-SHA-256, md5 or in clear; TLS
//! has the modes disable, prefer, require, verify-ca and verify-full. Beyond
//! libpq's parameters there are:
//!
//! | parameter | default | what it is |
//! |---|---|---|
//! | `slot`, `publication` | `zdm_<run>` | their names at the source |
//! | `schema` | `zdm` | the schema of our own tables |
//! | `answer_timeout` | 60 s | how long an answer may be due before the server is asked whether it still works on it |
//! | `begin_timeout` | 600 s | how long a start waits for transactions in progress |
//! | `status_interval` | 10 s | how often the server hears how far we have come |
//! | `streaming` | `on` | whether a server from 14 on sends large transactions while they run |
//! | `failover` | `off` | whether the slot is kept on standbys as well (from 17 on) |
//!
//! # What it keeps on the servers
//!
//! At the source a publication and a slot, and from the cutover on the schema
//! `zdm` with the record of the switch and the function of the seal, and a
//! trigger `zdm_seal` on each table. At the target the schema `zdm` with the
//! run's progress, and the same trigger until the switch. [`drop_run`] and
//! [`Source::release`](zdm_core::connect::Source::release) take it away.
//!
//! # Rights
//!
//! No step needs a superuser; [`rights`] has more words. For a role `mover` and a database `shop`:
//!
//! ```sql
//! -- source: log in, read the log
//! ALTER ROLE mover LOGIN REPLICATION;        -- or the role that a cloud has for it
//! -- source: the publication, the schema zdm
//! GRANT CREATE ON DATABASE shop TO mover;
//! -- source: copy
//! GRANT USAGE ON SCHEMA public TO mover;
//! GRANT SELECT ON ALL TABLES IN SCHEMA public TO mover;
//! GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO mover;
//! -- source: publish, hold and seal the tables; PostgreSQL asks for their owner
//! GRANT app_owner TO mover;
//!
//! -- target: everything is made by mover and is its own
//! GRANT CREATE ON DATABASE shop TO mover;
//! GRANT USAGE, CREATE ON SCHEMA public TO mover;
//! ```
//!
//! `session_replication_role` is used where it is allowed and never needed:
//! triggers and foreign keys are made so late that they cannot get in the way.
//!
//! # Rooms
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | how to reach a server |
//! | `connect`, `wire` | sessions for SQL; bytes on the socket, for replication and COPY |
//! | `changes` | slot, publication, and the stream of changes from `pgoutput` |
//! | `snapshot` | chunks by ranges of the key, and what each has seen |
//! | `types` | PostgreSQL's types and the neutral ones |
//! | [`schema`] | the catalog, read into a neutral schema |
//! | [`sink`] | tables made in steps, rows loaded, changes applied |
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
//! # Limits
//!
//! * Values travel as text, in the log and in the copy.
//! * Large objects, unlogged tables, views, event triggers, roles and grants
//!   are not moved. The log does not carry the first two.
//! * A table whose shape changes during a run stops it.
//! * A TRUNCATE of some partitions of a table, and not the others, stops it.
//! * A table that updates or deletes rows needs a replica identity: a primary
//!   key, an index, or `FULL`. With `FULL` and no key it is copied in one
//!   piece, and each change looks for one equal row.
//! * Several hosts in one URL, service files and GSSAPI are not understood.

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
pub mod schema;
mod sequences;
pub mod sink;
mod snapshot;
mod source;
mod types;
mod verify;
mod wire;

pub use self::assess::PgAssess;
pub use self::checkpoint::PgCheckpoint;
pub use self::config::PgConfig;
pub use self::fence::PgFence;
pub use self::same::same_database;
pub use self::schema::dialect::{PgConvert, PgDialect};
pub use self::sequences::PgSequences;
pub use self::sink::PgSink;
pub use self::sink::prepare::drop_run;
pub use self::source::PgSource;
pub use self::types::PgEncoding;
pub use self::verify::PgVerify;

#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use self::changes::probe as changes_probe;
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use self::wire::probe;
