//! The names of a [`Mapping`], where nothing is converted: between servers of
//! one engine they are stages like any other.

use std::sync::Arc;

use super::columns::Chosen;
use super::notes::Notes;
use super::shape::Shape;
use super::stack::Stack;
use super::stage::Stage;
use super::work::Work;
use crate::Result;
use crate::pipeline::Transform;
use crate::schema::conversion::Mapping;

/// Other names for tables and columns, and columns that stay behind.
#[derive(Debug, Clone)]
struct Wishes(Mapping);

/// The names that a mapping wishes, and the columns that it drops, as a stack
/// of stages. What it says of types and values is not looked at.
pub(crate) fn names_of(mapping: &Mapping) -> Arc<dyn Transform> {
    Arc::new(Stack::new(Wishes(mapping.clone())))
}

impl Stage for Wishes {
    type Plan = Chosen;

    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<Chosen>> {
        let name = shape.table.name.clone();
        let wishes = self.0.wishes_of(&name);
        let before = shape.table.columns.len();
        let dropped: Vec<usize> =
            wishes.iter().flat_map(|wish| &wish.drop).filter_map(|name| shape.table.position(name)).collect();
        let kept: Vec<usize> = (0..before).filter(|at| !dropped.contains(at)).collect();
        let chosen = (kept.len() < before).then(|| Chosen { kept: kept.clone(), before });
        if chosen.is_some() {
            shape.keep(&kept, notes)?;
        }
        // The last word is the table's own.
        let mut renamed = Vec::new();
        for (column, wish) in wishes.iter().rev().flat_map(|wish| &wish.columns) {
            let known = shape.table.position(column).filter(|at| !renamed.contains(at));
            if let (Some(at), Some(name)) = (known, &wish.name) {
                shape.rename(at, name, notes)?;
                renamed.push(at);
            }
        }
        shape.table.name = self.0.renamed(&name)?;
        Ok(chosen)
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
