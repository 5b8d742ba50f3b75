//! A stack of stages with its types erased: one virtual call for a batch.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::notes::Notes;
use super::places::{self, Entry};
use super::stage::Stage;
use super::work::Work;
use crate::change::{Assembler, Batch, Item, Op, Run};
use crate::connect::Finding;
use crate::pipeline::Transform;
use crate::schema::{Schema, Table};
use crate::{Error, ErrorKind, Result};

/// The erased form of a typed stack.
#[derive(Debug)]
pub(super) struct Stack<S: Stage> {
    stage: S,
    planned: RwLock<Planned<S::Plan>>,
}

/// What is known of tables.
#[derive(Debug)]
struct Planned<P> {
    /// The tables of the schema, in its order.
    first: Vec<Arc<Entry<P>>>,
    /// Every table seen, by the address of its `Arc`. OK as a key because
    /// each entry keeps that `Arc`, so that no other table gets the address.
    seen: HashMap<usize, Arc<Entry<P>>>,
}

/// Tables that are remembered at most beyond the schema's own: a source that
/// makes a new `Arc` for each batch must not fill the memory.
const REMEMBERED: usize = 1024;

impl<P> Planned<P> {
    fn of(first: Vec<Arc<Entry<P>>>) -> Self {
        let seen = first.iter().map(|entry| (address(&entry.source), Arc::clone(entry))).collect();
        Self { first, seen }
    }
}

fn address(table: &Arc<Table>) -> usize {
    Arc::as_ptr(table).addr()
}

impl<S: Stage> Stack<S> {
    pub(super) fn new(stage: S) -> Self {
        Self { stage, planned: RwLock::new(Planned::of(Vec::new())) }
    }

    /// What becomes of a table.
    fn entry(&self, table: &Arc<Table>) -> Result<Arc<Entry<S::Plan>>> {
        // OK to go on after a panic of another task, here and below: an entry
        // is put in whole.
        if let Some(entry) =
            self.planned.read().unwrap_or_else(PoisonError::into_inner).seen.get(&address(table))
        {
            return Ok(Arc::clone(entry));
        }
        let mut planned = self.planned.write().unwrap_or_else(PoisonError::into_inner);
        let known = planned.first.iter().chain(planned.seen.values()).find(|entry| *entry.source == **table);
        let entry = Arc::new(match known {
            // The same shape under another pointer: what was made of it is
            // the same too.
            Some(entry) => Entry { source: Arc::clone(table), ..Entry::clone(entry) },
            None => places::one(&self.stage, table, &planned.first, &mut Notes::default())?,
        });
        if planned.seen.len() >= planned.first.len() + REMEMBERED {
            *planned = Planned::of(std::mem::take(&mut planned.first));
        }
        planned.seen.insert(address(table), Arc::clone(&entry));
        Ok(entry)
    }

    fn rows(&self, entry: &Entry<S::Plan>, batch: &Batch, run: &Run, work: &mut Work) -> Result<()> {
        let Some(plan) = entry.plan.as_deref() else {
            return work.out.rows(&entry.target, run.op, run.old, run.len(), batch.cells_of(run));
        };
        for row in batch.rows_of(run) {
            work.load(&row);
            self.stage.row(plan, work)?;
            work.emit(&entry.target)?;
        }
        Ok(())
    }

    fn item(&self, item: &Item) -> Result<Option<Item>> {
        let map = |table: &Arc<Table>| self.entry(table);
        Ok(match item {
            Item::Schema { old, new } => {
                let old = old.as_ref().map(map).transpose()?;
                let new = map(new)?;
                (!new.left_out).then(|| Item::Schema {
                    old: old.map(|entry| Arc::clone(&entry.target)),
                    new: Arc::clone(&new.target),
                })
            }
            Item::Truncate { tables } => {
                let mut emptied = Vec::with_capacity(tables.len());
                for table in tables.iter() {
                    let entry = map(table)?;
                    if entry.left_out {
                        continue;
                    }
                    if entry.merged {
                        return Err(Error::new(
                            ErrorKind::Unsupported,
                            "a table was truncated that is merged with others: emptying the target would lose their rows; delete the rows instead, or start the run again",
                        )
                        .with("table", &table.name)
                        .with("merged into", &entry.target.name));
                    }
                    emptied.push(Arc::clone(&entry.target));
                }
                (!emptied.is_empty()).then(|| Item::Truncate { tables: emptied.into() })
            }
            other => Some(other.clone()),
        })
    }

    /// The table of the source that becomes this one.
    fn source_of(&self, table: &Arc<Table>) -> Option<Arc<Entry<S::Plan>>> {
        let planned = self.planned.read().unwrap_or_else(PoisonError::into_inner);
        let find = |is: &dyn Fn(&Entry<S::Plan>) -> bool| {
            planned.first.iter().chain(planned.seen.values()).find(|e| !e.left_out && is(e)).cloned()
        };
        find(&|entry| Arc::ptr_eq(&entry.target, table)).or_else(|| find(&|e| e.target.name == table.name))
    }

    /// Whether the stages leave all of a batch as it is.
    fn is_untouched(&self, batch: &Batch) -> Result<bool> {
        let same = |table: &Arc<Table>| Ok::<_, Error>(self.entry(table)?.same);
        for item in batch.items() {
            let same = match item {
                Item::Rows(run) => same(&run.table)?,
                Item::Schema { old, new } => same(new)? && old.as_ref().map_or(Ok(true), same)?,
                Item::Truncate { tables } => {
                    let mut all = true;
                    for table in tables.iter() {
                        all &= same(table)?;
                    }
                    all
                }
                _ => true,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<S: Stage> Transform for Stack<S> {
    fn schema(&self, schema: &Schema) -> Result<Schema> {
        let mut planned = self.planned.write().unwrap_or_else(PoisonError::into_inner);
        let (entries, mapped) = places::all(&self.stage, schema, &planned.first, &mut Notes::default())?;
        *planned = Planned::of(entries.into_iter().map(Arc::new).collect());
        Ok(mapped)
    }

    fn check(&self, schema: &Schema) -> Vec<Finding> {
        let mut notes = Notes::default();
        if let Err(error) = places::all(&self.stage, schema, &[], &mut notes) {
            notes.blocker("stages", "stages", error.to_string());
        }
        let mut patterns = Vec::new();
        self.stage.patterns(&mut patterns);
        patterns.retain(|pattern| !notes.matched.contains(pattern));
        for pattern in patterns {
            notes.warning(
                "stage_without_table",
                pattern,
                "a stage is limited to a pattern that no table matches",
            );
        }
        notes.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        notes.findings
    }

    fn batch(&self, batch: Batch) -> Result<Batch> {
        if self.is_untouched(&batch)? {
            return Ok(batch);
        }
        let mut work = Work::into(Assembler::derive(&batch));
        for item in batch.items() {
            if let Item::Rows(run) = item {
                let entry = self.entry(&run.table)?;
                if !entry.left_out {
                    self.rows(&entry, &batch, run, &mut work)
                        .map_err(|error| error.with("table", &run.table.name).during("pipeline.stages"))?;
                }
            } else if let Some(item) = self.item(item)? {
                work.out.item(item);
            }
        }
        work.out.finish_derived()
    }

    fn keys_back(&self, table: &Arc<Table>, keys: Batch) -> Result<(Arc<Table>, Batch)> {
        let entry = self.source_of(table).ok_or_else(|| {
            Error::new(ErrorKind::Config, "no table of the source becomes this one")
                .with("table", &table.name)
        })?;
        let failed = |error: Error| error.with("table", &table.name).during("pipeline.keys_back");
        if entry.merged {
            return Err(failed(Error::new(
                ErrorKind::Unsupported,
                "a row of a table that several were merged into cannot be read again: which one it is from is not known",
            )));
        }
        if entry.same {
            return Ok((Arc::clone(&entry.source), keys));
        }
        let mut work = Work::into(Assembler::derive(&keys));
        for row in keys.rows() {
            work.load(&row);
            if row.op() != Op::Delete {
                return Err(failed(Error::new(ErrorKind::Config, "keys are given as deletes")));
            }
            if let Some(plan) = entry.plan.as_deref() {
                self.stage.back(plan, &mut work).map_err(failed)?;
            }
            work.emit(&entry.source)?;
        }
        Ok((Arc::clone(&entry.source), work.out.finish_derived()?))
    }

    fn irreversible(&self, schema: &Schema) -> Vec<Finding> {
        let mut notes = Notes::default();
        if let Err(error) = places::all(&self.stage, schema, &[], &mut notes) {
            notes.one_way("stages", "stages", error.to_string());
        }
        notes.one_way
    }
}
