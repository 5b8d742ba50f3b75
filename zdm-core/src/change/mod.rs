//! What flows from source to sink: batches of changes, many rows in one
//! buffer.
//!
//! A [`Batch`] is an ordered list of [`Item`]s: runs of rows, with the
//! boundaries of transactions between them. Its cells lie in one frozen
//! buffer in the encoding in which the source sent them, and are decoded to a
//! [`Value`] only when somebody asks. There is no allocation and no reference
//! count for a single cell.
//!
//! Who writes a connector builds batches with [`BatchBuilder`], row by row
//! from [`Value`]s, and needs nothing else of this module:
//!
//! ```
//! use std::sync::Arc;
//! use zdm_core::change::{BatchBuilder, Item, Value};
//! use zdm_core::schema::{Column, DataType, Key, Table, TableName};
//! use zdm_core::{Engine, Position};
//!
//! const ENGINE: Engine = Engine::new("example");
//! let table = Arc::new(Table::new(
//!     ENGINE,
//!     TableName::new("public", "users"),
//!     vec![Column::new("id", DataType::integer(64)).not_null(), Column::new("name", DataType::text())],
//!     Key::Columns(vec![0]),
//! ));
//!
//! let mut batch = BatchBuilder::new();
//! batch.begin(7);
//! batch.insert(&table, [Value::Int(1).into(), Value::from("ada").into()])?;
//! batch.commit(Position::new(ENGINE, "1"), None);
//! let batch = batch.finish();
//!
//! let names: Vec<_> = batch.rows().map(|row| row.after().unwrap().cell(1).value().unwrap().to_string()).collect();
//! assert_eq!(names, ["ada"]);
//! assert!(matches!(batch.items().last(), Some(Item::Commit(_))));
//! # Ok::<(), zdm_core::Error>(())
//! ```

mod batch;
mod budget;
mod builder;
mod cell;
mod core_encoding;
mod float;
mod owned;
mod row;
mod time;
mod value;

pub use batch::{Batch, Begin, Commit, Item, Op, Run, Xid};
pub use budget::{Budget, Permit};
pub use builder::{Assembler, BatchBuilder, Field, Mark};
pub use cell::{Cell, CoreEncoding, Encoding, Format};
pub use core_encoding::{decode as decode_core, encode as encode_core};
pub use owned::{Change, OwnedField};
pub use row::{CellRef, Image, RowRef};
pub use time::{Date, DateTime, Interval, Time};
pub use value::{Array, Value};
