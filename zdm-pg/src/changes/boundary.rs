//! Where one transaction ends and the next begins, and how far that is.

use zdm_core::change::{Assembler, Begin, Commit, DateTime, Item, Xid};
use zdm_core::{Position, Result};

use super::message::broken;
use crate::position::Lsn;

/// Follows the boundaries in the log and puts those that matter into batches.
///
/// A transaction with nothing of ours in it is never begun; it moves the
/// reader on, and many of them in a row are told as one [`Item::Idle`].
#[derive(Debug)]
pub(super) struct Boundary {
    transaction: Transaction,
    /// Nothing before this comes again, and nothing between it and the next
    /// transaction is missing.
    reached: Lsn,
    /// `reached` moved without a commit of ours, and nobody was told yet.
    idle: bool,
    /// The newest transaction number seen, in all its 64 bits.
    newest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    Outside,
    /// Begun, with nothing of ours in it yet.
    Empty(Xid),
    /// Begun, and told as begun.
    Open,
}

impl Boundary {
    /// Of a stream from `from`; `newest` as for
    /// [`Decoder::new`](super::decoder::Decoder::new).
    pub(super) fn new(from: Lsn, newest: u64) -> Self {
        Self { transaction: Transaction::Outside, reached: from, idle: false, newest }
    }

    #[cfg(test)]
    pub(super) fn reached(&self) -> Lsn {
        self.reached
    }

    /// Whether [`settle`](Self::settle) has something to tell.
    pub(super) fn is_idle(&self) -> bool {
        self.idle
    }

    /// The server has sent every transaction that ends before `end`.
    pub(super) fn keep_alive(&mut self, end: Lsn) {
        // Within a transaction, its commit is still to come. After a start the
        // server may speak of points before ours.
        if self.transaction == Transaction::Outside && end > self.reached {
            self.reached = end;
            self.idle = true;
        }
    }

    /// Adds what is told only before a batch is handed over.
    pub(super) fn settle(&mut self, batch: &mut Assembler) {
        if std::mem::take(&mut self.idle) {
            batch.item(Item::Idle { position: self.reached.into() });
        }
    }

    pub(super) fn begin(&mut self, xid: u32) -> Result<()> {
        if self.transaction != Transaction::Outside {
            return Err(broken("a transaction begins within another"));
        }
        self.transaction = Transaction::Empty(self.widen(xid));
        Ok(())
    }

    pub(super) fn commit(&mut self, end: Lsn, time: DateTime, batch: &mut Assembler) -> Result<()> {
        if end <= self.reached {
            return Err(broken("a transaction ends before one that came earlier")
                .with("end", end)
                .with("reached", self.reached));
        }
        match self.transaction {
            Transaction::Outside => return Err(broken("a commit that no transaction had begun")),
            Transaction::Empty(_) => self.idle = true,
            Transaction::Open => {
                batch.item(Item::Commit(Commit { position: Position::from(end), time: Some(time) }));
            }
        }
        self.transaction = Transaction::Outside;
        self.reached = end;
        Ok(())
    }

    /// Refuses what comes between transactions only.
    pub(super) fn outside(&self) -> Result<()> {
        match self.transaction {
            Transaction::Outside => Ok(()),
            Transaction::Empty(_) | Transaction::Open => {
                Err(broken("a part of a transaction comes within another"))
            }
        }
    }

    /// Refuses a change that no transaction has begun.
    pub(super) fn within(&self) -> Result<()> {
        match self.transaction {
            Transaction::Outside => Err(broken("a change outside a transaction")),
            Transaction::Empty(_) | Transaction::Open => Ok(()),
        }
    }

    /// Tells the begin, now that something of ours is in the transaction.
    pub(super) fn open(&mut self, batch: &mut Assembler) {
        if let Transaction::Empty(xid) = self.transaction {
            self.settle(batch);
            batch.item(Item::Begin(Begin { xid }));
            self.transaction = Transaction::Open;
        }
    }

    /// All 64 bits of a transaction's number. Every transaction that a slot
    /// still has to send lies within 2^31 of the newest one: else the server
    /// itself would have stopped, lest its numbers come round.
    fn widen(&mut self, xid: u32) -> Xid {
        // OK because only the lower half is wanted here,
        #[expect(clippy::cast_possible_truncation)]
        let lower = self.newest as u32;
        // and here the distance, backwards where it is more than half of 2^32.
        let distance = xid.wrapping_sub(lower).cast_signed();
        let full = self.newest.saturating_add_signed(distance.into());
        self.newest = self.newest.max(full);
        Xid(full.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_numbers_are_widened_around_the_newest() {
        let newest = (7 << 32) + 5;
        let mut boundary = Boundary::new(Lsn(0), newest);
        for (xid, full) in [
            (5, newest),
            (4, newest - 1),
            (u32::MAX, newest - 6),
            (1 << 31, (7 << 32) + (1 << 31)),
            (3 << 30, (7 << 32) + (3 << 30)),
            (0, 8 << 32),
            (u32::MAX, (8 << 32) - 1),
        ] {
            assert_eq!(boundary.widen(xid), Xid(full.into()), "{xid}");
        }
    }

    #[test]
    fn a_server_that_just_began_has_small_numbers() {
        assert_eq!(Boundary::new(Lsn(0), 3).widen(u32::MAX), Xid(0));
    }
}
