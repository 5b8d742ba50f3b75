//! zdm-core
pub mod apply;
pub mod change;
pub mod checkpoint;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod connect;
mod error;
pub mod gate;
pub mod memory;
pub mod migrate;
pub mod pipeline;
mod position;
pub mod run;
pub mod schema;

pub use error::{Error, ErrorKind, Result};
pub use position::{Engine, Identity, Position};
