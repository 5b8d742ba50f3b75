//! Moves a live database to another server, version or engine while its
//! application keeps reading and writing.
//!
//! This crate has the change model, the [traits](connect) of a connector, and
//! everything that is the same for every engine: initial copy, stream, stages,
//! progress, gate and cutover. It pulls in no driver. An engine is a crate of
//! its own (`zdm-pg` for PostgreSQL), and [`memory`] is one with no server:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use tokio_util::sync::CancellationToken;
//! use zdm_core::change::Value;
//! use zdm_core::gate::Gate;
//! use zdm_core::memory::{ENGINE, MemoryDatabase};
//! use zdm_core::migrate::Migration;
//! use zdm_core::migrate::cutover::CutoverOptions;
//! use zdm_core::schema::{Column, DataType, Key, Table, TableName};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> zdm_core::Result<()> {
//! // A database with a row in it, and an empty one.
//! let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
//! let users = TableName::new("public", "users");
//! let columns = vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("name", DataType::text())];
//! old.create_table(Table::new(ENGINE, users.clone(), columns, Key::Columns(vec![0])))?;
//! let mut before = old.begin();
//! before.insert(&users, vec![Value::Int(1), Value::from("ada")]).await?;
//! before.commit().await?;
//!
//! // The application passes the gate with each request.
//! let gate = Gate::new(old.clone());
//!
//! // Copied, caught up, and followed from here on.
//! let migration = Migration::between(old.source(), new.sink()).build()?;
//! let mut running = migration.start(CancellationToken::new());
//! running.followed().await?;
//!
//! let database = gate.enter().await?;
//! let mut request = database.begin();
//! request.insert(&users, vec![Value::Int(2), Value::from("grace")]).await?;
//! request.commit().await?;
//! drop(database);
//!
//! // Requests wait some milliseconds, then go on at the new side.
//! let toward = Arc::new(gate.toward(new.clone()));
//! let switch = running.cutover(toward, CutoverOptions::default()).await?;
//! println!("nobody wrote for {} ms", switch.pause.total_ms);
//! assert_eq!(new.rows(&users)?, old.rows(&users)?);
//! # Ok(())
//! # }
//! ```
//!
//! Killed at any moment, the same call resumes. A sink that keeps progress
//! together with its rows makes a run exactly once; with any other sink it is
//! at least once.
//!
//! # Where to begin
//!
//! | you | read |
//! |---|---|
//! | move a database from within a service | [`migrate`], [`gate`], and the engine's crate |
//! | send changes somewhere | [`pipeline`]: a [`Pipeline`](pipeline::Pipeline) to a [`Callback`](pipeline::Callback) or a [`Sink`](connect::Sink) of yours |
//! | build a migration tool | [`migrate::Options`], [`run::Status`] and its metrics, [`migrate::cutover`] step by step, [`connect::Finding`] |
//! | write a connector | [`connect`] for the contracts, [`change::BatchBuilder`], [`memory`] as the model, `conformance` as the test |
//!
//! # Modules
//!
//! | module | what it is |
//! |---|---|
//! | [`change`] | what flows: batches of rows, values, transactions |
//! | [`schema`] | tables, columns, neutral types, and what else a target needs |
//! | [`connect`] | the traits of a connector, and their contracts |
//! | [`pipeline`] | stages (filter, map, rename, route, …), and source to sink |
//! | [`migrate`] | the life of a move: assess, copy, catch up, follow, cut over |
//! | [`gate`] | what requests pass through while the active side changes |
//! | [`run`] | the driver's status, metrics, retry and throttle |
//! | [`apply`] | what a group of transactions comes to, for writers |
//! | [`checkpoint`] | places for progress with no database: memory, a file |
//! | [`spool`] | transactions that a source keeps aside until they commit |
//! | [`verify`] | whether both sides hold the same, while both change |
//! | [`memory`] | the reference connector, both source and sink |
//! | [`net`] | what every connector needs to reach its server |
//! | `conformance` | the suite that every connector must pass |
//!
//! [`Error`] is the one error of every zdm crate: a kind, whether a retry can
//! help, and what to do about it. [`Position`] is a point in a source's log,
//! [`Identity`] says whose log.
//!
//! # Features
//!
//! None is on by default, and each only adds.
//!
//! | feature | what it adds |
//! |---|---|
//! | `conformance` | the module `conformance`, for the tests of a connector |
//! | `tls` | [`net`]'s handshake by rustls |
//! | `failpoints` | named points at which the crate `fail` can stop or end the process; for crash tests, never for a release |
//!
//! # What it does not do yet
//!
//! Verification under the fence has its place in the types and is not there.

pub mod apply;
pub mod change;
pub mod checkpoint;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod connect;
mod error;
pub mod gate;
pub mod memory;
pub mod migrate;
pub mod net;
pub mod pipeline;
mod position;
pub mod run;
pub mod schema;
pub mod spool;
pub mod verify;

pub use error::{Error, ErrorKind, Result};
pub use position::{Engine, Identity, Position};
