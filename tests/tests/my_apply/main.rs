//! What a MySQL or MariaDB target makes of tables, rows and a network that
//! breaks.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod fixture;
mod lost;
mod made;
mod premade;
