//! Leaves rows out by a predicate, judged on the old and the new image.

use super::notes::Notes;
use super::shape::Shape;
use super::stage::Stage;
use super::work::{Carried, Reads, Row, Side, Work};
use crate::change::{Cell, Op};
use crate::connect::Severity;
use crate::{Error, ErrorKind, Result};

/// Keeps the rows for which a predicate is true.
#[derive(Clone)]
pub struct Filter<F> {
    pub(super) reads: Vec<String>,
    pub(super) keeps: F,
}

impl<F> std::fmt::Debug for Filter<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("reads", &self.reads).finish_non_exhaustive()
    }
}

/// What a filter needs to know of a table.
#[derive(Debug)]
pub struct Plan {
    reads: Reads,
    /// Whether the log carries what it reads in every old image, so that an
    /// update with no old image has kept it.
    by_key: bool,
}

impl<F> Stage for Filter<F>
where
    F: Fn(Row<'_>) -> Result<bool> + Send + Sync + 'static,
{
    type Plan = Plan;

    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<Plan>> {
        let columns = self.reads.iter().map(|name| shape.column(name)).collect::<Result<Vec<_>>>()?;
        for at in columns.iter().filter(|at| !shape.table.columns[**at].is_written()) {
            notes.blocker("filter_generated", shape.subject(*at), GENERATED);
        }
        let by_key = columns.iter().all(|at| shape.facts[*at].in_old);
        if let Some(at) = columns.iter().find(|at| !shape.facts[**at].in_old) {
            notes.needs_full(
                Severity::Blocker,
                "filter_not_by_key",
                shape.subject(*at),
                "a filter judges rows by this column, but the log carries only the key of the old row: a row that leaves the filter would stay at the target",
            );
        } else if columns.iter().any(|at| shape.is_key(*at)) && shape.facts.iter().any(|f| f.may_miss) {
            notes.needs_full(
                Severity::Warning,
                "filter_by_key_entering",
                &shape.table.name,
                "a change of key that brings a row into the filter may come without its large values, and then stops the run",
            );
        }
        shape.filtered = true;
        let reads = columns.iter().map(|at| (*at, shape.table.columns[*at].clone())).collect();
        Ok(Some(Plan { reads, by_key }))
    }

    fn row(&self, plan: &Plan, row: &mut Work) -> Result<()> {
        match row.op {
            Op::Insert => row.dropped = !self.judge(plan, row, Side::New)?,
            Op::Delete => row.dropped = !self.judge(plan, row, Side::Old)?,
            Op::Update => {
                let is = self.judge(plan, row, Side::New)?;
                let was = match (row.has_old, plan.by_key) {
                    (true, _) => self.judge(plan, row, Side::Old)?,
                    // No old image: the key, and what is made of it alone,
                    // stayed as it is.
                    (false, true) => is,
                    (false, false) => return Err(missing(plan)),
                };
                match (was, is) {
                    (true, true) => {}
                    (false, false) => row.dropped = true,
                    (true, false) => {
                        row.op = Op::Delete;
                        row.new.clear();
                    }
                    (false, true) => enter(row),
                }
            }
        }
        Ok(())
    }

    fn back(&self, _: &Plan, _: &mut Work) -> Result<()> {
        Ok(())
    }

    fn patterns(&self, _: &mut Vec<String>) {}
}

impl<F: Fn(Row<'_>) -> Result<bool>> Filter<F> {
    fn judge(&self, plan: &Plan, row: &mut Work, side: Side) -> Result<bool> {
        match row.carried(side, &plan.reads) {
            Carried::All => (self.keeps)(row.row(side, &plan.reads)),
            Carried::Nothing | Carried::Some => Err(missing(plan)),
        }
    }
}

pub(super) const GENERATED: &str = "a stage reads a generated column, which the log does not carry";

/// A row enters: it is new to the target. With a cell missing it cannot be
/// an insert, and stays an update of a row that is not there, which the
/// target's writer reads again while it catches up, and refuses later.
fn enter(row: &mut Work) {
    for column in 0..row.new.len() {
        row.fill(column);
    }
    if !row.new.contains(&Cell::Unchanged) {
        row.op = Op::Insert;
    }
    row.has_old = false;
    row.old.clear();
}

fn missing(plan: &Plan) -> Error {
    let columns: Vec<&str> = plan.reads.iter().map(|(_, column)| column.name.as_str()).collect();
    Error::new(
        ErrorKind::Unsupported,
        "a filter cannot judge a row whose log entry does not carry what it reads: make the source log whole old rows, or filter by key columns",
    )
    .with("columns", columns.join(", "))
}
