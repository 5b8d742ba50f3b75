//! Cells of the catalog's answers, without a panic.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use zdm_core::{Error, ErrorKind, Result};

/// Reads cells of a row.
pub(crate) trait Cells {
    /// The cell at that place.
    ///
    /// # Errors
    ///
    /// A null where there should be none is an object that was dropped while
    /// the catalog was read: reading again helps.
    fn cell<'a, T: FromSql<'a>>(&'a self, place: usize) -> Result<T>;
}

impl Cells for Row {
    fn cell<'a, T: FromSql<'a>>(&'a self, place: usize) -> Result<T> {
        self.try_get(place).map_err(|error| {
            Error::new(ErrorKind::Other, "the catalog changed while it was read: read it again")
                .retryable(true)
                .with("cell", place)
                .during("schema.read")
                .caused_by(error)
        })
    }
}
