//! Rows and progress in a real target: what the writers leave there is
//! compared with plain SQL.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod children;
mod fixture;
mod full_row;
mod groups;
mod keys;
mod lost;
mod premade;
mod progress;
mod session;
mod unique;
