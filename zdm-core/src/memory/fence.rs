//! What keeps writers out of a memory database.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tokio::time::Instant;

use super::MemoryDatabase;
use super::faults::{Outcome, Point};
use super::state::{Held, Seal, State};
use crate::connect::{Fence, Hold, HoldOptions, RunName, SwitchRecord};
use crate::schema::{Schema, TableName};
use crate::{Error, ErrorKind, Position, Result};

#[async_trait]
impl Fence for MemoryDatabase {
    async fn now(&self) -> Result<i64> {
        let since = self.clock().duration_since(std::time::UNIX_EPOCH);
        let since =
            since.map_err(|e| Error::new(ErrorKind::Other, "the clock is before 1970").caused_by(e))?;
        i64::try_from(since.as_millis())
            .map_err(|e| Error::new(ErrorKind::Other, "the clock is beyond all years").caused_by(e))
    }

    async fn record(&self, run: &RunName) -> Result<Option<SwitchRecord>> {
        let outcome = self.hit(Point::Fence).await?;
        let record = self.lock().switches.get(run).cloned();
        outcome.answer(record)
    }

    async fn swap(
        &self,
        run: &RunName,
        old: Option<&SwitchRecord>,
        new: Option<&SwitchRecord>,
    ) -> Result<()> {
        let outcome = self.hit(Point::Fence).await?;
        swap(&mut self.lock(), run, old, new)?;
        outcome.answer(())
    }

    /// A hold leans on nothing here.
    async fn arm(&self, _: &RunName, _: &Schema, _: HoldOptions) -> Result<()> {
        self.hit(Point::Fence).await?.answer(())
    }

    async fn hold(&self, run: &RunName, schema: &Schema, options: HoldOptions) -> Result<Box<dyn Hold>> {
        let outcome = self.hit(Point::Fence).await?;
        let tables: BTreeSet<TableName> = schema.tables.iter().map(|table| table.name.clone()).collect();
        let deadline = Instant::now() + options.deadline;
        loop {
            // New writers wait from here on, until the hold falls.
            let hold = MemoryHold::new(self, run, tables.clone());
            let patience = options.patience.min(deadline - Instant::now());
            if self
                .until_within(patience, |state| Ok(under_way(state, run, &tables).is_empty().then_some(())))
                .await?
                .is_some()
            {
                return outcome.answer(Box::new(hold) as Box<dyn Hold>);
            }
            drop(hold);
            if Instant::now() >= deadline {
                let who = under_way(&self.lock(), run, &tables);
                return Err(Error::new(
                    ErrorKind::Timeout,
                    "transactions that write to the tables did not end in time: end them, or allow more time",
                )
                .with("transactions", who.join(" ")));
            }
            // Writers that queued behind us go first.
            tokio::time::sleep(options.patience.min(deadline - Instant::now())).await;
        }
    }

    async fn seal(&self, run: &RunName, schema: &Schema, reason: &str) -> Result<()> {
        let outcome = self.hit(Point::Fence).await?;
        seal(&mut self.lock(), run, schema.tables.iter().map(|table| table.name.clone()), reason);
        self.notify();
        outcome.answer(())
    }

    async fn unseal(&self, run: &RunName, schema: &Schema, leg: u32) -> Result<()> {
        let outcome = self.hit(Point::Fence).await?;
        let mut state = self.lock();
        if state.switches.get(&run.other()).is_some_and(|record| record.leg > leg) {
            return Err(crate::connect::left_since(leg));
        }
        for table in &schema.tables {
            if state.seals.get(&table.name).is_some_and(|seal| seal.run.pair() == run.pair()) {
                state.seals.remove(&table.name);
            }
        }
        drop(state);
        self.notify();
        outcome.answer(())
    }
}

/// A hold of a memory database. It is up as long as its number is known.
#[derive(Debug)]
struct MemoryHold {
    db: MemoryDatabase,
    run: RunName,
    number: u64,
}

impl MemoryHold {
    fn new(db: &MemoryDatabase, run: &RunName, tables: BTreeSet<TableName>) -> Self {
        let mut state = db.lock();
        let number = state.serial();
        state.holds.insert(number, Held { run: run.clone(), tables });
        drop(state);
        Self { db: db.clone(), run: run.clone(), number }
    }

    fn up<'a>(&self, state: &'a State) -> Result<&'a Held> {
        state.holds.get(&self.number).ok_or_else(|| {
            Error::new(ErrorKind::Fenced, "the hold has fallen, writers are in again: begin the cutover anew")
        })
    }
}

#[async_trait]
impl Hold for MemoryHold {
    async fn marker(&mut self) -> Result<Position> {
        let outcome = self.db.hit(Point::Fence).await?;
        let marker = {
            let mut state = self.db.lock();
            self.up(&state)?;
            let xid = state.next_xid;
            state.next_xid += 1;
            let end = state.append(xid, Vec::new());
            state.show(xid);
            state.flushed = end;
            end
        };
        self.db.notify();
        outcome.answer(marker.into())
    }

    async fn check(&mut self) -> Result<()> {
        let outcome = self.db.hit(Point::Fence).await?;
        self.up(&self.db.lock())?;
        outcome.answer(())
    }

    async fn seal(self: Box<Self>, old: &SwitchRecord, new: &SwitchRecord) -> Result<()> {
        let outcome = self.db.hit(Point::Fence).await?;
        {
            let mut state = self.db.lock();
            let tables = self.up(&state)?.tables.clone();
            swap(&mut state, &self.run, Some(old), Some(new))?;
            let reason = format!("this table has moved to {}: write there", new.target);
            seal(&mut state, &self.run, tables, &reason);
        }
        self.db.notify();
        match outcome {
            Outcome::Answered => Ok(()),
            lost => lost.answer(()),
        }
    }

    async fn release(self: Box<Self>) -> Result<()> {
        let outcome = self.db.hit(Point::Fence).await?;
        outcome.answer(())
    }
}

impl Drop for MemoryHold {
    fn drop(&mut self) {
        self.db.lock().holds.remove(&self.number);
        self.db.notify();
    }
}

fn swap(
    state: &mut State,
    run: &RunName,
    old: Option<&SwitchRecord>,
    new: Option<&SwitchRecord>,
) -> Result<()> {
    if state.switches.get(run) != old {
        return Err(Error::new(ErrorKind::Fenced, "another process has changed the record of the cutover")
            .with("run", run));
    }
    match new {
        Some(new) => state.switches.insert(run.clone(), new.clone()),
        None => state.switches.remove(run),
    };
    Ok(())
}

fn seal(state: &mut State, run: &RunName, tables: impl IntoIterator<Item = TableName>, reason: &str) {
    for table in tables {
        state.seals.insert(table, Seal { run: run.clone(), reason: reason.to_owned() });
    }
}

/// Transactions that have written to the tables, other than the run's own.
fn under_way(state: &State, run: &RunName, tables: &BTreeSet<TableName>) -> Vec<String> {
    let others = state
        .active
        .iter()
        .filter(|(_, active)| active.run.as_ref().is_none_or(|(of, _)| of.pair() != run.pair()));
    let writers = others.filter(|(_, active)| active.touched.keys().any(|table| tables.contains(table)));
    writers.map(|(xid, _)| xid.to_string()).collect()
}
