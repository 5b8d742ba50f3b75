//! Every type of MySQL's and MariaDB's, and of PostgreSQL's (`postgres`), with
//! values that are random and odd.
//!
//! The values are the same at every run. `ZDM_TEST_TYPES_SEED` chooses others,
//! and `ZDM_TEST_TYPES_TABLES` how many tables there are for each server and
//! setting (3 by default, over which all types are dealt):
//!
//! ```sh
//! ZDM_TEST_TYPES_SEED=7 ZDM_TEST_TYPES_TABLES=100 cargo test -p zdm-tests --test my_types
//! ```

#![allow(clippy::unwrap_used, reason = "what fails here is a failed test")]

mod columns;
mod decode;
mod domains;
mod extremes;
mod json;
mod objects;
mod places;
mod postgres;
mod round_trip;
mod switched;
mod table_of_types;
mod tables;
mod text;
