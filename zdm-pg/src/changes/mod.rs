//! The log reader.
mod boundary;
mod decoder;
mod message;
mod partitions;
mod relation;
