//! When to read: at once from an idle stream, in gulps from a busy one.
//!
//! The dump thread writes each event to the socket on its own. A reader that
//! wakes for every one makes the *source* pay for the wake-ups, and itself as
//! well. So, while the stream is busy, we nap before we read, and many events
//! come with one wake-up.
//!
//! *Busy* is: the last read brought much, or reads follow one another with
//! next to no wait. The nap comes before the wait for bytes and never after
//! it: whatever reaches an idle stream is handed over at once, and a busy one
//! is late by a nap at the most. A nap that brings little ends the busy
//! state; one that fills the buffer is shortened, and where the shortest does
//! there is none, for as long as reads bring much: a buffer that is always full
//! gathers by itself, and its size must not become the stream's speed limit.

use std::time::Duration;

use tokio::time::Instant;

/// The size to which the kernel's receive buffer is fixed.
pub(super) const RECEIVE_BUFFER: u32 = 256 << 10;

const LONGEST: Duration = Duration::from_millis(5);
/// The timer's own grain: shorter naps are not shorter.
const SHORTEST: Duration = Duration::from_millis(1);
/// A read that brings this much is a busy stream's.
const MUCH: usize = 32 << 10;
/// A nap that brings less was not worth it.
const LITTLE: usize = 4 << 10;
/// A nap that brings this much was too long, or may be longer.
const NEARLY_FULL: usize = 192 << 10;
const HALF_FULL: usize = 96 << 10;
/// Reads in quick succession: so many, so close.
const CLOSE: Duration = Duration::from_micros(300);
const STREAK: u32 = 8;

/// Decides how long to nap before a read.
#[derive(Debug)]
pub(super) struct Gather {
    busy: bool,
    /// More comes than naps leave room for.
    flooded: bool,
    nap: Duration,
    /// The end of the nap under way: kept here so that a caller that is
    /// cancelled and comes back does not start over.
    until: Option<Instant>,
    last: Option<Instant>,
    streak: u32,
}

impl Gather {
    pub(super) fn new() -> Self {
        Self { busy: false, flooded: false, nap: LONGEST, until: None, last: None, streak: 0 }
    }

    /// Until when to nap before the next read, if at all.
    pub(super) fn nap(&mut self, now: Instant) -> Option<Instant> {
        (self.busy && !self.flooded).then(|| *self.until.get_or_insert(now + self.nap))
    }

    /// Takes note of what a read brought.
    pub(super) fn filled(&mut self, now: Instant, bytes: usize) {
        let napped = self.until.take().is_some();
        let close = self.last.replace(now).is_some_and(|last| now.duration_since(last) < CLOSE);
        if napped {
            match bytes {
                ..LITTLE => self.busy = false,
                NEARLY_FULL.. if self.nap == SHORTEST => self.flooded = true,
                NEARLY_FULL.. => self.nap = (self.nap / 2).max(SHORTEST),
                LITTLE..HALF_FULL => self.nap = (self.nap * 2).min(LONGEST),
                _ => {}
            }
            self.streak = 0;
        } else if self.flooded {
            self.flooded = bytes >= HALF_FULL;
        } else {
            self.streak = if close { self.streak + 1 } else { 0 };
            self.busy = bytes >= MUCH || self.streak >= STREAK;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_stream_never_naps() {
        let (mut gather, mut now) = (Gather::new(), Instant::now());
        for _ in 0..100 {
            assert_eq!(gather.nap(now), None);
            now += Duration::from_millis(2);
            gather.filled(now, 500);
        }
    }

    #[test]
    fn a_busy_stream_naps_until_it_is_not_worth_it() {
        let (mut gather, mut now) = (Gather::new(), Instant::now());
        gather.filled(now, MUCH);
        let until = gather.nap(now).unwrap();
        assert_eq!(until, now + LONGEST);
        // Cancelled and asked again: the same nap.
        now += Duration::from_millis(3);
        assert_eq!(gather.nap(now), Some(until));
        // The buffer was full: shorter naps.
        for _ in 0..3 {
            gather.filled(now, READ_FULL);
            assert!(gather.nap(now).is_some());
        }
        assert_eq!(gather.nap(now), Some(now + SHORTEST));
        // And none while it is full all the time.
        for _ in 0..9 {
            gather.filled(now, READ_FULL);
            assert_eq!(gather.nap(now), None);
        }
        gather.filled(now, HALF_FULL - 1);
        assert_eq!(gather.nap(now), Some(now + SHORTEST));
        gather.filled(now, LITTLE - 1);
        assert_eq!(gather.nap(now), None);
    }

    #[test]
    fn many_small_reads_in_a_row_are_busy() {
        let (mut gather, mut now) = (Gather::new(), Instant::now());
        for _ in 0..=STREAK {
            assert_eq!(gather.nap(now), None);
            now += Duration::from_micros(50);
            gather.filled(now, 200);
        }
        assert!(gather.nap(now).is_some());
    }

    const READ_FULL: usize = 256 << 10;
}
