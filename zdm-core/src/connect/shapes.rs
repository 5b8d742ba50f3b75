//! Whether tables have changed, cheap enough to ask from time to time.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::Result;
use crate::schema::{Selection, Shape, TableName};

/// Gives the shapes of tables without describing them.
///
/// It is asked for every [`Options::shape_interval`](crate::migrate::Options::shape_interval)
/// while a run follows. A source without it is described each time instead.
#[async_trait]
pub trait Shapes: Send + Sync {
    /// The shape of each selected table, by its name at the source: just what
    /// [`Shape::of`] gives of the table that
    /// [`describe`](super::Source::describe) would give at this moment.
    ///
    /// # Errors
    /// When the server cannot be reached or asked.
    async fn shapes(&self, selection: &Selection) -> Result<BTreeMap<TableName, Shape>>;
}
