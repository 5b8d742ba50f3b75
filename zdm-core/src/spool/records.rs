//! A transaction that is read back.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;

use super::block::{self, Filling};
use super::kept::{Stored, blocking};
use crate::{Error, ErrorKind, Result};

/// The records of one transaction in the order in which they were added, but
/// for those of dropped parts.
#[derive(Debug)]
pub struct Records {
    stored: Option<Stored>,
    /// Bytes of the file that were not read yet; `None` before the first.
    left: Option<u64>,
    blocks: std::vec::IntoIter<Filling>,
    dropped: Arc<HashSet<u32>>,
}

impl Records {
    pub(super) fn new(stored: Option<Stored>, blocks: Vec<Filling>, dropped: HashSet<u32>) -> Self {
        Self { stored, left: None, blocks: blocks.into_iter(), dropped: Arc::new(dropped) }
    }

    /// The next records that lie together, some 256 KiB of them, or a single
    /// one that is larger; `None` behind the last. Dropped before its end, it
    /// spoils the rest.
    ///
    /// # Errors
    /// `Other`, worth a retry, when they are not what was added: the source
    /// still has them.
    pub async fn next(&mut self) -> Result<Option<Block>> {
        if let Some(mut stored) = self.stored.take() {
            let left = self.left;
            let (stored, left, bytes) = blocking(move || {
                let mut left = match left {
                    Some(left) => left,
                    None => {
                        stored.rewind()?;
                        stored.bytes
                    }
                };
                let bytes = block::read(&mut stored.file, &mut left)?;
                Ok((stored, left, bytes))
            })
            .await?;
            self.left = Some(left);
            // The last drop of it gives its disk back.
            self.stored = (left > 0).then_some(stored);
            return Ok(Some(self.block(bytes, None)));
        }
        Ok(self.blocks.next().map(|filled| {
            let (bytes, one) = filled.into_bytes();
            self.block(bytes, one)
        }))
    }

    fn block(&self, bytes: Bytes, one: Option<u32>) -> Block {
        Block { bytes, at: 0, one, dropped: Arc::clone(&self.dropped) }
    }
}

/// Records that lie in one buffer.
#[derive(Debug)]
pub struct Block {
    bytes: Bytes,
    at: usize,
    /// The part of the one record that takes all bytes.
    one: Option<u32>,
    dropped: Arc<HashSet<u32>>,
}

impl Block {
    /// The buffer that [`next`](Self::next) tells places in.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where the next record lies; `None` behind the last.
    ///
    /// # Errors
    /// As [`Records::next`].
    #[expect(clippy::should_implement_trait, reason = "it can fail, and an error ends it")]
    pub fn next(&mut self) -> Result<Option<Range<usize>>> {
        if let Some(part) = self.one.take() {
            self.at = self.bytes.len();
            return Ok((!self.dropped.contains(&part)).then_some(0..self.at));
        }
        while let Some((part, range)) = block::record(&self.bytes, &mut self.at)? {
            if !self.dropped.contains(&part) {
                return Ok(Some(range));
            }
        }
        Ok(None)
    }
}

/// What was read back is not what was written.
pub(super) fn spoiled(what: &str) -> Error {
    Error::new(
        ErrorKind::Other,
        format!(
            "the spool does not give back what was put into it ({what}): look at the disk of its directory; the \
             source still has the transaction, and sends it again"
        ),
    )
    .during("spool.read")
    .retryable(true)
}
