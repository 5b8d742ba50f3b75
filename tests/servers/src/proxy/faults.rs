//! What is wrong with the network now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// A direction of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    FromServer,
}

impl Direction {
    pub(crate) fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::FromServer => 1,
        }
    }
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cut {
    /// Both ends are told that it has been reset (RST).
    #[default]
    Reset,
    /// Both ends see an end of the stream (FIN), as of a peer that died.
    Close,
}

/// The faults that hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) refuse: bool,
    pub(crate) black_hole: bool,
    /// By [`Direction::index`], like the rest.
    pub(crate) delay: [Duration; 2],
    pub(crate) rate: [Option<u64>; 2],
    /// How often everything was cut, and how the last time.
    pub(crate) cuts: (u64, Cut),
}

/// What the proxy and its connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    target: Mutex<(String, u16)>,
    faults: watch::Sender<Faults>,
    /// Bytes until a cut.
    budgets: [watch::Sender<Option<u64>>; 2],
    moved: [AtomicU64; 2],
    /// The connections that are open, by the number of cuts before them.
    open: watch::Sender<Vec<u64>>,
}

impl Shared {
    pub(crate) fn new(host: String, port: u16) -> Self {
        Self {
            target: Mutex::new((host, port)),
            faults: watch::Sender::default(),
            budgets: [watch::Sender::new(None), watch::Sender::new(None)],
            moved: [AtomicU64::new(0), AtomicU64::new(0)],
            open: watch::Sender::default(),
        }
    }

    pub(crate) fn target(&self) -> (String, u16) {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn retarget(&self, host: String, port: u16) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = (host, port);
    }

    pub(crate) fn faults(&self) -> watch::Receiver<Faults> {
        self.faults.subscribe()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.faults.send_modify(change);
    }

    pub(crate) fn heal(&self) {
        // The number of cuts is a clock, not a fault.
        self.change(|faults| *faults = Faults { cuts: faults.cuts, ..Faults::default() });
        for budget in &self.budgets {
            budget.send_replace(None);
        }
    }

    /// Cuts all connections and returns the number of this cut.
    pub(crate) fn cut(&self, how: Cut) -> u64 {
        let mut number = 0;
        self.change(|faults| {
            faults.cuts = (faults.cuts.0 + 1, how);
            number = faults.cuts.0;
        });
        number
    }

    /// Waits until no connection from before a cut is left.
    pub(crate) async fn emptied(&self, cut: u64) {
        // The sender is ours: there is no error.
        let _ = self.open.subscribe().wait_for(|open| open.iter().all(|&before| before >= cut)).await;
    }

    pub(crate) fn opened(&self, cuts: u64) {
        self.open.send_modify(|open| open.push(cuts));
    }

    pub(crate) fn closed(&self, cuts: u64) {
        self.open.send_modify(|open| {
            if let Some(at) = open.iter().position(|&before| before == cuts) {
                open.swap_remove(at);
            }
        });
    }

    pub(crate) fn connections(&self) -> usize {
        self.open.borrow().len()
    }

    pub(crate) fn set_budget(&self, direction: Direction, bytes: u64) {
        self.budgets[direction.index()].send_replace(Some(bytes));
    }

    pub(crate) async fn spent(&self, direction: Direction) {
        let _ = self.budgets[direction.index()].subscribe().wait_for(Option::is_none).await;
    }

    /// How many of `wanted` bytes may go, and whether the cut comes after them.
    pub(crate) fn take(&self, direction: Direction, wanted: u64) -> (u64, bool) {
        let mut taken = (wanted, false);
        self.budgets[direction.index()].send_if_modified(|budget| match *budget {
            None => false,
            // Stays at zero until the cut is made, so that no other connection
            // slips through between.
            Some(left) => {
                taken = (wanted.min(left), wanted >= left);
                *budget = Some(left - taken.0);
                true
            }
        });
        taken
    }

    /// Cuts because a budget is used up.
    pub(crate) fn spend(&self, direction: Direction) {
        self.cut(Cut::Close);
        self.budgets[direction.index()].send_replace(None);
    }

    pub(crate) fn count(&self, direction: Direction, bytes: u64) {
        self.moved[direction.index()].fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self, direction: Direction) -> u64 {
        self.moved[direction.index()].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Shared};

    #[test]
    fn a_budget_is_exact() {
        let shared = Shared::new("h".into(), 1);
        assert_eq!(shared.take(Direction::ToServer, 9), (9, false));
        shared.set_budget(Direction::ToServer, 10);
        assert_eq!(shared.take(Direction::ToServer, 9), (9, false));
        assert_eq!(shared.take(Direction::FromServer, 9), (9, false));
        assert_eq!(shared.take(Direction::ToServer, 9), (1, true));
        assert_eq!(shared.take(Direction::ToServer, 9), (0, true));
        shared.spend(Direction::ToServer);
        assert_eq!(shared.take(Direction::ToServer, 9), (9, false));
    }
}
