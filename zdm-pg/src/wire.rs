//! Bytes on the socket: how a connection is opened, and our own replication
//! connection.
//!
//! Replication has a connection of our own because the log must be walked in
//! the buffer that it was read into (`tokio_postgres` cuts every message out,
//! and has no `CopyBothResponse`), and because *when* we read decides what
//! the source pays (see [`gather`]). Control connections are
//! `tokio_postgres`'s, over a [`Stream`] that is opened here, so that TLS and
//! its modes exist once.
//!
//! ```text
//! Stream       TCP, Unix socket or TLS          stream, socket, tls, binding
//! Channel      messages in, messages out        channel
//! Connection   start-up, login, simple queries  connection, auth, rows
//! CopyBoth     the log, as frames in a buffer   copy, frame, gather
//! ```

mod auth;
mod binding;
mod channel;
mod connection;
mod copy;
pub(crate) mod frame;
#[cfg(feature = "failpoints")]
pub(crate) mod fuzz;
mod gather;
#[cfg(feature = "failpoints")]
pub mod probe;
mod rows;
#[cfg(test)]
mod script;
pub(crate) mod session;
mod socket;
mod stream;
mod tls;

#[allow(unused_imports, reason = "the rooms that use them are being built")]
pub(crate) use self::connection::{Connection, SystemIdentity};
#[allow(unused_imports, reason = "as above")]
pub(crate) use self::copy::CopyBoth;
#[allow(unused_imports, reason = "as above")]
pub(crate) use self::frame::{Frame, Frames};
#[allow(unused_imports, reason = "as above")]
pub(crate) use self::rows::Row;
pub(crate) use self::stream::{Ready, Stream};
