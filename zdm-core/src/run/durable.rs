//! Where the stream of a run stands, for those who wait for it: what is
//! durable in the target, and how much of the log is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::turn::Turn;
use crate::Position;
use crate::change::Budget;
use crate::connect::Head;

/// Where the stream is durable in the target, how far that is behind the end
/// of the log, and who is waiting for it.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    position: watch::Sender<Option<Position>>,
    hurry: watch::Sender<usize>,
    stream: watch::Sender<Option<Stream>>,
    ended: watch::Sender<bool>,
    turn: Turn,
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
}

impl Durable {
    pub(crate) fn new() -> Self {
        Self {
            position: watch::Sender::new(None),
            hurry: watch::Sender::new(0),
            stream: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            turn: Turn::new(),
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
        self.stream.send_replace(Some(Stream { head, budget, group: Arc::default() }));
        Open(self.stream.clone())
    }

    /// So many bytes are being applied and not durable yet.
    pub(super) fn applying(&self, bytes: u64) {
        if let Some(stream) = &*self.stream.borrow() {
            stream.group.store(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes of the source's log that are not durable in the target, at this
    /// moment. `None` while no stream is open, and before the source has said
    /// where its log ends.
    pub(crate) fn bytes_behind(&self) -> Option<u64> {
        let stream = self.stream.borrow();
        let Stream { head, budget, group } = stream.as_ref()?;
        let head = head.borrow();
        head.position.as_ref()?;
        // Handed over: in the line in front of the writer, or with it. It may
        // have let go of batches that it has not committed yet.
        let alive = u64::from(budget.total()).saturating_sub(budget.available() as u64);
        Some(head.bytes_behind.saturating_add(alive.max(group.load(Ordering::Relaxed))))
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

    #[tokio::test]
    async fn how_far_behind_it_is_moves_with_the_source_and_not_with_what_is_applied() {
        let (durable, (says, head)) = (Durable::new(), watch::channel(Head::default()));
        assert_eq!(durable.bytes_behind(), None, "no stream is open");
        let budget = Budget::new(1_000);
        let open = durable.open(head, budget.clone());
        assert_eq!(durable.bytes_behind(), None, "the source has not said where its log ends");
        let end = |bytes_behind| Head { position: Some(Position::new(Engine::new("e"), "9")), bytes_behind };
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
