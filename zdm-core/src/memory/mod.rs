//! A database in memory: the reference connector, both source and sink.
//!
//! It is here to learn from and to test with. Who writes a connector finds in
//! it each contract of [`connect`](crate::connect) in its simplest form; who
//! tests a pipeline finds a source and a target with no server, that crash,
//! lose their unflushed tail, purge their log, answer late or never, all on
//! request.
//!
//! ```
//! use zdm_core::change::Value;
//! use zdm_core::connect::{Source as _, RunName};
//! use zdm_core::memory::{ENGINE, MemoryDatabase};
//! use zdm_core::schema::{Column, DataType, Key, Selection, Table, TableName};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> zdm_core::Result<()> {
//! let db = MemoryDatabase::new();
//! let users = TableName::new("public", "users");
//! let columns = vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("name", DataType::text())];
//! db.create_table(Table::new(ENGINE, users.clone(), columns, Key::Columns(vec![0])))?;
//!
//! let mut transaction = db.begin();
//! transaction.insert(&users, vec![Value::Int(1), Value::from("ada")]).await?;
//! transaction.commit().await?;
//!
//! let schema = db.source().describe(&Selection::all()).await?;
//! let snapshot = db.source().snapshot(&RunName::default(), &schema, None).await?;
//! assert_eq!(snapshot.start(), &db.head());
//! # Ok(())
//! # }
//! ```
//!
//! # How it is made
//!
//! | file | what it shows |
//! |---|---|
//! | `source` | identity, description, the start and the wait behind it |
//! | `snapshot` | chunks by key range, exact visibility, rows read again |
//! | `stream` | a task that follows the log, budget, acknowledgement, gaps |
//! | `sink`, `prepare` | tables made in steps, the checkpoint beside them |
//! | `writer` | idempotent apply, rows and progress in one transaction |
//! | `fence`, `sequences`, `assess`, `verify` | the capabilities |
//! | `database`, `transaction`, `state`, `constraints`, `row` | the database itself |
//! | `faults` | what makes it fail on purpose |
//!
//! One mutex guards a database and is never held across an await. A change
//! is one step of its log and a commit another: positions are such counts,
//! and the "bytes" by which a stream says it is behind are steps.
//!
//! What it does not do: expressions (defaults, checks, generated columns,
//! triggers), isolation beyond read committed, and speed.

mod assess;
mod constraints;
mod database;
mod faults;
mod fence;
mod position;
mod prepare;
mod row;
mod sequences;
mod sink;
mod snapshot;
mod source;
mod state;
mod stream;
mod transaction;
mod verify;
mod writer;

pub use database::MemoryDatabase;
pub use faults::{Fault, Faults, Point, Safeguard};
pub use position::ENGINE;
pub use row::Row;
pub use sink::MemorySink;
pub use source::MemorySource;
pub use transaction::{MemoryTransaction, Unseen};
