//! PostgreSQL servers, versions 12 to 18.
//!
//! # Where a server comes from
//!
//! The first of these that has what [`PgOptions`] ask for:
//!
//! 1. the server at `ZDM_TEST_PG_URL`, the URL of a superuser: nothing is
//!    started then, but databases of a random name are created there, and
//!    dropped at the end. Only for [`Version::Any`] with no settings, TLS or
//!    logins of one's own; such a server cannot be stopped or killed
//!    ([`Postgres::is_external`]), and a test process that is killed leaves its
//!    databases behind;
//! 2. binaries installed here: `/usr/lib/postgresql/*/bin`, `/usr/pgsql-*/bin`,
//!    `pg_config --bindir`, the `PATH`;
//! 3. npm packages, which exist for every version;
//! 4. packages of Debian or Ubuntu, from the mirror that this machine's apt
//!    uses: on Debian of any of its suites (13 in Debian 11, 15 in 12, 17 in
//!    13, 18 in sid), with the C library of their own suite.
//!
//! What is fetched goes into a cache (see the [crate]), nothing is installed.
//! A machine without npm has no 12, 14 and 16, so a test that wants old and new
//! asks for [`Version::Oldest`] and [`Version::Newest`].

mod apt;
mod binaries;
mod conf;
mod database;
mod external;
mod find;
mod instance;
mod npm;
mod options;
mod server;
mod template;

pub use self::database::Database;
pub use self::options::{Auth, Origin, PgOptions, Version};
pub use self::server::{Postgres, StopMode, User};
pub use crate::tls::{ClientIdentity, TlsFiles, TlsMode};
