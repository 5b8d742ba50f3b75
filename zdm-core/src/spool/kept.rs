//! What is kept of one transaction.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::HashSet;

use super::SpoolOptions;
use super::block::Filling;
use super::records::Records;
use crate::{Error, ErrorKind, Result};

/// Its older blocks in a file, the newer ones in memory.
#[derive(Debug, Default)]
pub(super) struct Kept {
    stored: Option<Stored>,
    blocks: Vec<Filling>,
    memory: usize,
    dropped: HashSet<u32>,
}

impl Kept {
    /// Adds a record; how many bytes of memory that takes.
    pub(super) fn add(&mut self, part: u32, record: &[&[u8]]) -> usize {
        let before = self.blocks.last().filter(|block| block.has_room()).map_or(0, Filling::len);
        if before == 0 {
            self.blocks.push(Filling::new());
        }
        let Some(last) = self.blocks.last_mut() else { return 0 }; // one was just pushed
        last.add(part, record);
        let more = last.len() - before;
        self.memory += more;
        more
    }

    pub(super) fn add_shared(&mut self, part: u32, record: Bytes) -> usize {
        let block = Filling::of_one(part, record);
        let more = block.len();
        self.blocks.push(block);
        self.memory += more;
        more
    }

    pub(super) fn drop_part(&mut self, part: u32) {
        self.dropped.insert(part);
    }

    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Moves all blocks from memory into the file.
    pub(super) async fn write(&mut self, options: &SpoolOptions, disk: &Arc<AtomicU64>) -> Result<()> {
        let (stored, blocks) = (self.stored.take(), std::mem::take(&mut self.blocks));
        let (options, disk) = (options.clone(), Arc::clone(disk));
        let bytes = std::mem::take(&mut self.memory) as u64;
        let written = blocking(move || {
            let mut stored = match stored {
                Some(stored) => stored,
                None => Stored::new(&options, disk)?,
            };
            stored.grow(bytes);
            for block in blocks {
                block.write(&mut stored.file).map_err(|error| cannot_write(&options, error))?;
            }
            Ok(stored)
        });
        self.stored = Some(written.await?);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn file(&mut self) -> &mut File {
        &mut self.stored.as_mut().unwrap().file
    }

    pub(super) fn into_records(self) -> Records {
        Records::new(self.stored, self.blocks, self.dropped)
    }
}

/// A file with no name, and its share of the disk.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) file: File,
    pub(super) bytes: u64,
    disk: Arc<AtomicU64>,
}

impl Stored {
    fn new(options: &SpoolOptions, disk: Arc<AtomicU64>) -> Result<Self> {
        let place = options.place();
        let file = tempfile::tempfile_in(&place).map_err(|error| {
            Error::new(
                ErrorKind::Config,
                "the directory of the spool is of no use: name one that exists and may be written to \
                 (`spool.directory`)",
            )
            .during("spool.open")
            .with("directory", place.display())
            .caused_by(error)
        })?;
        Ok(Self { file, bytes: 0, disk })
    }

    fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.disk.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Back to its beginning, to be read.
    pub(super) fn rewind(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).map(|_| ()).map_err(|error| {
            Error::new(ErrorKind::Other, "the spool's file cannot be read")
                .during("spool.read")
                .caused_by(error)
        })
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.disk.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Does what may wait for the disk where nobody else waits for it.
pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(job).await.map_err(|error| {
        Error::new(ErrorKind::Other, "the spool's job did not come to its end").caused_by(error)
    })?
}

fn cannot_write(options: &SpoolOptions, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Other,
        "transactions that are not decided yet cannot be written to the spool: give its directory more room, or \
         name another one (`spool.directory`)",
    )
    .during("spool.write")
    .with("directory", options.place().display())
    .caused_by(error)
}
