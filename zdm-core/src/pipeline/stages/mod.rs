//! Stages: what happens to rows and tables between a source and a sink.
//!
//! The stack is typed, so that closures are inlined into the loop over a
//! batch's rows, and erased once. A stage plans once for each shape of a
//! table; its work on a row knows nothing of transactions, so that it cannot
//! lose one.
//!
//! What the log does not carry is the hard part, and is settled as follows.
//!
//! * A new image may lack a large value that did not change. It is taken from
//!   the old image where that carries it. A map of one column leaves it as it
//!   is: a function of an unchanged value is unchanged. A computation that
//!   misses some of what it reads is an error, and one that could is a
//!   blocker before the start.
//! * An old image may carry the key alone. So a filter may read only what it
//!   carries, else a row that left the filter would stay at the target; that,
//!   too, is a blocker.
//! * A row that enters a filter without all its values stays an update, of a
//!   row that the target lacks: its writer reads it again while it catches
//!   up, and refuses it later.
//!
//! The way back (rows of the target through the inverse of the stages) is
//! only judged here, by [`Transform::irreversible`]; keys already go back, by
//! [`Transform::keys_back`].

mod columns;
mod filter;
mod fit;
mod map;
mod notes;
mod places;
mod route;
mod shape;
mod stack;
mod stage;
#[cfg(test)]
mod tests;
mod wishes;
mod work;

use std::sync::Arc;

use columns::{Choose, RenameColumn};
use filter::Filter;
use map::{Compute, Map, OneWay, Target};
use route::{LeaveOut, Route};
use stack::Stack;
use stage::{On, Pass, Stage, Then};
pub(crate) use wishes::names_of;
pub use work::Row;

use super::Transform;
use crate::change::Value;
use crate::schema::{Column, DataType, Selection, TableName};
use crate::{Error, Result};

/// A stack of stages, a value that copy, stream, verification and the way
/// back share. Each sees the rows and tables as the one before it left them.
///
/// ```
/// use zdm_core::change::Value;
/// use zdm_core::pipeline::Stages;
/// use zdm_core::schema::{Column, DataType};
///
/// let stages = Stages::new()
///     .leave_out("public.log_*")
///     .on("public.users", |users| {
///         users
///             .filter(["tenant"], |row| Ok(row.integer(0)? == Some(7)))
///             .map("email", |email| Ok(email.as_str().map(str::to_lowercase).into()))
///             .compute(Column::new("label", DataType::text()), ["id"], |row| {
///                 Ok(Value::from(format!("user {}", row.value(0)?)))
///             })
///             .drop_columns(["password"])
///     })
///     .route("public.*", "app.*")
///     .build()?;
/// # let _ = stages;
/// # Ok::<(), zdm_core::Error>(())
/// ```
///
/// A closure names the columns that it reads and gets them by their place in
/// that list, so that no name is looked up for a row. It must be pure. A
/// stage outside [`on`](Self::on) is for every table, and each must have the
/// columns that it names.
#[derive(Debug)]
#[must_use = "stages do nothing until they are built and given to a pipeline or migration"]
pub struct Stages<S> {
    stage: S,
    /// The first thing that was written wrong; said by `build`.
    wrong: Option<Error>,
}

impl Stages<Pass> {
    /// No stage yet.
    pub fn new() -> Self {
        Self { stage: Pass, wrong: None }
    }
}

impl Default for Stages<Pass> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Stage> Stages<S> {
    fn then<B: Stage>(self, stage: B) -> Stages<Then<S, B>> {
        Stages { stage: Then(self.stage, stage), wrong: self.wrong }
    }

    /// Stages for the tables that match a pattern (`public.users`,
    /// `shard_*.orders`), by the name that they have at this place of the
    /// stack.
    ///
    /// A pattern that no table matches is a finding.
    pub fn on<B: Stage>(
        mut self,
        pattern: &str,
        stages: impl FnOnce(Stages<Pass>) -> Stages<B>,
    ) -> Stages<Then<S, On<B>>> {
        let Stages { stage, wrong } = stages(Stages::new());
        let tables = Selection::new([pattern]).unwrap_or_else(|error| {
            self.wrong.get_or_insert(error);
            Selection::all()
        });
        self.wrong = self.wrong.or(wrong);
        self.then(On { tables, stage })
    }

    /// Keeps the rows for which `keeps` is true, which reads the columns
    /// `reads`.
    ///
    /// It judges the old and the new image: a row that leaves the filter is a
    /// delete, one that enters is an insert. Where the log carries only the
    /// key of old rows it may read nothing but key columns, or the check
    /// before the start says so. A TRUNCATE passes.
    pub fn filter<'n, F>(
        self,
        reads: impl IntoIterator<Item = &'n str>,
        keeps: F,
    ) -> Stages<Then<S, Filter<F>>>
    where
        F: Fn(Row<'_>) -> Result<bool> + Send + Sync + 'static,
    {
        self.then(Filter { reads: reads.into_iter().map(str::to_owned).collect(), keeps })
    }

    /// Puts each value of a column through a function, in old and new images
    /// alike. It must be pure, and may be given null.
    ///
    /// A value that the log does not carry, because it did not change, stays
    /// so. On a key column, two keys must not become one.
    pub fn map<F>(self, column: &str, f: F) -> Stages<Then<S, Map<F, OneWay>>>
    where
        F: for<'a> Fn(Value<'a>) -> Result<Value<'a>> + Send + Sync + 'static,
    {
        self.then(Map { column: column.to_owned(), to: None, forth: f, back: OneWay })
    }

    /// The same as [`map`](Self::map), with the function that takes a value
    /// back: so that a row can be found at the source by a mapped key, and
    /// for the way back.
    pub fn map_with_inverse<F, G>(self, column: &str, f: F, inverse: G) -> Stages<Then<S, Map<F, G>>>
    where
        F: for<'a> Fn(Value<'a>) -> Result<Value<'a>> + Send + Sync + 'static,
        G: for<'a> Fn(Value<'a>) -> Result<Value<'a>> + Send + Sync + 'static,
    {
        self.then(Map { column: column.to_owned(), to: None, forth: f, back: inverse })
    }

    /// The same as [`map`](Self::map), to values of another type. What the
    /// column's own engine said of it (native type, default, collation) is
    /// forgotten.
    pub fn map_to<F>(self, column: &str, to: DataType, f: F) -> Stages<Then<S, Map<F, OneWay>>>
    where
        F: for<'a> Fn(Value<'a>) -> Result<Value<'a>> + Send + Sync + 'static,
    {
        self.then(Map { column: column.to_owned(), to: Some(to), forth: f, back: OneWay })
    }

    /// Adds a column at the end, computed from the columns `reads`.
    ///
    /// Where the log may leave some of them out of an update, the check
    /// before the start says so: see [the module](super).
    pub fn compute<'n, F>(
        self,
        column: Column,
        reads: impl IntoIterator<Item = &'n str>,
        f: F,
    ) -> Stages<Then<S, Compute<F>>>
    where
        F: for<'a> Fn(Row<'a>) -> Result<Value<'a>> + Send + Sync + 'static,
    {
        let reads = reads.into_iter().map(str::to_owned).collect();
        self.then(Compute { target: Target::New(Box::new(column)), reads, f })
    }

    /// Computes an existing column from the columns `reads`.
    pub fn set<'n, F>(
        self,
        column: &str,
        reads: impl IntoIterator<Item = &'n str>,
        f: F,
    ) -> Stages<Then<S, Compute<F>>>
    where
        F: for<'a> Fn(Row<'a>) -> Result<Value<'a>> + Send + Sync + 'static,
    {
        let reads = reads.into_iter().map(str::to_owned).collect();
        self.then(Compute { target: Target::Existing(column.to_owned()), reads, f })
    }

    /// Gives one table another name. Foreign keys and sequences follow.
    pub fn rename_table(self, from: &str, to: &str) -> Stages<impl Stage + use<S>> {
        self.route(from, to)
    }

    /// Gives the tables that match a pattern another name. `*` for schema or
    /// name of the target keeps that part: `route("shard_*.*", "public.*")`.
    ///
    /// Tables that end up under one name are merged; they must have the same
    /// columns and key. A TRUNCATE of a merged table stops the run.
    pub fn route(mut self, from: &str, to: &str) -> Stages<impl Stage + use<S>> {
        let to: TableName = to.parse().unwrap_or_else(|error| {
            self.wrong.get_or_insert(error);
            TableName::new("*", "*")
        });
        self.on(from, |tables| tables.route_by(move |name| route::renamed(name, &to)))
    }

    /// Gives every table the name that a function gives it.
    pub fn route_by<F>(self, to: F) -> Stages<Then<S, Route<F>>>
    where
        F: Fn(&TableName) -> TableName + Send + Sync + 'static,
    {
        self.then(Route { to })
    }

    /// Leaves the tables out that match a pattern. Their transactions' rows
    /// of other tables, and their boundaries, stay.
    pub fn leave_out(self, pattern: &str) -> Stages<impl Stage + use<S>> {
        self.on(pattern, |tables| tables.then(LeaveOut))
    }

    /// Gives a column another name; key, indexes and constraints follow.
    pub fn rename_column(self, from: &str, to: &str) -> Stages<Then<S, RenameColumn>> {
        self.then(RenameColumn { from: from.to_owned(), to: to.to_owned() })
    }

    /// Keeps these columns, in this order. The key must be among them.
    pub fn select<'n>(self, columns: impl IntoIterator<Item = &'n str>) -> Stages<Then<S, Choose>> {
        self.then(Choose { names: columns.into_iter().map(str::to_owned).collect(), keep: true })
    }

    /// Drops these columns. None may be part of the key.
    pub fn drop_columns<'n>(self, columns: impl IntoIterator<Item = &'n str>) -> Stages<Then<S, Choose>> {
        self.then(Choose { names: columns.into_iter().map(str::to_owned).collect(), keep: false })
    }

    /// Erases the types: one virtual call for each batch from here on.
    ///
    /// # Errors
    /// `Config` for a pattern or table name that cannot be read.
    pub fn build(self) -> Result<Arc<dyn Transform>> {
        match self.wrong {
            None => Ok(Arc::new(Stack::new(self.stage))),
            Some(error) => Err(error.during("pipeline.build")),
        }
    }
}
