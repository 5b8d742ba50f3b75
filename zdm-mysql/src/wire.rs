//! Bytes on the socket: our own connection, for replication.
//!
//! Replication has a connection of our own because the log must be walked in
//! the buffer that it was read into, and because *when* we read decides what
//! the source pays (see `gather`). Sessions for SQL are `mysql_async`'s (see
//! `connect`).
//!
//! ```text
//! Stream       TCP, Unix socket or TLS           stream, socket, tls
//! Channel      packets in, packets out           channel, inflate
//! Connection   greeting, login, statements       connection, greeting, auth, rows
//! Dump         the log, as events in a buffer    dump, gather, request
//! ```

mod auth;
mod channel;
mod connection;
mod dump;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod gather;
mod greeting;
mod inflate;
#[cfg(feature = "failpoints")]
pub mod probe;
mod reader;
mod request;
mod rows;
#[cfg(test)]
mod script;
mod socket;
mod stream;
mod tls;

#[allow(unused_imports, reason = "the rooms that use them are being built")]
pub(crate) use self::connection::Connection;
#[allow(unused_imports, reason = "as above")]
pub(crate) use self::dump::Dump;
pub(crate) use self::reader::Reader;
#[allow(unused_imports, reason = "as above")]
pub(crate) use self::request::{From, Request};
#[allow(unused_imports, reason = "as above")]
pub(crate) use self::rows::Row;
