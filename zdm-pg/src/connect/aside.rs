//! Rows of a COPY that go around the client, one at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

/// What is larger goes around the client: as much as a batch holds.
pub(crate) const LARGE: usize = 1 << 20;

/// The way around. A handle: clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Aside(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// A COPY is being read.
    open: bool,
    /// Somebody waits for its next row.
    wanted: bool,
    rows: VecDeque<BytesMut>,
    reader: Option<Waker>,
}

impl Aside {
    /// The rows of a COPY are about to come.
    pub(super) fn open(&self) {
        *self.lock() = State { open: true, ..State::default() };
    }

    /// No more of them are taken: what comes is dropped.
    pub(super) fn close(&self) {
        let reader = std::mem::take(&mut *self.lock()).reader;
        reader.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// The next row may come.
    pub(super) fn want(&self) {
        let reader = {
            let mut state = self.lock();
            state.wanted = true;
            state.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }

    /// A row has come, which was small.
    pub(super) fn passed(&self) {
        self.lock().wanted = false;
    }

    /// A row has come whole. The next one may not yet.
    pub(super) fn put(&self, row: BytesMut) {
        let mut state = self.lock();
        state.wanted = false;
        if state.open {
            state.rows.push_back(row);
        }
    }

    /// The row in whose place an empty one was found.
    pub(super) fn take(&self) -> Option<BytesMut> {
        self.lock().rows.pop_front()
    }

    /// Whether rows could come and nobody waits for one: it is we who pause.
    pub(super) fn is_paused(&self) -> bool {
        let state = self.lock();
        state.open && !state.wanted
    }

    /// Ready when the next row may come.
    pub(super) fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.wanted || !state.open {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
