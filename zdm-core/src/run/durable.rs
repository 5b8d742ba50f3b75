//! Where the stream of a run stands, for those who wait for it: what is
//! durable in the target, and how much of the log is not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::rate::Rate;
use super::repair::Repairs;
use super::touched::Touched;
use super::turn::Turn;
use crate::Position;
use crate::change::Budget;
use crate::connect::Head;
use crate::migrate::cutover::Lag;

/// Where the stream is durable in the target, how far that is behind the end
/// of the log, and who is waiting for it.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    position: watch::Sender<Option<Position>>,
    hurry: watch::Sender<usize>,
    stream: watch::Sender<Option<Stream>>,
    ended: watch::Sender<bool>,
    turn: Turn,
    rate: Arc<Mutex<Rate>>,
    repairs: Repairs,
    touched: Touched,
}

/// A stream that is open.
#[derive(Debug, Clone)]
struct Stream {
    /// As the source keeps it, whether anything is applied or not.
    head: watch::Receiver<Head>,
    /// What was handed over and not dropped yet holds a part of it.
    budget: Budget,
    /// Bytes of the group that is being applied.
    group: Arc<AtomicU64>,
    /// Bytes of the groups that are durable.
    applied: Arc<AtomicU64>,
}

impl Stream {
    /// Handed over: in the line in front of the writer, or with it. It may
    /// have let go of batches that it has not committed yet.
    fn under_way(&self) -> u64 {
        let alive = u64::from(self.budget.total()).saturating_sub(self.budget.available() as u64);
        alive.max(self.group.load(Ordering::Relaxed))
    }

    /// Bytes that are durable since the stream was opened: of the log, where
    /// the source counts them, so that they compare with how far behind it is.
    fn applied(&self) -> u64 {
        match self.head.borrow().bytes_read {
            Some(read) => read.saturating_sub(self.under_way()),
            None => self.applied.load(Ordering::Relaxed),
        }
    }

    fn behind(&self) -> Option<u64> {
        let head = self.head.borrow();
        head.position.as_ref()?;
        Some(head.bytes_behind.saturating_add(self.under_way()))
    }
}

impl Durable {
    pub(crate) fn new() -> Self {
        Self {
            position: watch::Sender::new(None),
            hurry: watch::Sender::new(0),
            stream: watch::Sender::new(None),
            ended: watch::Sender::new(true),
            turn: Turn::new(),
            rate: Arc::default(),
            repairs: Repairs::new(),
            touched: Touched::default(),
        }
    }

    /// Where the target is, as its own durable progress says.
    pub(crate) fn position(&self) -> watch::Receiver<Option<Position>> {
        self.position.subscribe()
    }

    /// The target is there now, and nothing that was handed over is left.
    pub(crate) fn reached(&self, position: Position) {
        self.applying(0);
        self.position.send_replace(Some(position));
    }

    /// What is to be made right at the target.
    pub(crate) fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// What was touched since the last verification.
    pub(crate) fn touched(&self) -> &Touched {
        &self.touched
    }

    /// Whether the run is under way in this process, though its stream may be
    /// connecting again at the moment.
    pub(crate) fn is_running(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Whose turn it is at the target.
    pub(crate) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// While the guard lives, positions that bear no rows are made durable at
    /// once too.
    pub(crate) fn hurry(&self) -> Hurry {
        self.hurry.send_modify(|waiting| *waiting += 1);
        Hurry(self.hurry.clone())
    }

    pub(super) fn hurried(&self) -> watch::Receiver<usize> {
        self.hurry.subscribe()
    }

    /// A stream is open while the guard lives.
    pub(super) fn open(&self, head: watch::Receiver<Head>, budget: Budget) -> Open {
        self.rate().breaks();
        let stream = Stream { head, budget, group: Arc::default(), applied: Arc::default() };
        self.stream.send_replace(Some(stream));
        Open(self.stream.clone())
    }

    /// So many bytes are being applied and not durable yet.
    pub(super) fn applying(&self, bytes: u64) {
        if let Some(stream) = &*self.stream.borrow() {
            stream.group.store(bytes, Ordering::Relaxed);
        }
    }

    /// Rows have come to be applied.
    pub(super) fn begins(&self) {
        if let Some(stream) = &*self.stream.borrow() {
            self.rate().begins(stream.applied());
        }
    }

    /// So many bytes have become durable, and rows among them or not.
    pub(super) fn committed(&self, bytes: u64, rows: bool) {
        if let Some(stream) = &*self.stream.borrow() {
            stream.applied.fetch_add(bytes, Ordering::Relaxed);
            if rows {
                self.rate().committed(stream.applied());
            } else {
                self.rate().ends();
            }
        }
        self.looked();
    }

    /// The end of the log has moved, or what was read of it.
    pub(super) fn looked(&self) {
        if self.bytes_behind().is_none_or(|bytes| bytes == 0) {
            self.rate().ends();
        }
    }

    fn rate(&self) -> std::sync::MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of the source's log is not durable in the target at this
    /// moment, and how fast it becomes so. `None` while no stream is open, and
    /// before the source has said where its log ends.
    pub(crate) fn lag(&self) -> Option<Lag> {
        let stream = self.stream.borrow();
        let stream = stream.as_ref()?;
        let bytes = stream.behind()?;
        Some(Lag { bytes, bytes_per_second: self.rate().bytes_per_second(stream.applied()) })
    }

    /// Where the source's log ends, as it has last said.
    pub(crate) fn head(&self) -> Option<Position> {
        self.stream.borrow().as_ref()?.head.borrow().position.clone()
    }

    fn bytes_behind(&self) -> Option<u64> {
        self.stream.borrow().as_ref()?.behind()
    }

    /// Whether the run has ended, and moves nothing any more.
    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// The run begins, or has ended.
    pub(crate) fn set_ended(&self, ended: bool) {
        self.ended.send_replace(ended);
    }
}

/// Somebody waits for the target to pass a point.
#[derive(Debug)]
pub(crate) struct Hurry(watch::Sender<usize>);

impl Drop for Hurry {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[derive(Debug)]
pub(super) struct Open(watch::Sender<Option<Stream>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;

    /// By the log's own bytes, of which those that are handed over are not
    /// applied yet.
    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_log() {
        let (durable, (says, head)) = (Durable::new(), watch::channel(Head::default()));
        let budget = Budget::new(1_000);
        let _open = durable.open(head, budget.clone());
        let read = |bytes_read, bytes_behind| {
            let position = Some(Position::new(Engine::new("e"), "9"));
            says.send_replace(Head { position, bytes_behind, bytes_read: Some(bytes_read) });
        };
        read(0, 9_000);
        durable.begins();
        tokio::time::advance(std::time::Duration::from_secs(4)).await;
        read(1_000, 8_000);
        let in_line = budget.acquire(200).await;
        durable.committed(70, true);
        let lag = Lag { bytes: 8_200, bytes_per_second: Some(200) };
        assert_eq!(durable.lag(), Some(lag));
        assert_eq!(lag.drain(), Some(std::time::Duration::from_secs(41)));
        drop(in_line);
        assert_eq!(durable.lag().unwrap().bytes_per_second, Some(250));
    }

    #[tokio::test]
    async fn how_far_behind_it_is_moves_with_the_source_and_not_with_what_is_applied() {
        let (durable, (says, head)) = (Durable::new(), watch::channel(Head::default()));
        assert_eq!(durable.bytes_behind(), None, "no stream is open");
        let budget = Budget::new(1_000);
        let open = durable.open(head, budget.clone());
        assert_eq!(durable.bytes_behind(), None, "the source has not said where its log ends");
        let end = |bytes_behind| Head {
            position: Some(Position::new(Engine::new("e"), "9")),
            bytes_behind,
            ..Head::default()
        };
        says.send_replace(end(70));
        assert_eq!(durable.bytes_behind(), Some(70));
        says.send_replace(end(500));
        assert_eq!(durable.bytes_behind(), Some(500), "nothing was applied meanwhile");
        // Handed over is not applied.
        let in_line = budget.acquire(40).await;
        says.send_replace(end(0));
        assert_eq!(durable.bytes_behind(), Some(40));
        drop(in_line);
        durable.applying(30);
        assert_eq!(durable.bytes_behind(), Some(30));
        durable.reached(Position::new(Engine::new("e"), "9"));
        assert_eq!(durable.bytes_behind(), Some(0));
        drop(open);
        assert_eq!(durable.bytes_behind(), None);
    }
}
