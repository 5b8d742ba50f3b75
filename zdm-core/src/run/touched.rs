//! Which rows the stream has touched since both sides were last found equal,
//! so that a cutover compares those again and no others.
//!
//! Recording begins before a verification reads its first row, and the stream
//! notes a key before it writes the row. So of a table that was found equal,
//! each row is either as it was compared, or its key is here. What the stream
//! never brought is not: a change that was lost shows only where all rows are
//! compared.
//!
//! Memory is bounded by [`ROOM`]. A table whose keys do not fit is compared as
//! a whole again; so is one that was truncated or altered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::Result;
use crate::change::{Batch, DateTime, Image, Item, Value};
use crate::schema::TableName;

/// Keys by their digests.
pub(crate) type Keys = HashMap<u128, Vec<Value<'static>>, RandomState>;

/// What tells the key of a row, and its digest, whatever spells it.
pub(crate) type Keyed = dyn Fn(&Image<'_>) -> Result<(u128, Vec<Value<'static>>)> + Send + Sync;

/// Bytes that all keys together may take, about.
const ROOM: usize = 16 << 20;

/// A verification that found a table equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Equal {
    /// When it ended, in UTC.
    pub(crate) at: DateTime,
    /// Rows of the table that it compared.
    pub(crate) rows: u64,
}

/// The keys of one run. A handle: clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Touched {
    state: Arc<Mutex<State>>,
    /// Whether anything is recorded: looked at for each batch.
    records: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// By their names at the target.
    tables: BTreeMap<TableName, Recorded>,
    bytes: usize,
}

struct Recorded {
    /// `None` where rows are found by no key: none is kept.
    keyed: Option<Box<Keyed>>,
    equal: Option<Equal>,
    keys: Keys,
    bytes: usize,
    /// Any row may have been touched, and no key is kept.
    all: bool,
}

impl Touched {
    /// Records these tables from here on, and forgets what it knew of them.
    pub(crate) fn begin(&self, tables: impl IntoIterator<Item = (TableName, Option<Box<Keyed>>)>) {
        let mut state = self.state();
        for (name, keyed) in tables {
            state.drop_table(&name);
            let fresh = Recorded { keyed, equal: None, keys: Keys::default(), bytes: 0, all: false };
            state.tables.insert(name, fresh);
        }
        self.records.store(!state.tables.is_empty(), Ordering::Release);
    }

    /// All rows of a table were compared since [`begin`](Self::begin), and are
    /// equal.
    pub(crate) fn equal(&self, table: &TableName, equal: Equal) {
        if let Some(recorded) = self.state().tables.get_mut(table) {
            recorded.equal = Some(equal);
        }
    }

    /// The verification that a table's keys lead on from; `None` where there is
    /// none, or where they are too many.
    pub(crate) fn since(&self, table: &TableName) -> Option<Equal> {
        let state = self.state();
        state.tables.get(table).filter(|recorded| !recorded.all).and_then(|recorded| recorded.equal)
    }

    /// How many keys there are.
    pub(crate) fn count(&self) -> usize {
        self.state().tables.values().map(|recorded| recorded.keys.len()).sum()
    }

    /// Takes all keys: what is touched from here on is recorded anew.
    pub(crate) fn take(&self) -> BTreeMap<TableName, Keys> {
        let mut state = self.state();
        state.bytes = 0;
        let taken = state.tables.iter_mut().map(|(name, recorded)| {
            recorded.bytes = 0;
            (name.clone(), std::mem::take(&mut recorded.keys))
        });
        taken.filter(|(_, keys)| !keys.is_empty()).collect()
    }

    /// These have yet to be compared.
    pub(crate) fn again(&self, keys: BTreeMap<TableName, Keys>) {
        let mut state = self.state();
        for (table, keys) in keys {
            for (digest, key) in keys {
                state.note(&table, digest, || key);
            }
        }
    }

    /// Nothing is known any more: another process may have applied changes.
    pub(crate) fn forget(&self) {
        *self.state() = State::default();
        self.records.store(false, Ordering::Release);
    }

    /// Notes the changes of a batch that are about to be written.
    pub(super) fn note(&self, batch: &Batch) {
        if !self.records.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state();
        for item in batch.items() {
            match item {
                Item::Rows(run) => state.rows(&run.table.name, batch.rows_of(run)),
                Item::Truncate { tables } => tables.iter().for_each(|table| state.all(&table.name)),
                Item::Schema { new, .. } => state.all(&new.name),
                _ => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rows<'b>(&mut self, table: &TableName, rows: impl Iterator<Item = crate::change::RowRef<'b>>) {
        let Some(recorded) = self.tables.get(table).filter(|recorded| !recorded.all) else { return };
        let Some(key_of) = &recorded.keyed else { return };
        let mut found = Vec::new();
        for row in rows {
            for image in [row.before(), row.after()].into_iter().flatten() {
                match key_of(&image) {
                    Ok(keyed) => found.push(keyed),
                    // Whichever it is of.
                    Err(_) => return self.all(table),
                }
            }
        }
        for (digest, key) in found {
            self.note(table, digest, || key);
        }
    }

    fn note(&mut self, table: &TableName, digest: u128, key: impl FnOnce() -> Vec<Value<'static>>) {
        let Some(recorded) = self.tables.get_mut(table).filter(|recorded| !recorded.all) else { return };
        if recorded.keys.contains_key(&digest) {
            return;
        }
        let key = key();
        let bytes = weight(&key);
        recorded.keys.insert(digest, key);
        recorded.bytes += bytes;
        self.bytes += bytes;
        if self.bytes > ROOM {
            self.all(table);
        }
    }

    /// Any row of a table may have been touched.
    fn all(&mut self, table: &TableName) {
        let Some(recorded) = self.tables.get_mut(table) else { return };
        recorded.keys = Keys::default();
        self.bytes -= std::mem::take(&mut recorded.bytes);
        recorded.all = true;
    }

    fn drop_table(&mut self, table: &TableName) {
        if let Some(recorded) = self.tables.remove(table) {
            self.bytes -= recorded.bytes;
        }
    }
}

/// What a key takes, with its place in the map.
fn weight(key: &[Value<'static>]) -> usize {
    let long = |value: &Value<'_>| match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Decimal(digits) => digits.len(),
        _ => 0,
    };
    64 + key.iter().map(|value| size_of::<Value<'_>>() + long(value)).sum::<usize>()
}

impl std::fmt::Debug for Touched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Touched").field("records", &self.records).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::BatchBuilder;
    use crate::schema::{Column, DataType, Key, Table};

    fn table() -> Arc<Table> {
        let columns = vec![Column::new("id", DataType::text()).not_null()];
        Arc::new(Table::new(
            crate::Engine::new("e"),
            TableName::new("s", "t"),
            columns,
            Key::Columns(vec![0]),
        ))
    }

    fn keyed() -> Box<Keyed> {
        Box::new(|image| {
            let key = image.cell(0).value()?.into_owned();
            let digest = key.to_string().bytes().fold(7_u128, |sum, b| sum.wrapping_mul(31) + u128::from(b));
            Ok((digest, vec![key]))
        })
    }

    fn row(table: &Arc<Table>, id: &str) -> Batch {
        let mut batch = BatchBuilder::new();
        batch.insert(table, [Value::from(id.to_owned()).into()]).unwrap();
        batch.finish()
    }

    /// However many rows are touched, memory is bounded, and then nobody is
    /// told that the keys are all of them.
    #[test]
    fn too_many_keys_are_all_rows_and_take_no_room() {
        let (touched, table) = (Touched::default(), table());
        touched.note(&row(&table, "before"));
        touched.begin([(table.name.clone(), Some(keyed()))]);
        assert_eq!(touched.since(&table.name), None, "nothing was compared yet");
        touched.note(&row(&table, "a"));
        touched.note(&row(&table, "a"));
        touched.equal(&table.name, Equal { at: DateTime::from_micros(1), rows: 3 });
        assert_eq!((touched.count(), touched.since(&table.name).map(|e| e.rows)), (1, Some(3)));
        let taken = touched.take();
        assert_eq!((taken[&table.name].len(), touched.count()), (1, 0));
        touched.again(taken);
        assert_eq!(touched.count(), 1);
        let long = "x".repeat(ROOM / 4);
        for id in 0..5 {
            touched.note(&row(&table, &format!("{id}{long}")));
        }
        assert_eq!((touched.count(), touched.since(&table.name)), (0, None));
        assert_eq!(touched.state().bytes, 0);
        touched.note(&row(&table, "b"));
        assert_eq!(touched.count(), 0, "it would not be all of them");
        touched.begin([(table.name.clone(), Some(keyed()))]);
        touched.note(&row(&table, "b"));
        assert_eq!(touched.count(), 1);
    }

    #[test]
    fn a_truncate_touches_all_rows() {
        let (touched, table) = (Touched::default(), table());
        touched.begin([(table.name.clone(), Some(keyed()))]);
        touched.equal(&table.name, Equal { at: DateTime::from_micros(1), rows: 3 });
        let mut truncate = BatchBuilder::new();
        truncate.truncate(vec![Arc::clone(&table)]);
        touched.note(&truncate.finish());
        assert_eq!(touched.since(&table.name), None);
        touched.forget();
        touched.note(&row(&table, "a"));
        assert_eq!(touched.count(), 0);
    }
}
