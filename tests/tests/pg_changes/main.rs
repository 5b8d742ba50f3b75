//! The stream of changes against a real server, compared with what SQL shows.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod begin;
mod fixture;
mod flow;
mod kinds;
mod positions;
mod show;
mod slot;
mod start;
mod streamed;
