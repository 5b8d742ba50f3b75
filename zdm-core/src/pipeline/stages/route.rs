//! Gives tables other names, merges tables, and leaves tables out.

use super::notes::Notes;
use super::shape::Shape;
use super::stage::Stage;
use super::work::Work;
use crate::Result;
use crate::schema::TableName;

/// Gives tables other names. Two tables with one name are merged.
#[derive(Clone)]
pub struct Route<F> {
    pub(super) to: F,
}

impl<F> std::fmt::Debug for Route<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").finish_non_exhaustive()
    }
}

impl<F> Stage for Route<F>
where
    F: Fn(&TableName) -> TableName + Send + Sync + 'static,
{
    type Plan = ();

    fn plan(&self, shape: &mut Shape, _: &mut Notes) -> Result<Option<()>> {
        shape.table.name = (self.to)(&shape.table.name);
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

/// The name that a target pattern gives: `*` keeps that part as it is.
pub(super) fn renamed(name: &TableName, to: &TableName) -> TableName {
    TableName {
        schema: if to.schema == "*" { name.schema.clone() } else { to.schema.clone() },
        name: if to.name == "*" { name.name.clone() } else { to.name.clone() },
    }
}

/// Leaves tables out: none of their rows reaches the target. The boundaries
/// of their transactions do.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaveOut;

impl Stage for LeaveOut {
    type Plan = ();

    fn plan(&self, shape: &mut Shape, _: &mut Notes) -> Result<Option<()>> {
        shape.left_out = true;
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
