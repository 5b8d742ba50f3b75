//! The log reader: `pgoutput` through a replication slot, as batches.
//!
//! ```text
//! slot         begin, check, release: what the server keeps for a run
//! publication  which tables are decoded; claim: for which target
//! waiting      for what is in progress
//! stream       the task that owns the socket
//! decoder      messages -> items; message, relation, boundary: its parts
//! partitions   partition -> table of the run; lookup: asks the catalog
//! gauge        how far the stream is behind; silence: a server that hangs
//! ```
//!
//! Only whole, committed transactions come, in commit order: protocol version
//! 1 has nothing else. Transactions that the server streams while they run,
//! and prepared ones before their end, are refused by name.

mod boundary;
pub(crate) mod claim;
mod decoder;
#[cfg(any(test, feature = "failpoints"))]
pub(crate) mod fuzz;
mod gauge;
mod lookup;
mod message;
mod names;
mod partitions;
#[cfg(feature = "failpoints")]
pub mod probe;
mod publication;
mod relation;
mod silence;
pub(crate) mod slot;
mod stream;
mod waiting;

pub(crate) use self::stream::open;
