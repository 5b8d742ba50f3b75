//! When bytes last moved over a session, and who is to speak next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::messages::Messages;

/// Where a session stands, by the bytes that went over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The last request was answered: silence means nothing.
    Idle,
    /// Part of a request was sent, as rows of a COPY: either side may pause.
    Asking,
    /// A whole request was sent and nothing has come back: the server's turn.
    Asked,
    /// Part of an answer has come.
    Answering,
}

/// What is known of a session's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) turn: Turn,
    /// When bytes last went in either direction.
    pub(super) at: Instant,
    /// The system takes none of ours.
    pub(super) stuck: bool,
    /// Requests that were sent whole and that the server has not ended. A
    /// client may send one before it has heard the end of the last.
    owed: u32,
    ours: Messages,
    theirs: Messages,
}

impl Moved {
    fn new(at: Instant) -> Self {
        let (ours, theirs) = (Messages::of_client(), Messages::new());
        Self { turn: Turn::Idle, at, stuck: false, owed: 0, ours, theirs }
    }

    fn sent(&mut self, bytes: &[u8]) {
        (self.at, self.stuck) = (Instant::now(), false);
        let Self { ours, owed, .. } = self;
        // The login, Query and Sync: ReadyForQuery ends each of them.
        let asks = |tag| matches!(tag, 0 | b'Q' | b'S');
        ours.walk(bytes, |tag| *owed += u32::from(asks(tag)));
        self.turn = if ours.ended().is_some_and(asks) { Turn::Asked } else { Turn::Asking };
    }

    fn received(&mut self, bytes: &[u8]) {
        self.at = Instant::now();
        let Self { theirs, owed, turn, .. } = self;
        theirs.walk(bytes, |tag| match tag {
            b'Z' => {
                *owed = owed.saturating_sub(1);
                if *owed == 0 {
                    *turn = Turn::Idle;
                }
            }
            // The server ignores a Sync until the COPY's own end.
            b'G' => (*owed, *turn) = (0, Turn::Answering),
            // What comes unasked (a notice, a setting that changed) asks nothing.
            _ if *turn == Turn::Idle => {}
            _ => *turn = Turn::Answering,
        });
    }
}

/// A session's bytes as its watcher sees them. A handle: clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    moved: Mutex<Moved>,
    /// How often the watcher has looked at what the server does.
    looks: watch::Sender<u64>,
}

impl Pulse {
    pub(super) fn new(turn: Turn) -> Self {
        let moved = Mutex::new(Moved { turn, ..Moved::new(Instant::now()) });
        Self(Arc::new(Shared { moved, looks: watch::Sender::new(0) }))
    }

    pub(super) fn now(&self) -> Moved {
        *self.lock()
    }

    pub(super) fn sent(&self, bytes: &[u8]) {
        self.lock().sent(bytes);
    }

    pub(super) fn received(&self, bytes: &[u8]) {
        self.lock().received(bytes);
    }

    pub(super) fn stuck(&self) {
        self.lock().stuck = true;
    }

    pub(super) fn looked(&self) {
        self.0.looks.send_modify(|looks| *looks += 1);
    }

    pub(super) fn looks(&self) -> u64 {
        *self.0.looks.borrow()
    }

    /// The same, for who waits for the next.
    #[cfg(feature = "failpoints")]
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.0.looks.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Moved> {
        self.0.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
    }

    /// A session that has logged in.
    fn session() -> Moved {
        let mut moved = Moved::new(Instant::now());
        moved.sent(b"\0\0\0\x09\0\x03\0\0\0");
        assert_eq!(moved.turn, Turn::Asked);
        moved.received(&message(b'R', &[0; 4]));
        assert_eq!(moved.turn, Turn::Answering);
        moved.received(&message(b'Z', b"I"));
        assert_eq!(moved.turn, Turn::Idle);
        moved
    }

    #[test]
    fn whose_turn_it_is_shows_in_the_messages() {
        let mut moved = session();
        moved.received(&message(b'S', b"a setting"));
        assert_eq!(moved.turn, Turn::Idle, "what comes unasked");
        moved.sent(b"Q\0\0\0\x0dSELECT");
        assert_eq!(moved.turn, Turn::Asking);
        moved.sent(b" 1\0");
        assert_eq!(moved.turn, Turn::Asked);
        moved.received(b"C\0\0\0\x0dSELECT 1\0Z\0\0");
        assert_eq!(moved.turn, Turn::Answering);
        // In two pieces.
        moved.received(b"\0\x05I");
        assert_eq!(moved.turn, Turn::Idle);
    }

    /// A client goes on when it has what it asked for, and may hear only then
    /// that the server had ended.
    #[test]
    fn the_end_of_one_request_is_not_that_of_the_next() {
        let mut moved = session();
        moved.sent(&[message(b'P', b"SELECT 1"), message(b'S', b"")].concat());
        moved.received(&message(b'1', b""));
        moved.sent(&[message(b'B', b""), message(b'E', b""), message(b'S', b"")].concat());
        assert_eq!(moved.turn, Turn::Asked);
        moved.received(&message(b'Z', b"I"));
        assert_eq!(moved.turn, Turn::Asked);
        moved.received(&message(b'2', b""));
        assert_eq!(moved.turn, Turn::Answering);
        moved.received(&message(b'Z', b"I"));
        assert_eq!(moved.turn, Turn::Idle);
    }

    #[test]
    fn a_copy_ends_once_though_it_was_asked_for_twice() {
        let mut moved = session();
        moved.sent(&[message(b'B', b""), message(b'E', b""), message(b'S', b"")].concat());
        moved.received(&message(b'G', &[0; 3]));
        assert_eq!(moved.turn, Turn::Answering);
        moved.sent(&message(b'd', b"a\tb\n"));
        assert_eq!(moved.turn, Turn::Asking, "rows of a copy, which may pause");
        for half in [&b"d\0\0\0\x07a"[..], b"\tb"] {
            moved.sent(half);
            assert_eq!(moved.turn, Turn::Asking, "also in two pieces");
        }
        moved.sent(&[message(b'c', b""), message(b'S', b"")].concat());
        assert_eq!(moved.turn, Turn::Asked);
        moved.received(&[message(b'C', b"COPY 1\0"), message(b'Z', b"I")].concat());
        assert_eq!(moved.turn, Turn::Idle);
    }
}
