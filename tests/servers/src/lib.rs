//! Real database servers for tests and examples, with no set-up.
//!
//! A server is found on this machine or fetched, started as a throwaway
//! instance on a free port of the loopback, in a temporary folder, as an
//! unprivileged user, and ended when the process that owns it ends, also when
//! that is killed. Several versions run side by side.
//!
//! ```no_run
//! # async fn example() -> zdm_servers::Result<()> {
//! use zdm_servers::postgres::{PgOptions, Postgres};
//!
//! let old = Postgres::start(PgOptions::new().version(12)).await?;
//! let new = Postgres::start(PgOptions::new().version(18)).await?;
//! println!("{} -> {}", old.url("postgres"), new.url("postgres"));
//! # Ok(())
//! # }
//! ```
//!
//! * [`postgres`]: PostgreSQL servers, and where they come from.
//! * [`mysql`]: MySQL and MariaDB servers, and where they come from.
//! * [`compare`](mod@compare): two databases compared by plain SQL.
//! * [`proxy`]: a TCP proxy that cuts, slows and swallows connections.
//!
//! # Environment
//!
//! | variable | what it does |
//! |---|---|
//! | `ZDM_TEST_PG_URL` | a PostgreSQL server to use instead of starting one, where the test allows it |
//! | `ZDM_TEST_MYSQL_URL` | the same for MySQL |
//! | `ZDM_TEST_MARIADB_URL` | the same for MariaDB |
//! | `ZDM_SERVERS_CACHE` | where fetched servers and prepared data folders are kept |
//! | `TMPDIR` | where servers live; in a `tmpfs` with room for them (40 MB each, and their WAL) they start faster |
//! | `ZDM_SERVERS_KEEP` | when set, the folder of a server (data and log) is not removed at its end |
//!
//! The cache is, by default, `zdm-servers` in `$XDG_CACHE_HOME` or `~/.cache`.
//! Root runs its servers as `postgres` or `nobody`, who cannot enter a closed
//! home: its cache is then `/var/cache/zdm-servers`, and the last resort is
//! `zdm-servers-cache-<uid>` in the temporary folder. Remove it at any time.
//!
//! # What it does not do
//!
//! Skip. A server that is neither found nor fetched is an error that tells
//! what was tried. It is tested on Linux only, and nothing is fetched for any
//! other system.

mod account;
mod cache;
mod command;
pub mod compare;
mod error;
mod folder;
mod guardian;
pub mod mysql;
mod packages;
mod ports;
pub mod postgres;
pub mod proxy;
mod tls;
mod url;

pub use self::error::{Error, Result};
pub use self::mysql::{MySql, MySqlOptions};
pub use self::postgres::{PgOptions, Postgres};
pub use self::proxy::Proxy;
pub use self::tls::{ClientIdentity, TlsFiles, TlsMode};
