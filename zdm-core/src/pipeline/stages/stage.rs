//! What one stage is, and the typed stack of them.

use super::notes::Notes;
use super::shape::Shape;
use super::work::Work;
use crate::Result;
use crate::schema::Selection;

/// One step of a stack. Made by [`Stages`](super::Stages) and by nobody else.
///
/// A stage plans once for each shape of a table and then works row by row. It
/// never sees a boundary, so it cannot lose one.
pub trait Stage: Send + Sync + 'static {
    /// What it needs to know of a table to work on its rows.
    type Plan: Send + Sync + 'static;

    /// Changes the table's shape; `None` when it leaves the rows alone.
    ///
    /// # Errors
    /// `Config` when it names what is not there.
    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<Self::Plan>>;

    /// Works on one row.
    ///
    /// # Errors
    /// What a closure fails with; `Unsupported` when a cell is missing.
    fn row(&self, plan: &Self::Plan, row: &mut Work) -> Result<()>;

    /// Takes back what it did to the old image, as far as that is carried.
    ///
    /// # Errors
    /// `Unsupported` when it computes what is carried and has no inverse.
    fn back(&self, plan: &Self::Plan, row: &mut Work) -> Result<()>;

    /// The patterns that some table should match.
    fn patterns(&self, patterns: &mut Vec<String>);
}

/// No stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pass;

impl Stage for Pass {
    type Plan = ();

    fn plan(&self, _: &mut Shape, _: &mut Notes) -> Result<Option<()>> {
        Ok(None)
    }

    fn row(&self, (): &(), _: &mut Work) -> Result<()> {
        Ok(())
    }

    fn back(&self, (): &(), _: &mut Work) -> Result<()> {
        Ok(())
    }

    fn patterns(&self, _: &mut Vec<String>) {}
}

/// One stage behind another, as a type: the compiler sees through the whole
/// stack and inlines its closures into the loop over a batch's rows.
#[derive(Debug, Clone, Copy)]
pub struct Then<A, B>(pub(super) A, pub(super) B);

impl<A: Stage, B: Stage> Stage for Then<A, B> {
    type Plan = (Option<A::Plan>, Option<B::Plan>);

    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<Self::Plan>> {
        let first = self.0.plan(shape, notes)?;
        if shape.left_out {
            return Ok(None);
        }
        let second = self.1.plan(shape, notes)?;
        Ok((first.is_some() || second.is_some()).then_some((first, second)))
    }

    fn row(&self, (first, second): &Self::Plan, row: &mut Work) -> Result<()> {
        if let Some(plan) = first {
            self.0.row(plan, row)?;
            if row.dropped {
                return Ok(());
            }
        }
        second.as_ref().map_or(Ok(()), |plan| self.1.row(plan, row))
    }

    fn back(&self, (first, second): &Self::Plan, row: &mut Work) -> Result<()> {
        if let Some(plan) = second {
            self.1.back(plan, row)?;
        }
        first.as_ref().map_or(Ok(()), |plan| self.0.back(plan, row))
    }

    fn patterns(&self, patterns: &mut Vec<String>) {
        self.0.patterns(patterns);
        self.1.patterns(patterns);
    }
}

/// A stage for the tables that match a pattern, and no other.
#[derive(Debug, Clone)]
pub struct On<S> {
    pub(super) tables: Selection,
    pub(super) stage: S,
}

impl<S: Stage> Stage for On<S> {
    type Plan = S::Plan;

    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<S::Plan>> {
        if !self.tables.matches(&shape.table.name) {
            return Ok(None);
        }
        notes.matched.extend(self.tables.patterns().iter().cloned());
        self.stage.plan(shape, notes)
    }

    fn row(&self, plan: &S::Plan, row: &mut Work) -> Result<()> {
        self.stage.row(plan, row)
    }

    fn back(&self, plan: &S::Plan, row: &mut Work) -> Result<()> {
        self.stage.back(plan, row)
    }

    fn patterns(&self, patterns: &mut Vec<String>) {
        patterns.extend(self.tables.patterns().iter().cloned());
        self.stage.patterns(patterns);
    }
}
