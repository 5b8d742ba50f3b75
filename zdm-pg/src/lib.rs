//! zdm-pg

mod assess;
#[allow(dead_code, reason = "the rooms that use all of it are being built")]
mod changes;
#[allow(dead_code, reason = "the rooms that use all of it are being built")]
mod checkpoint;
pub mod config;
#[allow(dead_code, reason = "the rooms that use all of it are being built")]
mod connect;
#[allow(dead_code, reason = "the rooms that use all of it are being built")]
mod error;
mod fence;
#[allow(dead_code, reason = "the rooms that use all of it are being built")]
mod position;
pub mod rights;
pub mod schema;
mod sequences;
pub mod sink;
mod snapshot;
mod source;
mod types;
#[allow(dead_code, reason = "the rooms that use all of it are being built")]
mod wire;

pub use self::assess::PgAssess;
pub use self::checkpoint::PgCheckpoint;
pub use self::config::PgConfig;
pub use self::fence::PgFence;
pub use self::sequences::PgSequences;
pub use self::sink::PgSink;
pub use self::sink::prepare::drop_run;
pub use self::source::PgSource;
pub use self::types::PgEncoding;

#[doc(hidden)]
pub use self::changes::fuzz_decode;
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use self::changes::probe as changes_probe;
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use self::wire::probe;
