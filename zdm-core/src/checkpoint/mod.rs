//! Places that keep the progress of runs with no database of their own:
//! memory and a file.
//!
//! A database sink keeps progress beside the rows, in the same transaction,
//! and offers its own [`Checkpoint`](crate::connect::Checkpoint). These two
//! are for sinks that cannot: [`FileCheckpoint`] outlives the process,
//! [`MemoryCheckpoint`] does not.
//!
//! What each call of a checkpoint means is written once, as transitions of a
//! [`State`](crate::connect::State) (`raise`, `swap`, `plan`, `advance`) that
//! change nothing when they fail. A place of one's own loads a state, lets
//! one of them change it, and keeps the outcome in the same transaction.

mod file;
mod memory;
mod transitions;

pub use file::FileCheckpoint;
pub use memory::MemoryCheckpoint;

pub(crate) use memory::Runs;
