//! Changes from a source through stages to a sink.
//!
//! ```no_run
//! # async fn example(source: impl zdm_core::connect::Source + 'static) -> zdm_core::Result<()> {
//! use tokio_util::sync::CancellationToken;
//! use zdm_core::pipeline::{Callback, Pipeline};
//!
//! let print = Callback::new(|batch| async move {
//!     for row in batch.rows() {
//!         println!("{row:?}");
//!     }
//!     Ok(())
//! });
//! Pipeline::from(source).to(print).run(CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A pipeline follows changes and nothing else; to copy what is there first,
//! use a [`Migration`](crate::migrate::Migration). Both send everything
//! through the same stages.

mod callback;
mod convert;
mod follow;
mod stages;
mod transform;

pub use callback::Callback;
pub(crate) use convert::Converting;
pub use follow::{Pipeline, Upstream};
pub use stages::{Row, Stages};
pub use transform::{Identity, Transform};
