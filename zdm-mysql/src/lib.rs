//! MySQL 5.7 to 9 and MariaDB 10.5 to 11 for [zdm](zdm_core): as a source by
//! the binlog, and as a target by LOAD DATA and set-based statements.

mod assess;
#[allow(dead_code, unused_imports, reason = "the rooms that use it are being built")]
mod changes;
mod checkpoint;
pub mod config;
#[allow(dead_code, unused_imports, reason = "as above")]
mod connect;
#[allow(dead_code, reason = "as above")]
mod error;
mod fence;
#[allow(dead_code, reason = "as above")]
mod position;
#[cfg(doc)]
pub mod rights;
mod schema;
mod sequences;
mod sink;
mod snapshot;
mod source;
#[allow(dead_code, unused_imports, reason = "as above")]
mod types;
#[allow(dead_code, reason = "as above")]
mod wire;

pub use self::assess::MySqlAssess;
#[doc(hidden)]
pub use self::changes::offline;
pub use self::checkpoint::MySqlCheckpoint;
pub use self::config::MySqlConfig;
pub use self::fence::MySqlFence;
pub use self::schema::dialect::{MySqlConvert, MySqlDialect};
pub use self::sequences::MySqlSequences;
pub use self::sink::MySqlSink;
pub use self::source::MySqlSource;
pub use self::types::MySqlEncoding;

#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use self::changes::probe as changes_probe;
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use self::wire::probe;
