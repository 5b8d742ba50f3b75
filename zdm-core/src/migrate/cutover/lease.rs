//! The record while a cutover is under way: kept alive beside each step, and
//! deleted when it is given up.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::connect::{Fence, SwitchRecord, SwitchState};
use crate::{Error, ErrorKind, Result};

/// The durable PREPARING record, as this process last wrote it.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) record: SwitchRecord,
    length: Duration,
    written: Instant,
    /// Whether somebody asked for what is under way, and waits for an answer.
    pub(super) asked: bool,
}

/// For how long an answer is kept that nobody fetches.
const ANSWERED: Duration = Duration::from_secs(30);

impl Lease {
    /// Writes the first record, in the place of a request, or of the last
    /// switch in this direction, if there is one.
    pub(super) async fn take(fence: &dyn Fence, mut record: SwitchRecord, length: Duration) -> Result<Self> {
        let written = Instant::now();
        record.lease_until = until(fence.now().await?, length);
        let passed = |found: &SwitchRecord| found.is_asked() || found.is_history(record.leg);
        let old = fence.record(&record.run).await?.filter(passed);
        fence.swap(&record.run, old.as_ref(), Some(&record)).await?;
        let asked = old.is_some_and(|old| old.state == SwitchState::Requested);
        Ok(Self { record, length, written, asked })
    }

    /// Does a step's work and keeps the record alive meanwhile.
    ///
    /// A renewal that has begun is finished even when the work is done first:
    /// half done, we would not know which record is there.
    pub(super) async fn during<T: Send>(
        &mut self,
        fence: &dyn Fence,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let mut work = pin!(work);
        loop {
            let due = self.written + self.length / 3;
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep_until(due) => {}
            }
            let mut renewal = pin!(self.renew(fence));
            tokio::select! {
                biased;
                renewed = &mut renewal => renewed?,
                done = &mut work => {
                    renewal.await?;
                    return done;
                }
            }
        }
    }

    /// Says for another while that this process lives.
    ///
    /// # Errors
    /// `Fenced` when the record is another's by now; others when the source
    /// cannot be asked for as long as the lease runs.
    pub(super) async fn renew(&mut self, fence: &dyn Fence) -> Result<()> {
        // One that has run out is still ours until somebody takes it, and who
        // has is told by the record: it is asked for all the same.
        let runs_out = (self.written + self.length).max(Instant::now() + self.length / 3);
        let mut last = None;
        loop {
            let asked = Instant::now();
            match tokio::time::timeout_at(runs_out, self.next(fence)).await {
                Ok(Ok(record)) => {
                    self.record = record;
                    self.written = asked;
                    return Ok(());
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Fenced => return Err(error),
                Ok(Err(error)) => last = Some(error),
                Err(_) => return Err(last.unwrap_or_else(late)),
            }
            tokio::time::sleep(self.length / 100).await;
        }
    }

    /// Swaps the record for one with a longer lease, and gives the one that
    /// is there. An earlier attempt of unknown outcome shows as a record of
    /// ours that has another lease.
    async fn next(&self, fence: &dyn Fence) -> Result<SwitchRecord> {
        let mut next = self.record.clone();
        next.lease_until = until(fence.now().await?, self.length).max(next.lease_until + 1);
        match fence.swap(&next.run, Some(&self.record), Some(&next)).await {
            Ok(()) => Ok(next),
            Err(error) if error.kind() == ErrorKind::Fenced => match fence.record(&next.run).await? {
                Some(found) if self.is_ours(&found) => Ok(found),
                _ => Err(taken_over()),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether `found` is the record of this process, whatever its lease.
    pub(super) fn is_ours(&self, found: &SwitchRecord) -> bool {
        found.state == SwitchState::Preparing && found.epoch == self.record.epoch
    }

    /// Deletes the record, whichever renewal of it is there, or leaves an answer
    /// in its place for whoever asked.
    ///
    /// # Errors
    /// When the source cannot be asked: [`recover`](super::recover()) will.
    pub(super) async fn end(self, fence: &dyn Fence, answer: Option<String>) -> Result<()> {
        let mut ours = self.record.clone();
        let answer = match answer {
            Some(note) if self.asked => Some(answered(&ours, note, fence.now().await?)),
            _ => None,
        };
        // Each turn but the first follows one renewal of ours that was still
        // under way, and there is at most one.
        for _ in 0..4 {
            match fence.swap(&ours.run, Some(&ours), answer.as_ref()).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Fenced => {}
                Err(error) => return Err(error),
            }
            match fence.record(&ours.run).await? {
                Some(found) if self.is_ours(&found) => ours = found,
                // Gone, or another's: nothing of ours is left.
                _ => return Ok(()),
            }
        }
        Err(taken_over())
    }
}

/// The record of an answer, in the place of another one.
pub(crate) fn answered(record: &SwitchRecord, note: String, now: i64) -> SwitchRecord {
    SwitchRecord {
        state: SwitchState::Answered,
        note: Some(note),
        lease_until: until(now, ANSWERED).max(record.lease_until + 1),
        ..record.clone()
    }
}

/// `now + length`, in milliseconds.
pub(super) fn until(now: i64, length: Duration) -> i64 {
    now.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}

pub(super) fn taken_over() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "another process has taken this cutover over or undone it: look which one drives the run, and \
         let it go on alone",
    )
    .during("cutover.lease")
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the source did not answer while the cutover's lease ran out")
        .during("cutover.lease")
}
