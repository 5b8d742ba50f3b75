//! A table of the target, and the tables of the source that it is made of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::order;
use super::rows::Columns;
use crate::change::{BatchBuilder, Item};
use crate::connect::Verify;
use crate::pipeline::Transform;
use crate::schema::{Schema, Selection, Table};
use crate::{Error, ErrorKind, Result};

/// What is compared as one.
#[derive(Debug)]
pub(super) struct Unit {
    /// As the source describes them; several where stages merge them.
    pub(super) sources: Vec<Arc<Table>>,
    /// As the stages made it.
    pub(super) staged: Arc<Table>,
    /// As the target describes it.
    pub(super) there: Arc<Table>,
    pub(super) columns: Columns,
    /// Whether both sides may be divided at the same keys.
    pub(super) ordered: bool,
    /// Whether the target finds rows by the same key.
    pub(super) keyed_there: bool,
    /// Set when the stages cannot lead a key back: rows of the source are
    /// then looked for among all.
    pub(super) scans: AtomicBool,
}

impl Unit {
    /// Whether both sides find its rows by one key, without a look at all of
    /// them.
    pub(super) fn is_keyed(&self) -> bool {
        self.staged.has_key()
            && self.keyed_there
            && self.sources.len() == 1
            && !self.scans.load(Ordering::Relaxed)
    }

    /// Its name, which is the target's.
    pub(super) fn name(&self) -> String {
        self.there.name.to_string()
    }
}

/// Pairs the tables of a run that `chosen` matches.
///
/// # Errors
/// `NotFound` when the target lacks one, or none matches.
pub(super) async fn units(
    source: &Schema,
    target: &Schema,
    stages: &dyn Transform,
    verify: &dyn Verify,
    chosen: &Selection,
) -> Result<Vec<Unit>> {
    let mut gathered: Vec<(Arc<Table>, Vec<Arc<Table>>)> = Vec::new();
    for table in source.tables.iter().filter(|table| chosen.matches(&table.origin.name)) {
        let Some(name) = becomes(table, stages)? else { continue };
        let staged = target.table(&name).ok_or_else(|| {
            Error::new(ErrorKind::Config, "a stage gives a table that is not in its schema")
                .with("table", &name)
        })?;
        match gathered.iter_mut().find(|(known, _)| known.name == name) {
            Some((_, sources)) => sources.push(Arc::clone(table)),
            None => gathered.push((Arc::clone(staged), vec![Arc::clone(table)])),
        }
    }
    if gathered.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no table of the run matches: check the patterns")
            .with("patterns", chosen.patterns().join(", ")));
    }
    let names: Vec<_> = gathered.iter().map(|(staged, _)| staged.name.clone()).collect();
    let there = verify.tables(&names).await?;
    gathered.into_iter().zip(there).map(|((staged, sources), there)| unit(sources, staged, there)).collect()
}

fn unit(sources: Vec<Arc<Table>>, staged: Arc<Table>, there: Arc<Table>) -> Result<Unit> {
    let one_engine = staged.origin.engine == there.origin.engine;
    let columns = Columns::pair(&staged, &there, one_engine)?;
    let names = |table: &Table| -> Vec<_> {
        table.key_columns().iter().map(|at| table.columns[*at].name.clone()).collect()
    };
    let keyed_there = there.has_key() && names(&staged) == names(&there);
    let ordered = keyed_there && sources.len() == 1 && order::alike(&staged, &there);
    Ok(Unit { sources, staged, there, columns, ordered, keyed_there, scans: AtomicBool::new(false) })
}

/// The name of the table that a table of the source becomes; `None` if the
/// stages leave it out.
fn becomes(table: &Arc<Table>, stages: &dyn Transform) -> Result<Option<crate::schema::TableName>> {
    let mut probe = BatchBuilder::new();
    probe.schema(None, Arc::clone(table));
    let mapped = stages.batch(probe.finish())?;
    Ok(mapped.items().iter().find_map(|item| match item {
        Item::Schema { new, .. } => Some(new.name.clone()),
        _ => None,
    }))
}
