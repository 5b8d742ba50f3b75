//! The moment in which rows are read again, kept for as long as it will do.
//!
//! Each new moment moves the run's consistent point to the present; one that
//! is kept does not. It will do for whoever asks behind transactions that it
//! has seen, and for at most [`LIFE`], since a snapshot that stays open keeps
//! the source from removing dead rows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, sleep_until};
use zdm_core::change::Xid;
use zdm_core::connect::After;
use zdm_core::schema::Table;
use zdm_core::{Error, ErrorKind, Result};

use super::moment::{Moment, lock, only, unchanged};
use super::pool::Pool;
use super::rows::Form;
use super::visibility::saw;
use crate::connect::Control;
use crate::error::OrPg;

/// How long a moment is kept. Longer than a target that keeps up needs for
/// what is written meanwhile; short for a vacuum.
const LIFE: Duration = Duration::from_secs(30);
/// How long a commit that is in the log may take to be visible: one that waits
/// for a synchronous standby takes as long as the standby does.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for. No lock can be waited for by its number.
const POLL: Duration = Duration::from_millis(5);

/// A moment on a connection of its own. Dropped, both end.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) control: Control,
    moment: Moment,
    /// The tables that are locked, and how each is named.
    tables: Vec<(u32, &'static str)>,
    until: Instant,
}

impl Held {
    /// Opens one on a table, that has seen all of `behind`.
    pub(super) async fn open(pool: &Pool, table: &Table, behind: &[Xid]) -> Result<Self> {
        let mut control = pool.take().await?;
        let began = Instant::now();
        loop {
            let moment = Moment::open(&control, table).await?;
            let until = Instant::now() + LIFE;
            let tables = vec![(table.origin.id, moment.only)];
            let held = Self { control, moment, tables, until };
            if held.has_seen(behind)? {
                return Ok(held);
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    "a commit that is in the log does not become visible at the source: does it wait for a \
                     synchronous standby that is away?",
                ));
            }
            let Self { control: open, moment, .. } = held;
            moment.close(&open).await?;
            control = open;
            sleep(POLL).await;
        }
    }

    /// Whether it is young enough and has seen all of these.
    pub(super) fn will_do(&self, behind: &[Xid]) -> Result<bool> {
        Ok(!self.control.is_closed() && Instant::now() < self.until && self.has_seen(behind)?)
    }

    /// Takes a table in, unless its rows cannot be read in a moment as old as
    /// this: `None` then.
    pub(super) async fn enter(mut self, pool: &Pool, table: &Table) -> Result<Option<Self>> {
        if let Some((_, only)) = self.tables.iter().find(|(table_id, _)| *table_id == table.origin.id) {
            self.moment.only = only;
            return Ok(Some(self));
        }
        lock(&self.control, table).await?;
        // Behind the lock and by a newer snapshot: this one's catalog is old.
        let newer = pool.take().await?;
        unchanged(&newer, table).await?;
        pool.give(newer);
        let row = self.control.query_one(SAME_FILES, &[&table.origin.id]).await.during("snapshot.reread")?;
        if !row.try_get::<_, bool>(0).during("snapshot.reread")? {
            return Ok(None);
        }
        self.moment.only = only(row.try_get(1).during("snapshot.reread")?);
        self.tables.push((table.origin.id, self.moment.only));
        Ok(Some(self))
    }

    /// A COPY of some rows of the table that was entered last.
    pub(super) fn copy(&self, table: &Table, condition: &str) -> String {
        self.moment.copy(table, condition, Form::Text)
    }

    /// By where it is in the log, and what it has seen.
    pub(super) fn after(&self) -> After {
        After { position: self.moment.after.position.clone(), visibility: Some(self.moment.seen.clone()) }
    }

    fn has_seen(&self, behind: &[Xid]) -> Result<bool> {
        for &xid in behind {
            if !saw(&self.moment.seen, xid)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a table and its partitions lie in the files in which the snapshot's
/// catalog has them. To a snapshot that is older than a rewrite or a TRUNCATE
/// a table is empty. `pg_relation_filenode` tells the present file, whatever
/// the snapshot is.
/// <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-DBLOCATION>
pub(super) const SAME_FILES: &str = "
SELECT bool_and(coalesce(c.relfilenode = coalesce(pg_catalog.pg_relation_filenode(p.oid), 0), false)),
       coalesce(bool_or(p.oid = $1 AND c.relkind = 'p'), false)
  FROM (SELECT $1::oid AS oid UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree($1::oid::regclass)) p
  LEFT JOIN pg_catalog.pg_class c ON c.oid = p.oid";

/// The place of a held moment, which is cleared when its time is over.
#[derive(Debug, Default)]
pub(super) struct Keeper(Arc<Mutex<Option<Held>>>);

impl Keeper {
    /// The place, for one at a time.
    pub(super) async fn place(&self) -> OwnedMutexGuard<Option<Held>> {
        Arc::clone(&self.0).lock_owned().await
    }

    /// Clears the place of a new moment when its time is over.
    pub(super) fn expire(&self, held: &Held) {
        let (until, place) = (held.until, Arc::downgrade(&self.0));
        tokio::spawn(async move {
            sleep_until(until).await;
            if let Some(place) = place.upgrade() {
                place.lock().await.take_if(|held| held.until <= until);
            }
        });
    }
}
