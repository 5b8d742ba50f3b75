//! What is taken back of the transaction that is open: see [`undo`](super::super::undo).

use smol_str::SmolStr;
use zdm_core::Result;
use zdm_core::change::Assembler;

use super::super::aside::Events;
use super::super::event::Header;
use super::super::statement::Savepoint;
use super::super::undo::Moment;
use super::{Open, Walk};

impl Walk {
    /// A moment that the transaction may be taken back to.
    pub(super) fn save(&mut self, name: Savepoint, batch: &Assembler) {
        let Some(open) = &mut self.open else { return };
        let kept = open.aside.as_ref().map(Events::kept).unwrap_or_default();
        let (rows, added, told) = (open.rows, open.added, open.told);
        open.moments.save(name, Moment { rows, added, told, mark: Some(batch.mark()), kept });
    }

    /// What came since that savepoint does not count.
    pub(super) fn rolled_back_to(&mut self, name: Option<&SmolStr>, batch: &mut Assembler) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // Nothing of ours.
        if open.added == 0 && !open.torn && !open.aside.as_ref().is_some_and(Events::has_rows) {
            return Ok(());
        }
        let moment = open.moments.back_to(name)?;
        self.take_back(&moment, batch);
        Ok(())
    }

    /// The transaction ends, and nothing of it counts.
    pub(super) fn rolled_back(&mut self, header: &Header, batch: &mut Assembler) -> Result<()> {
        self.take_back_all(batch);
        match &self.open {
            // It was handed over, and all that came with it is taken back.
            Some(open) if open.told => self.commit(header, batch),
            _ => self.end(),
        }
    }

    /// A file begins or ends: what was open was cut off by a crash of the
    /// server, and never committed. The reader has nothing of it.
    pub(super) fn cut_off(&mut self, batch: &mut Assembler) -> Result<()> {
        self.take_back_all(batch);
        let Some(open) = self.open.take() else { return Ok(()) };
        if open.told {
            return Err(self.undone.learn(open.which(self.place.server()), open.taken));
        }
        if let Some(events) = &open.aside {
            self.aside.release(events);
        }
        Ok(())
    }

    fn take_back_all(&mut self, batch: &mut Assembler) {
        if let Some(begin) = self.open.as_ref().map(|open| open.moments.begin()) {
            self.take_back(&begin, batch);
        }
    }

    /// Takes out of the batch what the transaction has brought since then, or
    /// notes what of it was handed over already.
    fn take_back(&mut self, to: &Moment, batch: &mut Assembler) {
        let Some(open) = &mut self.open else { return };
        if let Some(events) = &mut open.aside {
            self.aside.cut(events, to.kept);
            return;
        }
        if open.rows > to.rows {
            open.taken.push(to.rows..open.rows);
        }
        if open.torn || open.added == to.added && open.told == to.told {
            return;
        }
        match &to.mark {
            Some(mark) => {
                batch.rewind(mark);
                (open.added, open.told) = (to.added, to.told);
            }
            None => open.torn = open.added > to.added,
        }
    }
}

impl Open {
    /// The batch is handed over with what it has of the transaction.
    pub(super) fn handed_over(&mut self) {
        self.moments.handed_over(self.added, self.told);
    }
}
