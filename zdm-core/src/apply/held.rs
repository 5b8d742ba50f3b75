//! The batches that a group keeps alive, and places in them: what is
//! remembered of a row is where it lies, never a copy.

use std::hash::{BuildHasher, Hasher};

use crate::change::{Batch, CellRef, Format, Image, Item, RowRef};
use crate::{Error, ErrorKind, Result};

/// Where a row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    batch: u32,
    item: u32,
    row: u32,
}

/// One image of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImageAt {
    pub(super) place: Place,
    pub(super) side: Side,
}

/// Which image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

impl Place {
    pub(super) fn before(self) -> ImageAt {
        ImageAt { place: self, side: Side::Before }
    }

    pub(super) fn after(self) -> ImageAt {
        ImageAt { place: self, side: Side::After }
    }
}

/// Batches by number.
#[derive(Debug, Default)]
pub(super) struct Held {
    batches: Vec<Batch>,
    bytes: usize,
}

impl Held {
    /// Keeps a batch and gives its number.
    pub(super) fn keep(&mut self, batch: Batch) -> Result<u32> {
        let number = u32::try_from(self.batches.len()).map_err(|_| too_many())?;
        // The parts of one batch share its memory.
        if !self.batches.last().is_some_and(|last| last.shares(&batch)) {
            self.bytes += batch.bytes();
        }
        self.batches.push(batch);
        Ok(number)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place of a row; its numbers come from walking the batch.
    pub(super) fn place(batch: u32, item: usize, row: usize) -> Result<Place> {
        let number = |n| u32::try_from(n).map_err(|_| too_many());
        Ok(Place { batch, item: number(item)?, row: number(row)? })
    }

    pub(super) fn items(&self, batch: u32) -> &[Item] {
        self.batches[batch as usize].items()
    }

    pub(super) fn row(&self, place: Place) -> RowRef<'_> {
        // OK because a place is made only while its batch is walked, and
        // batches are kept as long as the places.
        let batch = &self.batches[place.batch as usize];
        match &batch.items()[place.item as usize] {
            Item::Rows(run) => batch.row(run, place.row as usize),
            _ => unreachable!("a place is of a row"),
        }
    }

    /// An image that is known to be there.
    pub(super) fn image(&self, at: ImageAt) -> Image<'_> {
        let row = self.row(at.place);
        // OK because places of images are made of rows that have them; the
        // other image has the same columns, so that nothing can panic.
        match at.side {
            Side::Before => row.key_image(),
            Side::After => row.after().unwrap_or_else(|| row.key_image()),
        }
    }

    /// A cell of the key that an image spells. A key's cell that the log left
    /// out of a new image is the old one's.
    pub(super) fn key_cell(&self, at: ImageAt, column: usize) -> CellRef<'_> {
        let cell = self.image(at).cell(column);
        match (at.side, cell.is_unchanged()) {
            (Side::After, true) => self.row(at.place).key_image().cell(column),
            _ => cell,
        }
    }

    /// Hashes the bytes of a key.
    ///
    /// # Errors
    /// `Protocol` when a cell of it was not carried.
    pub(super) fn hash(&self, at: ImageAt, key: &[usize], state: &impl BuildHasher) -> Result<u64> {
        let mut hasher = state.build_hasher();
        for &column in key {
            let cell = self.key_cell(at, column);
            match cell.raw() {
                Some((_, bytes)) => {
                    hasher.write_usize(bytes.len());
                    hasher.write(bytes);
                }
                None if cell.is_unchanged() => {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        "the log did not carry the key of a changed row: set the table's replica identity",
                    )
                    .with("table", &self.row(at.place).table().name)
                    .with("column", &cell.column().name));
                }
                None => hasher.write_usize(usize::MAX),
            }
        }
        Ok(hasher.finish())
    }

    /// Whether two images spell the same key.
    pub(super) fn same_key(&self, a: ImageAt, b: ImageAt, key: &[usize]) -> bool {
        key.iter().all(|&column| self.key_cell(a, column).raw() == self.key_cell(b, column).raw())
    }

    /// The format of each cell of a key, null as the core's.
    pub(super) fn formats(&self, at: ImageAt, key: &[usize]) -> impl Iterator<Item = Option<Format>> {
        key.iter().map(move |&column| self.key_cell(at, column).raw().map(|(format, _)| format))
    }
}

/// Whether each column of an image was carried.
pub(super) fn is_whole(image: Image<'_>) -> bool {
    image.cells().all(|cell| !cell.is_unchanged() || !cell.column().is_written())
}

pub(super) fn too_many() -> Error {
    Error::new(
        ErrorKind::Rejected,
        "a group of changes has grown beyond four billion parts: flush it earlier",
    )
}
