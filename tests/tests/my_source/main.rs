//! MySQL and MariaDB as sources: what is described, what chunks cover and have
//! seen, and what the assessment tells.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod assess;
mod chunks;
mod conformance;
mod fixture;
mod schema;
mod seen;
mod sequences;
