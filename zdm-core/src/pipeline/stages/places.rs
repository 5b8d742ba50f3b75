//! Where each table of the source ends up, and what names it from elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use super::notes::Notes;
use super::shape::Shape;
use super::stage::Stage;
use crate::schema::{Column, ConstraintKind, Key, Schema, Sequence, Table, TableName};
use crate::{Error, ErrorKind, Result};

/// What becomes of one shape of one table.
#[derive(Debug)]
pub(super) struct Entry<P> {
    pub(super) source: Arc<Table>,
    pub(super) target: Arc<Table>,
    /// What the stages do with its rows; `None` when they pass as they are.
    pub(super) plan: Option<Arc<P>>,
    pub(super) left_out: bool,
    /// Whether other tables end up in the same one.
    pub(super) merged: bool,
    /// Whether items of this table pass untouched.
    pub(super) same: bool,
    pub(super) place: Arc<Place>,
}

impl<P> Clone for Entry<P> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            target: Arc::clone(&self.target),
            plan: self.plan.clone(),
            left_out: self.left_out,
            merged: self.merged,
            same: self.same,
            place: Arc::clone(&self.place),
        }
    }
}

impl<P> Entry<P> {
    fn of(source: &Arc<Table>, plan: Option<Arc<P>>, shape: Shape, place: Arc<Place>) -> Self {
        let equal = shape.table == **source;
        let same = equal && plan.is_none() && !shape.left_out;
        let target = if equal { Arc::clone(source) } else { Arc::new(shape.table) };
        Self {
            source: Arc::clone(source),
            target,
            plan,
            left_out: shape.left_out,
            merged: false,
            same,
            place,
        }
    }
}

/// Where a table is, for who names it.
#[derive(Debug)]
pub(super) struct Place {
    name: TableName,
    left_out: bool,
    filtered: bool,
    /// For each column that is left: its old name, its new one, and whether a
    /// stage writes it.
    columns: HashMap<String, (String, bool)>,
}

impl Place {
    fn of(source: &Table, shape: &Shape) -> Self {
        let columns = shape.facts.iter().zip(&shape.table.columns).filter_map(|(fact, column)| {
            let from = &source.columns[fact.origin?];
            Some((from.name.to_string(), (column.name.to_string(), fact.rewritten)))
        });
        Self {
            name: shape.table.name.clone(),
            left_out: shape.left_out,
            filtered: shape.filtered,
            columns: columns.collect(),
        }
    }
}

/// Plans a whole schema. A table that comes out as it is known already keeps
/// its `Arc`.
pub(super) fn all<S: Stage>(
    stage: &S,
    schema: &Schema,
    known: &[Arc<Entry<S::Plan>>],
    notes: &mut Notes,
) -> Result<(Vec<Entry<S::Plan>>, Schema)> {
    let mut planned = Vec::with_capacity(schema.tables.len());
    for source in &schema.tables {
        planned.push((source, plan(stage, source, notes)?));
    }
    let places: HashMap<&TableName, Arc<Place>> = planned
        .iter()
        .map(|(source, (_, shape))| (&source.name, Arc::new(Place::of(source, shape))))
        .collect();
    let mut entries: Vec<Entry<S::Plan>> = Vec::with_capacity(planned.len());
    let mut mapped = Schema { definitions: schema.definitions.clone(), ..Schema::default() };
    for (source, (plan, mut shape)) in planned {
        // OK because the map was made of the same list.
        let place = Arc::clone(&places[&source.name]);
        if !shape.left_out {
            refer(&mut shape.table, |name| places.get(name).map(|place| &**place), &place, notes);
        }
        let mut entry = Entry::of(source, plan, shape, place);
        let first = entries.iter_mut().find(|e| !e.left_out && e.target.name == entry.target.name);
        match first {
            Some(first) if !entry.left_out => merge(first, &mut entry, notes)?,
            _ if !entry.left_out => mapped.tables.push(Arc::clone(&entry.target)),
            _ => {}
        }
        entries.push(entry);
    }
    keep_known(&mut entries, &mut mapped, known);
    mapped.tables.sort_by(|a, b| a.name.cmp(&b.name));
    mapped.sequences =
        schema.sequences.iter().filter_map(|sequence| owned(sequence, &places, &mapped, notes)).collect();
    let mut owners = Vec::new();
    mapped.sequences.retain(|sequence| {
        let first = !sequence.identity || !owners.contains(&sequence.owner);
        owners.push(sequence.owner.clone());
        first
    });
    Ok((entries, mapped))
}

/// Plans one more shape of a table, beside those of the schema.
pub(super) fn one<S: Stage>(
    stage: &S,
    source: &Arc<Table>,
    known: &[Arc<Entry<S::Plan>>],
    notes: &mut Notes,
) -> Result<Entry<S::Plan>> {
    let (plan, mut shape) = plan(stage, source, notes)?;
    let place = Arc::new(Place::of(source, &shape));
    if !shape.left_out {
        let find = |name: &TableName| known.iter().find(|e| e.source.name == *name).map(|e| &*e.place);
        refer(&mut shape.table, find, &place, notes);
    }
    let mut entry = Entry::of(source, plan, shape, place);
    let other = known
        .iter()
        .find(|e| !e.left_out && e.source.name != source.name && e.target.name == entry.target.name);
    if let Some(other) = other.filter(|_| !entry.left_out) {
        is_alike(&other.target, &entry.target)?;
        entry.target = Arc::clone(&other.target);
        entry.merged = true;
        entry.same = false;
    }
    Ok(entry)
}

fn plan<S: Stage>(
    stage: &S,
    source: &Arc<Table>,
    notes: &mut Notes,
) -> Result<(Option<Arc<S::Plan>>, Shape)> {
    let mut shape = Shape::of(source);
    let plan = stage.plan(&mut shape, notes).map_err(|error| error.during("pipeline.plan"))?;
    Ok((plan.map(Arc::new), shape))
}

/// Puts right what foreign keys name in other tables.
fn refer<'a>(
    table: &mut Table,
    find: impl Fn(&TableName) -> Option<&'a Place>,
    own: &Place,
    notes: &mut Notes,
) {
    let child = table.name.to_string();
    table.constraints.retain_mut(|constraint| {
        let ConstraintKind::ForeignKey(key) = &mut constraint.kind else { return true };
        let Some(parent) = find(&key.references) else { return true };
        let renamed: Option<Vec<String>> =
            key.referenced.iter().map(|name| Some(parent.columns.get(name)?.0.clone())).collect();
        let what = format!("foreign key {}", constraint.name);
        let Some(referenced) = renamed.filter(|_| !parent.left_out) else {
            let why = format!("a stage leaves out what it refers to in {}", key.references);
            notes.dropped(&child, &what, &why);
            return false;
        };
        let rewritten = key.referenced.iter().any(|name| parent.columns.get(name).is_some_and(|c| c.1))
            || own.columns.values().any(|(name, rewritten)| *rewritten && key.columns.contains(name));
        if parent.filtered || rewritten {
            notes.warning(
                "stage_before_foreign_key",
                &child,
                format!("{what} holds at the target only if the stages keep, and write alike, what it refers to in {}", key.references),
            );
        }
        if referenced != key.referenced || parent.name != key.references {
            key.referenced = referenced;
            key.references = parent.name.clone();
        }
        true
    });
}

/// Who holds a table from an earlier plan goes by its pointer.
fn keep_known<P>(entries: &mut [Entry<P>], mapped: &mut Schema, known: &[Arc<Entry<P>>]) {
    let known: HashMap<&TableName, &Arc<Entry<P>>> =
        known.iter().filter(|e| !e.left_out && !e.same).map(|e| (&e.target.name, e)).collect();
    let again = |table: &Arc<Table>| known.get(&table.name).map(|e| &e.target).filter(|t| **t == *table);
    for target in entries.iter_mut().filter(|e| !e.same).map(|e| &mut e.target).chain(&mut mapped.tables) {
        if let Some(kept) = again(target) {
            *target = Arc::clone(kept);
        }
    }
}

/// Two tables end up in one.
fn merge<P>(first: &mut Entry<P>, second: &mut Entry<P>, notes: &mut Notes) -> Result<()> {
    is_alike(&first.target, &second.target)
        .map_err(|error| error.with("first", &first.source.name).with("second", &second.source.name))?;
    let (a, b) = (&first.source.name, &second.source.name);
    if first.target.has_key() {
        notes.warning(
            "stage_merges",
            &first.target.name,
            format!("{a} and {b} end up in it: rows of the two with one key overwrite each other"),
        );
    }
    notes.warning(
        "stage_merges_truncate",
        &first.target.name,
        format!("{a} and {b} end up in it: a TRUNCATE of one of them stops the run"),
    );
    notes.one_way(
        "stage_merges",
        &first.target.name,
        format!("{a} and {b} end up in it: a row cannot be told where it is from"),
    );
    first.merged = true;
    second.merged = true;
    (first.same, second.same) = (false, false);
    second.target = Arc::clone(&first.target);
    Ok(())
}

fn is_alike(a: &Table, b: &Table) -> Result<()> {
    let shape = |column: &Column| (column.name.clone(), column.data_type.clone(), column.native.clone());
    let same = a.columns.len() == b.columns.len()
        && a.columns.iter().zip(&b.columns).all(|(a, b)| shape(a) == shape(b))
        && a.key == b.key;
    if !same || a.key == Key::FullRow {
        let message = if same {
            "tables with no key cannot be merged: a row of one could not be told from an equal row of the other"
        } else {
            "tables that end up under one name must have the same columns, types and key"
        };
        return Err(Error::new(ErrorKind::Config, message).with("table", &a.name));
    }
    Ok(())
}

/// Gives a sequence to what became of its owner.
fn owned(
    sequence: &Sequence,
    places: &HashMap<&TableName, Arc<Place>>,
    mapped: &Schema,
    notes: &mut Notes,
) -> Option<Sequence> {
    let Some((table, column)) = &sequence.owner else { return Some(sequence.clone()) };
    let Some(place) = places.get(table) else { return Some(sequence.clone()) };
    let Some((column, _)) = place.columns.get(column).filter(|_| !place.left_out) else {
        notes.dropped(
            &table.to_string(),
            &format!("sequence {}", sequence.name),
            "a stage leaves out its column",
        );
        return None;
    };
    if sequence.identity {
        let target = mapped.table(&place.name)?;
        let column = &target.columns[target.position(column)?];
        column.identity?;
    }
    Some(Sequence { owner: Some((place.name.clone(), column.clone())), ..sequence.clone() })
}
