//! The clauses of [`Checkpoint`].

use super::target::{Target, at, record};
use super::world::run_name;
use super::{Broken, Harness, Verdict, clauses, ensure};
use crate::connect::{
    Bounds, Checkpoint, ChunkDone, ChunkId, ChunkRecord, Epoch, Phase, Progress, Record, Step, Visibility,
};
use crate::schema::TableName;
use crate::{ErrorKind, Position, Result};

clauses!("checkpoint": a_sinks_own_checkpoint_keeps_the_contract);

async fn a_sinks_own_checkpoint_keeps_the_contract(harness: &dyn Harness) -> Verdict {
    let target = Target::new(harness, Step::Bare).await?;
    contract(target.checkpoint.as_ref()).await
}

/// A few runs through a checkpoint, each of its answers compared.
pub(super) async fn contract(checkpoint: &dyn Checkpoint) -> Verdict {
    let (run, other) = (run_name()?, run_name()?);
    ensure!(checkpoint.load(&run).await?.is_none(), "a run that was never created is there");
    refused(checkpoint.raise(&run).await, ErrorKind::NotFound, "raise of a run that is not there")?;
    checkpoint.remove(&run).await?;

    let first = record(&run);
    checkpoint.create(&first).await?;
    checkpoint.create(&record(&other)).await?;
    refused(checkpoint.create(&first).await, ErrorKind::Conflict, "a second run of one name")?;
    let loaded =
        checkpoint.load(&run).await?.ok_or_else(|| Broken("a created run is not there".to_owned()))?;
    ensure!(loaded.record == first && loaded.chunks.is_empty(), "created {first:?}, loaded {loaded:?}");

    chunks(checkpoint, &first).await?;
    let raised = checkpoint.raise(&run).await?;
    ensure!(raised.record.epoch == Epoch(2), "raised from 1 to {}", raised.record.epoch);
    ensure!(raised.chunks.len() == 4, "a raise lost chunks: {:?}", raised.chunks);
    fenced(checkpoint, &first).await?;
    swaps(checkpoint, &raised.record).await?;

    let untouched = checkpoint.load(&other).await?;
    ensure!(untouched.is_some_and(|state| state.record == record(&other)), "another run was changed");
    checkpoint.remove(&run).await?;
    ensure!(checkpoint.load(&run).await?.is_none(), "a removed run is still there");
    checkpoint.create(&first).await?;
    let anew = checkpoint.load(&run).await?;
    ensure!(anew.is_some_and(|state| state.chunks.is_empty()), "a run that begins anew has old chunks");
    checkpoint.remove(&run).await?;
    checkpoint.remove(&run).await?;
    checkpoint.remove(&other).await?;
    Ok(())
}

async fn chunks(checkpoint: &dyn Checkpoint, record: &Record) -> Verdict {
    let (run, epoch) = (&record.run, record.epoch);
    let tables = [TableName::new("a b", "c\"d'"), TableName::new("public", "Ünï.codé")];
    let chunk = |table: usize, number| ChunkRecord {
        id: ChunkId { table: tables[table].clone(), number },
        bounds: Bounds(format!("{{\"from\": \"it's\", \"n\": {number}}}")),
        done: None,
    };
    let plan = [chunk(0, 0), chunk(0, 1), chunk(0, 2)];
    checkpoint.plan(run, epoch, &plan).await?;
    let larger = [chunk(0, 0), chunk(0, 1), chunk(0, 2), chunk(0, 3)];
    checkpoint.plan(run, epoch, &larger).await?;
    checkpoint.plan(run, epoch, &[chunk(1, 0)]).await?;
    let done = ChunkDone { rows: 12, after: at(5), visibility: Some(Visibility("1:2,3".to_owned())) };
    let progress = Progress::Chunk { id: chunk(0, 1).id, done: done.clone() };
    checkpoint.advance(run, epoch, &progress).await?;

    let state = checkpoint.load(run).await?.ok_or_else(|| Broken("the run is gone".to_owned()))?;
    let mut wanted = vec![chunk(0, 0), chunk(0, 1), chunk(0, 2), chunk(1, 0)];
    wanted[1].done = Some(done);
    let mut found = state.chunks;
    found.sort_by(|a, b| a.id.cmp(&b.id));
    ensure!(found == wanted, "planned {wanted:?}, found {found:?}");
    ensure!(state.record.rows_copied == 12, "12 rows copied, {} counted", state.record.rows_copied);
    Ok(())
}

/// Every call of the epoch before is refused, and changes nothing.
async fn fenced(checkpoint: &dyn Checkpoint, old: &Record) -> Verdict {
    let before = checkpoint.load(&old.run).await?;
    let chunk = ChunkRecord {
        id: ChunkId { table: TableName::new("x", "y"), number: 0 },
        bounds: Bounds(String::new()),
        done: None,
    };
    let next = Record { phase: Phase::Copying, ..old.clone() };
    refused(checkpoint.swap(old, &next).await, ErrorKind::Fenced, "a swap of an old epoch")?;
    refused(
        checkpoint.plan(&old.run, old.epoch, &[chunk]).await,
        ErrorKind::Fenced,
        "a plan of an old epoch",
    )?;
    let step = stream(at(0), at(1));
    refused(
        checkpoint.advance(&old.run, old.epoch, &step).await,
        ErrorKind::Fenced,
        "progress of an old epoch",
    )?;
    let step = stream(at(9), at(10));
    refused(
        checkpoint.advance(&old.run, Epoch(2), &step).await,
        ErrorKind::Fenced,
        "progress from elsewhere",
    )?;
    ensure!(checkpoint.load(&old.run).await? == before, "a refused call changed the run");
    Ok(())
}

async fn swaps(checkpoint: &dyn Checkpoint, old: &Record) -> Verdict {
    let copying = Record { phase: Phase::Copying, goals: vec![at(7)], ..old.clone() };
    checkpoint.swap(old, &copying).await?;
    refused(checkpoint.swap(old, &copying).await, ErrorKind::Fenced, "a swap of an old phase")?;
    let goals = vec![at(8)];
    let step = Progress::Stream { from: at(0), to: at(1), changes: 3, goals };
    checkpoint.advance(&old.run, old.epoch, &step).await?;
    refused(checkpoint.swap(&copying, &copying).await, ErrorKind::Fenced, "a swap of an old position")?;
    let state = checkpoint.load(&old.run).await?.ok_or_else(|| Broken("the run is gone".to_owned()))?;
    let wanted = Record {
        position: Some(at(1)),
        changes_applied: copying.changes_applied + 3,
        goals: vec![at(7), at(8)],
        ..copying
    };
    ensure!(state.record == wanted, "wanted {wanted:?}, found {:?}", state.record);
    Ok(())
}

fn stream(from: Position, to: Position) -> Progress {
    Progress::Stream { from, to, changes: 1, goals: Vec::new() }
}

fn refused<T>(outcome: Result<T>, kind: ErrorKind, what: &str) -> Verdict {
    match outcome {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Broken(format!("{what} was refused as {error:?}, not as {kind:?}"))),
        Ok(_) => Err(Broken(format!("{what} was accepted"))),
    }
}
