//! What is in the logs of real servers beside rows: statements that change
//! tables, and the place to go on from when another server takes over.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod engines;
mod failover;
mod fixture;
mod statements;
