//! The last stage of all: rows of one engine's schema as rows of another's.
//!
//! Behind the user's stages, so that those see what the source has. Between
//! servers of one engine there are the names of a mapping alone, which are
//! stages again.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::Transform;
use crate::change::{Assembler, Batch, Cell, Image, Item, Op, Run};
use crate::connect::{Finding, Severity, Sink};
use crate::schema::conversion::{self, Cast, Conversion, Dialect, Mapping, Report, Rows};
use crate::schema::{Schema, Table};
use crate::{Error, ErrorKind, Result};

/// The user's stages, and behind them the conversion to the target's engine.
pub(crate) struct Converting {
    stages: Arc<dyn Transform>,
    mapping: Mapping,
    /// What comes behind the stages, once it is known.
    behind: OnceLock<Behind>,
    planned: RwLock<Planned>,
}

/// What is left to do behind the user's stages.
enum Behind {
    Nothing,
    /// The mapping's names.
    Names(Arc<dyn Transform>),
    /// The target's language.
    Words(Box<dyn Dialect>),
}

#[derive(Default)]
struct Planned {
    /// By the order of the schema.
    first: Vec<Arc<Rows>>,
    /// By the address of the table that comes in. OK as a key because each
    /// entry keeps that `Arc`.
    seen: HashMap<usize, Arc<Rows>>,
}

/// Tables that are remembered at most beyond the schema's own.
const REMEMBERED: usize = 1024;

impl Converting {
    pub(crate) fn new(stages: Arc<dyn Transform>, mapping: Mapping) -> Self {
        Self { stages, mapping, behind: OnceLock::new(), planned: RwLock::default() }
    }

    /// Asks the target for its language, if a table comes from another
    /// engine. A sink that has none takes rows as they are.
    pub(crate) async fn open(&self, sink: &dyn Sink, schema: &Schema) -> Result<()> {
        if self.behind.get().is_some() {
            return Ok(());
        }
        let dialect = match sink.capabilities().convert {
            Some(convert) => Some(convert.dialect().await?),
            None => None,
        };
        let foreign = dialect.filter(|dialect| {
            let engine = dialect.names().engine;
            schema.tables.iter().any(|table| !table.speaks(&engine))
        });
        let behind = match foreign {
            Some(dialect) => Behind::Words(dialect),
            None if self.mapping.is_empty() => Behind::Nothing,
            None => Behind::Names(self.names()?),
        };
        // Another task may have been quicker, with the same answer.
        let _ = self.behind.set(behind);
        Ok(())
    }

    fn names(&self) -> Result<Arc<dyn Transform>> {
        match self.mapping.beyond_names() {
            None => Ok(super::stages::names_of(&self.mapping)),
            Some(wish) => Err(Error::new(
                ErrorKind::Config,
                "between servers of one engine a mapping gives names and leaves columns behind, and types and values \
                 stay what they are: take this wish out of it; a program changes types by stages (map_to of \
                 zdm_core::pipeline::Stages), and a database at the target behind the cutover",
            )
            .with("wish", wish)),
        }
    }

    /// What the conversion comes to; `None` where there is none. Plans
    /// nothing: rows that are under way go on as they were planned.
    pub(crate) fn report(&self, schema: &Schema) -> Result<Option<Report>> {
        let staged = self.stages.schema(schema)?;
        Ok(self.conversion(&staged)?.map(|conversion| conversion.report))
    }

    fn conversion(&self, staged: &Schema) -> Result<Option<Conversion>> {
        let Some(dialect) = self.dialect() else { return Ok(None) };
        let conversion = conversion::convert(staged, dialect, &self.mapping);
        conversion.map(Some).map_err(|error| error.during("pipeline.convert"))
    }

    fn dialect(&self) -> Option<&dyn Dialect> {
        match self.behind.get() {
            Some(Behind::Words(dialect)) => Some(&**dialect),
            _ => None,
        }
    }

    fn renaming(&self) -> Option<&dyn Transform> {
        match self.behind.get() {
            Some(Behind::Names(names)) => Some(&**names),
            _ => None,
        }
    }

    /// Refuses names that cannot be given.
    fn refuse(&self, staged: &Schema) -> Result<()> {
        let checked =
            self.mapping.refuse_strangers(staged).and_then(|()| self.mapping.refuse_merging(staged));
        checked.map_err(|error| error.during("pipeline.convert"))
    }

    /// What becomes of the rows of a table that the stages gave.
    fn rows_of(&self, table: &Arc<Table>) -> Result<Arc<Rows>> {
        let address = Arc::as_ptr(table).addr();
        // OK to go on after a panic of another task, here and below: an entry
        // is put in whole.
        if let Some(rows) = self.planned.read().unwrap_or_else(PoisonError::into_inner).seen.get(&address) {
            return Ok(Arc::clone(rows));
        }
        let mut planned = self.planned.write().unwrap_or_else(PoisonError::into_inner);
        let known = planned.first.iter().find(|rows| alike(&rows.from, table)).cloned();
        let Some(known) = known else {
            return Err(Error::new(
                ErrorKind::SchemaChanged,
                "a table came in another shape than it was converted from: start the run anew",
            )
            .with("table", &table.name));
        };
        if planned.seen.len() >= planned.first.len() + REMEMBERED {
            planned.seen = by_address(&planned.first);
        }
        let rows = Arc::new(Rows { from: Arc::clone(table), ..Rows::clone(&known) });
        planned.seen.insert(address, Arc::clone(&rows));
        Ok(rows)
    }

    fn item(&self, item: &Item) -> Result<Item> {
        let to = |table: &Arc<Table>| Ok::<_, Error>(Arc::clone(&self.rows_of(table)?.to));
        Ok(match item {
            Item::Schema { old, new } => {
                Item::Schema { old: old.as_ref().map(to).transpose()?, new: to(new)? }
            }
            Item::Truncate { tables } => {
                Item::Truncate { tables: tables.iter().map(to).collect::<Result<Vec<_>>>()?.into() }
            }
            other => other.clone(),
        })
    }
}

/// Whether two tables differ in nothing but what statistics say of them,
/// which each description tells anew.
fn alike(a: &Table, b: &Table) -> bool {
    let mut b = b.clone();
    (b.estimated_rows, b.estimated_bytes) = (a.estimated_rows, a.estimated_bytes);
    *a == b
}

fn by_address(first: &[Arc<Rows>]) -> HashMap<usize, Arc<Rows>> {
    first.iter().map(|rows| (Arc::as_ptr(&rows.from).addr(), Arc::clone(rows))).collect()
}

impl Transform for Converting {
    fn schema(&self, schema: &Schema) -> Result<Schema> {
        let staged = self.stages.schema(schema)?;
        if let Some(names) = self.renaming() {
            self.refuse(&staged)?;
            return names.schema(&staged);
        }
        let Some(mut conversion) = self.conversion(&staged)? else { return Ok(staged) };
        let mut planned = self.planned.write().unwrap_or_else(PoisonError::into_inner);
        // Who holds a table from an earlier plan goes by its pointer.
        for rows in &mut conversion.rows {
            if let Some(known) = planned.first.iter().find(|known| alike(&known.to, &rows.to)) {
                rows.to = Arc::clone(&known.to);
            }
        }
        for table in &mut conversion.schema.tables {
            if let Some(rows) = conversion.rows.iter().find(|rows| rows.to.name == table.name) {
                *table = Arc::clone(&rows.to);
            }
        }
        planned.first = conversion.rows.into_iter().map(Arc::new).collect();
        planned.seen = by_address(&planned.first);
        Ok(conversion.schema)
    }

    fn check(&self, schema: &Schema) -> Vec<Finding> {
        let mut findings = self.stages.check(schema);
        let more = match self.renaming() {
            None => {
                self.report(schema).map(|report| report.map_or_else(Vec::new, |report| report.findings()))
            }
            Some(names) => self.stages.schema(schema).and_then(|staged| {
                self.refuse(&staged)?;
                Ok(names.check(&staged))
            }),
        };
        match more {
            Ok(more) => findings.extend(more),
            Err(error) => {
                findings.push(Finding::new(Severity::Blocker, "conversion", "conversion", error.to_string()))
            }
        }
        findings
    }

    fn batch(&self, batch: Batch) -> Result<Batch> {
        let batch = self.stages.batch(batch)?;
        if let Some(names) = self.renaming() {
            return names.batch(batch);
        }
        if self.dialect().is_none() {
            return Ok(batch);
        }
        let mut out = Assembler::derive(&batch);
        for item in batch.items() {
            match item {
                Item::Rows(run) => {
                    let rows = self.rows_of(&run.table)?;
                    convert(&rows, &batch, run, &mut out).map_err(|e| e.during("pipeline.convert"))?;
                }
                other => out.item(self.item(other)?),
            }
        }
        out.finish_derived()
    }

    fn keys_back(&self, table: &Arc<Table>, keys: Batch) -> Result<(Arc<Table>, Batch)> {
        if let Some(names) = self.renaming() {
            let (table, keys) = names.keys_back(table, keys)?;
            return self.stages.keys_back(&table, keys);
        }
        if self.dialect().is_none() {
            return self.stages.keys_back(table, keys);
        }
        let found = {
            let planned = self.planned.read().unwrap_or_else(PoisonError::into_inner);
            let same = |rows: &&Arc<Rows>| Arc::ptr_eq(&rows.to, table);
            let named = |rows: &&Arc<Rows>| rows.to.name == table.name;
            planned.first.iter().find(same).or_else(|| planned.first.iter().find(named)).cloned()
        };
        let rows = found.ok_or_else(|| {
            Error::new(ErrorKind::Config, "no table of the source becomes this one")
                .with("table", &table.name)
        })?;
        let mut out = Assembler::derive(&keys);
        for row in keys.rows() {
            if row.op() != Op::Delete {
                return Err(Error::new(ErrorKind::Config, "keys are given as deletes"));
            }
            out.row(&rows.from, Op::Delete, true);
            let image = row.key_image();
            for at in 0..rows.from.columns.len() {
                let cell = match rows.cells.iter().position(|(from, _)| *from == at) {
                    Some(to) => cell(&image, to, rows.back[to].as_ref(), &rows.to, &mut out)
                        .map_err(|error| error.during("pipeline.keys_back"))?,
                    None => Cell::Unchanged,
                };
                out.cell(cell);
            }
            out.end_image()?;
        }
        self.stages.keys_back(&rows.from, out.finish_derived()?)
    }

    fn irreversible(&self, schema: &Schema) -> Vec<Finding> {
        let mut findings = self.stages.irreversible(schema);
        if let Some(names) = self.renaming()
            && let Ok(staged) = self.stages.schema(schema)
        {
            findings.extend(names.irreversible(&staged));
        }
        if let Ok(Some(report)) = self.report(schema) {
            let finding =
                |why: &String| Finding::new(Severity::Blocker, "conversion", "conversion", why.clone());
            findings.extend(report.one_way.iter().map(finding));
        }
        findings
    }
}

/// Puts a run's rows into the target's shape.
fn convert(rows: &Rows, batch: &Batch, run: &Run, out: &mut Assembler) -> Result<()> {
    let in_order = rows.cells.len() == rows.from.columns.len();
    if in_order && rows.cells.iter().all(|(_, cast)| cast.is_none()) {
        return out.rows(&rows.to, run.op, run.old, run.len(), batch.cells_of(run));
    }
    for row in batch.rows_of(run) {
        out.row(&rows.to, run.op, run.old);
        for image in [row.before(), row.after()].into_iter().flatten() {
            for (at, cast) in &rows.cells {
                let cell = cell(&image, *at, cast.as_ref(), &rows.from, out)?;
                out.cell(cell);
            }
            out.end_image()?;
        }
    }
    Ok(())
}

/// One cell of an image, cast.
fn cell(
    image: &Image<'_>,
    at: usize,
    cast: Option<&Cast>,
    table: &Table,
    out: &mut Assembler,
) -> Result<Cell> {
    let given = image.raw()[at];
    let (Some(cast), Cell::Value { .. }) = (cast, given) else { return Ok(given) };
    let value = image.cell(at).value()?;
    match cast.apply(&value) {
        Ok(None) => Ok(given),
        Ok(Some(value)) => out.encode(&value),
        Err(misfit) => Err(Error::new(
            ErrorKind::Rejected,
            format!(
                "a value does not fit its column at the target: {}; correct the row, give the column another type \
                 in the mapping, or choose a policy for such values",
                misfit.reason
            ),
        )
        .with("table", &table.name)
        .with("column", &table.columns[at].name)
        .with("key", key(image, table))),
    }
}

/// The key of a row, for people.
fn key(image: &Image<'_>, table: &Table) -> String {
    let columns = table.key_columns().iter();
    let shown: Vec<String> =
        columns.map(|at| format!("{}={:?}", table.columns[*at].name, image.cell(*at))).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

impl std::fmt::Debug for Converting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Converting").field("dialect", &self.dialect()).finish_non_exhaustive()
    }
}
