//! Changes the values of one column.

use super::filter::GENERATED;
use super::notes::Notes;
use super::shape::{Fact, Shape};
use super::stage::Stage;
use super::work::{Carried, Reads, Side, Work};
use crate::change::{Cell, Op, Value};
use crate::connect::Severity;
use crate::schema::{Column, DataType};
use crate::{Error, ErrorKind, Result};

/// A function from a value to a value.
pub trait Function: Send + Sync + 'static {
    /// Whether there is one.
    const IS: bool = true;

    /// Its value.
    ///
    /// # Errors
    /// Whatever the user's closure fails with.
    fn call<'a>(&self, value: Value<'a>) -> Result<Value<'a>>;
}

impl<F> Function for F
where
    F: for<'a> Fn(Value<'a>) -> Result<Value<'a>> + Send + Sync + 'static,
{
    fn call<'a>(&self, value: Value<'a>) -> Result<Value<'a>> {
        self(value)
    }
}

/// No inverse.
#[derive(Debug, Clone, Copy)]
pub struct OneWay;

impl Function for OneWay {
    const IS: bool = false;

    fn call<'a>(&self, _: Value<'a>) -> Result<Value<'a>> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "a stage writes a key column and has no inverse, so that the row cannot be found at the source: give it one with `map_with_inverse`",
        ))
    }
}

/// Puts each value of a column through a function.
#[derive(Clone)]
pub struct Map<F, G> {
    pub(super) column: String,
    pub(super) to: Option<DataType>,
    pub(super) forth: F,
    pub(super) back: G,
}

impl<F, G> std::fmt::Debug for Map<F, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Map").field("column", &self.column).field("to", &self.to).finish_non_exhaustive()
    }
}

/// What a map needs to know of a table.
#[derive(Debug)]
pub struct Plan {
    reads: Reads,
    /// The column as the map makes it.
    into: Reads,
}

impl<F: Function, G: Function> Stage for Map<F, G> {
    type Plan = Plan;

    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<Plan>> {
        let at = shape.column(&self.column)?;
        let reads = vec![(at, shape.table.columns[at].clone())];
        if !G::IS {
            if shape.is_key(at) && shape.facts.iter().any(|fact| fact.may_miss) {
                notes.warning(
                    "map_of_key_without_inverse",
                    shape.subject(at),
                    "a row that must be read again from the source cannot be found there, and then stops the run; give the map its inverse",
                );
            }
            notes.one_way("map_without_inverse", shape.subject(at), "the map of this column has no inverse");
        }
        shape.rewrite(at, self.to.as_ref(), notes)?;
        Ok(Some(Plan { reads, into: vec![(at, shape.table.columns[at].clone())] }))
    }

    fn row(&self, plan: &Plan, row: &mut Work) -> Result<()> {
        for side in [Side::Old, Side::New] {
            if row.has(side) {
                apply(&self.forth, row, side, &plan.reads, &plan.into)?;
            }
        }
        Ok(())
    }

    fn back(&self, plan: &Plan, row: &mut Work) -> Result<()> {
        apply(&self.back, row, Side::Old, &plan.into, &plan.reads)
    }

    fn patterns(&self, _: &mut Vec<String>) {}
}

/// A function of an unchanged value is unchanged, since it is a function.
fn apply(f: &impl Function, row: &mut Work, side: Side, reads: &Reads, into: &Reads) -> Result<()> {
    for ((at, _), (_, column)) in reads.iter().zip(into) {
        if row.image(side)[*at] != Cell::Unchanged {
            let cell = row.compute(side, reads, column, |row| f.call(row.value(0)?))?;
            row.image(side)[*at] = cell;
        }
    }
    Ok(())
}

/// Computes a column from others.
#[derive(Clone)]
pub struct Compute<F> {
    pub(super) target: Target,
    pub(super) reads: Vec<String>,
    pub(super) f: F,
}

/// Where a computed value goes.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A column that the source does not have, at the end of the row.
    New(Box<Column>),
    /// A column that is there.
    Existing(String),
}

impl<F> std::fmt::Debug for Compute<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compute")
            .field("target", &self.target)
            .field("reads", &self.reads)
            .finish_non_exhaustive()
    }
}

/// What a computation needs to know of a table.
#[derive(Debug)]
pub struct Computed {
    reads: Reads,
    into: Column,
    at: usize,
    new: bool,
    key: bool,
}

impl<F> Stage for Compute<F>
where
    F: for<'a> Fn(super::Row<'a>) -> Result<Value<'a>> + Send + Sync + 'static,
{
    type Plan = Computed;

    fn plan(&self, shape: &mut Shape, notes: &mut Notes) -> Result<Option<Computed>> {
        let columns = self.reads.iter().map(|name| shape.column(name)).collect::<Result<Vec<_>>>()?;
        let reads: Reads = columns.iter().map(|at| (*at, shape.table.columns[*at].clone())).collect();
        for at in columns.iter().filter(|at| !shape.table.columns[**at].is_written()) {
            notes.blocker("compute_generated", shape.subject(*at), GENERATED);
        }
        let distinct = columns.iter().any(|at| *at != columns[0]);
        if let Some(at) = columns.iter().find(|at| distinct && shape.facts[**at].may_miss) {
            notes.needs_full(
                Severity::Blocker,
                "compute_misses_cell",
                shape.subject(*at),
                "a stage computes a column from this one and others, but the log leaves a large value out of an update that did not change it",
            );
        }
        let in_old = columns.iter().all(|at| shape.facts[*at].in_old);
        let may_miss = !in_old && columns.iter().any(|at| shape.facts[*at].may_miss);
        let new = matches!(self.target, Target::New(_));
        let at = match &self.target {
            Target::New(column) => {
                let fact = Fact { origin: None, in_old, may_miss, rewritten: true };
                shape.add(Column::clone(column), fact)?;
                shape.table.columns.len() - 1
            }
            Target::Existing(name) => {
                let at = shape.column(name)?;
                notes.one_way(
                    "set_without_inverse",
                    shape.subject(at),
                    "a stage computes it from other columns",
                );
                shape.rewrite(at, None, notes)?;
                if shape.is_key(at) && !in_old {
                    notes.needs_full(
                        Severity::Blocker,
                        "compute_key_misses_cell",
                        shape.subject(at),
                        "a stage computes this key column from columns that the log does not carry of old rows",
                    );
                }
                (shape.facts[at].in_old, shape.facts[at].may_miss) = (in_old, may_miss);
                at
            }
        };
        Ok(Some(Computed { reads, into: shape.table.columns[at].clone(), at, new, key: shape.is_key(at) }))
    }

    fn row(&self, plan: &Computed, row: &mut Work) -> Result<()> {
        // Computed before either is stored: an existing column may be one of
        // those that are read, and the new image may be filled from the old.
        let new = if row.has_new() { Some(self.cell(plan, row, Side::New)?) } else { None };
        let old = if row.has_old { Some(self.cell(plan, row, Side::Old)?) } else { None };
        for (side, cell) in [(Side::New, new), (Side::Old, old)] {
            let Some(cell) = cell else { continue };
            if plan.new {
                row.image(side).push(cell);
            } else {
                row.image(side)[plan.at] = cell;
            }
        }
        Ok(())
    }

    fn back(&self, plan: &Computed, row: &mut Work) -> Result<()> {
        if plan.new {
            row.old.pop();
        } else if plan.key {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a stage computes a key column from others, so that the row cannot be found at the source",
            )
            .with("column", &plan.into.name));
        } else {
            row.old[plan.at] = Cell::Unchanged;
        }
        Ok(())
    }

    fn patterns(&self, _: &mut Vec<String>) {}
}

impl<F> Compute<F>
where
    F: for<'a> Fn(super::Row<'a>) -> Result<Value<'a>>,
{
    fn cell(&self, plan: &Computed, row: &mut Work, side: Side) -> Result<Cell> {
        match (row.carried(side, &plan.reads), side) {
            (Carried::All, _) => row.compute(side, &plan.reads, &plan.into, |row| (self.f)(row)),
            // An old image tells which row it was, and need not tell more.
            (_, Side::Old) if !plan.key => Ok(Cell::Unchanged),
            // All that it is made of is as it was, so it is too.
            (Carried::Nothing, Side::New) if row.op == Op::Update => Ok(Cell::Unchanged),
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "a stage cannot compute a column, since the log did not carry all that it reads: make the source log whole old rows",
            )
            .with("column", &plan.into.name)),
        }
    }
}
