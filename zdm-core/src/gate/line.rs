//! The line in front of the gate: who is inside, who waits, and in which
//! order they go on.
//!
//! One mutex guards it all, is held for a few instructions, and never across
//! an await; a request that finds the gate open takes it once to enter and
//! once to leave. A request that is let in gets its guard through its own
//! channel: if it is gone by then, the guard comes back and is dropped, so
//! nobody is counted who is not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::{GateStats, Guard};

/// The state that gate, guards and holds share.
pub(super) struct Line<T> {
    state: Mutex<State<T>>,
    /// Woken when the last request inside leaves.
    empty: Notify,
}

struct State<T> {
    side: Arc<T>,
    held: Option<Held>,
    /// By number, which is the order in which they came.
    waiting: BTreeMap<u64, Waiting<T>>,
    next: u64,
    in_flight: usize,
    requests: u64,
    waited: u64,
    gave_up: u64,
    longest_wait: Duration,
}

struct Held {
    id: HoldId,
    /// `None`: pinned, or further away than the clock reaches.
    ends: Option<Instant>,
}

struct Waiting<T> {
    since: Instant,
    admit: oneshot::Sender<Guard<T>>,
}

impl Held {
    fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }
}

/// Which hold: a hold that has ended cannot end the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HoldId(u64);

/// What a request finds.
pub(super) enum Entry<T> {
    In(Guard<T>),
    Wait(Ticket<T>),
}

impl<T> Line<T> {
    pub(super) fn new(side: T) -> Self {
        Self {
            state: Mutex::new(State {
                side: Arc::new(side),
                held: None,
                waiting: BTreeMap::new(),
                next: 0,
                in_flight: 0,
                requests: 0,
                waited: 0,
                gave_up: 0,
                longest_wait: Duration::ZERO,
            }),
            empty: Notify::new(),
        }
    }

    /// No code of a user runs under the lock and none of ours can panic
    /// there, so a poisoned state is a whole one.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Entry<T> {
        let mut state = self.lock();
        let (hold, ends) = loop {
            match &state.held {
                None => return Entry::In(state.admit(self)),
                Some(held) if held.is_over() => {
                    let id = held.id;
                    drop(state);
                    self.expire(id);
                    state = self.lock();
                }
                Some(held) => break (held.id, held.ends),
            }
        };
        let number = state.next;
        state.next += 1;
        let (admit, admitted) = oneshot::channel();
        state.waiting.insert(number, Waiting { since: Instant::now(), admit });
        drop(state);
        Entry::Wait(Ticket { line: Arc::clone(self), number, hold, ends, admitted })
    }

    /// A request that was inside is over.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        // Each guard was counted once by `admit`, and drops once.
        state.in_flight -= 1;
        let empty = state.in_flight == 0;
        drop(state);
        if empty {
            self.empty.notify_waiters();
        }
    }

    pub(super) fn hold(&self, ends: Option<Instant>) -> Option<HoldId> {
        let mut state = self.lock();
        if state.held.is_some() {
            return None;
        }
        let id = HoldId(state.next);
        state.next += 1;
        state.held = Some(Held { id, ends });
        Some(id)
    }

    /// Whether that hold is still up, its deadline considered.
    pub(super) fn is_held(self: &Arc<Self>, id: HoldId) -> bool {
        self.expire(id);
        self.lock().held.as_ref().is_some_and(|held| held.id == id)
    }

    /// Takes the deadline from a hold, if it is still up.
    pub(super) fn pin(self: &Arc<Self>, id: HoldId) -> bool {
        self.expire(id);
        let mut state = self.lock();
        match &mut state.held {
            Some(held) if held.id == id => {
                held.ends = None;
                true
            }
            _ => false,
        }
    }

    /// Ends that hold if its deadline has passed.
    pub(super) fn expire(self: &Arc<Self>, id: HoldId) {
        self.open_if(None, |held| held.id == id && held.is_over());
    }

    /// Ends that hold, and lets everybody in: to `side`, or the old one.
    /// Whether the hold was still up; if not, nothing happens.
    pub(super) fn open(self: &Arc<Self>, id: HoldId, side: Option<Arc<T>>) -> bool {
        self.open_if(side, |held| held.id == id)
    }

    /// Ends whatever hold there is, and lets everybody in to `side`.
    pub(super) fn open_now(self: &Arc<Self>, side: Arc<T>) {
        if !self.open_if(Some(Arc::clone(&side)), |_| true) {
            self.set(side);
        }
    }

    fn open_if(self: &Arc<Self>, side: Option<Arc<T>>, so: impl Fn(&Held) -> bool) -> bool {
        let mut state = self.lock();
        if !state.held.as_ref().is_some_and(so) {
            return false;
        }
        state.held = None;
        let old = side.map(|side| std::mem::replace(&mut state.side, side));
        let line = std::mem::take(&mut state.waiting);
        let mut refused = Vec::new();
        for (_, Waiting { since, admit }) in line {
            state.waited += 1;
            state.longest_wait = state.longest_wait.max(since.elapsed());
            let guard = state.admit(self);
            // In order, and under the lock: who comes now comes later.
            if let Err(guard) = admit.send(guard) {
                refused.push(guard);
            }
        }
        drop(state);
        // These take the lock, and may run the code of `T`.
        drop(refused);
        drop(old);
        true
    }

    /// Waits until nobody is inside.
    pub(super) async fn emptied(&self)
    where
        T: Send + Sync,
    {
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            // Registered before looking, so that no wake-up is missed.
            empty.as_mut().enable();
            if self.lock().in_flight == 0 {
                return;
            }
            empty.await;
        }
    }

    pub(super) fn set(&self, side: Arc<T>) {
        // The lock is free again when the old side, and code of `T`, drops.
        let old = std::mem::replace(&mut self.lock().side, side);
        drop(old);
    }

    pub(super) fn side(&self) -> Arc<T> {
        Arc::clone(&self.lock().side)
    }

    pub(super) fn stats(&self) -> GateStats {
        let state = self.lock();
        GateStats {
            requests: state.requests,
            waited: state.waited,
            gave_up: state.gave_up,
            in_flight: state.in_flight,
            waiting: state.waiting.len(),
            longest_wait: state.longest_wait,
            held: state.held.is_some(),
        }
    }
}

impl<T> State<T> {
    fn admit(&mut self, line: &Arc<Line<T>>) -> Guard<T> {
        self.requests += 1;
        self.in_flight += 1;
        Guard { side: Arc::clone(&self.side), line: Arc::clone(line) }
    }
}

/// A place in the line. Dropped, it leaves the line.
pub(super) struct Ticket<T> {
    line: Arc<Line<T>>,
    number: u64,
    hold: HoldId,
    ends: Option<Instant>,
    admitted: oneshot::Receiver<Guard<T>>,
}

impl<T> Ticket<T> {
    pub(super) fn hold(&self) -> HoldId {
        self.hold
    }

    /// When the hold ends, as it was known when the request came. A pin may
    /// have taken the deadline away since: [`Line::expire`] looks again.
    pub(super) fn hold_ends(&self) -> Option<Instant> {
        self.ends
    }

    pub(super) async fn admitted(&mut self) -> Option<Guard<T>>
    where
        T: Send + Sync,
    {
        (&mut self.admitted).await.ok()
    }

    /// Leaves the line, with the guard if it has come meanwhile.
    pub(super) fn leave(mut self) -> Option<Guard<T>> {
        // Not in the line any more: the guard was sent under the same lock.
        if self.step_out() { None } else { self.admitted.try_recv().ok() }
    }

    /// Whether it was still in the line.
    fn step_out(&self) -> bool {
        let mut state = self.line.lock();
        let left = state.waiting.remove(&self.number);
        if let Some(waiting) = &left {
            state.gave_up += 1;
            state.longest_wait = state.longest_wait.max(waiting.since.elapsed());
        }
        left.is_some()
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.step_out();
    }
}
