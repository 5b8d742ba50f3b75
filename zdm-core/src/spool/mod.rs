//! Transactions that are not decided yet, in bounded memory and on disk.
//!
//! A source hands over committed transactions only. What its log gives
//! earlier (transactions that are streamed while they run, prepared ones) it
//! adds here record by record, as it came; reads it back when the transaction
//! commits; and drops it when it aborts. Each record is of a part of its
//! transaction, so that a subtransaction that was rolled back takes along
//! what was its own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> zdm_core::Result<()> {
//! use zdm_core::spool::{Spool, SpoolOptions};
//!
//! let mut spool = Spool::new(SpoolOptions::default());
//! spool.begin(7);
//! spool.add(7, 7, &[b"the transaction itself"]);
//! spool.add(7, 8, &[b"in a savepoint"]);
//! spool.settle().await?; // to disk, if it is too much for memory
//! spool.drop_part(7, 8); // ROLLBACK TO
//!
//! let mut records = spool.take(7).expect("it was begun");
//! let mut block = records.next().await?.expect("it has a record");
//! let record = block.next()?.expect("the block begins with it");
//! assert_eq!(&block.bytes()[record], b"the transaction itself");
//! assert!(block.next()?.is_none() && records.next().await?.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # Scratch
//!
//! Nothing here outlives its process, and nothing has to: a source may forget
//! a transaction only once its commit is acknowledged, and until then a stream
//! that begins again is sent all of it again. So its files have no name. The
//! system takes them back when the process ends, however it ends; none is left
//! behind, and no two processes can have one in common. What is read back is
//! checked, since a disk that alters bytes would alter rows.
//!
//! # What it does not do
//!
//! It keeps no log of committed transactions for who must let the source go on
//! before the target is ready: that needs files that a restart finds again.

mod block;
mod kept;
mod options;
mod records;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::HashMap;

use self::kept::Kept;
pub use self::options::SpoolOptions;
pub use self::records::{Block, Records};
use crate::{Error, ErrorKind, Result};

/// Undecided transactions, by numbers of the source's own.
#[derive(Debug)]
pub struct Spool {
    options: SpoolOptions,
    kept: HashMap<u64, Kept>,
    /// Bytes of all that lies in memory.
    memory: usize,
    /// Bytes of all files, those that are being read back among them.
    disk: Arc<AtomicU64>,
}

impl Spool {
    /// A spool with nothing in it, which has made no file.
    pub fn new(options: SpoolOptions) -> Self {
        Self { options, kept: HashMap::new(), memory: 0, disk: Arc::default() }
    }

    /// Keeps a transaction from here on; `false` if it is kept already.
    pub fn begin(&mut self, transaction: u64) -> bool {
        let known = self.kept.contains_key(&transaction);
        self.kept.entry(transaction).or_default();
        !known
    }

    /// Whether the transaction is kept.
    pub fn holds(&self, transaction: u64) -> bool {
        self.kept.contains_key(&transaction)
    }

    /// Adds a record, given in pieces, to what is kept of a transaction. Does
    /// nothing to the disk: call [`settle`](Self::settle) when
    /// [`is_over`](Self::is_over).
    pub fn add(&mut self, transaction: u64, part: u32, record: &[&[u8]]) {
        self.memory += self.kept.entry(transaction).or_default().add(part, record);
    }

    /// Adds a large record without copying it.
    pub fn add_shared(&mut self, transaction: u64, part: u32, record: Bytes) {
        self.memory += self.kept.entry(transaction).or_default().add_shared(part, record);
    }

    /// Drops the records of a part; later ones of it are dropped too. What of
    /// it is on disk stays there until the transaction is decided.
    pub fn drop_part(&mut self, transaction: u64, part: u32) {
        if let Some(kept) = self.kept.get_mut(&transaction) {
            kept.drop_part(part);
        }
    }

    /// Drops a transaction. Nothing kept of it: nothing to do.
    pub fn abort(&mut self, transaction: u64) {
        if let Some(kept) = self.kept.remove(&transaction) {
            self.memory -= kept.memory();
        }
    }

    /// Takes a transaction out, to be read back; `None` if it is not kept.
    /// What of it lies in memory no longer counts for the bound.
    pub fn take(&mut self, transaction: u64) -> Option<Records> {
        let kept = self.kept.remove(&transaction)?;
        self.memory -= kept.memory();
        Some(kept.into_records())
    }

    /// Whether more lies in memory than may.
    pub fn is_over(&self) -> bool {
        self.memory > self.options.memory
    }

    /// Writes to disk what memory may not hold: the largest transactions
    /// whole, so that writes are few and long. Dropped before its end, it
    /// spoils the spool: drop that too.
    ///
    /// # Errors
    /// `Config` when the directory is of no use, or the bound on the disk
    /// would be passed; `Other` when the disk fails or is full.
    pub async fn settle(&mut self) -> Result<()> {
        while self.is_over() {
            // OK to end: where there is memory in use, one of them has it.
            let Some(largest) = self.kept.values_mut().max_by_key(|kept| kept.memory()) else { break };
            let bytes = largest.memory();
            let disk = self.disk.load(Ordering::Relaxed).saturating_add(bytes as u64);
            if disk > self.options.disk {
                return Err(Error::new(
                    ErrorKind::Config,
                    "transactions that are not decided yet need more disk than the spool may take: end those that \
                     are open at the source, or raise the bound (`spool.disk`)",
                )
                .during("spool.write")
                .with("bound", self.options.disk)
                .with("transactions", self.kept.len()));
            }
            largest.write(&self.options, &self.disk).await?;
            self.memory -= bytes;
        }
        Ok(())
    }

    /// Bytes that its files take now.
    pub fn disk(&self) -> u64 {
        self.disk.load(Ordering::Relaxed)
    }

    /// Bytes that lie in memory, but for what is being read back.
    pub fn memory(&self) -> usize {
        self.memory
    }
}

#[cfg(test)]
mod tests;
