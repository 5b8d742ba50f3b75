//! Stages between a source and a sink.

mod transform;

pub use transform::{Identity, Transform};
