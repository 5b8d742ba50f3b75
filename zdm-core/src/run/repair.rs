//! Rows of the target made right while the stream goes on, in the stream's
//! own transactions.
//!
//! A repair is a row of the source as it was read at some moment, to be put
//! where the target has another. It must not bring a row of the future, nor
//! take back what the stream has brought. So:
//!
//! 1. Keys are [watched](Repairs::watch). From here on the stream notes each
//!    change that it is handed for one of them.
//! 2. The rows are read at the source. Whatever was handed over before is in
//!    what this read sees; whatever comes later is noted.
//! 3. The target's durable progress passes the point behind that read.
//! 4. At the next boundary the stream [takes](Mending::due) the repair, unless
//!    a change of one of its keys was noted: then no key of it is written, and
//!    whoever asked reads again.
//!
//! At that boundary the log says of an unnoted key what the read said: the
//! read has seen all of the log up to its point, and behind that nothing came
//! for the key. So the repair writes the very state that the target would
//! have there, had nothing gone wrong before; and it is one target transaction
//! of the run's only applier, in which the run's epoch and its position are
//! compared as with any change.
//!
//! *A commit that is handed over before a SELECT sees it* (it waits for a
//! synchronous standby) could be missing from step 2. The difference that is
//! repaired was found several times in the same values, so such a commit
//! would have had to be on its way all that time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};

use crate::change::{Batch, Image, Item};
use crate::schema::TableName;
use crate::{Error, ErrorKind, Result};

/// What tells the key of a row, whatever spells it.
pub(crate) type KeyOf = dyn Fn(&Image<'_>) -> Result<u128> + Send + Sync;

/// The repairs of one run: who asks for them, and the stream that does them.
/// A handle: clones are the same.
#[derive(Clone)]
pub(crate) struct Repairs {
    watches: Arc<Mutex<Vec<Arc<Watch>>>>,
    /// As many as there are watches: looked at for each batch.
    count: Arc<AtomicUsize>,
    ask: mpsc::Sender<Asked>,
    asked: Arc<tokio::sync::Mutex<mpsc::Receiver<Asked>>>,
}

/// Keys that are watched while the guard lives.
pub(crate) struct Watching {
    repairs: Repairs,
    watch: Arc<Watch>,
}

struct Watch {
    table: TableName,
    key_of: Box<KeyOf>,
    /// Whether each has changed since.
    keys: Mutex<HashMap<u128, bool, RandomState>>,
}

/// A repair that is to be done.
pub(crate) struct Asked {
    watch: Arc<Watch>,
    /// Deletes and inserts of one table, as the stages made it.
    rows: Batch,
    answer: oneshot::Sender<Result<Vec<u128>>>,
}

impl Repairs {
    pub(crate) fn new() -> Self {
        let (ask, asked) = mpsc::channel(4);
        Self {
            watches: Arc::default(),
            count: Arc::default(),
            ask,
            asked: Arc::new(tokio::sync::Mutex::new(asked)),
        }
    }

    /// Step 1: watches keys of a table, by its name at the target.
    pub(crate) fn watch(
        &self,
        table: TableName,
        keys: impl IntoIterator<Item = u128>,
        key_of: Box<KeyOf>,
    ) -> Watching {
        let keys = Mutex::new(keys.into_iter().map(|key| (key, false)).collect());
        let watch = Arc::new(Watch { table, key_of, keys });
        self.watches().push(Arc::clone(&watch));
        self.count.fetch_add(1, Ordering::Release);
        Watching { repairs: self.clone(), watch }
    }

    /// What the stream takes repairs from, while it runs.
    pub(super) async fn mending(&self) -> Mending {
        Mending { asked: Arc::clone(&self.asked).lock_owned().await, next: None }
    }

    /// Notes the changes of a batch that are about to be written.
    pub(super) fn note(&self, batch: &Batch) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for watch in self.watches().iter() {
            for item in batch.items() {
                watch.note(batch, item);
            }
        }
    }

    fn watches(&self) -> MutexGuard<'_, Vec<Arc<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watching {
    /// Steps 3 and 4: gives the keys that have changed meanwhile; if there is
    /// one, nothing was written.
    ///
    /// # Errors
    /// The target's, when it refuses a row; `Other` when the run has ended.
    pub(crate) async fn repair(&self, rows: Batch) -> Result<Vec<u128>> {
        let ended = || {
            Error::new(ErrorKind::Other, "the run has ended and repairs nothing any more: start it again")
                .during("verify.repair")
        };
        let (answer, answered) = oneshot::channel();
        let asked = Asked { watch: Arc::clone(&self.watch), rows, answer };
        self.repairs.ask.send(asked).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.repairs.watches().retain(|watch| !Arc::ptr_eq(watch, &self.watch));
        self.repairs.count.fetch_sub(1, Ordering::Release);
    }
}

/// The stream's end of [`Repairs`].
pub(super) struct Mending {
    asked: tokio::sync::OwnedMutexGuard<mpsc::Receiver<Asked>>,
    next: Option<Asked>,
}

impl Mending {
    /// Waits until a repair is asked for; it is [due](Self::due) then.
    /// Cancel-safe.
    pub(super) async fn wait(&mut self) {
        if self.next.is_none() {
            // Never `None`: whoever runs the stream has a sender.
            self.next = self.asked.recv().await;
        }
    }

    /// The next repair that can be done at this boundary.
    pub(super) fn due(&mut self) -> Option<Due> {
        loop {
            let asked = self.next.take().or_else(|| self.asked.try_recv().ok())?;
            let changed = asked.watch.changed();
            if changed.is_empty() {
                return Some(Due { rows: asked.rows, answer: asked.answer });
            }
            // Nobody may be waiting any more.
            let _ = asked.answer.send(Ok(changed));
        }
    }
}

/// A repair that is done now.
pub(super) struct Due {
    pub(super) rows: Batch,
    answer: oneshot::Sender<Result<Vec<u128>>>,
}

impl Due {
    /// It is durable.
    pub(super) fn done(self) {
        let _ = self.answer.send(Ok(Vec::new()));
    }

    /// It has failed, and the writer with it: the stream must begin again.
    pub(super) fn failed(self, error: Error) -> Error {
        let again = Error::new(ErrorKind::Other, "a repair was refused, and its transaction with it")
            .retryable(true)
            .with("because", &error)
            .during("verify.repair");
        let _ = self.answer.send(Err(error));
        again
    }
}

impl Watch {
    fn keys(&self) -> MutexGuard<'_, HashMap<u128, bool, RandomState>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> Vec<u128> {
        self.keys().iter().filter(|(_, changed)| **changed).map(|(key, _)| *key).collect()
    }

    fn note(&self, batch: &Batch, item: &Item) {
        match item {
            Item::Rows(run) if run.table.name == self.table => {
                let mut keys = self.keys();
                for row in batch.rows_of(run) {
                    for image in [row.before(), row.after()].into_iter().flatten() {
                        match (self.key_of)(&image) {
                            Ok(key) => {
                                keys.entry(key).and_modify(|changed| *changed = true);
                            }
                            // Whichever it is of.
                            Err(_) => keys.values_mut().for_each(|changed| *changed = true),
                        }
                    }
                }
            }
            Item::Truncate { tables } if tables.iter().any(|table| table.name == self.table) => {
                self.keys().values_mut().for_each(|changed| *changed = true);
            }
            Item::Schema { new, .. } if new.name == self.table => {
                self.keys().values_mut().for_each(|changed| *changed = true);
            }
            _ => {}
        }
    }
}

impl std::fmt::Debug for Repairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repairs")
            .field("watches", &self.count.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;
    use crate::change::{BatchBuilder, Value};
    use crate::schema::{Column, DataType, Key, Table};

    fn row(table: &Arc<Table>, id: i64) -> Batch {
        let mut batch = BatchBuilder::new();
        batch.insert(table, [Value::Int(id).into()]).unwrap();
        batch.finish()
    }

    /// Neither a row that the stream has changed since it was read is written,
    /// nor another one of the same repair.
    #[tokio::test]
    async fn a_key_that_changes_behind_its_read_is_not_repaired() {
        let columns = vec![Column::new("id", DataType::integer(64)).not_null()];
        let name = TableName::new("public", "t");
        let table =
            Arc::new(Table::new(crate::Engine::new("e"), name.clone(), columns, Key::Columns(vec![0])));
        let key_of = || -> Box<KeyOf> {
            Box::new(|image| Ok(u128::try_from(image.cell(0).value()?.as_i64().unwrap()).unwrap()))
        };
        let repairs = Repairs::new();
        let mut mending = repairs.mending().await;
        repairs.note(&row(&table, 1));
        let watching = repairs.watch(name.clone(), [1, 2], key_of());
        repairs.note(&row(&table, 3));
        let mut asked = Box::pin(watching.repair(row(&table, 1)));
        assert!((&mut asked).now_or_never().is_none(), "it waits for a boundary");
        let due = mending.due().expect("what was handed over before, and other keys, are in nobody's way");
        assert_eq!(due.rows.row_count(), 1);
        due.done();
        assert_eq!(asked.await.unwrap(), Vec::<u128>::new());

        let mut asked = Box::pin(watching.repair(row(&table, 1)));
        assert!((&mut asked).now_or_never().is_none());
        repairs.note(&row(&table, 2));
        assert!(mending.due().is_none(), "a change of one of its keys came first");
        assert_eq!(asked.await.unwrap(), [2]);

        let watching = repairs.watch(name, [1, 2], key_of());
        let mut truncate = BatchBuilder::new();
        truncate.truncate(vec![Arc::clone(&table)]);
        repairs.note(&truncate.finish());
        let mut asked = Box::pin(watching.repair(row(&table, 1)));
        assert!((&mut asked).now_or_never().is_none());
        assert!(mending.due().is_none(), "a TRUNCATE changes every key");
        assert_eq!(asked.await.unwrap().len(), 2);
    }
}
