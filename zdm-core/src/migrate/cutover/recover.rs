//! What the next start does about a cutover that did not come to its end.

use std::time::Duration;

use tokio::time::Instant;

use super::lease::until;
use crate::connect::{Epoch, Fence, RunName, Sink, Source, Step, SwitchRecord, SwitchState};
use crate::gate::GateControl;
use crate::schema::Schema;
use crate::{Error, ErrorKind, Result};

/// What [`recover`] needs to know.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "nothing but borrowed traits")]
pub struct Recover<'a> {
    /// The run.
    pub run: &'a RunName,
    /// The epoch that this process holds. It must have been raised already.
    pub epoch: Epoch,
    /// The leg that is due: a switch of an earlier one is history.
    pub leg: u32,
    /// The source: the database whose record decides.
    pub source: &'a dyn Source,
    /// The target.
    pub sink: &'a dyn Sink,
    /// The tables as the target has them.
    pub target_schema: &'a Schema,
    /// The application's gate, if it is in this process.
    pub gate: &'a dyn GateControl,
    /// For how long to wait for another process's lease to run out.
    pub patience: Duration,
    /// The lease of our own while we undo.
    pub lease: Duration,
}

/// What was found, and done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// No cutover was under way.
    Clear,
    /// One was, before its commit point: the source is open, the record gone.
    Released,
    /// One had passed its commit point: the target is open.
    Switched(SwitchRecord),
}

/// Finishes or undoes a cutover of an earlier start, by its record in the
/// source. Call it at the start of every run, *before* the stream is applied,
/// and again after any error. Idempotent; a future that is dropped is made
/// good by the next call.
///
/// # Errors
/// `Conflict` when another process holds a live lease and does not let go in
/// time; `Fenced` when the cutover is of a higher epoch than ours.
pub async fn recover(with: Recover<'_>) -> Result<Recovered> {
    let Some(fence) = with.source.capabilities().fence else {
        // An engine without a fence has no record and never began.
        return Ok(Recovered::Clear);
    };
    let deadline = Instant::now() + with.patience;
    let mut seen: Option<SwitchRecord> = None;
    loop {
        let Some(record) = fence.record(with.run).await? else {
            return Ok(if seen.is_some() { Recovered::Released } else { Recovered::Clear });
        };
        if record.is_asked() || record.is_history(with.leg) {
            return Ok(Recovered::Clear);
        }
        if record.state == SwitchState::Switched {
            open(&with).await?;
            return Ok(Recovered::Switched(record));
        }
        if record.epoch > with.epoch {
            return Err(Error::new(
                ErrorKind::Fenced,
                "a newer process of this run is cutting over: let it go on alone",
            )
            .during("cutover.recover"));
        }
        let left = record.lease_until.saturating_sub(fence.now().await?);
        let alive = record.epoch != with.epoch && left > 0;
        if alive {
            wait_for(&record, seen.as_ref(), left, deadline).await?;
            seen = Some(record);
            continue;
        }
        if release(&with, fence, &record).await? {
            tracing::info!(run = %with.run, "a cutover that had not come to its end was undone");
            return Ok(Recovered::Released);
        }
        // It changed under us: look again.
        seen = Some(record);
    }
}

/// Waits for a lease to run out, unless whoever holds it renews it.
async fn wait_for(
    record: &SwitchRecord,
    seen: Option<&SwitchRecord>,
    left: i64,
    deadline: Instant,
) -> Result<()> {
    let renewed = seen.is_some_and(|seen| seen.lease_until != record.lease_until);
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(Duration::from_secs(1));
    if renewed || Instant::now() >= deadline {
        return Err(Error::new(
            ErrorKind::Conflict,
            "another process is cutting this run over: let it finish, or end it and start again when its \
             lease has run out",
        )
        .with("epoch", record.epoch)
        .with("lease_until_ms", record.lease_until)
        .during("cutover.recover"));
    }
    tokio::time::sleep(left.min(deadline.duration_since(Instant::now()))).await;
    Ok(())
}

/// Undoes a cutover that is before its commit point. `false` when its record
/// changed meanwhile.
async fn release(with: &Recover<'_>, fence: &dyn Fence, record: &SwitchRecord) -> Result<bool> {
    // Ours first: from here on nobody's seal can succeed, and only then is
    // the target changed under him.
    let mut ours = record.clone();
    ours.epoch = with.epoch;
    ours.lease_until = until(fence.now().await?, with.lease).max(record.lease_until + 1);
    match fence.swap(with.run, Some(record), Some(&ours)).await {
        Err(error) if error.kind() == ErrorKind::Fenced => return Ok(false),
        swapped => swapped?,
    }
    with.sink.prepare(with.run, with.target_schema, Step::Finished).await?;
    match fence.swap(with.run, Some(&ours), None).await {
        Err(error) if error.kind() == ErrorKind::Fenced => Ok(false),
        deleted => deleted.map(|()| true),
    }
}

/// Step 9, again: idempotent.
async fn open(with: &Recover<'_>) -> Result<()> {
    let fence = with.sink.capabilities().fence.ok_or_else(|| super::lacks("target", "be opened"))?;
    fence.unseal(with.run, with.target_schema, with.leg).await?;
    with.gate.open_target().await
}
