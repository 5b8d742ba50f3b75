//! The log reader: the binlog of MySQL and MariaDB, as batches.
//!
//! ```text
//! stream       the task that owns the socket; gauge: how far it is behind
//! start        where a stream may begin, and which server this is
//! walk         where transactions begin and end; place: the position
//! statement    what a statement means; aside: XA, prepared and undecided
//! undo         rows that a rollback behind them takes back
//! decoder      events -> rows of a batch, and what means something else
//! event        headers and bodies; reader: an event's bytes, front to back
//! table_map    a table as the log shows it, matched with the catalog's
//! rows         rows events -> cells
//! payload      compressed events -> events
//! offline      a log with no server, for benchmarks and fuzzing
//! ```

mod aside;
mod decoder;
mod event;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod gauge;
#[doc(hidden)]
pub mod offline;
mod payload;
mod place;
#[cfg(feature = "failpoints")]
pub mod probe;
mod reader;
mod rows;
pub(crate) mod start;
mod statement;
mod stream;
mod table_map;
mod undo;
mod walk;

pub(crate) use self::stream::open;
pub(crate) use self::undo::Undone;
