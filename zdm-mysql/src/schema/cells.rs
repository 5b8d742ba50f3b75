//! Cells of the catalog's answers, without a panic.

use mysql_async::Row;
use mysql_async::prelude::FromValue;
use zdm_core::{Error, ErrorKind, Result};

/// Reads cells of a row.
pub(crate) trait Cells {
    /// The cell at that place.
    ///
    /// # Errors
    ///
    /// A null where there should be none is an object that was dropped while
    /// the catalog was read: reading again helps.
    fn cell<T: FromValue>(&self, place: usize) -> Result<T>;
}

impl Cells for Row {
    fn cell<T: FromValue>(&self, place: usize) -> Result<T> {
        match self.get_opt(place) {
            Some(Ok(value)) => Ok(value),
            _ => Err(Error::new(ErrorKind::Other, "the catalog changed while it was read: read it again")
                .retryable(true)
                .with("cell", place)
                .during("schema.read")),
        }
    }
}
