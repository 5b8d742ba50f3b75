//! A live database moves between any two of PostgreSQL, MySQL and MariaDB,
//! while an application writes and things break. From PostgreSQL to
//! PostgreSQL it is in `pg_e2e`, with more of what only PostgreSQL has.
//!
//! The default suite is, for each pair, one seed with a few kills. More of it:
//!
//! ```text
//! ZDM_TEST_KILLS=40 ZDM_TEST_SEED=7 cargo test -p zdm-tests --test e2e -- --include-ignored
//! ZDM_TEST_MARIADB_SOURCE=10.5 ZDM_TEST_MARIADB_TARGET=11.8 cargo test -p zdm-tests --test e2e
//! ```
//!
//! | variable | what it does |
//! |---|---|
//! | `ZDM_TEST_SEED` | another application: its transactions follow from it |
//! | `ZDM_TEST_KILLS` | how often a process is killed at random moments; default 1, and 10 in what is ignored by default; from 20 on at every failpoint too |
//! | `ZDM_TEST_MYSQL`, `ZDM_TEST_MARIADB` | the version of the servers; default 9 and 10.11 |
//! | `ZDM_TEST_MYSQL_SOURCE`, `…_TARGET`, `ZDM_TEST_MARIADB_SOURCE`, `…_TARGET` | the same for one side |

#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod busy;
mod cutover;
mod fixture;
mod killed;
mod outages;
mod versions;
