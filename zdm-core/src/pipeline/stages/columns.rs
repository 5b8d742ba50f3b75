//! Renames, chooses and drops columns.

use super::notes::Notes;
use super::shape::Shape;
use super::stage::Stage;
use super::work::{Side, Work};
use crate::Result;
use crate::change::Cell;

/// Gives a column another name.
#[derive(Debug, Clone)]
pub struct RenameColumn {
    pub(super) from: String,
    pub(super) to: String,
}

impl Stage for RenameColumn {
    type Plan = ();

    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<()>> {
        let at = shape.column(&self.from)?;
        shape.rename(at, &self.to, notes)?;
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

/// Keeps some columns, in an order of its own, or drops some.
#[derive(Debug, Clone)]
pub struct Choose {
    pub(super) names: Vec<String>,
    /// Whether the names are what is kept, or what is dropped.
    pub(super) keep: bool,
}

/// Which columns stay.
#[derive(Debug)]
pub struct Chosen {
    pub(super) kept: Vec<usize>,
    pub(super) before: usize,
}

impl Chosen {
    /// Leaves the chosen cells of a row.
    pub(super) fn row(&self, row: &mut Work) {
        for side in [Side::Old, Side::New] {
            if row.has(side) {
                row.choose(side, &self.kept);
            }
        }
    }

    /// Puts the cells of an old image back where they were.
    pub(super) fn back(&self, row: &mut Work) {
        let mut image = vec![Cell::Unchanged; self.before];
        for (cell, at) in row.old.iter().zip(&self.kept) {
            image[*at] = *cell;
        }
        row.old = image;
    }
}

impl Stage for Choose {
    type Plan = Chosen;

    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<Chosen>> {
        let mut named = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let at = shape.column(name)?;
            if !named.contains(&at) {
                named.push(at);
            }
        }
        let before = shape.table.columns.len();
        let kept: Vec<usize> =
            if self.keep { named } else { (0..before).filter(|at| !named.contains(at)).collect() };
        if kept.len() == before && kept.is_sorted() {
            return Ok(None);
        }
        shape.keep(&kept, notes)?;
        Ok(Some(Chosen { kept, before }))
    }

    fn row(&self, plan: &Chosen, row: &mut Work) -> Result<()> {
        plan.row(row);
        Ok(())
    }

    fn back(&self, plan: &Chosen, row: &mut Work) -> Result<()> {
        plan.back(row);
        Ok(())
    }

    fn patterns(&self, _: &mut Vec<String>) {}
}
