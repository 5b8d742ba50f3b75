//! The fence of MariaDB and MySQL, with the rights of a plain user.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod dropped;
mod falls;
mod fixture;
mod hold;
mod seal;
