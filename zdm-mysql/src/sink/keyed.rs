//! One table's coalesced changes, in sets: what is to be carried is read,
//! then come deletes, updates, and inserts. Why that is right is with
//! [`zdm_core::apply`].
//!
//! A put is a delete and an insert: `REPLACE` and `ON DUPLICATE KEY` also take
//! a row of another key for the same, if a unique value is. Where there is no
//! other unique key, whole rows are put by [`upsert`] instead, changed ones as
//! well.

use zdm_core::apply::{KeyRef, KeyedWork, Merged, Outcome};
use zdm_core::{Error, ErrorKind, Result};

use super::carried::{self, Carried};
use super::pack::Several;
use super::session::Session;
use super::shape::Shape;
use super::{statements, upsert};

/// A row that is deleted, where it is there, and inserted.
struct Put<'g> {
    row: Merged<'g>,
    carried: Option<Carried>,
}

/// What a step does to one table.
#[derive(Default)]
struct Plan<'g> {
    deletes: Vec<KeyRef<'g>>,
    updates: Vec<Merged<'g>>,
    puts: Vec<Put<'g>>,
    /// To be read again at the source.
    again: Vec<Merged<'g>>,
}

/// Applies one table's changes, and gives the rows that must be read again at
/// the source, by their keys.
///
/// # Errors
/// `Conflict` when a row is missing here and cannot be read again.
pub(super) async fn apply<'g>(
    session: &mut Session,
    shape: &Shape,
    work: KeyedWork<'g>,
    rereads: bool,
) -> Result<Vec<Merged<'g>>> {
    let mut plan = plan(session, shape, work, rereads).await?;
    fail::fail_point!("apply::staged");
    let whole = plan.puts.len() + plan.updates.iter().filter(|row| row.is_complete()).count();
    let upserts = upsert::suits(session, shape, whole).await?;
    delete(session, shape, &plan, upserts).await?;
    fail::fail_point!("apply::deleted");
    let mut updates = std::mem::take(&mut plan.updates);
    if upserts {
        let (complete, rest) = updates.into_iter().partition(Merged::is_complete);
        updates = rest;
        plan.puts.extend(Vec::into_iter(complete).map(|row| Put { row, carried: None }));
    }
    for row in update(session, shape, updates).await? {
        match (row.is_complete(), rereads) {
            (true, _) => plan.puts.push(Put { row, carried: None }),
            (false, true) => plan.again.push(row),
            (false, false) => return Err(gone(&row)),
        }
    }
    fail::fail_point!("apply::updated");
    let mut insert =
        if upserts { upsert::statement(shape, session.server()) } else { statements::insert(shape) };
    for put in &plan.puts {
        let write = |out: &mut _| statements::put(shape, put.row, put.carried.as_ref(), out);
        insert.row(session, write).await?;
    }
    insert.run(session).await?;
    fail::fail_point!("apply::inserted");
    Ok(plan.again)
}

async fn plan<'g>(
    session: &mut Session,
    shape: &Shape,
    work: KeyedWork<'g>,
    rereads: bool,
) -> Result<Plan<'g>> {
    let mut plan = Plan::default();
    let mut lacking = Vec::new();
    for outcome in work.outcomes() {
        match outcome {
            Outcome::Delete(key) => plan.deletes.push(key),
            Outcome::Update(row) if !shape.columns.iter().any(|c| sets_unique(shape, row, c.at)) => {
                plan.updates.push(row);
            }
            Outcome::Put(row) | Outcome::Update(row) if row.is_complete() => {
                plan.puts.push(Put { row, carried: None });
            }
            // While a target catches up, what lies under the old key may be
            // another row by now.
            Outcome::Put(row) if rereads => {
                plan.deletes.push(row.key());
                plan.again.push(row);
            }
            Outcome::Put(row) | Outcome::Update(row) => lacking.push(row),
        }
    }
    let keys: Vec<KeyRef<'_>> =
        lacking.iter().map(|row| row.carry_from().ok_or_else(|| gone(row))).collect::<Result<_>>()?;
    for (row, carried) in lacking.iter().zip(carried::read(session, shape, &keys).await?) {
        match carried {
            Some(carried) => plan.puts.push(Put { row: *row, carried: Some(carried) }),
            None if rereads => plan.again.push(*row),
            None => return Err(gone(row)),
        }
    }
    Ok(plan)
}

/// Whether an update sets a column that other rows may clash with.
fn sets_unique(shape: &Shape, row: Merged<'_>, at: usize) -> bool {
    !shape.table.key_columns().contains(&at) && shape.is_unique(at) && row.cell(at).is_some()
}

/// Deletes what is to go, and what is in the way of puts unless those do
/// without.
async fn delete(session: &mut Session, shape: &Shape, plan: &Plan<'_>, upserts: bool) -> Result<()> {
    let mut delete = statements::delete(shape);
    let in_the_way = plan.puts.iter().filter(|_| !upserts).map(|put| put.row.key());
    for key in plan.deletes.iter().copied().chain(in_the_way) {
        delete.row(session, |out| statements::deleted(shape, key, out)).await?;
    }
    delete.run(session).await
}

/// Gives the rows that are not there.
async fn update<'g>(session: &mut Session, shape: &Shape, rows: Vec<Merged<'g>>) -> Result<Vec<Merged<'g>>> {
    let mut missing = Vec::new();
    let mut several = Several::default();
    let mut sent = 0;
    for (number, row) in rows.iter().enumerate() {
        several.statement(|out| statements::update(shape, *row, out))?;
        if several.is_full(session) || number + 1 == rows.len() {
            let found = several.found(session).await?;
            let these = rows[sent..].iter().zip(&found);
            missing.extend(these.filter(|(_, found)| **found == 0).map(|(row, _)| *row));
            sent += found.len();
        }
    }
    Ok(missing)
}

/// A row that should be there is not.
pub(super) fn gone(row: &Merged<'_>) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "a row changed at the source is not in the target, and the log does not carry all of it: \
         something else has written to the target; start the run anew",
    )
    .with("key", format!("{:?}", row.key()))
    .during("sink.apply")
}
