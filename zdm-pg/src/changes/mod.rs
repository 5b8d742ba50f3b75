//! The log reader.
mod boundary;
mod decoder;
mod message;
mod names;
mod partitions;
mod publication;
mod relation;
pub(crate) mod slot;
mod waiting;
