//! MySQL and MariaDB servers.
//!
//! # Where a server comes from
//!
//! The first of these that has what [`MySqlOptions`] ask for:
//!
//! 1. the server at `ZDM_TEST_MYSQL_URL` or `ZDM_TEST_MARIADB_URL`, the URL of
//!    a superuser: nothing is started then, but databases of a random name are
//!    created there, and dropped at the end. Only where no version, setting,
//!    TLS or user is asked for; such a server cannot be stopped or killed
//!    ([`MySql::is_external`]), and a test process that is killed leaves its
//!    databases behind;
//! 2. binaries installed here: in the `PATH`, `/usr/sbin`, `/usr/local/mysql`;
//! 3. packages of Debian or Ubuntu, from the mirror that this machine's apt
//!    uses, fetched into the cache (see the [crate]) and not installed.
//!
//! On Debian, packages are taken from any suite of that mirror, so these
//! versions run side by side, with the C library of their own suite:
//!
//! | server | suite | download |
//! |---|---|---|
//! | MariaDB 10.5 | Debian 11 | 20 MB |
//! | MariaDB 10.11 | Debian 12 | 20 MB |
//! | MariaDB 11.8 | Debian 13 | 30 MB |
//! | MySQL 9.7 (or what is newest) | sid | 66 MB |
//!
//! On Ubuntu they are those of its own release.

mod conf;
mod database;
mod external;
mod fetch;
mod find;
mod instance;
mod options;
mod programs;
mod server;
mod template;
mod user;

pub use self::database::Database;
pub use self::options::{Flavor, MySqlOptions, Origin, RowMetadata};
pub use self::server::MySql;
pub use self::user::{AuthPlugin, User};
