//! The log reader: `pgoutput` through a replication slot, as batches.
//!
//! ```text
//! slot         begin, check, release: what the server keeps for a run
//! publication  which tables are decoded; claim: for which target
//! waiting      for what is in progress
//! stream       the task that owns the socket
//! decoder      messages -> items; message, relation, boundary: its parts;
//! aside        streamed transactions until they end; relations: what the log
//!              has told of tables, also in these
//! partitions   partition -> table of the run; lookup: asks the catalog
//! gauge        how far the stream is behind; silence: a server that hangs
//! ```
//!
//! Only whole, committed transactions are handed over, in commit order. A
//! server from 14 on sends large ones while they run (protocol version 2,
//! `streaming`), if that is asked for; these wait in a spool for their commit.
//! Nothing of it must outlive the stream: the slot's log holds all of a
//! transaction until its commit is acknowledged, and the next stream gets it
//! again from its beginning, wherever the acknowledged point lies within it.
//!
//! Prepared transactions come at COMMIT PREPARED, as any other (`two_phase` is
//! off): what is prepared may yet be rolled back, so there is nothing to hand
//! over before, and nobody to prepare it at. The server keeps their log for
//! us until then. Version 4 (`streaming = parallel`) would add where and when
//! a streamed transaction was aborted, for who applies it before it commits.

mod aside;
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
mod relations;
mod silence;
pub(crate) mod slot;
mod stream;
mod waiting;

pub(crate) use self::stream::open;
