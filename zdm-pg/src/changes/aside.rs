//! Transactions that the server streams while they run.
//!
//! Such a one comes in parts, with other transactions in between, and its end
//! comes last. Its messages are kept as they came and decoded when it has
//! committed: only then do its rows count, and only then is known which of its
//! subtransactions were rolled back.
//!
//! <https://www.postgresql.org/docs/current/protocol-logical-replication.html>

use bytes::Bytes;
use zdm_core::Result;
use zdm_core::spool::{Records, Spool};

use super::message::{Reader, StreamAbort, StreamStart, broken};
use super::relations::Relations;

/// Bytes behind a kept description: its number.
pub(super) const NUMBER: usize = size_of::<u64>();

/// The streamed transactions that have not ended.
#[derive(Debug)]
pub(super) struct Aside {
    /// Empty while it is written to disk.
    spool: Option<Spool>,
    /// Whose part is being sent.
    open: Option<u32>,
}

impl Aside {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool: Some(spool), open: None }
    }

    /// Whether a part is being sent.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn start(&mut self, start: StreamStart) -> Result<()> {
        let new = self.spool()?.begin(start.xid.into());
        if new != start.first {
            let what = if new { "lacks its beginning" } else { "begins anew" };
            return Err(broken(&format!("a streamed transaction {what}")).with("xid", start.xid));
        }
        self.open = Some(start.xid);
        Ok(())
    }

    /// Keeps a message of the part that is being sent, or ends that part.
    pub(super) fn keep(&mut self, message: &[u8], relations: &mut Relations) -> Result<()> {
        let mut parts = Reader::new(message, 0);
        match parts.byte()? {
            b'E' => {
                parts.end()?;
                self.open = None;
            }
            // Behind its kind each has the number of its subtransaction, or
            // the transaction's where it is in none.
            b'I' | b'U' | b'D' | b'T' => {
                let (xid, part) = (self.open()?, parts.u32()?);
                self.spool()?.add(xid, part, &[message]);
            }
            b'R' => {
                let (xid, part) = (self.open()?, parts.u32()?);
                let number = relations.number().to_be_bytes();
                self.spool()?.add(xid, part, &[message, &number]);
            }
            b'O' | b'Y' | b'M' => {}
            kind => {
                return Err(broken("it does not belong into a part of a transaction")
                    .with("message", kind.escape_ascii()));
            }
        }
        Ok(())
    }

    /// The same for a large row, whose bytes are not copied.
    pub(super) fn keep_large(&mut self, message: Bytes, relations: &mut Relations) -> Result<()> {
        let mut parts = Reader::new(&message, 0);
        if !matches!(parts.byte()?, b'I' | b'U' | b'D' | b'T') {
            return self.keep(&message, relations);
        }
        let (xid, part) = (self.open()?, parts.u32()?);
        self.spool()?.add_shared(xid, part, message);
        Ok(())
    }

    /// Nothing kept: nothing to do, since a subtransaction may have had
    /// nothing of ours.
    pub(super) fn abort(&mut self, abort: StreamAbort) -> Result<()> {
        if abort.part == abort.xid {
            self.spool()?.abort(abort.xid.into());
        } else {
            self.spool()?.drop_part(abort.xid.into(), abort.part);
        }
        Ok(())
    }

    /// Takes out what was kept of a transaction that has committed.
    pub(super) fn take(&mut self, xid: u32) -> Result<Records> {
        self.spool()?
            .take(xid.into())
            .ok_or_else(|| broken("a streamed transaction commits that never began").with("xid", xid))
    }

    /// Whether more is kept in memory than may.
    pub(super) fn is_over(&self) -> bool {
        self.spool.as_ref().is_some_and(Spool::is_over)
    }

    /// Lends the spool to who writes it to disk.
    pub(super) fn lend(&mut self) -> Option<Spool> {
        self.spool.take()
    }

    /// Takes it back.
    pub(super) fn restore(&mut self, spool: Spool) {
        self.spool = Some(spool);
    }

    fn open(&self) -> Result<u64> {
        self.open.map(u64::from).ok_or_else(|| broken("no part of a transaction was begun"))
    }

    fn spool(&mut self) -> Result<&mut Spool> {
        self.spool.as_mut().ok_or_else(|| broken("it came while the spool was away"))
    }
}
